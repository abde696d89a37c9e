"""All that will be asked for, in the order of its need, as far as link and buffer can hold it: an oracle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from simkv.kv.runmap import RunSet
from simkv.policies.prefetch.question import PREFETCH, Kind, Moment, Prefetch, PrefetchView


@PREFETCH.register("feasible-oracle", oracle=True)
@dataclass
class FeasibleOracle:
    """Move what all turns ahead will ask for and exists, soonest first, each by when it may be needed.

    The deadline is the sum of the think times until then, as if answers took no time: never too late. No more is named
    than the receiver's buffer holds, and the link sends earliest deadline first, all sessions together. It computes and
    sends like everyone else, and nothing before its tokens exist (semantics B1).

    Attributes
    ----------
    ahead : how many turns it sees at most; an open loop is read no further than 64.
    kind : "kv", "text" or "compute".

    Source: aggressive prefetching with the future known, Cao, Felten, Karlin, Li, "A study of integrated prefetching
    and caching strategies", SIGMETRICS'95; earliest deadline first, Liu and Layland, JACM 20(1), 1973. A reference
    point, not a bound (semantics G5): sessions that share a buffer do not know of one another.
    """

    asks_predictor: ClassVar[bool] = False
    moments: ClassVar[frozenset[Moment]] = frozenset({"query", "pause"})

    ahead: int = 64
    kind: Kind = "kv"

    def __post_init__(self) -> None:
        if not 1 <= self.ahead <= 64:
            raise ValueError(f"ahead must be from 1 to 64 turns, got {self.ahead}")

    def decide(self, view: PrefetchView) -> list[Prefetch]:
        """Return what will be asked, soonest first, until the buffer would be full."""
        if view.foresight is None:
            raise ValueError("the oracle was asked without the future")
        needed_s = view.foresight.earliest_s(self.ahead)
        moves, room, left_bytes = [], RunSet(), float(view.buffer_bytes)
        for item, parts in view.foresight.next_parts(self.ahead).items():
            blocks = sum(part.run.count for part in parts)
            new = [gap for part in parts for gap in room.gaps(part.run)]
            if blocks:
                left_bytes -= view.item_bytes(item) * sum(gap.count for gap in new) / blocks
            if left_bytes < 0:
                break
            for gap in new:
                room.add(gap)
            moves.append(Prefetch(item, self.kind, deadline_s=view.now_s + needed_s[item]))
        return moves
