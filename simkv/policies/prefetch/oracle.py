"""Exactly what comes next: an oracle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from simkv.policies.prefetch.question import PREFETCH, Kind, Prefetch, PrefetchView


@PREFETCH.register("oracle", oracle=True)
@dataclass
class Oracle:
    """Move exactly what the next turns will ask for, by the same means as everyone else.

    Perfect prediction, not perfect timing: it still computes, sends and may come late. Where the trace has
    no session identity the next turns are those of the recorded order of arrivals (semantics G3, G5).

    Attributes
    ----------
    ahead : how many turns it sees.
    kind : "kv", "text" or "compute".

    Source: perfect-prediction bound, Vitter and Krishnan, "Optimal prefetching via data compression", JACM 43(5),
    1996; semantics G5 (a reference point, not a bound).
    """

    asks_predictor: ClassVar[bool] = False

    ahead: int = 1
    kind: Kind = "kv"

    def __post_init__(self) -> None:
        if self.ahead < 1:
            raise ValueError(f"ahead must be at least 1 turn, got {self.ahead}")

    def decide(self, view: PrefetchView) -> list[Prefetch]:
        """Return what will be asked, soonest first."""
        if view.foresight is None:
            raise ValueError("the oracle was asked without the future")
        return [Prefetch(item, self.kind) for item in view.foresight.next_parts(self.ahead)]
