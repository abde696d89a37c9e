"""The points of a sweep: a scenario each, and an identity that says when two of them must give the same numbers."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
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
    """

    id: str
    values: dict[str, object]
    scenario: Scenario


@dataclass(frozen=True)
class Sweep:
    """All points of a sweep, in the order of the table."""

    name: str
    paths: tuple[str, ...]
    points: tuple[Point, ...]

    @property
    def id(self) -> str:
        """Hash of the points and their order: two sweeps with the same one have the same table."""
        return _hashed([[point.id, _as_text(point.values)] for point in self.points])


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
    path = scenario.path if isinstance(scenario, Scenario) else Path(scenario)
    root = loading.read(resolved(scenario) if isinstance(scenario, Scenario) else document.read_text(path), path)
    fixed = dict(overrides or {})
    block = loading.sweep_axes(root)
    lines = merged(list(block.values()), axes)
    if not lines:
        raise InputError("want at least one -p PATH=VALUES, or `sweep: {PATH: VALUES}` in the scenario")
    spans = product(lines)
    both = next((name for name in spans[0] if name in fixed), None)
    if both is not None:
        raise InputError("is both fixed and varied; want one of the two", both)
    places = {name: where for where, axis in block.items() if axis in lines for name in axis.paths}
    points = [_point(loading.point_of(root, path, fixed | values, places), values) for values in spans]
    seen: dict[str, Point] = {}
    for point in points:
        if point.id in seen:
            raise InputError(
                f"{_told(seen[point.id].values)} and {_told(point.values)} are the same point; want it once"
            )
        seen[point.id] = point
    return Sweep(points[0].scenario.name, tuple(spans[0]), tuple(points))


def identity(scenario: Scenario) -> str:
    """Return the hash of a resolved scenario, of the content of its files, and of simkv's version.

    The order of keys and the place of files do not matter. The order of arms does: it is that of the table.
    """
    return _hashed({"simkv": simkv.__version__, "scenario": _with_contents(_without_sweep(scenario))})


def files_of(scenario: Scenario) -> dict[str, Any]:
    """Return the files and folders that a scenario names, with the hash of what they hold."""
    return {path: content(path) for path in _named(_without_sweep(scenario))}


def _without_sweep(scenario: Scenario) -> dict[str, Any]:
    return {key: value for key, value in as_mapping(scenario).items() if key != "sweep"}


def _point(scenario: Scenario, values: dict[str, object]) -> Point:
    return Point(identity(scenario), values, scenario)


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


def _hashed(value: object) -> str:
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
