"""A quantile of the last measurements."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from dataclasses import dataclass, field

from simkv.policies.estimation.question import ESTIMATORS, Report
from simkv.policies.ranges import check_ratio


@ESTIMATORS.register("sliding-quantile")
@dataclass
class SlidingQuantile:
    """Take the q-quantile of the last measurements, each counting the same: below the median it is cautious.

    Attributes
    ----------
    window : how many measurements.
    quantile : q in [0, 1]; between two measurements in proportion.

    Source: the sliding percentile of ExoPlayer's bandwidth meter (there the median, weighted by size); interpolation is
    definition 7 of Hyndman and Fan, "Sample quantiles in statistical packages", The American Statistician 50(4), 1996.
    """

    window: int = 20
    quantile: float = 0.5
    _last: deque[float] = field(default_factory=deque, init=False, repr=False)
    _ordered: list[float] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.window < 1:
            raise ValueError(f"window must be at least 1 measurement, got {self.window}")
        check_ratio("quantile", self.quantile)

    def measured(self, rate_bps: float, duration_s: float, now_s: float) -> None:
        """Take in the newest and drop the oldest: O(log window) comparisons."""
        self._last.append(rate_bps)
        insort(self._ordered, rate_bps)
        if len(self._last) > self.window:
            del self._ordered[bisect_left(self._ordered, self._last.popleft())]

    def estimate_bps(self, now_s: float, report: Report | None) -> float | None:
        """Return the quantile."""
        if not self._ordered:
            return None
        place = self.quantile * (len(self._ordered) - 1)
        index = min(int(place), len(self._ordered) - 1)
        below, above = self._ordered[index], self._ordered[min(index + 1, len(self._ordered) - 1)]
        return below + (place - index) * (above - below)
