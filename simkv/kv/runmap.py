"""Disjoint runs of block ids, each with a value, cut and joined in O(log n).

What does this id range overlap? is the one question behind buffers, eviction orders, directories and
jobs; this is its one answer. It knows nothing of bytes, time or policies.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

from sortedcontainers import SortedList

from simkv.kv.block import Run

V = TypeVar("V")


class RunMap(Generic[V]):
    """A map from disjoint runs of block ids to values.

    Examples
    --------
    >>> held: RunMap[str] = RunMap()
    >>> held.put(Run(0, 10), "a")
    >>> held.take(Run(4, 2))
    [(Run(start=4, count=2), 'a')]
    >>> list(held)
    [(Run(start=0, count=4), 'a'), (Run(start=6, count=4), 'a')]
    """

    __slots__ = ("_starts", "_values")

    def __init__(self) -> None:
        self._starts: SortedList[int] = SortedList()
        self._values: dict[int, tuple[int, V]] = {}  # start -> (count, value)

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[tuple[Run, V]]:
        for start in self._starts:
            count, value = self._values[start]
            yield Run(start, count), value

    def put(self, run: Run, value: V) -> None:
        """Add a run that overlaps none present; neighbours are not joined."""
        self._starts.add(run.start)
        self._values[run.start] = (run.count, value)

    def remove(self, run: Run) -> V:
        """Remove a run exactly as it is stored; return its value."""
        self._starts.remove(run.start)
        return self._values.pop(run.start)[1]

    def overlapping(self, run: Run) -> list[tuple[Run, V]]:
        """Return the stored runs that share a block with `run`, whole, in order of id."""
        exact = self._values.get(run.start)
        if exact is not None and exact[0] >= run.count:  # the common case: asked as it was stored
            return [(Run(run.start, exact[0]), exact[1])]
        starts, values = self._starts, self._values
        index = starts.bisect_right(run.start) - 1
        if index >= 0:
            start = starts[index]
            if start + values[start][0] <= run.start:
                index += 1
        else:
            index = 0
        found = []
        end, size = run.end, len(starts)
        while index < size:
            start = starts[index]
            if start >= end:
                break
            count, value = values[start]
            found.append((Run(start, count), value))
            index += 1
        return found

    def take(self, run: Run) -> list[tuple[Run, V]]:
        """Remove the part of the map inside `run`; return the pieces removed, cut to `run`.

        What sticks out of `run` at either end stays, with its value.
        """
        pieces = []
        for (start, count), value in self.overlapping(run):
            end = start + count
            front, back = max(start, run.start), min(end, run.end)
            if start < front:
                self._values[start] = (front - start, value)
            else:
                self._starts.remove(start)
                del self._values[start]
            if end > back:
                self.put(Run(back, end - back), value)
            pieces.append((Run(front, back - front), value))
        return pieces

    def gaps(self, run: Run) -> list[Run]:
        """Return the parts of `run` that are not in the map, in order of id.

        Examples
        --------
        >>> held: RunMap[None] = RunMap()
        >>> held.put(Run(3, 2), None)
        >>> held.gaps(Run(0, 10))
        [Run(start=0, count=3), Run(start=5, count=5)]
        """
        at, end = run.start, run.end
        gaps = []
        for (start, count), _ in self.overlapping(run):
            if start > at:
                gaps.append(Run(at, start - at))
            at = max(at, start + count)
        if at < end:
            gaps.append(Run(at, end - at))
        return gaps

    def covers(self, run: Run) -> bool:
        """Return whether every block of `run` is in the map."""
        return not self.gaps(run)
