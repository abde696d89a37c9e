"""Intervals and corrections against closed forms, SciPy, brute force, and the truth."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain, combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from simkv.statistics import (
    Estimate,
    holm,
    mean_interval,
    p_value,
    paired_difference,
    ratio_of_means,
    simultaneous,
)

TRIALS = 1000


def replications(seed: int, n: int, *, log_normal: bool = False) -> tuple[list[float], list[float]]:
    """Return two arms whose replications share what makes them slow; true means differ by 1 (ratio 2)."""
    rng = np.random.default_rng(seed)
    shared, ours, theirs = rng.normal(size=(3, n))
    if log_normal:
        return list(np.exp(0.3 * shared + 0.1 * ours)), list(2 * np.exp(0.3 * shared + 0.1 * theirs))
    return list(5 + shared + 0.3 * ours), list(6 + shared + 0.3 * theirs)


def covered(interval_of: Callable[[int], Estimate], truth: float) -> float:
    """Return the share of trials whose interval holds the truth."""
    ends = [interval_of(trial).interval for trial in range(TRIALS)]
    return sum(1 for end in ends if end and end[0] <= truth <= end[1]) / TRIALS


def about(level: float) -> object:
    """Return what a share of `TRIALS` trials must equal: four standard deviations of the binomial."""
    return pytest.approx(level, abs=4 * (level * (1 - level) / TRIALS) ** 0.5)


def test_mean_interval_is_scipys() -> None:
    values, _ = replications(1, 20)
    found = mean_interval(values)
    wanted = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert found.value == pytest.approx(np.mean(values))
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high))


def test_mean_interval_of_two_is_the_cauchy_closed_form() -> None:
    """With two values the Student factor is tan(0.95 pi / 2), that of a Cauchy variable."""
    found = mean_interval([1.0, 3.0])
    assert found.high == pytest.approx(2 + np.tan(0.95 * np.pi / 2))


def test_one_replication_has_no_interval() -> None:
    assert mean_interval([4.0]) == Estimate(4.0, None, None, 1)
    assert paired_difference([4.0], [1.0]) == Estimate(3.0, None, None, 1)
    assert ratio_of_means([4.0], [2.0], seed=1) == Estimate(2.0, None, None, 1)
    assert p_value([3.0]) is None


def test_undefined_values_are_left_out() -> None:
    """A replication where either arm is undefined says nothing about the difference."""
    assert mean_interval([None, None]) == Estimate(None)
    assert mean_interval([None, 2.0, 2.0]) == Estimate(2.0, 2.0, 2.0, 2)
    assert paired_difference([1.0, None, 3.0], [None, 2.0, 1.0]) == Estimate(2.0, None, None, 1)
    assert ratio_of_means([1.0, None], [None, 2.0], seed=1) == Estimate(None)


def test_pairing_removes_what_both_arms_share() -> None:
    """The paired interval is scipy's for related samples, and far narrower than either arm's own."""
    arm, baseline = replications(2, 20)
    found = paired_difference(arm, baseline)
    wanted = stats.ttest_rel(arm, baseline)
    assert found.interval == pytest.approx(list(wanted.confidence_interval(0.95)))
    assert p_value([a - b for a, b in zip(arm, baseline, strict=True)]) == pytest.approx(wanted.pvalue)
    own = mean_interval(arm)
    assert found.half_width is not None
    assert own.half_width is not None
    assert found.half_width < own.half_width


@pytest.mark.parametrize("n", [2, 3, 5, 20])
def test_intervals_of_means_and_differences_hold_the_truth(n: int) -> None:
    assert covered(lambda trial: mean_interval(replications(trial, n)[0]), 5.0) == about(0.95)
    assert covered(lambda trial: paired_difference(*replications(trial, n)), -1.0) == about(0.95)


@pytest.mark.parametrize("n", [2, 5, 20, 40])
def test_intervals_of_ratios_hold_the_truth(n: int) -> None:
    """Below 8 replications by Student's logarithm, from 8 by bootstrap: both about 95 %."""

    def interval_of(trial: int) -> Estimate:
        arm, baseline = replications(trial, n, log_normal=True)
        return ratio_of_means(baseline, arm, seed=7)

    assert covered(interval_of, 2.0) == pytest.approx(0.945, abs=0.03)


