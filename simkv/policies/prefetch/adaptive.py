"""What wins most seconds, by all that was learned."""

from __future__ import annotations

from dataclasses import dataclass

from simkv.policies.prefetch.question import PREFETCH, Kind, Prefetch, PrefetchView
from simkv.policies.prefetch.worth import (
    Candidate,
    displacement,
    fitting,
    hidden,
    likely,
    saved_s,
    spare_bps,
    utility_s,
    work_s,
)
from simkv.policies.ranges import check_inside, check_not_negative, check_ratio


@PREFETCH.register("adaptive")
@dataclass
class Adaptive:
    """Move what has a utility U = p g phi - v g - mu S (1 - p) above 0, in order of U per byte, within B' Z.

    g = a + C + S/B is what a query waits for what is not there. phi is the mean part of it that is hidden when the
    query comes, by the learned time to the next query; Z is a quantile of that time. Think time and rate are estimates;
    while either is missing it moves what is more probable than `unknown_above`.

    Attributes
    ----------
    price_s_per_byte : [s/byte] mu, how many seconds of waiting a wasted byte is worth.
    displaced : v, the probability that what makes room for an item would have been used, in [0, 1]; None = the part of
        what speculation pushed out lately that was asked for again.
    quantile : of the time to the next query, that Z is.
    unknown_above : probability in [0, 1]; what is above it moves while rate or time are unknown.
    kind : "kv", "text" or "compute".

    Source: Jiang and Kleinrock, "An adaptive network prefetch scheme", IEEE JSAC 16(3), 1998 (load and price); Elkan,
    "The foundations of cost-sensitive learning", IJCAI'01; Tuah, Kumar, Venkatesh, "Resource-aware speculative
    prefetching in wireless networks", Wireless Networks 9(1), 2003 (the budget).
    """

    price_s_per_byte: float = 0.0
    displaced: float | None = None
    quantile: float = 0.5
    unknown_above: float = 0.5
    kind: Kind = "kv"

    def __post_init__(self) -> None:
        check_not_negative("price_s_per_byte", self.price_s_per_byte)
        if self.displaced is not None:
            check_ratio("displaced", self.displaced)
        check_inside("quantile", self.quantile)
        check_ratio("unknown_above", self.unknown_above)

    def decide(self, view: PrefetchView) -> list[Prefetch]:
        """Return what wins seconds, most per byte first."""
        rate_bps, spare, gap = view.link.rate_bps(), spare_bps(view), view.until_next()
        if rate_bps is None or spare is None or gap is None:
            return [Prefetch(item, self.kind) for _, item in likely(view, self.unknown_above)]
        candidates, displaced = [], displacement(view, self.displaced)
        for p, item in likely(view):
            takes_s = work_s(view, item, self.kind, spare)
            made_s = view.compute_s(item) if self.kind == "kv" else 0.0
            waste_s = self.price_s_per_byte * view.lacking_bytes(item, self.kind)
            phi = hidden(gap, 0.0, made_s + takes_s)
            won_s = utility_s(p, phi, saved_s(view, item, self.kind, rate_bps), displaced, waste_s)
            if won_s > 0:
                candidates.append(Candidate(won_s, takes_s, item))
        return [Prefetch(candidate.item, self.kind) for candidate in fitting(candidates, gap.quantile(self.quantile))]
