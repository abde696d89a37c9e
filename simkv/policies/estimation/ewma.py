"""Exponentially weighted mean of measured throughput."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from simkv.policies.estimation.question import ESTIMATORS, Report
from simkv.policies.ranges import check_positive


@ESTIMATORS.register("ewma")
@dataclass
class Ewma:
    """Weigh each measurement by how long it took and how long ago it was.

    Attributes
    ----------
    half_life_s : [s] of measured time after which a measurement counts half.

    Source: the default estimator of dash.js and Shaka Player; Jiang, Sekar, Zhang, "Improving fairness, efficiency,
    and stability in HTTP-based adaptive video streaming with FESTIVE", CoNEXT'12, discusses it as the baseline.
    """

    half_life_s: float = 4.0
    _sum_bits: float = field(default=0.0, init=False, repr=False)
    _sum_s: float = field(default=0.0, init=False, repr=False)

    def __post_init__(self) -> None:
        check_positive("half_life_s", self.half_life_s)

    def measured(self, rate_bps: float, duration_s: float, now_s: float) -> None:
        """Let what was known fade by the time measured, and add the new."""
        kept = math.pow(0.5, duration_s / self.half_life_s)
        self._sum_bits = kept * self._sum_bits + (1 - kept) * rate_bps
        self._sum_s = kept * self._sum_s + (1 - kept)

    def estimate_bps(self, now_s: float, report: Report | None) -> float | None:
        """Return the weighted mean."""
        return self._sum_bits / self._sum_s if self._sum_s > 0 else None
