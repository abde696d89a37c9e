"""When is a measurement certain enough: a 95 % interval of the median by order statistics."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from statistics import median
from typing import NamedTuple

CONFIDENCE = 0.95
HALF_WIDTH = 0.03  # of the median
SHARE = 0.90  # of the points


class Stop(NamedTuple):
    """Where a run stands.

    Attributes
    ----------
    share : of the points whose interval is narrow enough.
    converged : enough of them are.
    unmet : what is missing, in words; "" = nothing.
    """

    share: float
    converged: bool
    unmet: str


@lru_cache
def order(count: int) -> int | None:
    """Return the rank k (from 1) such that the k-th least and the k-th greatest of so many samples enclose the median.

    The least and the greatest of n enclose it with probability 1 - 2^(1-n): below six samples none does at 95 %.

    Examples
    --------
    >>> order(5), order(6), order(20)
    (None, 1, 6)
    """
    best, below = None, 0.0
    for rank in range(1, count // 2 + 1):
        below += math.comb(count, rank - 1) * 0.5**count  # P(fewer than `rank` samples lie below the median)
        if 1 - 2 * below < CONFIDENCE:
            break
        best = rank
    return best


def interval(samples: Sequence[float]) -> tuple[float, float] | None:
    """Return the interval of the median; None with too few samples.

    Examples
    --------
    >>> interval([3.0, 1.0, 2.0]), interval([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    (None, (1.0, 6.0))
    """
    rank = order(len(samples))
    if rank is None:
        return None
    ordered = sorted(samples)
    return ordered[rank - 1], ordered[-rank]


def half_width(samples: Sequence[float]) -> float:
    """Return half the width of the interval over the median; infinite with too few samples.

    Examples
    --------
    >>> half_width([1.0] * 6), half_width([1.0])
    (0.0, inf)
    """
    found = interval(samples)
    return math.inf if found is None else (found[1] - found[0]) / 2 / median(samples)


def stands(samples: Mapping[str, Sequence[float]]) -> Stop:
    """Return whether samples by point are certain enough.

    Examples
    --------
    >>> stands({"a": [1.0] * 6, "b": [1.0]}).unmet
    '50 % of the points within 3 % (90 % wanted)'
    """
    narrow = sum(half_width(values) <= HALF_WIDTH for values in samples.values())
    share = narrow / len(samples) if samples else 0.0
    converged = bool(samples) and share >= SHARE
    unmet = f"{share:.0%} of the points within {HALF_WIDTH:.0%} ({SHARE:.0%} wanted)".replace("%", " %")
    return Stop(share, converged, "" if converged else unmet)
