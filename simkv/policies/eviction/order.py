"""Runs of blocks in a line: append, renew, cut out, look at the first. What recency and arrival orders share."""

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
    """Disjoint runs in a line, to be taken from the head and each from its end.

    Cutting the middle out of a run leaves both ends in its place, what was behind the cut before what was in front.

    Examples
    --------
    >>> line = RunLine()
    >>> line.append(Run(0, 4)); line.append(Run(10, 2))
    >>> line.cut(Run(1, 2))
    >>> [line.pop_first() for _ in range(3)]
    [Run(start=3, count=1), Run(start=0, count=1), Run(start=10, count=2)]
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
        node = _Node(run)
        self._link(node, self._end.before)
        self._nodes.put(run, node)

    def renew(self, run: Run) -> None:
        """Take the blocks of `run` out of the line where they stand and put all of `run` at the tail."""
        node = self._nodes.exactly(run)
        if node is None:
            self.cut(run)
            self.append(run)
        elif node is not self._end.before:
            self._unlink(node)
            self._link(node, self._end.before)

    def cut(self, run: Run) -> None:
        """Take the blocks of `run` out of the line, wherever they stand."""
        for piece, node in self._nodes.take(run):
            first, count = node.run
            start, end, last = piece[0], piece[0] + piece[1], first + count
            if first < start:
                node.run = Run(first, start - first)
                if end < last:
                    back = _Node(Run(end, last - end))
                    self._link(back, node.before)
                    self._nodes.remove(back.run)
                    self._nodes.put(back.run, back)
            elif end < last:
                node.run = Run(end, last - end)
            else:
                self._unlink(node)

    def pop_first(self) -> Run:
        """Take the head out and return it; the line must not be empty."""
        run = self._end.after.run
        self.cut(run)
        return run

    @staticmethod
    def _link(node: _Node, before: _Node) -> None:
        node.before, node.after = before, before.after
        before.after.before = node
        before.after = node

    @staticmethod
    def _unlink(node: _Node) -> None:
        node.before.after = node.after
        node.after.before = node.before
