"""Which blocks left lately? A bounded memory of runs without content, and how shares of the room are checked."""

from __future__ import annotations

import math

from simkv.kv.block import Run
from simkv.policies.eviction.order import RunLine


class Ghost:
    """The last blocks that left, so many of them; the oldest are forgotten first.

    Attributes
    ----------
    size : how many are remembered; infinite until the room is known.

    Examples
    --------
    >>> ghost = Ghost()
    >>> ghost.size = 3
    >>> ghost.add(Run(0, 2)); ghost.add(Run(10, 2))
    >>> ghost.recall(Run(0, 20))
    [Run(start=0, count=1), Run(start=10, count=2)]
    """

    __slots__ = ("_line", "size")

    def __init__(self) -> None:
        self.size = math.inf
        self._line = RunLine()

    def __len__(self) -> int:
        return self._line.blocks

    def add(self, run: Run) -> None:
        """Remember a run that left from its end to its front."""
        self._line.append(run)
        self.trim(self.size)

    def trim(self, size: float) -> None:
        """Forget the oldest until no more than so many are left."""
        line = self._line
        while line.blocks > size:
            first = line.end.after.run
            count = min(first[1], line.blocks - int(size))
            line.cut(Run(first[0] + first[1] - count, count))

    def recall(self, run: Run) -> list[Run]:
        """Return the parts of `run` that are remembered, and forget them."""
        return [piece for piece, _, _ in self._line.take(run)]

    def at_end(self, run: Run) -> tuple[int, bool]:
        """Return how many blocks at the end of `run` are alike, and whether they are remembered.

        Examples
        --------
        >>> ghost = Ghost()
        >>> ghost.add(Run(4, 2))
        >>> ghost.at_end(Run(0, 6)), ghost.at_end(Run(0, 9))
        ((2, True), (3, False))
        """
        found = self._line.overlapping(run)
        if not found:
            return run[1], False
        (start, count), _ = found[-1]
        end = run[0] + run[1]
        if start + count < end:
            return end - start - count, False
        return end - max(start, run[0]), True
