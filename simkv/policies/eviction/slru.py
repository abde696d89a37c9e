"""Least recently used in segments, each for what was used more often than the one below."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from simkv.kv.block import Run
from simkv.policies.eviction.order import RunLine
from simkv.policies.eviction.question import EVICTION, Coming


class Segments:
    """Lines of recency, the lowest first; a use lifts a block by one, what is too much falls back by one.

    Parameters
    ----------
    count : how many.
    beside : a line whose books they share.
    """

    def __init__(self, count: int, beside: RunLine | None = None) -> None:
        first = RunLine(beside, 0)
        self.lines = [first, *(RunLine(first, rank) for rank in range(1, count))]
        self._most: list[float] = [math.inf] * count

    def sized(self, sizes: Sequence[int]) -> None:
        """Set how many blocks each holds."""
        self._most = list(sizes)

    def append(self, run: Run, value: int) -> None:
        """Put a run into the lowest that has room, from its end on; without any room into the first."""
        for line, most in zip(self.lines, self._most, strict=True):
            count = int(min(run[1], max(0, most - line.blocks)))
            if count:
                line.append(Run(run[0] + run[1] - count, count), value)
                run = Run(run[0], run[1] - count)
        if run[1]:
            self.lines[0].append(run, value)

    def lift(self, run: Run) -> None:
        """Use what stands here of `run` once more, from its end on."""
        while run[1]:
            node = self.lines[0].isolate(run)[-1]  # the others may fall while this one is lifted
            line = node.line
            assert line is not None
            if not node.value:
                line.move(node, 1)
            else:
                rank = min(int(line.rank) + 1, len(self.lines) - 1)
                self.lines[rank].move(node, 1)
                self._cool(rank)
            run = Run(run[0], node.run[0] - run[0]) if node.line is not None else run

    def lowest(self) -> RunLine:
        """Return the lowest line that holds anything; the first if none does."""
        return next((line for line in self.lines if line.blocks), self.lines[0])

    def _cool(self, rank: int) -> None:
        line, below = self.lines[rank], self.lines[rank - 1]
        while line.blocks > self._most[rank]:
            first = line.end.after.run
            count = int(min(first[1], line.blocks - self._most[rank]))
            below.renew(Run(first[0] + first[1] - count, count), 1)


@EVICTION.register("slru")
@dataclass
class Slru:
    """Evict what was used longest ago of the lowest segment; each further use lifts a block by one segment.

    Parameters
    ----------
    segments : how many equal shares the room is divided into.

    Source: Karedla, Love, Wherry, "Caching strategies to improve disk system performance", IEEE Computer 27(3), 1994.
    """

    segments: int = 4
    _segments: Segments = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.segments < 1:
            raise ValueError(f"segments must be at least 1, got {self.segments}")
        self._segments = Segments(self.segments)

    def sized(self, blocks: int) -> None:
        """Divide the room; what does not divide is the lowest segment's."""
        share = blocks // self.segments
        self._segments.sized([blocks - share * (self.segments - 1), *([share] * (self.segments - 1))])

    def inserted(self, run: Run, now_s: float) -> None:
        """Put it into the lowest segment that has room."""
        self._segments.append(run, 0)

    def used(self, run: Run, now_s: float) -> None:
        """Lift it by one segment; its first use leaves it where it is."""
        self._segments.lift(run)

    def removed(self, run: Run) -> None:
        """Forget it."""
        self._segments.lines[0].cut(run)

    def victim(self, need_bytes: int) -> Run | None:
        """Return what was used longest ago in the lowest segment."""
        return self._segments.lowest().first()

    def coming(self, run: Run) -> Coming:
        """Return as many as the lowest segment holds: what comes in takes their place in it."""
        return Coming(max(1, self._segments.lowest().blocks))

    def passed(self, run: Run, now_s: float) -> None:
        """Do nothing: everything is stored."""
