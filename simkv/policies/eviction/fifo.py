"""First in, first out."""

from __future__ import annotations

from dataclasses import dataclass, field

from simkv.kv.block import Run
from simkv.policies.eviction.order import RunLine
from simkv.policies.eviction.question import EVICTION, Coming


@EVICTION.register("fifo")
@dataclass
class Fifo:
    """Evict what came in first, however often it was used; what is in use at its turn re-enters as new.

    Source: folklore; Belady, Nelson, Shedler, "An anomaly in space-time characteristics of certain programs
    running in a paging machine", CACM 12(6), 1969.
    """

    _line: RunLine = field(default_factory=RunLine, init=False, repr=False)

    def inserted(self, run: Run, now_s: float) -> None:
        """Put a new run at the end of the line."""
        self._line.append(run)

    def used(self, run: Run, now_s: float) -> None:
        """Do nothing: use does not count."""

    def removed(self, run: Run) -> None:
        """Forget it."""
        self._line.cut(run)

    def victim(self, need_bytes: int) -> Run | None:
        """Return the run that came in first."""
        return self._line.first()

    def coming(self, run: Run) -> Coming:
        """Return as many as are here: what comes in goes behind all others."""
        return Coming(max(1, self._line.blocks))

    def passed(self, run: Run, now_s: float) -> None:
        """Do nothing: everything is stored."""
