"""What an operation costs anywhere: a fitted form, or interpolation of its measured points, as its calibration says.

Arithmetic only. Inside the measured range a table is multilinear in log(x + 16) and log t; outside it goes on as the
fitted form does, scaled to meet the table at its border, and whoever asks learns of it.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import pairwise, product
from typing import NamedTuple

from simkv.compute.op_table import OpTable
from simkv.compute.tables import Beyond, Outside
from simkv.errors import InputError

#: How an operation is priced: by its fitted form, by its table, or by those of other operations together.
PREDICTED_BY = ("fit", "table", "composed")

_SHIFT = 16.0  # so that 0 has a logarithm, and small places lie nearly evenly (calibration study, section 3.5)
_FACTOR = re.compile(r"([a-z_]+)(?:\^([1-9]))?", re.ASCII)


class Term(NamedTuple):
    """A product of powers of axes; nothing where the axis `needs` is 0.

    Attributes
    ----------
    powers : (axis, exponent) of each factor.
    needs : an axis; "" = none.

    Examples
    --------
    >>> Term.parse("new^2[cached>0]").at({"new": 3.0, "cached": 1.0}), Term.parse("1").at({})
    (9.0, 1.0)
    """

    powers: tuple[tuple[str, int], ...]
    needs: str = ""

    @classmethod
    def parse(cls, text: str) -> Term:
        """Return the term that a text such as `1`, `new*cached` or `new^2[cached>0]` means.

        Raises
        ------
        InputError : none.
        """
        body, bracket, rest = text.partition("[")
        needs = ""
        if bracket:
            if not re.fullmatch(r"[a-z_]+>0\]", rest):
                raise InputError(f"term {text!r}: want a condition such as [kv_prefill>0]")
            needs = rest.removesuffix(">0]")
        if body == "1":
            return cls((), needs)
        powers = []
        for factor in body.split("*"):
            found = _FACTOR.fullmatch(factor)
            if found is None:
                raise InputError(f"term {text!r}: want a product of powers of axes, such as tokens^2*rank")
            powers.append((found[1], int(found[2] or 1)))
        return cls(tuple(powers), needs)

    def axes(self) -> set[str]:
        """Return the axes that it reads."""
        return {axis for axis, _ in self.powers} | ({self.needs} if self.needs else set())

    def at(self, point: Mapping[str, float]) -> float:
        """Return its value."""
        if self.needs and not point[self.needs]:
            return 0.0
        value = 1.0
        for axis, power in self.powers:
            value *= point[axis] ** power
        return value


class LogGrid:
    """Times over a whole rectangle of points, multilinear in log(x + 16) and log t.

    Parameters
    ----------
    rows : (place on each axis, time [s]).

    Raises
    ------
    InputError : the rectangle has holes.

    Examples
    --------
    >>> grid = LogGrid([(0, 1.0), (16, 4.0)])
    >>> round(grid.at([16 * 2**0.5 - 16]), 9), grid.at([16])
    (2.0, 4.0)
    """

    def __init__(self, rows: Sequence[Sequence[float]]) -> None:
        self._log_s = {tuple(row[:-1]): math.log(row[-1]) for row in rows}
        self.axes = [sorted(set(column)) for column in list(zip(*rows, strict=True))[:-1]]
        if len(self._log_s) != math.prod(len(axis) for axis in self.axes):
            raise InputError("its points do not fill a rectangle")

    def at(self, point: Sequence[float]) -> float:
        """Return the time [s] at a point inside the rectangle."""
        corners = [_around(axis, place) for axis, place in zip(self.axes, point, strict=True)]
        log_s = 0.0
        for choice in product(*corners):
            weight = math.prod(share for _, share in choice)
            if weight:
                log_s += weight * self._log_s[tuple(place for place, _ in choice)]
        return math.exp(log_s)


def _around(axis: Sequence[float], place: float) -> list[tuple[float, float]]:
    """Return the two measured places around one, each with its share."""
    index = bisect_right(axis, place) - 1
    if axis[index] == place or len(axis) == 1:
        return [(axis[index], 1.0)]
    low, high = axis[index], axis[index + 1]
    share = math.log((place + _SHIFT) / (low + _SHIFT)) / math.log((high + _SHIFT) / (low + _SHIFT))
    return [(low, 1.0 - share), (high, share)]


class OpLaw:
    """The cost of one operation.

    Parameters
    ----------
    op : what was measured.
    terms, coefficients : of the fitted form [s]; none = there is no fit.
    predict : "fit" or "table".

    Raises
    ------
    InputError : a table with holes, or a form of other axes.

    Examples
    --------
    >>> law = OpLaw(OpTable("act_fn", [(16, 1.0), (48, 2.0)]), ["tokens"], [0.05], "table")
    >>> seen: Outside = []
    >>> law.at([16], seen), round(law.at([96], seen), 9), str(seen[0])
    (1.0, 4.0, 'act_fn: tokens 96 is outside 16 to 48')
    """

    def __init__(self, op: OpTable, terms: Sequence[str], coefficients: Sequence[float], predict: str) -> None:
        self._op = op
        self._terms = [(Term.parse(text), value) for text, value in zip(terms, coefficients, strict=True)]
        for term, _ in self._terms:
            if term.axes() - set(op.axes):
                raise InputError(f"{op.name}: a term reads {', '.join(sorted(term.axes() - set(op.axes)))}")
        try:
            self._grid = LogGrid(op.rows) if predict == "table" else None
        except InputError as error:
            raise InputError(f"{op.name}: {error}") from None
        self._ends = [(axis[0], axis[-1]) for axis in (op.grid(name) for name in op.axes)]
        if self._grid is None and not self._terms:
            raise InputError(f"{op.name}: neither a table nor a fit")

    def places(self, axis: int, pieces: int) -> list[float]:
        """Return the measured places along an axis and, where a table is interpolated, some between them."""
        op = self._op
        found = op.grid(op.axes[axis])
        if self._grid is None:
            return found
        between = [low + (high - low) * part / pieces for low, high in pairwise(found) for part in range(1, pieces)]
        return sorted({*found, *between})

    def fitted(self, point: Sequence[float]) -> float:
        """Return what the fitted form says [s]."""
        named = dict(zip(self._op.axes, point, strict=True))
        return sum(value * term.at(named) for term, value in self._terms)

    def at(self, point: Sequence[float], outside: Outside) -> float:
        """Return the time [s] at a point; whatever leaves the measured range is noted in `outside`."""
        inside = [min(max(place, low), high) for place, (low, high) in zip(point, self._ends, strict=True)]
        for axis, place, near, ends in zip(self._op.axes, point, inside, self._ends, strict=True):
            if place != near:
                outside.append(Beyond(self._op.name, axis, place, *ends))
        if self._grid is None:
            return self.fitted(point)
        border_s = self._grid.at(inside)
        if list(point) == inside:
            return border_s
        border_fit_s = self.fitted(inside) if self._terms else 0.0
        return border_s * self.fitted(point) / border_fit_s if border_fit_s > 0 else border_s
