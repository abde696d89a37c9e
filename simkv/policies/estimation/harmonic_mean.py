"""Harmonic mean of the last few measurements."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from simkv.policies.estimation.question import ESTIMATORS, Report


@ESTIMATORS.register("harmonic-mean")
@dataclass
class HarmonicMean:
    """Average the time that a bit took in the last measurements, each counting the same.

    One fast outlier moves it little. A measurement of nothing in a while is no throughput and is left out.

    Attributes
    ----------
    window : how many measurements.

    Source: Jiang, Sekar, Zhang, "Improving fairness, efficiency, and stability in HTTP-based adaptive video streaming
    with FESTIVE", CoNEXT'12 (20 samples); five in Yin et al., "A control-theoretic approach for dynamic adaptive video
    streaming over HTTP", SIGCOMM'15.
    """

    window: int = 5
    _times_s: deque[float] = field(default_factory=deque, init=False, repr=False)  # that a bit took
    _sum_s: float = field(default=0.0, init=False, repr=False)
    _added: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.window < 1:
            raise ValueError(f"window must be at least 1 measurement, got {self.window}")

    def measured(self, rate_bps: float, duration_s: float, now_s: float) -> None:
        """Take in the newest and drop the oldest; O(1) on average."""
        if rate_bps <= 0:
            return
        self._times_s.append(1 / rate_bps)
        self._sum_s += 1 / rate_bps
        if len(self._times_s) > self.window:
            self._sum_s -= self._times_s.popleft()
        self._added += 1
        if self._added % self.window == 0:  # rounding must not pile up
            self._sum_s = sum(self._times_s)

    def estimate_bps(self, now_s: float, report: Report | None) -> float | None:
        """Return the harmonic mean."""
        return len(self._times_s) / self._sum_s if self._times_s else None
