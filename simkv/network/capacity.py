"""What can a link carry between two moments, and when will so many bits have passed?

Capacity is piecewise constant in time. A link asks only for the integral and its inverse, so a step of
a bandwidth series costs no event. Left out: where a series comes from (`workload/`) and units of input.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol

from simkv.errors import InputError

RESIDUE_BITS = 1e-6
"""Less than a millionth of a bit is rounding: it must not push the end of a transfer over an outage."""


class Capacity(Protocol):
    """What a link can carry over time; every method is pure and may be called often."""

    @property
    def mean_bps(self) -> float:
        """[bit/s] long-run mean."""

    def bits_between(self, t0_s: float, t1_s: float) -> float:
        """Return [bit] that can pass from `t0_s` to `t1_s` >= `t0_s`."""

    def time_when(self, t0_s: float, bits: float) -> float:
        """Return [s] the earliest time by which `bits` have passed since `t0_s`; inf if never."""

    def rate_at(self, t_s: float) -> float:
        """Return [bit/s] the capacity at one moment; at a step, the new one."""


class Constant:
    """The same capacity for ever.

    Parameters
    ----------
    rate_bps : [bit/s] finite, >= 0.

    Examples
    --------
    >>> Constant(8e6).time_when(1.0, 16e6)
    3.0
    """

    __slots__ = ("mean_bps",)

    def __init__(self, rate_bps: float) -> None:
        if not (0.0 <= rate_bps < math.inf):
            raise InputError(f"a capacity is a finite number of bit/s, not below 0; got {rate_bps}")
        self.mean_bps = float(rate_bps)

    def bits_between(self, t0_s: float, t1_s: float) -> float:
        """Return [bit] that can pass from `t0_s` to `t1_s`."""
        return self.mean_bps * (t1_s - t0_s)

    def time_when(self, t0_s: float, bits: float) -> float:
        """Return [s] when `bits` have passed since `t0_s`; inf if never."""
        if bits <= 0.0:
            return t0_s
        return t0_s + bits / self.mean_bps if self.mean_bps else math.inf

    def rate_at(self, t_s: float) -> float:
        """Return [bit/s] at any moment."""
        return self.mean_bps


class Scaled:
    """A share of another capacity, at every moment.

    Parameters
    ----------
    ratio : of it, above 0.

    Examples
    --------
    >>> Scaled(Constant(100.0), 0.25).bits_between(0.0, 2.0)
    50.0
    """

    def __init__(self, whole: Capacity, ratio: float) -> None:
        self.mean_bps = whole.mean_bps * ratio
        self._whole = whole
        self._ratio = ratio

    def bits_between(self, t0_s: float, t1_s: float) -> float:
        """Return [bit] carried between two times [s]."""
        return self._whole.bits_between(t0_s, t1_s) * self._ratio

    def time_when(self, t0_s: float, bits: float) -> float:
        """Return [s] when that many bits have been carried since `t0_s`."""
        return self._whole.time_when(t0_s, bits / self._ratio)

    def rate_at(self, t_s: float) -> float:
        """Return [bit/s] the rate at a time [s]."""
        return self._whole.rate_at(t_s) * self._ratio


class _Table:
    """One period of a series: step edges and the bits that have passed at each, shared by all offsets."""

    __slots__ = ("edges_s", "passed_bits", "period_s", "rates_bps", "residue_bits", "total_bits")

    def __init__(self, times_s: Sequence[float], rates_bps: Sequence[float], mean_bps: float | None) -> None:
        times = [float(t) for t in times_s]
        rates = [float(r) for r in rates_bps]
        _check_series(times, rates)
        step_s = times[-1] - times[-2] if len(times) > 1 else 1.0  # one sample: constant, any period will do
        edges = [t - times[0] for t in times]
        edges.append(edges[-1] + step_s)
        if mean_bps is not None:
            rates = _rescaled(edges, rates, mean_bps)
        passed = [0.0]
        for rate, (t0, t1) in zip(rates, pairwise(edges), strict=True):
            passed.append(passed[-1] + rate * (t1 - t0))
        self.edges_s, self.rates_bps, self.passed_bits = edges, rates, passed
        self.period_s, self.total_bits = edges[-1], passed[-1]
        # sums of a period are exact to about 1e-16 of their size
        self.residue_bits = RESIDUE_BITS + 1e-15 * passed[-1]


def _check_series(times: list[float], rates: list[float]) -> None:
    if not times or len(times) != len(rates):
        raise InputError(f"a series needs as many times as rates, at least 1; got {len(times)} and {len(rates)}")
    for i, (t0, t1) in enumerate(pairwise(times), start=1):
        if not (t0 < t1 < math.inf):
            raise InputError(f"times of a series must increase; sample {i} is at {t1} s, the one before at {t0} s")
    for i, rate in enumerate(rates):
        if not (0.0 <= rate < math.inf):
            raise InputError(f"rates of a series are finite bit/s, not below 0; sample {i} is {rate}")


def _rescaled(edges: list[float], rates: list[float], mean_bps: float) -> list[float]:
    if not (0.0 <= mean_bps < math.inf):
        raise InputError(f"the mean of a series is a finite number of bit/s, not below 0; got {mean_bps}")
    mean = math.fsum(r * (t1 - t0) for r, (t0, t1) in zip(rates, pairwise(edges), strict=True)) / edges[-1]
    if mean == 0.0:
        raise InputError(f"a series that is 0 throughout cannot be scaled to a mean of {mean_bps} bit/s")
    return [rate * (mean_bps / mean) for rate in rates]


class Replayed:
    """A bandwidth series, played from an offset and looped for ever.

    Sample i holds from its time to the next one's; the last holds as long as the one before it did, so
    the period is last time + last step (times count from the first sample's).

    Parameters
    ----------
    times_s : [s] increasing.
    rates_bps : [bit/s] one a time, >= 0.
    mean_bps : [bit/s] rescales the series to this mean over time; None leaves it.
    offset_s : [s] how far into the series simulated time 0 is.

    Notes
    -----
    O(log n) a query. `bits_between(t, time_when(t, b))` is `b` to 1e-9 relative, as far as a float time
    can tell: plus one rounding step of the time, plus `RESIDUE_BITS` where an outage follows.

    Examples
    --------
    >>> series = Replayed([0.0, 1.0], [8e6, 0.0])
    >>> series.time_when(0.0, 12e6)
    2.5
    >>> series.with_offset(1.5).rate_at(0.25), series.with_offset(1.5).rate_at(0.5)
    (0.0, 8000000.0)
    """

    __slots__ = ("_offset_s", "_table")

    def __init__(
        self,
        times_s: Sequence[float],
        rates_bps: Sequence[float],
        *,
        mean_bps: float | None = None,
        offset_s: float = 0.0,
    ) -> None:
        self._table = _Table(times_s, rates_bps, mean_bps)
        self._offset_s = _checked_offset(offset_s)

    def with_offset(self, offset_s: float) -> Replayed:
        """Return the same series from another offset [s]; the two share their tables."""
        other = object.__new__(Replayed)
        other._table = self._table
        other._offset_s = _checked_offset(offset_s)
        return other

    @property
    def mean_bps(self) -> float:
        """[bit/s] mean over a period."""
        return self._table.total_bits / self._table.period_s

    @property
    def period_s(self) -> float:
        """[s] until the series begins again."""
        return self._table.period_s

    def bits_between(self, t0_s: float, t1_s: float) -> float:
        """Return [bit] that can pass from `t0_s` to `t1_s`."""
        table = self._table
        cycle0, x0_s, i = self._locate(t0_s)
        cycle1, x1_s, j = self._locate(t1_s)
        if i == j and cycle0 == cycle1:
            return (t1_s - t0_s) * table.rates_bps[i]
        first = (table.edges_s[i + 1] - x0_s) * table.rates_bps[i]
        last = (x1_s - table.edges_s[j]) * table.rates_bps[j]
        between = table.passed_bits[j] - table.passed_bits[i + 1] + (cycle1 - cycle0) * table.total_bits
        return first + between + last

    def time_when(self, t0_s: float, bits: float) -> float:
        """Return [s] the earliest time by which `bits` have passed since `t0_s`; inf if never."""
        if bits <= 0.0:
            return t0_s
        table = self._table
        if table.total_bits == 0.0:
            return math.inf
        _, x0_s, i = self._locate(t0_s)
        first = (table.edges_s[i + 1] - x0_s) * table.rates_bps[i]
        if bits <= first + table.residue_bits:
            return t0_s + min(bits, first) / table.rates_bps[i] if first > 0.0 else t0_s
        cycles, target = divmod(table.passed_bits[i + 1] + (bits - first), table.total_bits)
        if target <= table.residue_bits:  # whole periods: the earliest such moment lies before any outage at the end
            cycles, target = cycles - 1.0, table.total_bits
        j = bisect_left(table.passed_bits, target - table.residue_bits) - 1
        x1_s = min(table.edges_s[j] + (target - table.passed_bits[j]) / table.rates_bps[j], table.edges_s[j + 1])
        return t0_s + ((x1_s - x0_s) + cycles * table.period_s)

    def rate_at(self, t_s: float) -> float:
        """Return [bit/s] at one moment."""
        return self._table.rates_bps[self._locate(t_s)[2]]

    def _locate(self, t_s: float) -> tuple[int, float, int]:
        """Return which period, [s] how far into it, and which step."""
        table = self._table
        position_s = t_s + self._offset_s
        cycle = math.floor(position_s / table.period_s)
        x_s = position_s - cycle * table.period_s
        if x_s >= table.period_s:  # the quotient was rounded down
            cycle, x_s = cycle + 1, x_s - table.period_s
        elif x_s < 0.0:  # the quotient was rounded up
            cycle, x_s = cycle - 1, x_s + table.period_s
        return cycle, x_s, min(bisect_right(table.edges_s, x_s) - 1, len(table.rates_bps) - 1)


def _checked_offset(offset_s: float) -> float:
    if not math.isfinite(offset_s):
        raise InputError(f"the offset into a series is a finite number of seconds; got {offset_s}")
    return float(offset_s)
