"""How fast is the link just now? The form in which every bandwidth estimator answers.

Policies never see the true rate (semantics C1): they see what one of these makes of finished transfers, or of
reports that the network sends.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from simkv.registry import Registry

#: Returns [bit/s] the capacity at a time that is not in the future.
Report = Callable[[float], float]


class Estimator(Protocol):
    """Two methods to write.

    A class with `hears_reports: ClassVar[bool] = True`, and every oracle, is given the network's reports.
    """

    def measured(self, rate_bps: float, duration_s: float, now_s: float) -> None:
        """Learn the throughput of one finished transfer, in the order in which they finish."""

    def estimate_bps(self, now_s: float, report: Report | None) -> float | None:
        """Return [bit/s] the rate expected from now on; None while nothing is known."""


ESTIMATORS: Registry[Estimator] = Registry("bandwidth estimator", "simkv.estimator")
