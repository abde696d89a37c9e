"""The points of a sweep: a scenario each, and an identity that says when two of them must give the same numbers."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import simkv
from simkv import remote
from simkv.errors import InputError
from simkv.scenario import Scenario, document, loading, resolved
from simkv.scenario.grid import Axis, merged, product
from simkv.scenario.writing import as_mapping

_ID_DIGITS = 16


@dataclass(frozen=True)
class Point:
    """One scenario of a sweep.

    Attributes
    ----------
    id : hash of everything that its numbers depend on.
    values : path -> value, as given.
    scenario : or why these values make none.
    """

    id: str
    values: dict[str, object]
    scenario: Scenario | InputError


@dataclass(frozen=True)
class Sweep:
    """All points of a sweep, in the order of the table."""

    name: str
    paths: tuple[str, ...]
    points: tuple[Point, ...]

    @property
    def facts(self) -> dict[str, Any]:
        """What the journal says of it beside name, paths and identity: nothing more."""
        return {}

    @property
    def id(self) -> str:
        """Hash of the points and their order: two sweeps with the same one have the same table."""
        return hashed([[point.id, _as_text(point.values)] for point in self.points])


@dataclass(frozen=True)
class Ground:
    """What the points of a sweep are made from.

    Attributes
    ----------
    lines : what varies.
    root, path : the scenario's document, and the file that it stands in.
    fixed : what is changed at every point, as `--set` does.
    places : path -> where in the file its values are written; for errors.
    """

    lines: tuple[Axis, ...]
    root: document.Mapping = field(repr=False)
    path: Path
    fixed: Mapping[str, object]
    places: Mapping[str, str]

    @classmethod
    def of(
        cls, scenario: Scenario | str | Path, axes: Sequence[Axis], overrides: Mapping[str, object] | None
    ) -> Ground:
        """Read a scenario and what of it varies; the parameters are those of `plan`."""
        path = scenario.path if isinstance(scenario, Scenario) else Path(scenario)
        text = resolved(scenario) if isinstance(scenario, Scenario) else document.read_text(path)
        root = loading.read(text, path)
        block, fixed = loading.sweep_axes(root), dict(overrides or {})
        lines = tuple(merged(list(block.values()), axes))
        if not lines:
            raise InputError("want at least one -p PATH=VALUES, or `sweep: {PATH: VALUES}` in the scenario")
        both = next((name for line in lines for name in line.paths if name in fixed), None)
        if both is not None:
            raise InputError("is both fixed and varied; want one of the two", both)
        places = {name: where for where, line in block.items() if line in lines for name in line.paths}
        return cls(lines, root, path, fixed, places)

    def scenario(self, values: Mapping[str, object]) -> Scenario:
        """Return the scenario with these values in place."""
        return loading.point_of(self.root, self.path, {**self.fixed, **values}, self.places)


def plan(
    scenario: Scenario | str | Path, axes: Sequence[Axis] = (), overrides: Mapping[str, object] | None = None
) -> Sweep:
    """Return the points of a sweep over a scenario; every one of them is checked.

    Parameters
    ----------
    scenario : as `simkv.load` returns it, or its file.
    axes : what varies, beside or instead of what the scenario's own `sweep` says; their product is the grid.
    overrides : as `--set` takes them, in force at every point.

    Raises
    ------
    InputError : a path or value that the scenario does not take, or two points that are the same.

    Examples
    --------
    >>> plan("scenarios/three_turns.yaml", [Axis(("seed",), ((1,), (2,)))]).paths  # doctest: +SKIP
    ('seed',)
    """
    ground = Ground.of(scenario, axes, overrides)
    spans = product(ground.lines)
    made = [ground.scenario(values) for values in spans]
    points = [Point(identity(one), values, one) for one, values in zip(made, spans, strict=True)]
    seen: dict[str, Point] = {}
    for point in points:
        if point.id in seen:
            raise InputError(
                f"{_told(seen[point.id].values)} and {_told(point.values)} are the same point; want it once"
            )
        seen[point.id] = point
    return Sweep(made[0].name, tuple(spans[0]), tuple(points))


def identity(scenario: Scenario) -> str:
    """Return the hash of a resolved scenario, of the content of its files, and of simkv's version.

    The order of keys and the place of files do not matter. The order of arms does: it is that of the table.
    """
    return hashed({"simkv": simkv.__version__, "scenario": _with_contents(_without_sweep(scenario))})


def files_of(scenario: Scenario) -> dict[str, Any]:
    """Return the files and folders that a scenario names, with the hash of what they hold."""
    return {path: content(path) for path in _named(_without_sweep(scenario))}


def _without_sweep(scenario: Scenario) -> dict[str, Any]:
    return {key: value for key, value in as_mapping(scenario).items() if key != "sweep"}


def _with_contents(value: Any) -> Any:
    """Return the document with the hash of its content for the name of every file and folder."""
    if isinstance(value, dict):
        return {key: _with_contents(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_contents(item) for item in value]
    return content(value) if _is_file(value) else value


def _named(value: Any) -> Iterator[str]:
    """Yield the name of every file and folder in the document."""
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _named(item)
    elif _is_file(value):
        yield value


def _is_file(value: object) -> bool:
    return remote.is_url(value) or (isinstance(value, str) and value.startswith(os.sep) and Path(value).exists())


def content(name: str) -> Any:
    """Return the hash of what a file holds; of a folder, by name.

    Raises
    ------
    OSError, InputError : it cannot be read.
    """
    if remote.is_url(name):
        return "sha256:" + remote.fetched(name).sha256
    path = Path(name)
    if path.is_dir():
        return {f.relative_to(path).as_posix(): content(str(f)) for f in sorted(path.rglob("*")) if f.is_file()}
    told = path.stat()
    return _content(name, told.st_mtime_ns, told.st_size)


@functools.cache
def _content(name: str, _mtime_ns: int, _size_bytes: int) -> str:
    """Read a file once for all points that name it; one that was written since is read again."""
    with Path(name).open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def hashed(value: object) -> str:
    """Return a short hash of a value; the order of keys does not matter."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:_ID_DIGITS]


def _as_text(values: Mapping[str, object]) -> list[list[str]]:
    """Return the values as the identity of a sweep has them: `0.10` as text and 0.1 as a number are the same."""
    return [[path, as_written(scalar(value))] for path, value in values.items()]


def scalar(value: object) -> object:
    """Return the number or truth value that a text means, or the value itself."""
    try:
        return document.core_scalar(value) if isinstance(value, str) else value
    except ValueError:
        return value


def as_written(value: object) -> str:
    """Return a value as a person would write it in YAML.

    Examples
    --------
    >>> as_written(True), as_written({"name": "threshold", "threshold": 0.3})
    ('true', '{name: threshold, threshold: 0.3}')
    """
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {as_written(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(as_written, value)) + "]"
    return str(value)


def _told(values: Mapping[str, object]) -> str:
    return ", ".join(f"{path}={as_written(value)}" for path, value in values.items())
