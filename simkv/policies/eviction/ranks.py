"""Lines of runs by rank: which rank is the lowest that holds anything? What counts, priorities and forecasts share."""

from __future__ import annotations

import heapq

from simkv.kv.block import Run
from simkv.policies.eviction.order import Node, RunLine


class Ranks:
    """Runs in lines, a line for each rank; a line that is empty is dropped when the lowest is looked for.

    Examples
    --------
    >>> ranks = Ranks()
    >>> ranks.append(Run(0, 2), 7.5); ranks.append(Run(4, 1), 3)
    >>> ranks.lowest().first()
    Run(start=4, count=1)
    """

    __slots__ = ("_heap", "_lines", "books")

    def __init__(self) -> None:
        self.books = RunLine()  # stands for all lines: they share what it knows
        self._lines: dict[float, RunLine] = {}
        self._heap: list[float] = []  # the keys of `_lines`

    def append(self, run: Run, rank: float, value: float = 0) -> None:
        """Put a run that stands in no line at the tail of the line of its rank."""
        self._line(rank).append(run, value)

    def move(self, node: Node, rank: float, value: float = 0) -> None:
        """Put a node at the tail of the line of another rank."""
        self._line(rank).move(node, value)

    def lowest(self) -> RunLine | None:
        """Return the line of the lowest rank that holds anything; None when none does."""
        while self._heap:
            line = self._lines[self._heap[0]]
            if line.blocks:
                return line
            del self._lines[heapq.heappop(self._heap)]
        return None

    def _line(self, rank: float) -> RunLine:
        line = self._lines.get(rank)
        if line is None:
            line = self._lines[rank] = RunLine(self.books, rank)
            heapq.heappush(self._heap, rank)
        return line
