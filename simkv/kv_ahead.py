"""KV that comes before anyone asks for it: the room it takes, what it displaces, and when it must make way.

The counterpart of `text_ahead.py` for receivers that have KV pushed to them. Speculation takes only room that
demand leaves: it evicts what nobody uses, and a push that nobody has asked for yet gives its room up to a
request that needs it (semantics D3).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from functools import partial

from simkv.jobs import Job
from simkv.kv.block import Run, overlap
from simkv.kv.buffer import KvBuffer
from simkv.kv.runmap import RunMap, RunSet
from simkv.ledger import Ledger, Unit


class KvAhead:
    """The pushes on their way to one server, and what speculation evicted there.

    Parameters
    ----------
    gave_up : called with a push whose room a request took.

    Attributes
    ----------
    takes_room : speculation is taking room just now: what is evicted meanwhile is displaced by it.
    """

    def __init__(self, buffer: KvBuffer, ledger: Ledger, gave_up: Callable[[Job], None]) -> None:
        self.takes_room = False
        self._buffer = buffer
        self._ledger = ledger
        self._gave_up = gave_up
        self._reserved: dict[Job, list[Run]] = {}
        self._displaced: RunMap[int] = RunMap()  # numbered in the order in which they went
        self._went: deque[tuple[int, Run]] = deque()
        self._went_blocks = 0

    def reserve(self, gaps: list[Run], unit: Unit) -> bool:
        """Take room for speculated blocks, or say no."""
        buffer = self._buffer
        if sum(gap.count for gap in gaps) > buffer.capacity_blocks - buffer.pinned_blocks:
            return False
        self.takes_room = True
        for gap in gaps:
            buffer.reserve(gap, mark=unit)
        self.takes_room = False
        self.refetched(gaps)
        return True

    def accept(self, job: Job) -> bool:
        """Make room for what a push brings that is not here; False when there is none, or nothing is missing."""
        assert job.unit is not None
        absent = [gap for run in job.runs for gap in self._buffer.absent(run)]
        if not absent or not self.reserve(absent, job.unit):
            return False
        self._reserved[job] = absent
        return True

    def landed(self, job: Job) -> None:
        """A push is here: what of it nobody lacked was sent for nothing."""
        gaps = self._reserved.pop(job, None)
        if gaps is not None and job.unit is not None and job.unit.is_open:
            surplus = sum(run.count for run in job.runs) - sum(gap.count for gap in gaps)
            if surplus:
                self._ledger.cut(job.unit, surplus, "never_used")

    def withdrawn(self, job: Job, awaited: RunSet) -> None:
        """A push will not come: give its room back, but for blocks that a request has asked for since."""
        for gap in self._reserved.pop(job, ()):
            for piece in self._buffer.arriving(gap):
                for idle in awaited.gaps(piece):
                    self._buffer.abandon(idle)

    def spare(self, needed: list[Run]) -> list[tuple[int, Callable[[], None]]]:
        """Return pushes that nobody has asked for, newest first: how many blocks each would free, and how.

        `needed` is what the request that wants room needs itself: no room is taken from that.
        """
        return [
            (sum(gap.count for gap in gaps), partial(self._give_up, job))
            for job, gaps in reversed(self._reserved.items())
            if job.unit is not None and job.unit.outcome != "used_late"
            if not any(overlap(gap, run) for gap in gaps for run in needed)
        ]

    def _give_up(self, job: Job) -> None:
        assert job.unit is not None
        self._ledger.decide(job.unit, "evicted")
        self.withdrawn(job, RunSet())
        self._gave_up(job)

    def was_displaced(self, run: Run) -> None:
        """Speculation evicted something that had been asked for.

        No more of it is remembered than the buffer holds: what went before that would be gone without speculation.
        """
        number = self._went[-1][0] + 1 if self._went else 0
        self._displaced.take(run)
        self._displaced.put(run, number)
        self._went.append((number, run))
        self._went_blocks += run.count
        while self._went_blocks > self._buffer.capacity_blocks:
            number, run = self._went.popleft()
            self._went_blocks -= run.count
            for piece, last in self._displaced.overlapping(run):
                if last == number:
                    self._displaced.remove(piece)

    def refetched(self, runs: Iterable[Run]) -> int:
        """Return how many of these blocks, which come back, speculation had displaced; and forget that it had."""
        return sum(piece.count for run in runs for piece, _ in self._displaced.take(run))

    def forget(self, runs: Iterable[Run]) -> None:
        """Nobody will ask for these blocks any more."""
        self.refetched(runs)
