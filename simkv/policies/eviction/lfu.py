"""Least frequently used, counted while it is here."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

from simkv.kv.block import Run
from simkv.policies.eviction.order import RunLine
from simkv.policies.eviction.question import EVICTION, Coming


@EVICTION.register("lfu")
@dataclass
class Lfu:
    """Evict what was used least often since it came; among equals, what was used longest ago.

    Counts are forgotten on eviction. What has come and was not used yet has count 0.

    Source: folklore; Mattson et al., "Evaluation techniques for storage hierarchies", IBM Systems Journal 9(2), 1970.
    """

    _books: RunLine = field(default_factory=RunLine, init=False, repr=False)
    _lines: dict[int, RunLine] = field(default_factory=dict, init=False, repr=False)  # by count
    _counts: list[int] = field(default_factory=list, init=False, repr=False)  # a heap of the keys of `_lines`

    def inserted(self, run: Run, now_s: float) -> None:
        """Start counting at 0."""
        self._line(0).append(run)

    def used(self, run: Run, now_s: float) -> None:
        """Count one more use, the end of the prompt before its front."""
        line = self._books.line_of(run)
        if line is not None:
            self._line(line.rank + 1).renew(run)
            return
        pieces = self._books.take(run)
        for piece, line in reversed(pieces):
            self._line(line.rank + 1).append(piece)

    def removed(self, run: Run) -> None:
        """Forget it and its count."""
        self._books.cut(run)

    def victim(self, need_bytes: int) -> Run | None:
        """Return the run that is first in the line of the lowest count."""
        line = self._lowest()
        return None if line is None else line.first()

    def coming(self, run: Run) -> Coming:
        """Return as many as the victim gives if it was used no more than once: else a new block leaves for the next."""
        line = self._lowest()
        if line is None:
            return Coming(1)
        if line.rank <= 1:
            return Coming(line.first_count())
        return Coming(run.count - 1, stays=False) if run.count > 1 else Coming(1)

    def passed(self, run: Run, now_s: float) -> None:
        """Do nothing: what is not here has no count."""

    def _line(self, count: int) -> RunLine:
        line = self._lines.get(count)
        if line is None:
            line = self._lines[count] = RunLine(self._books, count)
            heapq.heappush(self._counts, count)
        return line

    def _lowest(self) -> RunLine | None:
        """Return the line of the lowest count that any block has; lines that are empty are dropped on the way."""
        while self._counts:
            line = self._lines[self._counts[0]]
            if line.blocks:
                return line
            del self._lines[heapq.heappop(self._counts)]
        return None
