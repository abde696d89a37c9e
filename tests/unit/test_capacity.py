"""Capacity: the integral over time and its inverse, at steps, outages and the end of a period."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise

import pytest

from simkv.errors import InputError
from simkv.network.capacity import Capacity, Constant, Replayed
from simkv.rng import stream

TIMES_S = [0.0, 1.0, 2.0, 4.0]
RATES_BPS = [10.0, 0.0, 30.0, 5.0]  # period 6 s, 10 + 0 + 60 + 10 = 80 bit


def test_constant_and_its_inverse() -> None:
    """Three seconds at 8 bit/s are 24 bits, and back."""
    capacity = Constant(8.0)
    assert capacity.bits_between(1.0, 4.0) == 24.0
    assert capacity.time_when(1.0, 24.0) == 4.0
    assert capacity.rate_at(99.0) == capacity.mean_bps == 8.0


def test_dead_capacity_never_delivers() -> None:
    """No capacity: nothing takes no time, anything takes for ever."""
    for capacity in (Constant(0.0), Replayed([0.0, 1.0], [0.0, 0.0])):
        assert capacity.time_when(3.0, 0.0) == 3.0
        assert capacity.time_when(3.0, 1.0) == math.inf
        assert capacity.bits_between(0.0, 1e6) == 0.0


@pytest.mark.parametrize(
    ("t0_s", "t1_s", "bits"),
    [(0, 0.5, 5), (0.5, 1.5, 5), (1, 2, 0), (0, 6, 80), (5.5, 6.5, 7.5), (0.5, 18.5, 240), (4.5, 5.5, 5), (7, 8, 0)],
)
def test_integral_by_hand(t0_s: float, t1_s: float, bits: float) -> None:
    """Inside a step, over steps, over an outage, over whole periods."""
    assert Replayed(TIMES_S, RATES_BPS).bits_between(t0_s, t1_s) == pytest.approx(bits, rel=1e-12)


@pytest.mark.parametrize(
    ("t0_s", "bits", "t_s"),
    [(0, 5, 0.5), (0, 10, 1), (0, 11, 2 + 1 / 30), (1.5, 30, 3), (0, 80, 6), (0, 240, 18), (0, 90, 7), (2, 80, 7.0)],
)
def test_inverse_by_hand_is_the_earliest_time(t0_s: float, bits: float, t_s: float) -> None:
    """At the edge of an outage the answer is its beginning, in later periods too."""
    assert Replayed(TIMES_S, RATES_BPS).time_when(t0_s, bits) == pytest.approx(t_s, rel=1e-12)


def test_whole_periods_end_before_an_outage_at_the_end_of_the_period() -> None:
    """Ten periods' worth of bits have passed when the last outage begins, not when it ends."""
    capacity = Replayed([0.0, 1.0], [8.0, 0.0])
    assert capacity.time_when(0.0, 80.0) == pytest.approx(19.0)
    assert capacity.time_when(0.5, 4.0) == 1.0


def test_rounding_does_not_push_the_end_over_an_outage() -> None:
    """A last part of less than a millionth of a bit is not worth waiting for."""
    capacity = Replayed([0.0, 1.0], [8e6, 0.0])
    assert capacity.time_when(0.0, 8e6 * (1 + 1e-16) + 1e-8) == 1.0


def test_offset_shifts_and_shares() -> None:
    """An offset is where in the series time 0 is; any number of them share one table."""
    series = Replayed(TIMES_S, RATES_BPS)
    later = series.with_offset(2.5)
    assert later._table is series._table
    assert later.rate_at(0.0) == 30.0
    assert later.bits_between(0.0, 2.0) == series.bits_between(2.5, 4.5)
    assert Replayed(TIMES_S, RATES_BPS, offset_s=2.5).time_when(0.0, 45.0) == later.time_when(0.0, 45.0)
    assert series.with_offset(-6.0 + 2.5).time_when(0.0, 45.0) == pytest.approx(later.time_when(0.0, 45.0))


def test_mean_and_rescaling() -> None:
    """The mean is over time, not over samples; rescaling changes it and keeps the shape."""
    series = Replayed(TIMES_S, RATES_BPS)
    assert series.mean_bps == pytest.approx(80 / 6)
    assert series.period_s == 6.0
    scaled = Replayed(TIMES_S, RATES_BPS, mean_bps=40 / 6)
    assert scaled.mean_bps == pytest.approx(40 / 6)
    assert scaled.rate_at(2.0) == pytest.approx(15.0)


