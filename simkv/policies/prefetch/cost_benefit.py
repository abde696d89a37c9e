"""Whatever removes more waiting than its room and its bytes cost."""

from __future__ import annotations

import math
from dataclasses import dataclass

from simkv.policies.prefetch.question import PREFETCH, Kind, Prefetch, PrefetchView
from simkv.policies.prefetch.worth import (
    Busy,
    behind,
    displacement,
    gap_of,
    hidden,
    likely,
    saved_s,
    spare_bps,
    utility_s,
)
from simkv.policies.ranges import check_not_negative, check_positive, check_ratio


@PREFETCH.register("cost-benefit")
@dataclass
class CostBenefit:
    """Move what is expected to remove more stall than it costs, most benefit per byte first.

    Benefit p g phi: phi is the part of the wait that is hidden by then, behind all that was chosen before. Cost: v g
    for the room in the buffer, which may hold something of use, and mu S (1 - p) for the bytes. No more is chosen than
    the buffer holds. Before a rate is known nothing can be weighed, and nothing moves.

    Attributes
    ----------
    price_s_per_byte : [s/byte] mu, how many seconds of waiting a wasted byte is worth.
    displaced : v, the marginal value of the buffer: the probability that what makes room would have been used; None =
        the part of what speculation pushed out lately that was asked for again.
    think_s : [s] mean time to the next query while no timing predictor tells.
    kind : "kv", "text" or "compute".

    Source: Patterson, Gibson, Ginting, Stodolsky, Zelenka, "Informed prefetching and caching" (TIP), SOSP'95: buffers
    go where the estimated stall removed exceeds the marginal value of what they hold.
    """

    price_s_per_byte: float = 0.0
    displaced: float | None = None
    think_s: float = 10.0
    kind: Kind = "kv"

    def __post_init__(self) -> None:
        check_not_negative("price_s_per_byte", self.price_s_per_byte)
        if self.displaced is not None:
            check_ratio("displaced", self.displaced)
        check_positive("think_s", self.think_s)

    def decide(self, view: PrefetchView) -> list[Prefetch]:
        """Return what pays, as long as it pays behind what goes before it."""
        rate_bps, spare = view.link.rate_bps(), spare_bps(view)
        if rate_bps is None or spare is None:
            return []
        gap, chosen, room_bytes = gap_of(view, self.think_s), [], view.buffer_bytes
        busy = Busy(0.0, view.link.delay_s)
        displaced, ranked = displacement(view, self.displaced), []
        for p, item in likely(view):
            size_bytes = view.lacking_bytes(item, self.kind)
            won_s = p * saved_s(view, item, self.kind, rate_bps)
            ranked.append((-won_s / size_bytes if size_bytes else -math.inf, item, p, size_bytes))
        for _, item, p, size_bytes in sorted(ranked):
            after = behind(busy, view, item, self.kind, spare)
            gain_s = saved_s(view, item, self.kind, rate_bps)
            phi = hidden(gap, busy.sent_s, after.sent_s - busy.sent_s)
            waste_s = self.price_s_per_byte * size_bytes
            if size_bytes <= room_bytes and utility_s(p, phi, gain_s, displaced, waste_s) > 0:
                chosen.append(Prefetch(item, self.kind))
                room_bytes -= size_bytes
                busy = after
        return chosen
