"""Whatever is probable enough, over a slice of its own."""

from __future__ import annotations

from dataclasses import dataclass

from simkv.policies.prefetch.question import PREFETCH, Kind, Prefetch, PrefetchView
from simkv.policies.prefetch.worth import likely
from simkv.policies.ranges import check_inside, check_ratio


@PREFETCH.register("slice-reserved")
@dataclass
class SliceReserved:
    """Move every item whose probability is strictly above the threshold, over a share of the link cut off for that.

    Attributes
    ----------
    reserved_ratio : share of the link, above 0 and below 1; demand never has it, and speculation no more.
    threshold : probability in [0, 1]; 0 moves all that is possible, 1 nothing.
    kind : "kv", "text" or "compute".

    Source: network slices as isolated resources, 3GPP TS 23.501 section 5.15; seed document 0, "proactive resource
    allocation".
    """

    reserved_ratio: float = 0.2
    threshold: float = 0.5
    kind: Kind = "kv"

    def __post_init__(self) -> None:
        check_inside("reserved_ratio", self.reserved_ratio)
        check_ratio("threshold", self.threshold)

    def decide(self, view: PrefetchView) -> list[Prefetch]:
        """Return the items above the threshold; ties in probability go by item."""
        return [Prefetch(item, self.kind) for _, item in likely(view, self.threshold)]
