"""What do the steps of an unchanged batch of decodes take: a line with bends over their summed context?"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable
from itertools import pairwise

from simkv.compute.tables import Line, Outside

_FARTHEST = 1e15  # [tokens] no batch reads as many


class DecodeCurve:
    """The price of one step of a batch of decodes: a fixed part, and attention that bends with the summed context.

    Parameters
    ----------
    batch : sequences that decode.
    fixed_s : [s] whatever the contexts.
    points : (summed context [tokens], attention of all layers [s]), at least one.
    skew : r over rho of a batch of this size (see `Skew`); None = contexts count by their mean alone.
    outside : how a batch of this size leaves the measured range, whatever its contexts.

    Attributes
    ----------
    low, high : [tokens] summed context between which attention was measured.

    Examples
    --------
    >>> curve = DecodeCurve(2, 1.0, [(0, 0.0), (10, 1.0), (20, 3.0)])
    >>> curve.span(6, 4, math.inf), curve.span(6, 9, 3.0)
    ((4, 7.800000000000001), (2, 3.4000000000000004))
    """

    __slots__ = ("_knots", "_last", "_slopes", "_values", "batch", "fixed_s", "high", "low", "outside", "skew")

    def __init__(
        self,
        batch: int,
        fixed_s: float,
        points: Iterable[tuple[float, float]],
        skew: Line | None = None,
        outside: Outside | None = None,
    ) -> None:
        line = Line("attention", "summed context", points)
        self.batch, self.fixed_s, self.skew = batch, fixed_s, skew
        self.outside: Outside = outside or []
        self.low, self.high = line.places[0], line.places[-1]
        self._knots, self._values, self._slopes = _never_negative(line)
        self._last = len(self._knots) - 1

    def factor(self, context_tokens: int, longest_tokens: int) -> float:
        """Return 1 + r for a batch of these contexts; the token that each decodes is read too."""
        line = self.skew
        if line is None or not longest_tokens:
            return 1.0
        rho = (context_tokens / self.batch + 1) / (longest_tokens + 1)
        places = line.places
        if rho >= 1.0:
            return 1.0
        index = bisect_right(places, rho) - 1
        if index < 0:
            return 1.0 + line.values[0]
        return 1.0 + (line.values[index] + line.slopes[index] * (rho - places[index]))

    def step(self, context_tokens: int, factor: float = 1.0) -> float:
        """Return what one step takes [s]: to the last bit the same as a `span` of one."""
        knots = self._knots
        piece = bisect_right(knots, context_tokens) - 1
        return self.fixed_s + factor * (self._values[piece] + self._slopes[piece] * (context_tokens - knots[piece]))

    def span(self, context_tokens: int, max_steps: int, until_s: float, factor: float = 1.0) -> tuple[int, float]:
        """Return the steps to the first boundary at or after `until_s`, and their time [s]; see `StepTime.span`.

        Bends inside are crossed: each piece is one arithmetic series.
        """
        knots, batch, last = self._knots, self.batch, self._last
        piece = bisect_right(knots, context_tokens) - 1
        done, total_s = 0, 0.0
        while True:
            slope = self._slopes[piece]
            first_s = self.fixed_s + factor * (self._values[piece] + slope * (context_tokens - knots[piece]))
            growth_s = factor * slope * batch
            steps = max_steps - done
            if piece < last:
                in_piece = int(-((context_tokens - knots[piece + 1]) // batch))
                if in_piece < steps:  # noqa: PLR1730 - min() is slower, and this is the inner loop
                    steps = in_piece
            piece_s = steps * first_s + growth_s * (steps * (steps - 1) / 2)
            if total_s + piece_s >= until_s:
                here = _first(until_s, total_s, steps, first_s, growth_s)
                return done + here, total_s + (here * first_s + growth_s * (here * (here - 1) / 2))
            done += steps
            total_s += piece_s
            if done >= max_steps:
                return done, total_s
            context_tokens += steps * batch
            piece += 1
            while piece < last and knots[piece + 1] <= context_tokens:  # bends closer together than one step
                piece += 1


def _first(until_s: float, total_s: float, steps: int, first_s: float, growth_s: float) -> int:
    """Return the least number of steps, in 1..steps, after which `total_s` and theirs reach `until_s`; some do."""
    if steps <= 1 or until_s <= total_s + first_s:
        return 1
    left_s = until_s - total_s
    linear_s = first_s - growth_s / 2
    root = linear_s + math.sqrt(max(0.0, linear_s * linear_s + 2 * growth_s * left_s))
    here = min(max(math.ceil(2 * left_s / root), 1), steps) if root > 0 else steps
    while here > 1 and total_s + ((here - 1) * first_s + growth_s * ((here - 1) * (here - 2) / 2)) >= until_s:
        here -= 1  # the closed form may be off by rounding
    while here < steps and total_s + (here * first_s + growth_s * (here * (here - 1) / 2)) < until_s:
        here += 1
    return here


def _never_negative(line: Line) -> tuple[list[float], list[float], list[float]]:
    """Return knots from 0 on, values there and slopes behind: the line, and zero where that is negative."""
    seen: Outside = []
    places = [0.0, *(place for place in line.places if place > 0)]
    slope = line.slopes[-1]
    root = line.places[-1] - line.values[-1] / slope if slope else 0.0
    if places[-1] <= root < _FARTHEST:  # the extension behind the last point meets zero
        places.append(2 * root + 1)
    points = [(place, line.at(place, seen)) for place in places]
    kept = points[:1]
    for before, after in pairwise(points):
        zero = before[0] - before[1] * (after[0] - before[0]) / (after[1] - before[1]) if before[1] != after[1] else 0.0
        if before[1] * after[1] < 0 and before[0] < zero < after[0]:
            kept.append((zero, 0.0))
        kept.append(after)
    knots = [place for place, _ in kept]
    values = [max(value, 0.0) for _, value in kept]
    slopes = [(values[after] - values[after - 1]) / (knots[after] - knots[after - 1]) for after in range(1, len(knots))]
    return knots, values, [*slopes, slopes[-1] if slopes else 0.0]
