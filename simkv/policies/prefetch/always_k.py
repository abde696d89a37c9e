"""Always the few most probable things."""

from __future__ import annotations

from dataclasses import dataclass

from simkv.policies.prefetch.question import PREFETCH, Kind, Prefetch, PrefetchView
from simkv.policies.prefetch.worth import likely


@PREFETCH.register("always-k")
@dataclass
class AlwaysK:
    """Move the k most probable items that are not there, however improbable they are.

    Attributes
    ----------
    k : how many.
    kind : "kv", "text" or "compute".

    Source: the k most probable successors, Joseph and Grunwald, "Prefetching using Markov predictors", ISCA'97; optimal
    without a price of bandwidth by Vitter and Krishnan, "Optimal prefetching via data compression", JACM 43(5), 1996.
    """

    k: int = 1
    kind: Kind = "kv"

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"k must be at least 1 item, got {self.k}")

    def decide(self, view: PrefetchView) -> list[Prefetch]:
        """Return the first k; equally probable items go in their order."""
        absent = [item for _, item in likely(view) if not view.held(item)]
        return [Prefetch(item, self.kind) for item in absent[: self.k]]
