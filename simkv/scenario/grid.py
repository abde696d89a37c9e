"""What varies in a sweep: `PATH=VALUES` as a person writes it, and the points that several of them span.

VALUES is a list, `0.1,0.3`, or a range with its scale and number of values, `10..1000 Mbit/s:log:8` (or `:lin:8`).
Several paths that vary together, as a zip does, stand in one: `seed+replications=1|5,2|10` has two points.
The same stands in a scenario as `sweep: {PATH: VALUES}`, where VALUES may also be a YAML list.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from simkv.errors import InputError
from simkv.units import BYTES, near_bytes, shown

#: `10..1000 Mbit/s:log:8`: two numbers, a unit, a scale, how many.
_RANGE = re.compile(
    r"\s*(?P<first>[-+\d.eE]+?)\s*\.\.\s*(?P<last>[-+\d.eE]+)\s*(?P<unit>[^:,|]*?)\s*:\s*(?P<scale>\w+)\s*:\s*(?P<count>\d+)\s*"
)
_FORM = "want values such as '0.1,0.3' or a range such as '10..1000 Mbit/s:log:8' or '0..1:lin:5'"


@dataclass(frozen=True, slots=True)
class Span:
    """What a range spans, for a search that may go between its values.

    Attributes
    ----------
    first, last : the ends, as numbers of `unit`.
    scale : "lin" or "log".
    is_whole : whether only whole numbers make sense: without a unit, and every value of the range is one.
    """

    first: float
    last: float
    unit: str
    scale: str
    is_whole: bool


@dataclass(frozen=True, slots=True)
class Axis:
    """Paths that vary together, and the values that they take.

    Attributes
    ----------
    paths : dotted paths in the grammar of `--set`; more than one for a zip.
    values : one tuple a point, in the order of `paths`.
    span : of a range; None for a list.
    """

    paths: tuple[str, ...]
    values: tuple[tuple[object, ...], ...]
    span: Span | None = field(default=None, repr=False, compare=False)


def read_axis(text: str) -> Axis:
    """Return the axis that `PATH=VALUES` means.

    Examples
    --------
    >>> read_axis("links.slice.capacity=10..1000 Mbit/s:log:3").values
    (('10 Mbit/s',), ('100 Mbit/s',), ('1000 Mbit/s',))
    >>> read_axis("seed+replications=1|5,2|10").values
    (('1', '5'), ('2', '10'))
    >>> read_axis("policies.prefetch=none,{name: always-k, k: 2}").values
    (('none',), ('{name: always-k, k: 2}',))
    """
    name, equals, listed = text.partition("=")
    paths = tuple(path.strip() for path in name.split("+"))
    where = f"-p {text}"
    if not equals or not all(paths):
        raise InputError(f"want PATH=VALUES, got {text!r}", "-p")
    if len(set(paths)) < len(paths):
        raise InputError("want each path once", where)
    if ".." in listed and "{" not in listed:
        return _range(paths, listed, where)
    values = tuple(tuple(part.strip() for part in _split(item, "|")) for item in _split(listed, ","))
    for value in values:
        if not all(value):
            raise InputError(f"a value is missing; {_FORM}", where)
        if len(value) != len(paths):
            raise InputError(f"want {len(paths)} values with '|' between them, got {'|'.join(value)!r}", where)
    return Axis(paths, values)


def _split(text: str, mark: str) -> list[str]:
    """Return the parts of a text between marks, but for marks within braces and brackets, as YAML writes a policy."""
    depth, parts = 0, [""]
    for letter in text:
        depth += (letter in "{[") - (letter in "}]")
        if letter == mark and depth <= 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def from_mapping(grid: Mapping[str, object]) -> list[Axis]:
    """Return the axes of a grid in Python or YAML: path -> sequence of values, or VALUES as text.

    Examples
    --------
    >>> from_mapping({"seed": [1, 2], "replications": "5,10"})[0]
    Axis(paths=('seed',), values=((1,), (2,)))
    """
    return [axis_of(path, values) for path, values in grid.items()]


def axis_of(path: str, values: object) -> Axis:
    """Return the axis of one line of a grid."""
    if isinstance(values, str):
        return read_axis(f"{path}={values}")
    if isinstance(values, bool | int | float):
        values = (values,)
    if not isinstance(values, Iterable) or isinstance(values, Mapping):
        raise InputError(f"want a list of values or text such as '0.1,0.3', got {shown(values)}", path)
    paths = tuple(part.strip() for part in path.split("+"))
    if not all(paths) or len(set(paths)) < len(paths):
        raise InputError("want a dotted path, or several different ones with '+' between them", path)
    listed = tuple((value,) if len(paths) == 1 else _together(value) for value in values)
    if not listed or any(len(value) != len(paths) for value in listed):
        raise InputError(f"want at least one value, each for {len(paths)} path(s)", path)
    return Axis(paths, listed)


def _together(value: object) -> tuple[object, ...]:
    """Return the values of a zip at one point, from a list of them or from `1|5`."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split("|"))
    return tuple(value) if isinstance(value, Iterable) and not isinstance(value, Mapping) else (value,)


