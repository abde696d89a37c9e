"""How certain are numbers that come from a few replications?

Means with Student intervals, paired differences, ratios of means, and Holm's correction for a table of
comparisons. One number a replication goes in; requests inside a replication are never taken as
independent. With one replication there is no interval: it is None, never zero width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

from simkv.rng import stream

LEVEL = 0.95

#: Resamples of the bootstrap. The 1.6 % tail that 20 replications ask for then has 64 of them behind it.
RESAMPLES = 4000

#: Fewest replications that are bootstrapped. Resamples of fewer are too coarse: on log-normal samples the 95 %
#: percentile interval held the true ratio in 51 % of 800 trials with 2 replications, 76 % with 3 and 92 % with
#: 5 (the Student interval of the log ratio: 95, 95 and 95 %).
FEWEST_BOOTSTRAPPED = 8


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean or ratio and its confidence interval.

    Attributes
    ----------
    value : None when there is nothing to average, or the ratio has no denominator.
    low, high : ends of the interval; None with fewer than two replications.
    n : replications behind it.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0

    @property
    def interval(self) -> list[float] | None:
        """Return `[low, high]`, or None when there is no interval."""
        return None if self.low is None or self.high is None else [self.low, self.high]

    @property
    def half_width(self) -> float | None:
        """Return half the length of the interval."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2


def student_quantile(n: int, level: float = LEVEL) -> float:
    """Return the factor on the standard error in a two-sided Student interval from `n` values.

    Examples
    --------
    >>> round(student_quantile(20), 3)
    2.093
    """
    return float(special.stdtrit(n - 1, (1 + level) / 2))


def mean_interval(values: Sequence[float | None], level: float = LEVEL) -> Estimate:
    """Return the mean over replications with its Student interval.

    Parameters
    ----------
    values : one a replication; None where the metric is undefined there, which leaves that one out.
    level : share of such intervals that shall hold the true mean.

    Examples
    --------
    >>> estimate = mean_interval([1.0, 2.0, 3.0])
    >>> estimate.value, round(estimate.low, 3), round(estimate.high, 3)
    (2.0, -0.484, 4.484)
    >>> mean_interval([5.0])
    Estimate(value=5.0, low=None, high=None, n=1)
    """
    known = np.array([v for v in values if v is not None], dtype=np.float64)
    if known.size == 0:
        return Estimate(None)
    mean = float(known.mean())
    if known.size == 1:
        return Estimate(mean, n=1)
    half = student_quantile(known.size, level) * _standard_error(known)
    return Estimate(mean, mean - half, mean + half, int(known.size))


def paired_difference(arm: Sequence[float | None], baseline: Sequence[float | None], level: float = LEVEL) -> Estimate:
    """Return the mean of arm - baseline over replications with its Student interval.

    Both saw the same random numbers (semantics G1), so it is the differences that are averaged: what
    moves both arms alike cancels. A replication where either is undefined is left out.

    Examples
    --------
    >>> paired_difference([1.0, 11.0, 21.0], [2.0, 12.0, 22.0]).interval
    [-1.0, -1.0]
    """
    return mean_interval([None if p is None else p[0] - p[1] for p in _pairs(arm, baseline)], level)


def ratio_of_means(
    baseline: Sequence[float | None], arm: Sequence[float | None], seed: int, level: float = LEVEL
) -> Estimate:
    """Return mean(baseline) / mean(arm), "N x", with a paired bootstrap interval.

    Parameters
    ----------
    baseline, arm : one value a replication, not negative.
    seed : the scenario's seed; equal seeds give equal intervals.

    Returns
    -------
    value None when the arm's mean is zero; no interval with one replication or a zero mean in a resample.

    Notes
    -----
    Replications are resampled in pairs. Percentiles are taken at levels widened for small n: a/2 becomes
    Phi(-sqrt(n / (n - 1)) t(n - 1, a/2)), the expanded percentile interval. Below
    `FEWEST_BOOTSTRAPPED` replications it is the Student interval of the log ratio (delta method).

    References
    ----------
    T. Hesterberg, What Teachers Should Know about the Bootstrap, The American Statistician 69(4), 2015, 3.3.

    Examples
    --------
    >>> ratio_of_means([2.0, 4.0, 6.0], [1.0, 2.0, 3.0], seed=7)
    Estimate(value=2.0, low=2.0, high=2.0, n=3)
    """
    both = [pair for pair in _pairs(baseline, arm) if pair is not None]
    if not both:
        return Estimate(None)
    above, below = np.array(both, dtype=np.float64).T
    n = above.size
    if below.mean() <= 0:
        return Estimate(None, n=n)
    ratio = float(above.mean() / below.mean())
    if n == 1 or ratio <= 0:
        return Estimate(ratio, n=n)
    ends = (_log_student if n < FEWEST_BOOTSTRAPPED else _bootstrap)(above, below, seed, level)
    return Estimate(ratio, *ends, n=n) if ends else Estimate(ratio, n=n)


