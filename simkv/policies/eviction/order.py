"""Runs of blocks in a line: append, cut out, look at the first. What recency and arrival orders share."""

from __future__ import annotations

from simkv.kv.block import Run
from simkv.kv.runmap import RunMap


class _Node:
    """One run in the line, between its neighbours."""

    __slots__ = ("after", "before", "run")

    def __init__(self, run: Run) -> None:
        self.run = run
        self.before: _Node = self
        self.after: _Node = self


class RunLine:
    """Disjoint runs in a line; cutting the middle out of one leaves both ends in its place.

    Examples
    --------
    >>> line = RunLine()
    >>> line.append(Run(0, 4)); line.append(Run(10, 2))
    >>> line.cut(Run(1, 2))
    >>> [line.pop_first() for _ in range(3)]
    [Run(start=0, count=1), Run(start=3, count=1), Run(start=10, count=2)]
    """

    __slots__ = ("_end", "_nodes")

    def __init__(self) -> None:
        self._end = _Node(Run(0, 0))  # sentinel of a circular list
        self._nodes: RunMap[_Node] = RunMap()

    def first(self) -> Run | None:
        """Return the run at the head; None when the line is empty."""
        node = self._end.after
        return None if node is self._end else node.run

    def append(self, run: Run) -> None:
        """Put a run that overlaps none present at the tail."""
        self._link(_Node(run), self._end.before)

    def cut(self, run: Run) -> None:
        """Take the blocks of `run` out of the line, wherever they stand."""
        for whole, node in self._nodes.overlapping(run):
            self._nodes.remove(whole)
            before = node.before
            self._unlink(node)
            if whole.start < run.start:
                front = _Node(Run(whole.start, run.start - whole.start))
                self._link(front, before)
                before = front
            if whole.end > run.end:
                self._link(_Node(Run(run.end, whole.end - run.end)), before)

    def pop_first(self) -> Run:
        """Take the head out and return it; the line must not be empty."""
        run = self._end.after.run
        self.cut(run)
        return run

    def _link(self, node: _Node, before: _Node) -> None:
        node.before, node.after = before, before.after
        before.after.before = node
        before.after = node
        self._nodes.put(node.run, node)

    @staticmethod
    def _unlink(node: _Node) -> None:
        node.before.after = node.after
        node.after.before = node.before
