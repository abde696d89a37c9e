"""Whatever is more probable than the link is loaded."""

from __future__ import annotations

from dataclasses import dataclass

from simkv.policies.prefetch.question import PREFETCH, Kind, Prefetch, PrefetchView
from simkv.policies.prefetch.worth import displacement, likely, load_threshold
from simkv.policies.ranges import check_ratio


@PREFETCH.register("load-dependent")
@dataclass
class LoadDependent:
    """Move what has p > rho_0 + v: the load that demand puts on the link, and what is displaced.

    On a link that all classes share alike this is where the mean access time begins to shrink. While no rate is known
    no load is either, and the threshold is v.

    Attributes
    ----------
    displaced : v, the probability that what makes room for an item would have been used, in [0, 1]; None = the part of
        what speculation pushed out lately that was asked for again.
    kind : "kv", "text" or "compute".

    Source: Jiang and Kleinrock, "An adaptive network prefetch scheme", IEEE JSAC 16(3), 1998.
    """

    displaced: float | None = None
    kind: Kind = "kv"

    def __post_init__(self) -> None:
        if self.displaced is not None:
            check_ratio("displaced", self.displaced)

    def decide(self, view: PrefetchView) -> list[Prefetch]:
        """Return the items above the threshold of this moment, most probable first."""
        threshold = load_threshold(view.link.demand_ratio(), displacement(view, self.displaced))
        return [Prefetch(item, self.kind) for _, item in likely(view, threshold)]
