"""Least frequently used, counted while it is here."""

from __future__ import annotations

from dataclasses import dataclass, field

from simkv.kv.block import Run
from simkv.policies.eviction.question import EVICTION, Coming
from simkv.policies.eviction.ranks import Ranks


@EVICTION.register("lfu")
@dataclass
class Lfu:
    """Evict what was used least often since it came; among equals, what was used longest ago.

    Counts are forgotten on eviction. What has come and was not used yet has count 0.

    Source: folklore; Mattson et al., "Evaluation techniques for storage hierarchies", IBM Systems Journal 9(2), 1970.
    """

    _counts: Ranks = field(default_factory=Ranks, init=False, repr=False)

    def inserted(self, run: Run, now_s: float) -> None:
        """Start counting at 0."""
        self._counts.append(run, 0)

    def used(self, run: Run, now_s: float) -> None:
        """Count one more use, the end of the prompt before its front."""
        counts = self._counts
        node = counts.books.at(run)
        if node is not None and node.line is not None:
            counts.move(node, node.line.rank + 1)
            return
        for piece, line, _ in reversed(counts.books.take(run)):
            counts.append(piece, line.rank + 1)

    def removed(self, run: Run) -> None:
        """Forget it and its count."""
        self._counts.books.cut(run)

    def victim(self, need_bytes: int) -> Run | None:
        """Return the run that is first in the line of the lowest count."""
        line = self._counts.lowest()
        return None if line is None else line.first()

    def coming(self, run: Run) -> Coming:
        """Return as many as were used no more than once and as seldom; if none, a new block leaves for the next."""
        line = self._counts.lowest()
        if line is None:
            return Coming(1)
        if line.rank <= 1:
            return Coming(line.blocks)
        return Coming(run.count - 1, stays=False) if run.count > 1 else Coming(1)

    def passed(self, run: Run, now_s: float) -> None:
        """Do nothing: what is not here has no count."""