def test_bootstrap_is_scipys() -> None:
    """SciPy resamples the same pairs; its percentile interval at our widened level differs by chance alone."""
    arm, baseline = replications(3, 20, log_normal=True)
    ours = ratio_of_means(baseline, arm, seed=7)
    tail = stats.norm.cdf(-((20 / 19) ** 0.5) * stats.t.ppf(0.975, 19))
    theirs = stats.bootstrap(
        (baseline, arm),
        lambda above, below, axis: above.mean(axis) / below.mean(axis),
        paired=True,
        confidence_level=1 - 2 * tail,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    assert ours.interval == pytest.approx([theirs.low, theirs.high], rel=0.01)


def test_bootstrap_repeats_and_depends_on_the_seed() -> None:
    arm, baseline = replications(4, 20, log_normal=True)
    assert ratio_of_means(baseline, arm, seed=7) == ratio_of_means(baseline, arm, seed=7)
    assert ratio_of_means(baseline, arm, seed=7).low != ratio_of_means(baseline, arm, seed=8).low


@pytest.mark.parametrize("n", [5, 20])
def test_ratio_to_itself_is_exactly_one(n: int) -> None:
    arm, _ = replications(5, n, log_normal=True)
    assert ratio_of_means(arm, arm, seed=7) == Estimate(1.0, 1.0, 1.0, n)


def test_ratio_without_denominator_is_undefined() -> None:
    assert ratio_of_means([1.0, 2.0], [0.0, 0.0], seed=7) == Estimate(None, n=2)
    assert ratio_of_means([0.0, 0.0], [1.0, 2.0], seed=7) == Estimate(0.0, n=2)
    sparse = [1.0] + [0.0] * 9  # some resamples hold no 1 at all: their ratio would be infinite
    assert ratio_of_means([2.0] * 10, sparse, seed=7) == Estimate(20.0, n=10)


def test_no_difference_and_sure_difference() -> None:
    assert p_value([0.0, 0.0, 0.0]) == 1.0
    assert p_value([2.0, 2.0, 2.0]) == 0.0


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=6))
@settings(max_examples=200, deadline=None)
def test_holm_is_the_closed_bonferroni_test(p_values: list[float]) -> None:
    """Brute force: a comparison's p is the largest Bonferroni p of any set of comparisons that holds it."""
    indices = range(len(p_values))
    sets = list(chain.from_iterable(combinations(indices, size) for size in range(1, len(p_values) + 1)))
    wanted = [max(min(1.0, len(s) * min(p_values[j] for j in s)) for s in sets if i in s) for i in indices]
    assert holm(p_values) == pytest.approx(wanted)


def test_holm_skips_what_cannot_be_tested() -> None:
    assert holm([None, 0.02, None]) == [None, 0.02, None]
    assert holm([]) == []


def test_simultaneous_intervals_hold_together() -> None:
    """All five intervals of a grid hold their truth at once, and no false winner is declared, in 95 % of trials."""
    truths = np.array([0.0, 0.0, 0.0, 0.5, -1.0])
    together = false_winner = 0
    for trial in range(TRIALS):
        rng = np.random.default_rng(trial)
        grid = simultaneous([list(cell) for cell in truths[:, None] + rng.normal(size=(5, 20))])
        ends = [cell.difference.interval or [1.0, 0.0] for cell in grid]
        together += all(low <= truth <= high for (low, high), truth in zip(ends, truths, strict=True))
        false_winner += any((cell.p_holm or 0.0) < 0.05 for cell in grid[:3])
    assert together / TRIALS >= 0.95 - 4 * (0.05 * 0.95 / TRIALS) ** 0.5
    assert false_winner / TRIALS <= 0.05 + 4 * (0.05 * 0.95 / TRIALS) ** 0.5


def test_simultaneous_intervals_are_wider_than_single_ones() -> None:
    cells = [replications(seed, 20)[0] for seed in range(4)]
    for cell, together in zip(cells, simultaneous(cells), strict=True):
        single = mean_interval(cell)
        assert single.half_width is not None
        assert together.difference.half_width is not None
        assert together.difference.half_width > single.half_width
