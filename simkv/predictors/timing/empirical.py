"""The gaps seen before, each as likely."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from dataclasses import dataclass, field

from simkv.predictors.gap import Gap
from simkv.predictors.timing.distributions import Sampled, unknown
from simkv.predictors.timing.question import TIMING, TimingView
from simkv.request import GapKind


@TIMING.register("empirical")
@dataclass
class Empirical:
    """Predict that a gap is like one of the last gaps of its kind, in all sessions, that lasted at least so long.

    Where none lasted so long, any order of magnitude is as likely. A question costs as much as there are such gaps.

    Attributes
    ----------
    most : how many gaps of a kind are remembered.

    Source: the empirical distribution function; so do the tool-time models of Continuum (Li et al., 2025) choose how
    long to keep KV.
    """

    most: int = 2000
    _recent: dict[GapKind, deque[float]] = field(default_factory=dict, init=False, repr=False)
    _ordered: dict[GapKind, list[float]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.most < 1:
            raise ValueError(f"most must be at least 1, got {self.most}")

    def predict(self, view: TimingView) -> Gap:
        """Return the gaps that are longer than what has passed."""
        ordered = self._ordered.get(view.kind)
        if not ordered or ordered[-1] <= view.elapsed_s:
            return unknown(view.elapsed_s)
        return Sampled(ordered, view.elapsed_s)

    def observe(self, view: TimingView, gap_s: float) -> None:
        """Remember the gap, forget the oldest."""
        recent = self._recent.setdefault(view.kind, deque())
        ordered = self._ordered.setdefault(view.kind, [])
        if len(recent) == self.most:
            del ordered[bisect_left(ordered, recent.popleft())]
        recent.append(gap_s)
        insort(ordered, gap_s)