def test_times_count_from_the_first_sample_and_one_sample_is_a_constant() -> None:
    """Only differences of times matter."""
    assert Replayed([100.0, 101.0], [8.0, 4.0]).time_when(0.0, 10.0) == 1.5
    assert Replayed([5.0], [8.0]).time_when(0.3, 80.0) == pytest.approx(10.3)


@pytest.mark.parametrize("offset_s", [0.0, 123.456, 98765.4])
def test_inverse_and_integral_agree_and_match_exact_arithmetic(offset_s: float) -> None:
    """bits_between(t, time_when(t, b)) is b to 1e-9, and the integral is the sum over steps in rationals."""
    draw = stream(3, "series")
    times_s = [0.1 * i for i in range(400)]
    rates_bps = [0.0 if draw.random() < 0.1 else draw.uniform(1e5, 2e8) for _ in times_s]
    series = Replayed(times_s, rates_bps, offset_s=offset_s)
    exact = _exact_integral(times_s, rates_bps)
    for _ in range(200):
        t0_s, bits = draw.uniform(0.0, 1e4), 10 ** draw.uniform(3, 11)
        t1_s = series.time_when(t0_s, bits)
        # a time is known to one rounding step; 2e8 bit/s is the steepest that the integral gets
        slack = 4 * math.ulp(t1_s + offset_s) * 2e8
        assert series.bits_between(t0_s, t1_s) == pytest.approx(bits, rel=1e-9, abs=slack)
        assert series.bits_between(t0_s, t1_s) == pytest.approx(
            float(exact(t1_s + offset_s) - exact(t0_s + offset_s)), rel=1e-9, abs=slack
        )


def _exact_integral(times_s: list[float], rates_bps: list[float]) -> Callable[[float], Fraction]:
    """Return the bits since time 0, summed step by step in rationals."""
    edges = [Fraction(t) for t in times_s]
    edges.append(edges[-1] + (edges[-1] - edges[-2]))
    passed = [Fraction(0)]
    for rate, (start, end) in zip(rates_bps, pairwise(edges), strict=True):
        passed.append(passed[-1] + Fraction(rate) * (end - start))

    def since_start(t_s: float) -> Fraction:
        cycle, x = divmod(Fraction(t_s), edges[-1])
        i = bisect_right(edges, x) - 1
        return cycle * passed[-1] + passed[i] + Fraction(rates_bps[i]) * (x - edges[i])

    return since_start


def test_rounding_at_the_edge_of_a_period() -> None:
    """A quotient that floats round over the edge still lands in a period, at the right end of it."""
    series = Replayed([0.0, 0.1], [8.0, 4.0])
    assert 3.4 - 17 * series.period_s < 0.0  # though 3.4 / 0.2 is 17.0
    assert series.bits_between(3.4, 3.5) == pytest.approx(0.8)
    assert series.with_offset(-1e-20).rate_at(0.0) == 8.0


def test_earliest_time_never_runs_backwards() -> None:
    """More bits never pass sooner, and rate_at is the slope."""
    series = Replayed(TIMES_S, RATES_BPS, offset_s=0.7)
    ends = [series.time_when(0.1, 0.37 * k) for k in range(600)]
    assert ends == sorted(ends)
    assert [series.rate_at(t) for t in (0.0, 0.3, 1.3, 3.3, 5.3)] == [10.0, 0.0, 30.0, 5.0, 10.0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Constant(-1.0), "not below 0; got -1"),
        (lambda: Constant(math.inf), "finite"),
        (lambda: Replayed([], []), "at least 1; got 0 and 0"),
        (lambda: Replayed([0.0, 1.0], [1.0]), "got 2 and 1"),
        (lambda: Replayed([0.0, 1.0, 1.0], [1.0, 1.0, 1.0]), "sample 2 is at 1.0 s, the one before at 1.0 s"),
        (lambda: Replayed([0.0, 1.0], [1.0, math.nan]), "sample 1 is nan"),
        (lambda: Replayed([0.0, 1.0], [0.0, 0.0], mean_bps=5.0), "0 throughout"),
        (lambda: Replayed([0.0, 1.0], [1.0, 0.0], mean_bps=-5.0), "mean of a series"),
        (lambda: Replayed([0.0], [1.0], offset_s=math.inf), "offset"),
    ],
)
def test_bad_input_is_refused(make: object, message: str) -> None:
    """One line: what is wanted and what was found."""
    with pytest.raises(InputError, match=message):
        make()  # type: ignore[operator]


def test_both_are_capacities() -> None:
    """The protocol is met, for the type checker."""
    capacities: list[Capacity] = [Constant(1.0), Replayed([0.0], [1.0])]
    assert [c.mean_bps for c in capacities] == [1.0, 1.0]
