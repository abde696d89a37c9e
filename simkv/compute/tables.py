"""Linear interpolation over measured grids with holes: exact where measured, linear between, extended outside.

Outside a grid the line through the two nearest points goes on. Whoever asks learns of it: each lookup notes into
`Outside` the axes on which it left the grid.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple


class Beyond(NamedTuple):
    """One query that left the grid.

    Attributes
    ----------
    op, axis : of which table, along what.
    value : asked for.
    low, high : the range that was measured.
    """

    op: str
    axis: str
    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.op}: {self.axis} {self.value:g} is outside {self.low:g} to {self.high:g}"


Outside = list[Beyond]


class Line:
    """A value along one axis, piecewise linear.

    Parameters
    ----------
    op, axis : what it is, for whoever asks outside of it.
    points : (place, value), in any order, places different.

    Examples
    --------
    >>> line = Line("act_fn", "tokens", [(1, 10.0), (3, 20.0), (5, 22.0)])
    >>> seen: Outside = []
    >>> line.at(2, seen), line.at(5, seen), line.at(7, seen), [str(item) for item in seen]
    (15.0, 22.0, 24.0, ['act_fn: tokens 7 is outside 1 to 5'])
    """

    __slots__ = ("axis", "op", "places", "slopes", "values")

    def __init__(self, op: str, axis: str, points: Iterable[tuple[float, float]]) -> None:
        self.op, self.axis = op, axis
        ordered = sorted(points)
        self.places = [place for place, _ in ordered]
        self.values = [value for _, value in ordered]
        self.slopes = [(after[1] - before[1]) / (after[0] - before[0]) for before, after in pairwise(ordered)]
        self.slopes.append(self.slopes[-1] if self.slopes else 0.0)  # beyond the last point, or of the only one

    def at(self, place: float, outside: Outside) -> float:
        """Return the value at a place."""
        places = self.places
        index = bisect_right(places, place) - 1
        if index < 0:
            index = 0
            outside.append(Beyond(self.op, self.axis, place, places[0], places[-1]))
        elif place > places[-1]:
            outside.append(Beyond(self.op, self.axis, place, places[0], places[-1]))
        return self.values[index] + self.slopes[index] * (place - places[index])


def along(places: Sequence[int], place: float, value: Callable[[int], float], beyond: Callable[[], None]) -> float:
    """Return a value between two members of a family of tables that differ along one axis.

    Parameters
    ----------
    places : where the members stand, ascending.
    place : what is asked for.
    value : the value of the member at an index.
    beyond : called when `place` lies outside.

    Examples
    --------
    >>> along([10, 20], 12, [100.0, 200.0].__getitem__, lambda: print("outside"))
    120.0
    >>> along([10, 20], 25, [100.0, 200.0].__getitem__, lambda: print("outside"))
    outside
    250.0
    """
    last = len(places) - 1
    index = bisect_right(places, place) - 1
    if index < 0:
        index = 0
        beyond()
    near, away = value(index), place - places[index]
    if not away or not last:
        if away > 0:
            beyond()
        return near
    other = index + 1
    if index == last:
        beyond()
        other = index - 1
    return near + away * (value(other) - near) / (places[other] - places[index])


class Grid:
    """A value over two axes; each row has places of its own along the second.

    Parameters
    ----------
    op, row_axis, axis : what it is, for whoever asks outside of it.
    points : (row, place, value).

    Examples
    --------
    >>> grid = Grid("moe", "tokens", "activated_experts", [(1, 8, 5.0), (2, 8, 6.0), (2, 16, 12.0)])
    >>> grid.at(1, 8, []), grid.at(2, 12, []), grid.at(2, 16, [])
    (5.0, 9.0, 12.0)
    """

    __slots__ = ("lines", "op", "row_axis", "rows")

    def __init__(self, op: str, row_axis: str, axis: str, points: Iterable[tuple[int, int, float]]) -> None:
        self.op, self.row_axis = op, row_axis
        by_row: dict[int, list[tuple[float, float]]] = {}
        for row, place, value in points:
            by_row.setdefault(row, []).append((place, value))
        self.rows = sorted(by_row)
        self.lines = [Line(op, axis, by_row[row]) for row in self.rows]

    def at(self, row: float, place: float, outside: Outside) -> float:
        """Return the value at a place of a row, both of them anywhere.

        A place that one of the two rows around reaches is inside, though the other has to be extended to it.
        """
        missed: Outside = []
        asked = 0

        def value(index: int) -> float:
            nonlocal asked
            asked += 1
            return self.lines[index].at(place, missed)

        def beyond() -> None:
            outside.append(Beyond(self.op, self.row_axis, row, self.rows[0], self.rows[-1]))

        found = along(self.rows, row, value, beyond)
        if len(missed) == asked:
            outside.append(missed[0])
        return found
