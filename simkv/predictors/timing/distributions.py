"""What is left of a gap that lasts already: the distributions in which timing predictors answer (`Gap`)."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from statistics import NormalDist

#: Bins: one below a millisecond, then 20 a decade to 10^7 s (116 days), each 12 % wide.
LEAST_S, BINS_A_DECADE, DECADES = 1e-3, 20, 10
BINS = 1 + BINS_A_DECADE * DECADES
_EDGES_S = (0.0, *(LEAST_S * 10 ** (step / BINS_A_DECADE) for step in range(BINS)))
#: ln(upper / lower) of a bin.
_WIDTH = math.log(10) / BINS_A_DECADE
_NORMAL = NormalDist()
_FAINT = 1e-300


def bin_of(gap_s: float) -> int:
    """Return the bin of a gap [s]; what is longer than all counts with the longest.

    Examples
    --------
    >>> bin_of(0.0), bin_of(1.0), bin_of(1e12)
    (0, 61, 200)
    """
    return min(bisect_right(_EDGES_S, gap_s) - 1, BINS - 1)


@dataclass(frozen=True)
class Certain:
    """One time, for sure.

    Attributes
    ----------
    left_s : [s] what is left of it, at least 0.
    """

    left_s: float

    @property
    def mean_s(self) -> float:
        """[s] The time itself."""
        return self.left_s

    def cdf(self, t_s: float) -> float:
        """Return 0 before it, 1 from then on."""
        return float(t_s >= self.left_s)

    def quantile(self, q: float) -> float:
        """Return [s] the time itself."""
        return self.left_s


@dataclass(frozen=True)
class Memoryless:
    """Exponential: what is left does not depend on what has passed.

    Attributes
    ----------
    mean_s : [s]
    """

    mean_s: float

    def cdf(self, t_s: float) -> float:
        """Return P(it ends within `t_s`)."""
        return -math.expm1(-t_s / self.mean_s) if self.mean_s else 1.0

    def quantile(self, q: float) -> float:
        """Return [s] the time within which it ends with probability `q`."""
        return -self.mean_s * math.log1p(-q) if q < 1 else math.inf


@dataclass(frozen=True)
class LogNormal:
    """A log-normal gap that has lasted `elapsed_s`.

    Attributes
    ----------
    median_s, sigma : [s], of ln(gap), above 0: of the whole gap.
    elapsed_s : [s]

    Examples
    --------
    >>> whole, rest = LogNormal(10.0, 1.0), LogNormal(10.0, 1.0, elapsed_s=10.0)
    >>> whole.cdf(10.0), round(rest.cdf(whole.quantile(0.75) - 10.0), 12)
    (0.5, 0.5)
    """

    median_s: float
    sigma: float
    elapsed_s: float = 0.0

    def _survival(self, gap_s: float) -> float:
        if gap_s <= 0:
            return 1.0
        return max(_FAINT, math.erfc(math.log(gap_s / self.median_s) / self.sigma / math.sqrt(2)) / 2)

    @property
    def mean_s(self) -> float:
        """[s] The expected rest."""
        whole_s = self.median_s * math.exp(self.sigma**2 / 2)
        if self.elapsed_s <= 0:
            return whole_s
        beyond = math.log(self.elapsed_s / self.median_s) / self.sigma
        survival = math.erfc(beyond / math.sqrt(2)) / 2
        if survival < _FAINT:  # far out in the tail: 1 / hazard
            return self.elapsed_s * self.sigma / beyond
        above_s = whole_s * math.erfc((beyond - self.sigma) / math.sqrt(2)) / 2
        return max(0.0, above_s / survival - self.elapsed_s)

    def cdf(self, t_s: float) -> float:
        """Return P(it ends within `t_s` from now)."""
        if t_s < 0:
            return 0.0
        return max(0.0, 1 - self._survival(self.elapsed_s + t_s) / self._survival(self.elapsed_s))

    def quantile(self, q: float) -> float:
        """Return [s] the time from now within which it ends with probability `q`."""
        if q >= 1:
            return math.inf
        left = (1 - q) * self._survival(self.elapsed_s)
        if left >= 1:
            return 0.0
        gap_s = self.median_s * math.exp(-self.sigma * _NORMAL.inv_cdf(max(left, _FAINT)))
        return max(0.0, gap_s - self.elapsed_s)


class Binned:
    """A histogram over the bins; inside a bin the logarithm of the gap is uniform (below a millisecond the gap itself).

    Parameters
    ----------
    masses : one a bin, in any unit; their sum must be above 0.
    elapsed_s : [s] how long the gap lasts already.
    """

    def __init__(self, masses: Sequence[float], elapsed_s: float = 0.0) -> None:
        self._elapsed_s = min(max(elapsed_s, 0.0), _EDGES_S[-1] * (1 - 1e-9))
        self._masses = masses
        self._below = [0.0, *accumulate(masses)]
        self._passed = self._mass_within(self._elapsed_s)
        self._left = self._below[-1] - self._passed

    @cached_property
    def mean_s(self) -> float:
        """[s] The expected rest."""
        if self._left <= 0:
            return 0.0
        parts = []
        for index in range(bin_of(self._elapsed_s), BINS):
            low, high = max(_EDGES_S[index], self._elapsed_s), _EDGES_S[index + 1]
            if index:
                parts.append(self._masses[index] * (high - low) / _WIDTH)
            else:
                parts.append(self._masses[0] * (high * high - low * low) / 2 / high)
        return max(0.0, math.fsum(parts) / self._left - self._elapsed_s)

    def cdf(self, t_s: float) -> float:
        """Return P(it ends within `t_s` from now)."""
        if t_s < 0:
            return 0.0
        if self._left <= 0:
            return 1.0
        return min(1.0, max(0.0, (self._mass_within(self._elapsed_s + t_s) - self._passed) / self._left))

    def quantile(self, q: float) -> float:
        """Return [s] the time from now within which it ends with probability `q`."""
        if self._left <= 0:
            return 0.0
        wanted = self._passed + min(max(q, 0.0), 1.0) * self._left
        index = min(bisect_right(self._below, wanted) - 1, BINS - 1)
        while not self._masses[index]:  # q = 1: the last bin that holds anything
            index -= 1
        share = min(1.0, (wanted - self._below[index]) / self._masses[index])
        low, high = _EDGES_S[index], _EDGES_S[index + 1]
        gap_s = low * math.exp(share * _WIDTH) if index else share * high
        return max(0.0, gap_s - self._elapsed_s)

    def _mass_within(self, gap_s: float) -> float:
        if gap_s >= _EDGES_S[-1]:
            return self._below[-1]
        index = bin_of(gap_s)
        low, high = _EDGES_S[index], _EDGES_S[index + 1]
        share = math.log(gap_s / low) / _WIDTH if index else gap_s / high
        return self._below[index] + self._masses[index] * min(1.0, share)


class Sampled:
    """Gaps seen before, each as likely, of those that are longer than what has passed.

    Parameters
    ----------
    ordered_s : [s] at least one, in order.
    elapsed_s : [s] shorter than the last of them.
    """

    def __init__(self, ordered_s: Sequence[float], elapsed_s: float = 0.0) -> None:
        first = bisect_right(ordered_s, elapsed_s) if elapsed_s > 0 else 0
        self._rest_s = [gap_s - elapsed_s for gap_s in ordered_s[first:]]

    @cached_property
    def mean_s(self) -> float:
        """[s] The expected rest."""
        return math.fsum(self._rest_s) / len(self._rest_s)

    def cdf(self, t_s: float) -> float:
        """Return the share of gaps that end within `t_s` from now."""
        return bisect_right(self._rest_s, t_s) / len(self._rest_s)

    def quantile(self, q: float) -> float:
        """Return [s] the least time within which a share `q` of them ends."""
        place = math.ceil(q * len(self._rest_s) * (1 - 1e-12)) - 1
        return self._rest_s[min(max(place, 0), len(self._rest_s) - 1)]


def unknown(elapsed_s: float) -> Binned:
    """Return what is said before anything was seen: any order of magnitude is as likely.

    Examples
    --------
    >>> round(unknown(0.0).quantile(0.5))  # between 0 and 10^7 s, in the logarithm
    94
    """
    return Binned([1.0] * BINS, elapsed_s)
