"""Only what the link can carry besides all else until the next query."""

from __future__ import annotations

from dataclasses import dataclass

from simkv.policies.prefetch.question import PREFETCH, Kind, Prefetch, PrefetchView
from simkv.policies.prefetch.worth import gap_of, likely, spare_bps, transfer_s, work_s
from simkv.policies.ranges import check_inside, check_positive, check_ratio


@PREFETCH.register("spare-bandwidth")
@dataclass
class SpareBandwidth:
    """Move the most probable items, as many as (1 - rho_0) B carries until the next query, less the backlog.

    What does not fit is passed over for what does. Before a rate is known nothing is known to be spare, and nothing
    moves.

    Attributes
    ----------
    threshold : least probability of an item, itself too little.
    quantile : of the time to the next query, that is counted on.
    think_s : [s] mean time to the next query while no timing predictor tells.
    kind : "kv", "text" or "compute".

    Source: PBKV, arXiv:2605.06472 (conservative prefetching into spare bandwidth = bandwidth x duration of the step);
    Venkataramani, Kokku, Dahlin, "TCP Nice: a mechanism for background transfers", OSDI'02.
    """

    threshold: float = 0.0
    quantile: float = 0.5
    think_s: float = 10.0
    kind: Kind = "kv"

    def __post_init__(self) -> None:
        check_ratio("threshold", self.threshold)
        check_inside("quantile", self.quantile)
        check_positive("think_s", self.think_s)

    def decide(self, view: PrefetchView) -> list[Prefetch]:
        """Return what fits, most probable first."""
        spare, chosen = spare_bps(view), []
        if spare is None:
            return []
        left_s = gap_of(view, self.think_s).quantile(self.quantile)
        if self.kind != "compute":
            left_s -= transfer_s(view.link.backlog_bytes(), spare)
        for _, item in likely(view, self.threshold):
            takes_s = work_s(view, item, self.kind, spare)
            if takes_s <= left_s:
                chosen.append(Prefetch(item, self.kind))
                left_s -= takes_s
        return chosen
