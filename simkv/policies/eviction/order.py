"""Runs of blocks in lines: append, renew, cut out, look at the first. What orders of recency and arrival share."""

from __future__ import annotations

from simkv.kv.block import Run
from simkv.kv.runmap import RunMap


class Node:
    """One run in a line, between its neighbours."""

    __slots__ = ("after", "before", "line", "run")

    def __init__(self, run: Run, line: RunLine) -> None:
        self.run = run
        self.line = line
        self.before: Node = self
        self.after: Node = self


class RunLine:
    """Disjoint runs in a line, to be taken from the head and each from its end.

    Cutting the middle out of a run leaves both ends in its place, what was behind the cut before what was in front.

    Parameters
    ----------
    beside : a line that this one shares its books with: a block stands in one of them; cutting and taking find it
        in any.
    rank : what the owner calls this line.

    Attributes
    ----------
    blocks : how many stand in it.

    Examples
    --------
    >>> line = RunLine()
    >>> line.append(Run(0, 4)); line.append(Run(10, 2))
    >>> line.cut(Run(1, 2))
    >>> [line.pop_first() for _ in range(3)]
    [Run(start=3, count=1), Run(start=0, count=1), Run(start=10, count=2)]
    """

    __slots__ = ("_end", "_nodes", "blocks", "rank")

    def __init__(self, beside: RunLine | None = None, rank: int = 0) -> None:
        self._end = Node(Run(0, 0), self)  # sentinel of a circular list
        self._nodes: RunMap[Node] = RunMap() if beside is None else beside._nodes
        self.blocks = 0
        self.rank = rank

    def first(self) -> Run | None:
        """Return the run at the head; None when the line is empty."""
        node = self._end.after
        return None if node is self._end else node.run

    def first_count(self) -> int:
        """Return how many blocks the run at the head has; 0 when the line is empty."""
        return self._end.after.run[1]

    def last(self) -> Run | None:
        """Return the run at the tail; None when the line is empty."""
        node = self._end.before
        return None if node is self._end else node.run

    def append(self, run: Run) -> None:
        """Put a run that stands in no line at the tail."""
        node = Node(run, self)
        self.blocks += run[1]
        self._link(node, self._end.before)
        self._nodes.put(run, node)

    def renew(self, run: Run) -> None:
        """Take the blocks of `run` out of the lines where they stand and put all of `run` at the tail of this one."""
        node = self._nodes.exactly(run)
        if node is None:
            self.cut(run)
            self.append(run)
        elif node is not self._end.before:
            self._move(node)

    def cut(self, run: Run) -> None:
        """Take the blocks of `run` out of the lines, wherever they stand."""
        self.take(run)

    def take(self, run: Run) -> list[tuple[Run, RunLine]]:
        """Cut out the blocks of `run`; return the pieces in order of id, each with the line that it stood in.

        Neighbours out of one line are one piece.
        """
        taken: list[tuple[Run, RunLine]] = []
        for piece, node in self._nodes.take(run):
            line = node.line
            start, count = piece
            line.blocks -= count
            first, whole = node.run
            end, last = start + count, first + whole
            if first < start:
                node.run = Run(first, start - first)
                if end < last:
                    back = Node(Run(end, last - end), line)
                    self._link(back, node.before)
                    self._nodes.remove(back.run)
                    self._nodes.put(back.run, back)
            elif end < last:
                node.run = Run(end, last - end)
            else:
                self._unlink(node)
            if taken and taken[-1][1] is line and taken[-1][0][0] + taken[-1][0][1] == start:
                before = taken[-1][0]
                taken[-1] = (Run(before[0], before[1] + count), line)
            else:
                taken.append((piece, line))
        return taken

    def pop_first(self) -> Run:
        """Take the head out and return it; the line must not be empty."""
        run = self._end.after.run
        self.cut(run)
        return run

    def line_of(self, run: Run) -> RunLine | None:
        """Return the line in which all of `run` stands as one; None where it does not stand as one run."""
        node = self._nodes.exactly(run)
        return None if node is None else node.line

    def _move(self, node: Node) -> None:
        """Put a node, of any of the lines, at the tail of this one."""
        count = node.run[1]
        node.line.blocks -= count
        self.blocks += count
        node.line = self
        self._unlink(node)
        self._link(node, self._end.before)

    @staticmethod
    def _link(node: Node, before: Node) -> None:
        node.before, node.after = before, before.after
        before.after.before = node
        before.after = node

    @staticmethod
    def _unlink(node: Node) -> None:
        node.before.after = node.after
        node.after.before = node.before
