"""The true capacity of this moment: an oracle."""

from __future__ import annotations

from dataclasses import dataclass

from simkv.policies.estimation.question import ESTIMATORS, Report


@ESTIMATORS.register("oracle", oracle=True)
@dataclass
class Oracle:
    """Take the true capacity of the link now; what it will be next is not known here either.

    Source: none; the reference point of semantics C1.
    """

    def measured(self, rate_bps: float, duration_s: float, now_s: float) -> None:
        """Ignore it."""

    def estimate_bps(self, now_s: float, report: Report | None) -> float | None:
        """Return the capacity."""
        return report(now_s) if report is not None else None
