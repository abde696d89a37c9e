"""A mean, and no memory."""

from __future__ import annotations

from dataclasses import dataclass, field

from simkv.predictors.gap import Gap
from simkv.predictors.timing.distributions import Memoryless, unknown
from simkv.predictors.timing.question import TIMING, TimingView
from simkv.request import GapKind


@TIMING.register("exponential")
@dataclass
class Exponential:
    """Predict an exponential gap with the mean of the gaps of its kind, in all sessions so far.

    Before the first gap of a kind any order of magnitude is as likely.

    Source: the model of tool times behind the closed form of Continuum's time to live (Li et al., 2025); Erlang, 1909.
    """

    _count: dict[GapKind, int] = field(default_factory=dict, init=False, repr=False)
    _sum_s: dict[GapKind, float] = field(default_factory=dict, init=False, repr=False)

    def predict(self, view: TimingView) -> Gap:
        """Return the exponential distribution, however long the gap lasts already."""
        count = self._count.get(view.kind, 0)
        return Memoryless(self._sum_s[view.kind] / count) if count else unknown(view.elapsed_s)

    def observe(self, view: TimingView, gap_s: float) -> None:
        """Add the gap to the mean of its kind."""
        self._count[view.kind] = self._count.get(view.kind, 0) + 1
        self._sum_s[view.kind] = self._sum_s.get(view.kind, 0.0) + gap_s
