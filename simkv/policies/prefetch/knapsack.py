"""What saves most of all that can be moved before the next query."""

from __future__ import annotations

from dataclasses import dataclass

from simkv.policies.prefetch.question import PREFETCH, Kind, Prefetch, PrefetchView
from simkv.policies.prefetch.worth import Candidate, fitting, gap_of, likely, saved_s, spare_bps, work_s
from simkv.policies.ranges import check_inside, check_positive


@PREFETCH.register("knapsack")
@dataclass
class Knapsack:
    """Maximise the sum of p g under sum S <= B' Z: in the order of p g / S, until the think time Z is full.

    Before a rate is known no budget is either, and nothing moves. What is only computed fills the same time of the GPU.

    Attributes
    ----------
    quantile : of the time to the next query, that Z is; not its mean, which for heavy tails is a time that few wait.
    think_s : [s] mean time to the next query while no timing predictor tells.
    kind : "kv", "text" or "compute".

    Source: Tuah, Kumar, Venkatesh, "Resource-aware speculative prefetching in wireless networks", Wireless Networks
    9(1), 2003 (a stretch knapsack); the order is Dantzig's, Operations Research 5(2), 1957.
    """

    quantile: float = 0.5
    think_s: float = 10.0
    kind: Kind = "kv"

    def __post_init__(self) -> None:
        check_inside("quantile", self.quantile)
        check_positive("think_s", self.think_s)

    def decide(self, view: PrefetchView) -> list[Prefetch]:
        """Return what fits, most saved per byte first."""
        rate_bps, spare = view.link.rate_bps(), spare_bps(view)
        if rate_bps is None or spare is None:
            return []
        budget_s = gap_of(view, self.think_s).quantile(self.quantile)
        candidates = [
            Candidate(p * saved_s(view, item, self.kind, rate_bps), work_s(view, item, self.kind, spare), item)
            for p, item in likely(view)
        ]
        return [Prefetch(candidate.item, self.kind) for candidate in fitting(candidates, budget_s)]
