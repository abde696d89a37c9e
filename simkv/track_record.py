"""What became of earlier speculation, as far as whoever speculates hears of it: the last dozens of items."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from simkv.jobs import Receiver
from simkv.kv.block import Run
from simkv.kv.runmap import RunMap
from simkv.policies.prefetch.question import Record

MOST_RECORDED = 64  # speculated items, and evictions, whose fate a policy sees: one phase of how people behave


class _Gone:
    """Blocks that speculation pushed out: how many, and how many of them were asked for since."""

    __slots__ = ("count", "missed_blocks", "receiver", "runs")

    def __init__(self, receiver: Receiver, runs: list[Run]) -> None:
        self.receiver = receiver
        self.runs = runs
        self.count = sum([run.count for run in runs])
        self.missed_blocks = 0


class TrackRecord:
    """The record of one mind; sums are kept, so that a look at it costs nothing.

    Examples
    --------
    >>> record = TrackRecord()
    >>> record.settle(used=True, late=False); record.settle(used=False, late=False)
    >>> record.told().known, record.told().used
    (2, 1)
    """

    def __init__(self) -> None:
        self._settled = 0
        self._fates: deque[tuple[bool, bool]] = deque()  # used, late
        self._used = 0
        self._late = 0
        self._gone: deque[_Gone] = deque()
        self._where: dict[Receiver, RunMap[_Gone]] = {}
        self._displaced_blocks = 0
        self._missed_blocks = 0

    def settle(self, *, used: bool, late: bool) -> None:
        """Note what became of one speculated item."""
        self._settled += 1
        self._fates.append((used, late))
        self._used += used
        self._late += late
        if len(self._fates) > MOST_RECORDED:
            used, late = self._fates.popleft()
            self._used -= used
            self._late -= late

    def displaced(self, receiver: Receiver, runs: list[Run]) -> None:
        """Note that speculation pushed blocks out at a receiver."""
        gone = _Gone(receiver, runs)
        where = self._where.setdefault(receiver, RunMap())
        for run in runs:
            where.take(run)
            where.put(run, gone)
        self._gone.append(gone)
        self._displaced_blocks += gone.count
        if len(self._gone) > MOST_RECORDED:
            self._forget(self._gone.popleft())

    def missed(self, receiver: Receiver, runs: Iterable[Run]) -> None:
        """Note that a query lacks blocks: those of them that speculation pushed out are missed for it."""
        where = self._where.get(receiver)
        if not where:
            return
        for run in runs:
            for piece, gone in where.take(run):
                gone.missed_blocks += piece.count
                self._missed_blocks += piece.count

    def told(self) -> Record:
        """Return it as policies see it."""
        return Record(
            known=len(self._fates),
            used=self._used,
            late=self._late,
            settled=self._settled,
            displaced_blocks=self._displaced_blocks,
            missed_blocks=self._missed_blocks,
        )

    def _forget(self, gone: _Gone) -> None:
        self._displaced_blocks -= gone.count
        self._missed_blocks -= gone.missed_blocks
        where = self._where.get(gone.receiver)
        if where is None:  # all of it has been missed since
            return
        for run in gone.runs:
            for piece, other in where.overlapping(run):
                if other is gone:
                    where.remove(piece)
        if not where:
            del self._where[gone.receiver]
