"""How good are forecasts of a time? The continuous ranked probability score: the absolute error of a distribution.

Proper: nobody gains, on average, by saying anything but what he believes (Gneiting and Raftery, "Strictly proper
scoring rules, prediction, and estimation", JASA 102, 2007). Lower is better; a sure one scores its error.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

from simkv.errors import InputError
from simkv.predictors.gap import Gap


def crps_sample(sample: Sequence[float], observed: float) -> float:
    """Return the continuous ranked probability score of a forecast given as a sample, in the sample's unit.

    The integral over x of (share of the sample up to x - [observed up to x])^2; 0 is best, and of a single value it
    is the absolute error.

    Raises
    ------
    InputError : an empty sample.

    References
    ----------
    Matheson and Winkler, "Scoring rules for continuous probability distributions", Management Science 22(10), 1976.

    Examples
    --------
    >>> crps_sample([2.0], 5.0)
    3.0
    >>> crps_sample([0.0, 2.0], 1.0)
    0.5
    """
    if not sample:
        raise InputError("forecast: want a sample of at least one value, got none")
    return _crps([(value, 1 / len(sample)) for value in sorted(sample)], observed)


def crps_quantiles(quantiles: Mapping[float, float], observed: float) -> float:
    """Return the continuous ranked probability score of a forecast given by quantiles, in their unit.

    Each value stands for the probabilities nearest to its level, so that levels (i - 1/2) / n are a sample of n.

    Parameters
    ----------
    quantiles : {level: value}, levels strictly between 0 and 1, values not falling.

    Raises
    ------
    InputError : no quantiles, a level that is none, or quantiles that cross.

    Examples
    --------
    >>> crps_quantiles({0.25: 0.0, 0.75: 2.0}, 1.0)
    0.5
    """
    levels = sorted(quantiles)
    if not levels or not all(0 < level < 1 for level in levels):
        raise InputError(f"forecast: want quantiles at levels between 0 and 1, got {dict(quantiles)}")
    values = [quantiles[level] for level in levels]
    if any(low > high for low, high in pairwise(values)):
        raise InputError(f"forecast: want quantiles that do not fall with their level, got {dict(quantiles)}")
    edges = [0.0, *((low + high) / 2 for low, high in pairwise(levels)), 1.0]
    weights = [high - low for low, high in pairwise(edges)]
    return _crps(list(zip(values, weights, strict=True)), observed)


def crps_gap(gap: Gap, observed_s: float, levels: int = 100) -> float:
    """Return [s] the continuous ranked probability score of a forecast time, from its quantiles at (i - 1/2) / levels.

    Parameters
    ----------
    gap : what was said of the time that is left.
    observed_s : [s] how long it took.

    Raises
    ------
    InputError : no levels, or quantiles that cross or are not finite.

    Examples
    --------
    >>> from simkv.predictors.timing.distributions import Certain
    >>> crps_gap(Certain(2.0), 5.0)
    3.0
    """
    if levels < 1:
        raise InputError(f"levels: want at least 1, got {levels}")
    return crps_quantiles({(i + 0.5) / levels: gap.quantile((i + 0.5) / levels) for i in range(levels)}, observed_s)


def _crps(steps: list[tuple[float, float]], observed: float) -> float:
    """Return E|X - observed| - E|X - X'| / 2 of a step distribution, given as sorted (value, weight)."""
    distance = math.fsum(weight * abs(value - observed) for value, weight in steps)
    spread, below = [], 0.0
    for (value, weight), (following, _) in pairwise(steps):
        below += weight
        spread.append((following - value) * below * (1 - below))
    return max(0.0, distance - math.fsum(spread))
