"""What a step takes by the two tables of a Dynamo timing profile, added up as Dynamo's mocker does."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from simkv.compute.steptime import no_kernel
from simkv.compute.tables import Beyond, Line
from simkv.errors import InputError

_LEAST_DECODE_S = 1e-3  # [s] perf_model.rs, predict_decode_time: time.max(1.0) of milliseconds


class Piece(NamedTuple):
    """One cell of the decode table, seen from its corner: bilinear in summed and in mean context.

    Attributes
    ----------
    kv_tokens, context_tokens : the corner.
    corner_s, per_kv_s, per_context_s, per_both_s : time [s] there, and what each token more of either adds.
    checked : the least time may be missed inside, so that whoever sums has to look.
    """

    kv_tokens: float
    context_tokens: float
    corner_s: float
    per_kv_s: float
    per_context_s: float
    per_both_s: float
    checked: bool


class DecodeTable:
    """Time of a decode pass [s] over summed and mean context, bilinear; the outer cells go on outside.

    Parameters
    ----------
    kv_tokens : summed contexts [tokens], ascending, at least two.
    context_tokens : mean contexts [tokens], ascending, at least two.
    times_s : a row [s] for each of `kv_tokens`.

    Examples
    --------
    >>> table = DecodeTable([0, 100], [0, 10], [[0.01, 0.02], [0.03, 0.04]])
    >>> table.piece(0, 0).corner_s, [knot for knot, _ in table.pieces(4)]
    (0.01, [0])
    """

    def __init__(
        self, kv_tokens: Sequence[float], context_tokens: Sequence[float], times_s: Sequence[Sequence[float]]
    ) -> None:
        if min(len(kv_tokens), len(context_tokens)) < 2:
            raise InputError("want at least two summed and two mean contexts in the table of decode passes")
        self.kv_tokens, self.context_tokens = list(kv_tokens), list(context_tokens)
        self._times_s = times_s

    def piece(self, row: int, column: int) -> Piece:
        """Return a cell, by the indices of its lower corner."""
        low, high = self.kv_tokens[row : row + 2]
        near, far = self.context_tokens[column : column + 2]
        (corner, right), (above, across) = (self._times_s[row + way][column : column + 2] for way in (0, 1))
        per_kv, per_context = (above - corner) / (high - low), (right - corner) / (far - near)
        both = (across - above - right + corner) / (high - low) / (far - near)
        outer = row in (0, len(self.kv_tokens) - 2) or column in (0, len(self.context_tokens) - 2)
        low_s = min(corner, right, above, across)
        return Piece(low, near, corner, per_kv, per_context, both, outer or low_s < _LEAST_DECODE_S)

    def pieces(self, batch: int) -> list[tuple[float, Piece]]:
        """Return the cells that a batch of this size passes as its summed context grows, each with where it begins."""
        rows = [*self.kv_tokens[1:-1]]
        columns = [batch * math.ceil(context) for context in self.context_tokens[1:-1]]  # the mean is cut to a whole
        found = []
        for knot in [0, *sorted({*rows, *columns})]:
            found.append((knot, self.piece(bisect_right(rows, knot), bisect_right(columns, knot))))
        return found


class PassCurve:
    """Prices of the decode passes of batches of one size, over their summed context."""

    __slots__ = ("_batch", "_knots", "_last", "_pieces", "high", "low")

    def __init__(self, batch: int, table: DecodeTable) -> None:
        found = table.pieces(batch)
        self._batch = batch
        self._knots = [math.ceil(knot) for knot, _ in found]  # sums are whole, so this is where the cell begins
        self._pieces = [piece for _, piece in found]
        self._last = len(found) - 1
        #: [tokens] summed context between which the table was measured.
        self.low = max(table.kv_tokens[0], batch * math.ceil(table.context_tokens[0]))
        self.high = min(table.kv_tokens[-1], batch * (math.floor(table.context_tokens[-1]) + 1) - 1)

    def at(self, kv_tokens: int) -> float:
        """Return what one pass takes [s]."""
        low, near, corner, per_kv, per_context, both, _ = self._pieces[bisect_right(self._knots, kv_tokens) - 1]
        over, away = kv_tokens - low, kv_tokens // self._batch - near
        pass_s = corner + per_kv * over + (per_context + both * over) * away
        return pass_s if pass_s > _LEAST_DECODE_S else _LEAST_DECODE_S

    def span(self, kv_tokens: int, max_steps: int, until_s: float) -> tuple[int, float]:
        """Return the passes to the first boundary at or after `until_s`, and their time [s].

        Inside a cell the time of pass i is first + linear i + square i^2, which sums in closed form.
        """
        knots, batch, last = self._knots, self._batch, self._last
        index = bisect_right(knots, kv_tokens) - 1
        done, total_s = 0, 0.0
        while True:
            low, near, corner, per_kv, per_context, both, checked = self._pieces[index]
            over, away = kv_tokens - low, kv_tokens // batch - near
            first = corner + per_kv * over + (per_context + both * over) * away
            linear, square = per_kv * batch + per_context + both * (over + batch * away), both * batch
            steps = max_steps - done
            if index < last:
                in_piece = -((kv_tokens - knots[index + 1]) // batch)
                if in_piece < steps:  # noqa: PLR1730 - min() is slower, and this is the inner loop
                    steps = in_piece
            if checked and _lowest(first, linear, square, steps) < _LEAST_DECODE_S:
                return (done, total_s) if done else (1, max(first, _LEAST_DECODE_S))
            pairs = steps * (steps - 1) / 2
            piece_s = steps * first + linear * pairs + square * (pairs * (2 * steps - 1) / 3)  # _sum, inline
            if total_s + piece_s >= until_s:
                here = _first(until_s, total_s, steps, (first, linear, square))
                return done + here, total_s + _sum(here, first, linear, square)
            done += steps
            total_s += piece_s
            if done >= max_steps:
                return done, total_s
            kv_tokens += steps * batch
            index += 1
            while index < last and knots[index + 1] <= kv_tokens:  # cells narrower than one step
                index += 1


class TwoTableStepTime:
    """A step costs a prefill pass by its new tokens plus a decode pass by the contexts of its decodes.

    This is what Dynamo's mocker does with an .npz timing profile, so that the two simulators can be compared on equal
    prices; the tests compare it with recorded replays, to the nanosecond:

    - prefills of one step are one pass of n x (floor(mean prompt so far) - floor(mean cached)) new tokens, read from
      `prefill_ttft_ms` over `prefill_isl`; what is cached costs nothing;
    - the decodes of the step are one decode pass after it, read from `decode_itl` at (summed context, floor(mean
      context)), each context with its newest token; at least 1 ms;
    - a prefill that ends emits its first token with the step, at no price of its own;
    - both tables are linear, and their outer pieces go on outside.

    Not copied: the rounding of each pass to whole nanoseconds.

    Parameters
    ----------
    prefill : time [s] over new tokens.
    decode : time [s] over summed and mean context.
    strict : refuse what lies outside the tables.

    References
    ----------
    github.com/ai-dynamo/dynamo, lib/mocker/src/common/perf_model.rs (PerfModel::Interpolated); how passes add up was
    observed in replays of ai-dynamo-runtime 1.6.1; Apache-2.0.

    Examples
    --------
    >>> decode = DecodeTable([0, 1000], [0, 100], [[0.01, 0.01], [0.02, 0.02]])
    >>> price = TwoTableStepTime(Line("prefill_pass", "new_tokens", [(0, 0.0), (100, 0.1)]), decode)
    >>> price.step([(50, 0)], 0, 0, 0), round(price.step([], 2, 98, 2), 6), price.span(2, 98, 2, math.inf)
    (0.05, 0.011, (2, 0.022019999999999998))
    """

    wants_longest: ClassVar[bool] = False

    def __init__(self, prefill: Line, decode: DecodeTable, strict: bool = False) -> None:
        self._prefill = prefill
        self._decode = decode
        self._strict = strict
        self._prefills: dict[int, float] = {}
        self._curves: dict[int, PassCurve] = {}
        self.outside = False

    def step(
        self,
        chunks: Sequence[tuple[int, int]],
        decodes: int,
        context_tokens: int,
        emitting: int,
        longest_tokens: int = 0,
    ) -> float:
        """Return a prefill pass and a decode pass, one after the other; see `StepTime`."""
        step_s = 0.0
        self.outside = False
        if chunks:
            step_s = self._prefill_s(chunks)
        if decodes:
            total = context_tokens + decodes
            curve = self._curves.get(decodes) or self._curve(decodes)
            if not curve.low <= total <= curve.high:
                self.outside = True
                if self._strict:
                    self._refuse_decode(total, curve)
            step_s += curve.at(total)
        return step_s

    def kernel_s(self, name: str, tokens: int, moved_bytes: int) -> float:
        """Refuse: the tables hold the operations of steps; see `StepTime`."""
        raise no_kernel(name)

    def span(
        self, batch: int, context_tokens: int, max_steps: int, until_s: float, longest_tokens: int = 0
    ) -> tuple[int, float]:
        """Return the steps to the first boundary at or after `until_s`; see `StepTime`."""
        curve = self._curves.get(batch) or self._curve(batch)
        total = context_tokens + batch
        steps, duration_s = curve.span(total, max_steps, until_s)
        last = total + (steps - 1) * batch
        self.outside = total < curve.low or last > curve.high
        if self.outside and self._strict:
            self._refuse_decode(total if total < curve.low else last, curve)
        return steps, duration_s

    def _prefill_s(self, chunks: Sequence[tuple[int, int]]) -> float:
        """Return the time [s] of one pass over all chunks."""
        count = len(chunks)
        if count == 1:
            tokens = chunks[0][0]
        else:
            cached = sum([before for _, before in chunks])
            tokens = count * ((cached + sum([new for new, _ in chunks])) // count - cached // count)
        places = self._prefill.places
        self.outside = not places[0] <= tokens <= places[-1]
        if self.outside and self._strict:
            raise InputError(f"{Beyond('prefill_pass', 'new_tokens', tokens, places[0], places[-1])}, and it is strict")
        if tokens not in self._prefills:
            self._prefills[tokens] = max(self._prefill.at(tokens, []), 0.0) if tokens else 0.0
        return self._prefills[tokens]

    def _curve(self, batch: int) -> PassCurve:
        self._curves[batch] = PassCurve(batch, self._decode)
        return self._curves[batch]

    def _refuse_decode(self, kv_tokens: int, curve: PassCurve) -> None:
        left = Beyond("decode_pass", "kv_tokens", kv_tokens, curve.low, curve.high)
        raise InputError(f"{left}, and the profile is strict")


def _sum(steps: int, first: float, linear: float, square: float) -> float:
    """Return the sum [s] over i < steps of first + linear i + square i^2."""
    pairs = steps * (steps - 1) / 2
    return steps * first + linear * pairs + square * (pairs * (2 * steps - 1) / 3)


def _lowest(first: float, linear: float, square: float, steps: int) -> float:
    """Return the least of first + linear i + square i^2 over 0 <= i < steps, or something lower."""
    end = steps - 1
    lowest = min(first, first + (linear + square * end) * end)
    if square > 0 and 0 < -linear < 2 * square * end:
        lowest = min(lowest, first - linear * linear / (4 * square))
    return lowest


def _first(until_s: float, total_s: float, steps: int, law: tuple[float, float, float]) -> int:
    """Return the least number of steps, in 1..steps, after which `total_s` and theirs reach `until_s`; some do."""
    first, linear, square = law
    if steps <= 1 or until_s <= total_s + first:
        return 1
    left_s = until_s - total_s
    mean = first + (linear + square * (steps - 1)) * (steps - 1) / 2
    here = min(max(math.ceil(left_s / mean), 1), steps) if mean > 0 else steps
    sum_s = total_s + _sum(here, first, linear, square)
    for _ in range(8):  # Newton's steps towards it, then one by one
        move = round((until_s - sum_s) / (first + (linear + square * here) * here))
        if not move:
            break
        here = min(max(here + move, 1), steps)
        sum_s = total_s + _sum(here, first, linear, square)
    while here < steps and sum_s < until_s:
        here += 1
        sum_s = total_s + _sum(here, first, linear, square)
    while here > 1 and total_s + _sum(here - 1, first, linear, square) >= until_s:
        here -= 1
    return here
