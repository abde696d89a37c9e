"""Least recently used."""

from __future__ import annotations

from dataclasses import dataclass, field

from simkv.kv.block import Run
from simkv.policies.eviction.order import RunLine
from simkv.policies.eviction.question import EVICTION, Coming


@EVICTION.register("lru")
@dataclass
class Lru:
    """Evict what was used longest ago; within one use the end of the prompt goes before its front.

    Source: folklore; Mattson et al., "Evaluation techniques for storage hierarchies", IBM Systems Journal
    9(2), 1970.
    """

    _line: RunLine = field(default_factory=RunLine, init=False, repr=False)

    def inserted(self, run: Run, now_s: float) -> None:
        """Put a new run at the recent end."""
        self._line.append(run)

    def used(self, run: Run, now_s: float) -> None:
        """Move what was used to the recent end."""
        self._line.renew(run)

    def removed(self, run: Run) -> None:
        """Forget it."""
        self._line.cut(run)

    def victim(self, need_bytes: int) -> Run | None:
        """Return the run that was used longest ago."""
        return self._line.first()

    def coming(self, run: Run) -> Coming:
        """Return as many as are here: what comes in goes behind all others."""
        return Coming(max(1, self._line.blocks))

    def passed(self, run: Run, now_s: float) -> None:
        """Do nothing: everything is stored."""
