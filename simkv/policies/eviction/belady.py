"""Farthest next use, from the recorded order of accesses: an oracle."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from simkv.kv.block import Run
from simkv.kv.runmap import RunMap
from simkv.policies.eviction.question import EVICTION, Coming

_STALE = 1000  # entries of the heap that may be stale before it is worth filing all anew


def next_uses(accesses: list[tuple[Run, ...]]) -> tuple[list[RunMap[float]], RunMap[float]]:
    """Return, for each access, when each of its blocks is accessed next; and each block's first access.

    One backward pass over the accesses; runs are cut where their futures differ. A block named twice in one
    access is used once.

    Examples
    --------
    >>> after, first = next_uses([(Run(0, 4),), (Run(0, 2),)])
    >>> list(after[0])
    [(Run(start=0, count=2), 1.0), (Run(start=2, count=2), inf)]
    >>> list(first)
    [(Run(start=0, count=2), 0.0), (Run(start=2, count=2), 0.0)]
    """
    coming: RunMap[float] = RunMap()
    after: list[RunMap[float]] = []
    for index in range(len(accesses) - 1, -1, -1):
        pieces: RunMap[float] = RunMap()
        for run in (fresh for named in accesses[index] for fresh in pieces.gaps(named)):
            for gap in coming.gaps(run):
                pieces.put(gap, math.inf)
            for piece, use in coming.take(run):
                pieces.put(piece, use)
        for piece, _ in pieces:
            coming.put(piece, float(index))
        after.append(pieces)
    after.reverse()
    return after, coming


@EVICTION.register("belady", oracle=True)
@dataclass
class Belady:
    """Evict what is used farthest in the future of the *recorded* order; ties: the deeper block first.

    The minimum number of misses for unit blocks and a fixed sequence of accesses; a reference point, not a
    bound, once timing changes the order (semantics G5).

    It sees the uses of its own buffer: with several servers a next use may be one that another server serves.

    Parameters
    ----------
    bypass : what would be evicted next is not stored at all. Only a replay of a trace can do that (`simkv trace mrc`);
        in a simulation KV has to be somewhere while it is used.

    Source: Belady, "A study of replacement algorithms for a virtual-storage computer", IBM Systems Journal
    5(2), 1966.
    """

    bypass: bool = False
    _after: list[RunMap[float]] = field(default_factory=list, init=False, repr=False)
    _next: RunMap[float] = field(default_factory=RunMap, init=False, repr=False)
    _here: RunMap[float] = field(default_factory=RunMap, init=False, repr=False)
    _farthest: list[tuple[float, int, int]] = field(default_factory=list, init=False, repr=False)

    def foresee(self, accesses: Iterable[tuple[Run, ...]]) -> None:
        """Learn the recorded order: the runs of each access, in order; called once, before the run."""
        self._after, self._next = next_uses(list(accesses))

    def inserted(self, run: Run, now_s: float) -> None:
        """File each piece under its next use."""
        for piece, use in self._future(run):
            self._here.put(piece, use)
            self._file(piece, use)

    def used(self, run: Run, now_s: float) -> None:
        """Move each piece of `run` on to its following use, and file it anew."""
        self.removed(run)
        self.passed(run, now_s)
        self.inserted(run, now_s)

    def removed(self, run: Run) -> None:
        """Forget that it is here; its future stays known."""
        cut = self._here.overlapping(run)
        self._here.take(run)
        for whole, use in cut:  # what sticks out has been filed as a part of the whole alone
            if whole.start < run.start:
                self._file(Run(whole.start, run.start - whole.start), use)
            if whole.end > run.end:
                self._file(Run(run.end, whole.end - run.end), use)

    def victim(self, need_bytes: int) -> Run | None:
        """Return the piece whose next use is farthest; stale entries are dropped on the way."""
        while self._farthest:
            use, start, count = self._farthest[0]
            if self._here.exactly(Run(-start, count)) == -use:
                return Run(-start, count)
            heapq.heappop(self._farthest)
        return None

    def coming(self, run: Run) -> Coming:
        """Return how many blocks at the front of `run` share a future, and whether anything is used after them."""
        victim = self.victim(1)
        if victim is None:
            return Coming(1)
        blocks, later = self._alike(run)
        farthest = self._here.exactly(victim)
        assert farthest is not None
        if later < farthest or (later == farthest and not self.bypass and victim.start > run.start):
            return Coming(min(blocks, victim.count))
        if self.bypass:
            return Coming(blocks, stays=False)
        return Coming(blocks - 1, stays=False) if blocks > 1 else Coming(1)

    def passed(self, run: Run, now_s: float) -> None:
        """Move each piece of `run` on to its following use."""
        for piece, use in self._future(run):
            if math.isinf(use):
                continue
            self._next.take(piece)
            for part, later in self._after[int(use)].overlapping(piece):
                start, end = max(part.start, piece.start), min(part.end, piece.end)
                self._next.put(Run(start, end - start), later)

    def _alike(self, run: Run) -> tuple[int, float]:
        """Return how many blocks at the front of `run` are used together from now on, and when after the next use."""
        upcoming = self._next.overlapping(run)
        if not upcoming or upcoming[0][0].start > run.start:
            return (upcoming[0][0].start if upcoming else run.end) - run.start, math.inf
        now, index = upcoming[0]
        then, later = self._after[int(index)].overlapping(Run(run.start, 1))[0]
        return min(run.end, now.end, then.end) - run.start, later

    def _file(self, piece: Run, use: float) -> None:
        heapq.heappush(self._farthest, (-use, -piece.start, piece.count))
        if len(self._farthest) > 2 * len(self._here) + _STALE:  # drop the stale ones, or they grow with all that passed
            self._farthest = [(-use, -run.start, run.count) for run, use in self._here]
            heapq.heapify(self._farthest)

    def _future(self, run: Run) -> list[tuple[Run, float]]:
        """Return the pieces of `run` with their next uses; what was never foreseen is never used again."""
        pieces = [(gap, math.inf) for gap in self._next.gaps(run)]
        for part, use in self._next.overlapping(run):
            start, end = max(part.start, run.start), min(part.end, run.end)
            pieces.append((Run(start, end - start), use))
        return pieces
