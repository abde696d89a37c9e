"""How long until the next query of this session? The form in which every timing predictor answers.

A gap runs from the end of an answer to the next query. Who makes it, a tool or a human, is known from why the answer
stopped; the two are never pooled (semantics H1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from simkv.predictors.gap import Gap
from simkv.registry import Registry
from simkv.request import GapKind


@dataclass(slots=True)
class TimingView:
    """What is known of a gap that has not ended; live, valid during the call only.

    Attributes
    ----------
    session : a key that tells sessions apart.
    kind : who makes the gap; "none" = nobody says.
    last_move : the last move of the session, as `History.moves` has it; None before the first.
    elapsed_s : [s] since the answer ended.
    gaps_s : [s] earlier gaps of the session, as many as are remembered, oldest first.
    true_gap_s : [s] the whole gap as it will be; for oracles only, None for everyone else.
    """

    session: int
    kind: GapKind
    last_move: int | None = None
    elapsed_s: float = 0.0
    gaps_s: Sequence[float] = ()
    true_gap_s: float | None = None


class TimingPredictor(Protocol):
    """Two methods to write."""

    def predict(self, view: TimingView) -> Gap:
        """Return the distribution of what is left of the gap, given what has passed; pure, may be called often."""

    def observe(self, view: TimingView, gap_s: float) -> None:
        """Learn a whole gap [s] when it ends; called once for each, in time order, `view` being as it was then."""


TIMING: Registry[TimingPredictor] = Registry("timing predictor", "simkv.timing")