def merged(block: Sequence[Axis], given: Sequence[Axis]) -> list[Axis]:
    """Return the lines of a block with those given on top: one of the same path takes a line's place.

    Examples
    --------
    >>> [axis.values for axis in merged([read_axis("seed=1,2")], [read_axis("seed=3"), read_axis("replications=5")])]
    [(('3',),), (('5',),)]
    """
    left, found = list(given), []
    for line in block:
        rivals = [axis for axis in left if set(axis.paths) & set(line.paths)]
        named = {path for axis in rivals for path in axis.paths}
        if rivals and not set(line.paths) <= named:
            whole = "+".join(line.paths)
            raise InputError(f"the scenario's sweep varies {whole} together; want -p '{whole}=...'", f"-p {min(named)}")
        found += rivals or [line]
        left = [axis for axis in left if axis not in rivals]
    return found + left


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


def _range(paths: tuple[str, ...], text: str, where: str) -> Axis:
    """Return the axis of `FIRST..LAST UNIT:SCALE:COUNT`; the ends are exactly as written."""
    found = _RANGE.fullmatch(text)
    if len(paths) > 1 or found is None:
        raise InputError(_FORM if found is None else "a range varies one path; list the values of several", where)
    try:
        first, last, count = float(found["first"]), float(found["last"]), int(found["count"])
    except ValueError:
        raise InputError(_FORM, where) from None
    scale, unit = found["scale"], found["unit"]
    if scale not in ("lin", "log"):
        raise InputError(f"unknown scale {scale!r}; want lin or log", where)
    if count < 2 or first == last:
        raise InputError("want two different ends and at least 2 values", where)
    if scale == "log" and min(first, last) <= 0:
        raise InputError("a log range wants both ends above zero", where)
    inner = [written(_between(first, last, step / (count - 1), scale), unit) for step in range(1, count - 1)]
    values = [f"{found['first']} {unit}".strip(), *inner, f"{found['last']} {unit}".strip()]
    is_whole = all(re.fullmatch(r"[-+]?\d+", value) for value in values)
    return Axis(paths, tuple((value,) for value in values), Span(first, last, unit, scale, is_whole))


def written(number: float, unit: str) -> str:
    """Return a number with its unit in six digits; a size in whole bytes.

    Examples
    --------
    >>> written(46.4158883, "Mbit/s"), written(3.0, ""), written(322.5397, "MiB")
    ('46.4159 Mbit/s', '3', '322.5 MiB')
    """
    text = f"{number:.6g} {unit}".strip()
    return near_bytes(text) if unit in BYTES.factors else text


def _between(first: float, last: float, share: float, scale: str) -> float:
    """Return the value a share of the way from first to last."""
    if scale == "lin":
        return first + share * (last - first)
    return first * math.exp(share * math.log(last / first))
