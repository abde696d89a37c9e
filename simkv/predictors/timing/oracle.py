"""When the next query really comes: an oracle."""

from __future__ import annotations

from dataclasses import dataclass

from simkv.predictors.gap import Gap
from simkv.predictors.timing.distributions import Certain
from simkv.predictors.timing.question import TIMING, TimingView


@TIMING.register("oracle", oracle=True)
@dataclass
class TimingOracle:
    """Predict the true gap, for sure.

    Source: perfect prediction, the reference of every prefetching study (semantics G5).
    """

    def predict(self, view: TimingView) -> Gap:
        """Return what is left of the true gap."""
        return Certain(rest_s(view))

    def observe(self, view: TimingView, gap_s: float) -> None:
        """Learn nothing: it knows."""


def rest_s(view: TimingView) -> float:
    """Return [s] what is left of the true gap.

    Raises
    ------
    ValueError : the view does not show it.
    """
    if view.true_gap_s is None:
        raise ValueError("the oracle was asked without the future")
    return max(0.0, view.true_gap_s - view.elapsed_s)
