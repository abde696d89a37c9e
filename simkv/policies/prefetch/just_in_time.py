"""What will be needed, shortly before it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from simkv.policies.prefetch.question import PREFETCH, Kind, Moment, Prefetch, PrefetchView
from simkv.policies.prefetch.worth import gap_of, likely, spare_bps, transfer_s
from simkv.policies.ranges import check_inside, check_not_negative, check_positive, check_ratio


@PREFETCH.register("just-in-time")
@dataclass
class JustInTime:
    """Begin to move what is probable enough when it can just be there as the next query comes, and not before.

    Begins at now + the q-quantile of the time to the next query - (compute + S / B') - a margin, S being all that an
    item needs: what is held when the answer ends may be evicted during a long think time, and is brought back. While no
    rate is known, what is lacking begins at once, and for what is there sending counts as nothing.

    Attributes
    ----------
    threshold : least probability of an item, itself too little.
    quantile : q, the part of the queries that may come before the item is there.
    margin_s : [s] earlier than that.
    think_s : [s] mean time to the next query while no timing predictor tells.
    kind : "kv", "text" or "compute".

    Source: CachedAttention (Gao et al., USENIX ATC'24: KV brought back from host memory and disk ahead of its turn) and
    Continuum, arXiv:2511.02230 (what a tool call's duration says of how long KV should stay); the wait until the last
    moment is the prefetch horizon of TIP (Patterson et al., SOSP'95).
    """

    moments: ClassVar[frozenset[Moment]] = frozenset({"pause", "timer"})

    threshold: float = 0.5
    quantile: float = 0.1
    margin_s: float = 0.1
    think_s: float = 10.0
    kind: Kind = "kv"

    def __post_init__(self) -> None:
        check_ratio("threshold", self.threshold)
        check_inside("quantile", self.quantile)
        check_not_negative("margin_s", self.margin_s)
        check_positive("think_s", self.think_s)

    def decide(self, view: PrefetchView) -> list[Prefetch]:
        """Return what is probable, each with its beginning; when a timer rings, what waited begins."""
        items, spare = [item for _, item in likely(view, self.threshold)], spare_bps(view)
        if view.moment == "timer":
            return [Prefetch(item, self.kind) for item in items]
        needed_s = view.now_s + gap_of(view, self.think_s).quantile(self.quantile) - self.margin_s
        moves, ahead_s = [], view.link.delay_s
        for item in items:
            size_bytes = {"kv": view.item_bytes(item), "compute": 0}.get(self.kind, view.lacking_bytes(item, self.kind))
            ahead_s += view.compute_s(item) + (transfer_s(size_bytes, spare) if spare is not None else 0.0)
            begins_at_once = spare is None and not view.held(item)
            moves.append(Prefetch(item, self.kind, start_s=0.0 if begins_at_once else max(0.0, needed_s - ahead_s)))
        return moves
