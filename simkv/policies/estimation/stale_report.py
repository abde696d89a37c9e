"""The capacity as the network last reported it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from simkv.policies.estimation.question import ESTIMATORS, Report
from simkv.policies.ranges import check_not_negative, check_positive

_ROUNDING = 1e-9  # periods: a report due at this very instant has been heard


@ESTIMATORS.register("stale-report")
@dataclass
class StaleReport:
    """Take the true capacity of the last report: made at multiples of a period, heard a delay later.

    Measurements are not used. Nothing is known before the first report is heard.

    Attributes
    ----------
    period_s : [s] from report to report.
    delay_s : [s] from a report until it is heard.

    Source: periodic channel state reports of a radio access network, 3GPP TS 38.214 section 5.2; handed to applications
    as radio network information, ETSI GS MEC 012.
    """

    hears_reports: ClassVar[bool] = True

    period_s: float = 1.0
    delay_s: float = 0.1

    def __post_init__(self) -> None:
        check_positive("period_s", self.period_s)
        check_not_negative("delay_s", self.delay_s)

    def measured(self, rate_bps: float, duration_s: float, now_s: float) -> None:
        """Ignore it: the network knows better."""

    def estimate_bps(self, now_s: float, report: Report | None) -> float | None:
        """Return the capacity of the last report that has been heard."""
        periods = (now_s - self.delay_s) / self.period_s
        if report is None or periods < -_ROUNDING:
            return None
        return report(max(0.0, min(now_s, math.floor(periods + _ROUNDING) * self.period_s)))
