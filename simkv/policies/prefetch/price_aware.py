"""Whatever is worth the bytes that it may waste."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from simkv.policies.prefetch.question import PREFETCH, Kind, Prefetch, PrefetchView
from simkv.policies.prefetch.worth import (
    displacement,
    likely,
    price_in_transfers,
    priority_threshold,
    saved_s,
    shared_threshold,
)
from simkv.policies.ranges import check_not_negative, check_ratio
from simkv.predictors.question import Item


@PREFETCH.register("price-aware")
@dataclass
class PriceAware:
    """Move what has p > p*, the probability at which seconds saved pay for bytes wasted.

    On a link that all classes share alike p* = (rho_0 + kappa) / (1 + kappa) with kappa = mu B (1 - rho_0)^2; where
    demand has priority p* = (v g + mu S) / (g + mu S). Before a rate is known nothing can be weighed: nothing moves.

    Attributes
    ----------
    price_s_per_byte : [s/byte] mu, how many seconds of waiting a wasted byte is worth.
    link : "shared" = all classes alike (`discipline: ps`); "priority" = demand first (`discipline: strict`).
    displaced : v, the probability that what makes room for an item would have been used, counts with "priority" alone;
        None = the part of what speculation pushed out lately that was asked for again.
    kind : "kv", "text" or "compute".

    Source: Jiang and Kleinrock, "An adaptive network prefetch scheme", IEEE JSAC 16(3), 1998 (a price for bandwidth);
    Elkan, "The foundations of cost-sensitive learning", IJCAI'01 (threshold from two costs).
    """

    price_s_per_byte: float
    link: Literal["shared", "priority"] = "priority"
    displaced: float | None = None
    kind: Kind = "kv"

    def __post_init__(self) -> None:
        check_not_negative("price_s_per_byte", self.price_s_per_byte)
        if self.displaced is not None:
            check_ratio("displaced", self.displaced)
        if self.displaced and self.link == "shared":
            raise ValueError(
                "displaced counts with link 'priority' alone: the formula for 'shared' has no place for it"
            )

    @staticmethod
    def example_params() -> dict[str, object]:
        """Return parameters for the contract check: a second for a gigabyte."""
        return {"price_s_per_byte": 1e-9}

    def decide(self, view: PrefetchView) -> list[Prefetch]:
        """Return the items that are worth it, most probable first."""
        rate_bps = view.link.rate_bps()
        if rate_bps is None:
            return []
        return [Prefetch(item, self.kind) for p, item in likely(view) if p > self._least(view, item, rate_bps)]

    def _least(self, view: PrefetchView, item: Item, rate_bps: float) -> float:
        if self.link == "shared":
            demand_ratio = view.link.demand_ratio()
            return shared_threshold(demand_ratio, price_in_transfers(self.price_s_per_byte, rate_bps, demand_ratio))
        waste_s = self.price_s_per_byte * view.lacking_bytes(item, self.kind)
        return priority_threshold(saved_s(view, item, self.kind, rate_bps), displacement(view, self.displaced), waste_s)
