"""Why is what a query needs not there? What became of blocks that are gone, and whether anything was tried.

Bookkeeping of the whole run, which no policy sees. It is told what happens and answers when a query finds
something missing (`first_look.py`); what it remembers is bounded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from simkv.kv.block import Run
from simkv.kv.runmap import RunMap

MOST_FATES = 4096  # remembered at each receiver: with 16-block runs about a million tokens that are gone

#: Outcome of a speculated unit -> why its blocks are missing, where they are.
BECAUSE = {"cancelled": "cancelled", "evicted": "evicted", "never_used": "refused"}


class Fates:
    """What became of blocks that are not at one receiver: the newest `MOST_FATES` of them.

    Examples
    --------
    >>> fates = Fates()
    >>> fates.note(Run(0, 4), "evicted"); fates.note(Run(2, 1), "cancelled")
    >>> fates.of(Run(1, 1)), fates.of(Run(2, 1)), fates.of(Run(9, 1))
    ('evicted', 'cancelled', None)
    """

    def __init__(self) -> None:
        self._causes: RunMap[tuple[int, str]] = RunMap()  # numbered in the order in which they were noted
        self._noted: deque[tuple[int, Run]] = deque()
        self._count = 0
        self._last: tuple[Run, str] | None = None  # noted last, and not yet in the map: the next may join it

    def note(self, run: Run, cause: str) -> None:
        """Remember why blocks are gone; what was known of them before no longer matters."""
        if self._last is not None:
            (start, count), last_cause = self._last
            if run[0] + run[1] == start and cause == last_cause:  # a run is evicted from its end, piece by piece
                self._last = Run(run[0], run[1] + count), cause
                return
            self._settle()
        self._last = run, cause

    def of(self, run: Run) -> str | None:
        """Return why the first block of a run is missing; None when nothing is remembered of it."""
        self._settle()
        found = self._causes.overlapping(Run(run.start, 1))
        return found[0][1][1] if found else None

    def forget(self, runs: Iterable[Run]) -> None:
        """These blocks are here, or nobody will ask for them any more."""
        self._settle()
        for run in runs:
            self._causes.take(run)

    def _settle(self) -> None:
        """Put what was noted last into the map; forget the oldest where there are too many."""
        if self._last is None:
            return
        run, cause = self._last
        self._last = None
        self._causes.take(run)
        self._count += 1
        self._causes.put(run, (self._count, cause))
        self._noted.append((self._count, run))
        if len(self._noted) > MOST_FATES:
            oldest, run = self._noted.popleft()
            for piece, (number, _) in self._causes.overlapping(run):
                if number == oldest:
                    self._causes.remove(piece)


class Attempts:
    """Which sessions have asked before, and whether anything was speculated for them since their last query.

    Examples
    --------
    >>> attempts = Attempts()
    >>> attempts.why(7)
    'uncreated'
    >>> attempts.asked(7); attempts.why(7)
    'unpredicted'
    >>> attempts.speculated(7); attempts.why(7)
    'wrong'
    """

    def __init__(self) -> None:
        self._since: dict[int, bool] = {}  # session -> whether anything was speculated since its last query

    def asked(self, session: int) -> None:
        """A session asks: what is speculated from now on is for its next query."""
        self._since[session] = False

    def speculated(self, session: int) -> None:
        """Something was speculated for a session, unless it has ended."""
        if session in self._since:
            self._since[session] = True

    def has_ended(self, session: int) -> None:
        """A session is over."""
        self._since.pop(session, None)

    def why(self, session: int) -> str:
        """Return why nothing was speculated that a session asks for now."""
        tried = self._since.get(session)
        if tried is None:
            return "uncreated"
        return "wrong" if tried else "unpredicted"
