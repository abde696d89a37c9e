"""How long the session stays in its state: histograms of gaps, one a state."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from simkv.predictors.gap import Gap
from simkv.predictors.timing.distributions import BINS, Binned, bin_of
from simkv.predictors.timing.question import TIMING, TimingView
from simkv.request import GapKind

_IGNORANCE = 1.0  # gaps' worth of "any order of magnitude is as likely", under everything that was seen


@TIMING.register("semi-markov")
@dataclass
class SemiMarkov:
    """Predict a gap from the gaps seen in the same state, in all sessions so far.

    The state is who makes the gap and how the session moved last: back, not at all, one on, or further on. A state
    seen seldom is helped by all gaps of its kind (back-off); a human's and a tool's are never pooled. Gaps are counted
    in bins 12 % wide, so a gap costs O(1) to learn and a question O(bins), 201 of them.

    Attributes
    ----------
    back_off : how many gaps the back-off weighs, above 0.

    Source: Levy, "Processus semi-markoviens", Proc. Int. Congress of Mathematicians, 1954; back-off as in MacKay and
    Bauman Peto, "A hierarchical Dirichlet language model", Natural Language Engineering 1(3), 1995.
    """

    back_off: float = 20.0
    _kinds: dict[GapKind, list[float]] = field(default_factory=dict, init=False, repr=False)
    _states: dict[tuple[GapKind, int], list[float]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if not 0 < self.back_off < math.inf:
            raise ValueError(f"back_off must be above 0, got {self.back_off}")

    def predict(self, view: TimingView) -> Gap:
        """Return the histogram of the state, helped by that of its kind."""
        even = _IGNORANCE / BINS
        masses = [count + even for count in self._kinds.get(view.kind, [0.0] * BINS)]
        state = self._states.get((view.kind, move_class(view.last_move))) if view.last_move is not None else None
        if state is not None:
            weight = self.back_off / math.fsum(masses)
            masses = [count + weight * mass for count, mass in zip(state, masses, strict=True)]
        return Binned(masses, view.elapsed_s)

    def observe(self, view: TimingView, gap_s: float) -> None:
        """Count the gap."""
        place = bin_of(gap_s)
        self._kinds.setdefault(view.kind, [0.0] * BINS)[place] += 1.0
        if view.last_move is not None:
            self._states.setdefault((view.kind, move_class(view.last_move)), [0.0] * BINS)[place] += 1.0


def move_class(move: int) -> int:
    """Return -1 for a move back (or to a chain never seen), 0 for none, 1 for one on, 2 for further on.

    Examples
    --------
    >>> [move_class(move) for move in (-4, -1, 0, 1, 2, 9)]
    [-1, -1, 0, 1, 2, 2]
    """
    return min(max(move, -1), 2)
