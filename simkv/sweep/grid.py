"""What varies in a sweep: `PATH=VALUES` as a person writes it, and the points that several of them span.

VALUES is a list, `0.1,0.3`, or a range with its scale and number of values, `10..1000 Mbit/s:log:8` (or `:lin:8`).
Several paths that vary together, as a zip does, stand in one: `seed+replications=1|5,2|10` has two points.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from simkv.errors import InputError

#: `10..1000 Mbit/s:log:8`: two numbers, a unit, a scale, how many.
_RANGE = re.compile(
    r"\s*(?P<first>[-+\d.eE]+?)\s*\.\.\s*(?P<last>[-+\d.eE]+)\s*(?P<unit>[^:,|]*?)\s*:\s*(?P<scale>\w+)\s*:\s*(?P<count>\d+)\s*"
)
_FORM = "want values such as '0.1,0.3' or a range such as '10..1000 Mbit/s:log:8' or '0..1:lin:5'"


@dataclass(frozen=True, slots=True)
class Axis:
    """Paths that vary together, and the values that they take.

    Attributes
    ----------
    paths : dotted paths in the grammar of `--set`; more than one for a zip.
    values : one tuple a point, in the order of `paths`.
    """

    paths: tuple[str, ...]
    values: tuple[tuple[object, ...], ...]


def read_axis(text: str) -> Axis:
    """Return the axis that `PATH=VALUES` means.

    Examples
    --------
    >>> read_axis("links.slice.capacity=10..1000 Mbit/s:log:3").values
    (('10 Mbit/s',), ('100 Mbit/s',), ('1000 Mbit/s',))
    >>> read_axis("seed+replications=1|5,2|10").values
    (('1', '5'), ('2', '10'))
    """
    name, equals, listed = text.partition("=")
    paths = tuple(path.strip() for path in name.split("+"))
    where = f"-p {text}"
    if not equals or not all(paths):
        raise InputError(f"want PATH=VALUES, got {text!r}", "-p")
    if len(set(paths)) < len(paths):
        raise InputError("want each path once", where)
    if ".." in listed:
        return Axis(paths, tuple((value,) for value in _range(listed, len(paths), where)))
    values = tuple(tuple(part.strip() for part in item.split("|")) for item in listed.split(","))
    for value in values:
        if not all(value):
            raise InputError(f"a value is missing; {_FORM}", where)
        if len(value) != len(paths):
            raise InputError(f"want {len(paths)} values with '|' between them, got {'|'.join(value)!r}", where)
    return Axis(paths, values)


def from_mapping(grid: Mapping[str, object]) -> list[Axis]:
    """Return the axes of a grid in Python: path -> sequence of values, or VALUES as text.

    Examples
    --------
    >>> from_mapping({"seed": [1, 2], "replications": "5,10"})[0]
    Axis(paths=('seed',), values=((1,), (2,)))
    """
    return [_axis(path, values) for path, values in grid.items()]


def _axis(path: str, values: object) -> Axis:
    if isinstance(values, str):
        return read_axis(f"{path}={values}")
    if not isinstance(values, Iterable):
        raise InputError(f"want a list of values or text such as '0.1,0.3', got {values!r}", path)
    paths = tuple(part.strip() for part in path.split("+"))
    listed = tuple((value,) if len(paths) == 1 else tuple(value) for value in values)
    if not listed or any(len(value) != len(paths) for value in listed):
        raise InputError(f"want at least one value, each for {len(paths)} path(s)", path)
    return Axis(paths, listed)


def product(axes: Sequence[Axis]) -> list[dict[str, object]]:
    """Return every point of a grid as path -> value, the last axis fastest.

    Examples
    --------
    >>> product([Axis(("a",), (("1",), ("2",))), Axis(("b", "c"), (("3", "4"),))])
    [{'a': '1', 'b': '3', 'c': '4'}, {'a': '2', 'b': '3', 'c': '4'}]
    """
    paths = [path for axis in axes for path in axis.paths]
    twice = next((path for path in paths if paths.count(path) > 1), None)
    if twice is not None:
        raise InputError("varies twice; want each path once", f"-p {twice}")
    return [
        dict(zip(paths, itertools.chain(*values), strict=True))
        for values in itertools.product(*(axis.values for axis in axes))
    ]


def _range(text: str, paths: int, where: str) -> list[str]:
    """Return the values of `FIRST..LAST UNIT:SCALE:COUNT`; the ends are exactly as written."""
    found = _RANGE.fullmatch(text)
    if paths > 1 or found is None:
        raise InputError(_FORM if found is None else "a range varies one path; list the values of several", where)
    try:
        first, last, count = float(found["first"]), float(found["last"]), int(found["count"])
    except ValueError:
        raise InputError(_FORM, where) from None
    if found["scale"] not in ("lin", "log"):
        raise InputError(f"unknown scale {found['scale']!r}; want lin or log", where)
    if count < 2 or first == last:
        raise InputError("want two different ends and at least 2 values", where)
    if found["scale"] == "log" and min(first, last) <= 0:
        raise InputError("a log range wants both ends above zero", where)
    inner = [f"{_between(first, last, step / (count - 1), found['scale']):.6g}" for step in range(1, count - 1)]
    return [f"{number} {found['unit']}".strip() for number in (found["first"], *inner, found["last"])]


def _between(first: float, last: float, share: float, scale: str) -> float:
    """Return the value a share of the way from first to last."""
    if scale == "lin":
        return first + share * (last - first)
    return first * math.exp(share * math.log(last / first))
