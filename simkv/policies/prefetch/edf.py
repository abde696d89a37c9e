"""What can be there in time, in the order in which it is needed."""

from __future__ import annotations

from dataclasses import dataclass

from simkv.policies.prefetch.question import PREFETCH, Kind, Prefetch, PrefetchView
from simkv.policies.prefetch.worth import Busy, behind, gap_of, likely, spare_bps, transfer_s
from simkv.policies.ranges import check_positive, check_ratio


@PREFETCH.register("edf")
@dataclass
class Edf:
    """Give what is probable enough the median time of its need as a deadline; drop what would come too late.

    An item is kept if the next query comes after its arrival with at least the probability `confidence`; before it go
    the backlog of all sessions and what was kept already. Before a rate is known everything is kept. The link sends
    what has a deadline one after the other, earliest deadline first.

    Attributes
    ----------
    threshold : least probability of an item, itself too little.
    confidence : least probability of being in time.
    think_s : [s] mean time to the next query while no timing predictor tells.
    kind : "kv", "text" or "compute".

    Source: earliest deadline first, Liu and Layland, "Scheduling algorithms for multiprogramming in a hard real-time
    environment", JACM 20(1), 1973; firm deadlines (what is late is dropped), Haritsa, Carey, Livny, "Dynamic real-time
    optimistic concurrency control", RTSS'90.
    """

    threshold: float = 0.1
    confidence: float = 0.5
    think_s: float = 10.0
    kind: Kind = "kv"

    def __post_init__(self) -> None:
        check_ratio("threshold", self.threshold)
        check_ratio("confidence", self.confidence)
        check_positive("think_s", self.think_s)

    def decide(self, view: PrefetchView) -> list[Prefetch]:
        """Return what can be in time, most probable first, all by the median time of the query."""
        gap, spare = gap_of(view, self.think_s), spare_bps(view)
        needed_s = view.now_s + gap.quantile(0.5)
        busy, kept = Busy(), []
        if spare is not None:
            busy = Busy(0.0, transfer_s(view.link.backlog_bytes(), spare))
        way_s = view.link.delay_s if self.kind != "compute" else 0.0
        for _, item in likely(view, self.threshold):
            after = behind(busy, view, item, self.kind, spare) if spare is not None else busy
            if 1 - gap.cdf(after.sent_s + way_s) >= self.confidence:
                kept.append(Prefetch(item, self.kind, deadline_s=needed_s))
                busy = after
        return kept
