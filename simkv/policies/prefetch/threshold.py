"""Whatever is probable enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from simkv.policies.prefetch.question import PREFETCH, Kind, Moment, Prefetch, PrefetchView
from simkv.policies.prefetch.worth import likely
from simkv.policies.ranges import check_ratio


@PREFETCH.register("threshold")
@dataclass
class Threshold:
    """Move every item whose probability is strictly above the threshold, most probable first.

    Attributes
    ----------
    threshold : probability in [0, 1]; 0 moves all that is possible, 1 nothing.
    kind : "kv", "text" or "compute".
    at : "query" = as soon as a turn was learned of; "pause" = when its answer has ended.

    Source: seed document 0, "Prefetch Policy"; Jiang and Kleinrock, "An adaptive network prefetch scheme", IEEE
    JSAC 16(3), 1998.
    """

    threshold: float = 0.5
    kind: Kind = "kv"
    at: Literal["query", "pause"] = "query"

    @property
    def moments(self) -> frozenset[Moment]:
        """When it is asked."""
        return frozenset({self.at})

    def __post_init__(self) -> None:
        check_ratio("threshold", self.threshold)

    def decide(self, view: PrefetchView) -> list[Prefetch]:
        """Return the items above the threshold; ties in probability go by item."""
        return [Prefetch(item, self.kind) for _, item in likely(view, self.threshold)]