def share_removed(
    baseline: Sequence[float | None], arm: Sequence[float | None], seed: int, level: float = LEVEL
) -> Estimate:
    """Return 1 - mean(arm) / mean(baseline): what share of the baseline's is gone, below 0 where there is more.

    Parameters
    ----------
    baseline, arm : one value a replication, not negative.
    seed : of the bootstrap, see `ratio_of_means`.

    Examples
    --------
    >>> share_removed([2.0, 4.0], [1.0, 2.0], seed=7).value, share_removed([0.0], [1.0], seed=7).value
    (0.5, None)
    """
    left = ratio_of_means(arm, baseline, seed, level)
    if left.value is None:
        return left
    if left.low is None or left.high is None:
        return Estimate(1 - left.value, n=left.n)
    return Estimate(1 - left.value, 1 - left.high, 1 - left.low, n=left.n)


def p_value(differences: Sequence[float | None]) -> float | None:
    """Return the two-sided p-value of "the mean difference is zero" (paired t test).

    Parameters
    ----------
    differences : arm - baseline, one a replication.

    Examples
    --------
    >>> round(p_value([1.0, 2.0, 3.0]), 4)
    0.0742
    """
    known = np.array([d for d in differences if d is not None], dtype=np.float64)
    if known.size < 2:
        return None
    mean, error = float(known.mean()), _standard_error(known)
    if error == 0:
        return 1.0 if mean == 0 else 0.0
    return float(2 * special.stdtr(known.size - 1, -abs(mean) / error))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return Holm's adjusted p-values: those under 0.05 are true winners together, with 95 % certainty.

    Parameters
    ----------
    p_values : one a comparison; None (no interval possible) stays None and is not counted.

    References
    ----------
    S. Holm, A Simple Sequentially Rejective Multiple Test Procedure, Scand. J. Statistics 6, 1979.

    Examples
    --------
    >>> holm([0.01, 0.04, None, 0.03])
    [0.03, 0.06, None, 0.06]
    """
    ranked = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    running = 0.0
    for rank, (p, i) in enumerate(ranked):
        running = max(running, min(1.0, (len(ranked) - rank) * p))
        adjusted[i] = running
    return adjusted


@dataclass(frozen=True, slots=True)
class Simultaneous:
    """One comparison of a grid: its difference, with an interval that holds together with all others.

    Attributes
    ----------
    difference : mean of arm - baseline and its simultaneous interval.
    p_holm : p-value after Holm's correction.
    """

    difference: Estimate
    p_holm: float | None


def simultaneous(differences: Sequence[Sequence[float | None]], level: float = LEVEL) -> list[Simultaneous]:
    """Return every comparison of a grid with intervals and p-values that hold together.

    Parameters
    ----------
    differences : for each comparison, arm - baseline, one a replication.
    level : chance that *all* intervals hold their true difference.

    Notes
    -----
    Whether an arm wins is decided by Holm's p-values. Two-sided intervals compatible with Holm's steps say
    nothing of a winner beyond its sign, so each interval has the level that Holm starts with,
    1 - (1 - level) / m (Bonferroni): it always holds, and may reach over zero where Holm still decides.

    References
    ----------
    K. Strassburger and F. Bretz, Compatible simultaneous lower confidence bounds for the Holm procedure,
    Statistics in Medicine 27, 2008.

    Examples
    --------
    >>> grid = simultaneous([[1.0, 1.1, 0.9], [0.1, -0.2, 0.3]])
    >>> [round(cell.p_holm, 3) for cell in grid]
    [0.007, 0.691]
    """
    p_values = [p_value(cell) for cell in differences]
    compared = max(1, sum(p is not None for p in p_values))
    each = 1 - (1 - level) / compared
    return [
        Simultaneous(mean_interval(cell, each), p_holm)
        for cell, p_holm in zip(differences, holm(p_values), strict=True)
    ]


def _standard_error(values: NDArray[np.float64]) -> float:
    return float(values.std(ddof=1)) / math.sqrt(values.size)


def _pairs(a: Sequence[float | None], b: Sequence[float | None]) -> list[tuple[float, float] | None]:
    return [None if x is None or y is None else (x, y) for x, y in zip(a, b, strict=True)]


def _log_student(
    above: NDArray[np.float64], below: NDArray[np.float64], _seed: int, level: float
) -> tuple[float, float] | None:
    ratio = float(above.mean() / below.mean())
    error = _standard_error(above / above.mean() - below / below.mean())
    reach = math.exp(student_quantile(above.size, level) * error)
    return ratio / reach, ratio * reach


def _bootstrap(
    above: NDArray[np.float64], below: NDArray[np.float64], seed: int, level: float
) -> tuple[float, float] | None:
    draws = _resamples(seed, above.size)
    denominators = below[draws].mean(axis=1)
    if denominators.min() <= 0:
        return None
    ratios = above[draws].mean(axis=1) / denominators
    n = above.size
    tail = float(special.ndtr(-math.sqrt(n / (n - 1)) * student_quantile(n, level)))
    low, high = np.quantile(ratios, [tail, 1 - tail])
    return float(low), float(high)


@lru_cache(maxsize=8)
def _resamples(seed: int, n: int) -> NDArray[np.int64]:
    """Return the replications of every resample; the same ones for all comparisons of a table."""
    drawn = stream(seed, "bootstrap", n).choices(range(n), k=RESAMPLES * n)
    return np.array(drawn, dtype=np.int64).reshape(RESAMPLES, n)
