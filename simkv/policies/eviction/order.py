"""Runs of blocks in lines: append, renew, cut out, look at the first. What orders of recency and arrival share."""

from __future__ import annotations

from simkv.kv.block import Run
from simkv.kv.runmap import RunMap


class Node:
    """One run in a line, between its neighbours.

    Attributes
    ----------
    run : its blocks.
    line : where it stands; None once it has left.
    value : what the owner of the line notes of each of its blocks.
    before, after : its neighbours; `after` leads back into the line also from a node that has left.
    """

    __slots__ = ("after", "before", "line", "run", "value")

    def __init__(self, run: Run, line: RunLine, value: float) -> None:
        self.run = run
        self.line: RunLine | None = line
        self.value = value
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

    __slots__ = ("_nodes", "blocks", "end", "rank")

    def __init__(self, beside: RunLine | None = None, rank: float = 0) -> None:
        self.end = Node(Run(0, 0), self, 0)  # sentinel of a circular list
        self._nodes: RunMap[Node] = RunMap() if beside is None else beside._nodes
        self.blocks = 0
        self.rank = rank

    def first(self) -> Run | None:
        """Return the run at the head; None when the line is empty."""
        node = self.end.after
        return None if node is self.end else node.run

    def last(self) -> Run | None:
        """Return the run at the tail; None when the line is empty."""
        node = self.end.before
        return None if node is self.end else node.run

    def append(self, run: Run, value: float = 0) -> None:
        """Put a run that stands in no line at the tail."""
        node = Node(run, self, value)
        self.blocks += run[1]
        _link(node, self.end.before)
        self._nodes.put(run, node)

    def renew(self, run: Run, value: float = 0) -> None:
        """Take the blocks of `run` out of the lines where they stand and put all of `run` at the tail of this one."""
        node = self._nodes.exactly(run)
        if node is None:
            self.cut(run)
            self.append(run, value)
        else:
            self.move(node, value)

    def move(self, node: Node, value: float = 0) -> None:
        """Put a node of any of the lines at the tail of this one."""
        node.value = value
        if node is self.end.before:
            return
        line, count = node.line, node.run[1]
        if line is not self:
            assert line is not None
            line.blocks -= count
            self.blocks += count
            node.line = self
        _unlink(node)
        _link(node, self.end.before)

    def cut(self, run: Run) -> None:
        """Take the blocks of `run` out of the lines, wherever they stand."""
        self.take(run)

    def take(self, run: Run) -> list[tuple[Run, RunLine, float]]:
        """Cut out the blocks of `run`; return the pieces in order of id, each with its line and value.

        Neighbours that are alike are one piece.
        """
        taken: list[tuple[Run, RunLine, float]] = []
        for piece, node in self._nodes.take(run):
            line = node.line
            assert line is not None
            start, count = piece
            line.blocks -= count
            first, whole = node.run
            end, last = start + count, first + whole
            if first < start:
                front = Run(first, start - first)
                if end < last:
                    node.run = Run(end, last - end)
                    self._put_behind(node, front)
                else:
                    node.run = front
            elif end < last:
                node.run = Run(end, last - end)
            else:
                _unlink(node)
                node.line = None
            if taken:
                before = taken[-1]
                if before[1] is line and before[2] == node.value and before[0][0] + before[0][1] == start:
                    taken[-1] = (Run(before[0][0], before[0][1] + count), line, node.value)
                    continue
            taken.append((piece, line, node.value))
        return taken

    def isolate(self, run: Run) -> list[Node]:
        """Return the nodes that make up `run`, in order of id, what sticks out of it having been cut off in place."""
        exact = self._nodes.exactly(run)
        if exact is not None:
            return [exact]
        found = []
        for whole, node in self._nodes.overlapping(run):
            start, end = max(whole[0], run[0]), min(whole[0] + whole[1], run[0] + run[1])
            last = whole[0] + whole[1]
            if start == whole[0] and end == last:
                found.append(node)
                continue
            self._nodes.remove(whole)
            inside, back, front = Run(start, end - start), Run(end, last - end), Run(whole[0], start - whole[0])
            pieces = [piece for piece in (back, inside, front) if piece[1]]
            node.run = pieces[0]  # what looks at a node goes on looking at what goes first
            self._nodes.put(pieces[0], node)
            at = node
            for piece in pieces:
                if piece is not node.run:
                    at = self._put_behind(at, piece)
                if piece is inside:
                    found.append(at)
        return found

    def join(self, node: Node) -> None:
        """Make one run of a node and the one before it in its line, where they are alike and it goes on in front."""
        before = node.before
        start, count = node.run
        if before.run[0] != start + count or before.value != node.value or before is self.end:
            return
        self._nodes.remove(before.run)
        self._nodes.remove(node.run)
        before.run = Run(start, count + before.run[1])
        self._nodes.put(before.run, before)
        _unlink(node)
        node.line = None

    def at(self, run: Run) -> Node | None:
        """Return the node of a run that stands somewhere as one; None when it does not."""
        return self._nodes.exactly(run)

    def gaps(self, run: Run) -> list[Run]:
        """Return the parts of `run` that stand in no line, in order of id."""
        return self._nodes.gaps(run)

    def overlapping(self, run: Run) -> list[tuple[Run, Node]]:
        """Return the runs that share a block with `run`, whole, in order of id, with their nodes."""
        return self._nodes.overlapping(run)

    def pop_first(self) -> Run:
        """Take the head out and return it; the line must not be empty."""
        run = self.end.after.run
        self.cut(run)
        return run

    def _put_behind(self, node: Node, run: Run) -> Node:
        """File a cut-off piece of a node behind it."""
        assert node.line is not None
        piece = Node(run, node.line, node.value)
        _link(piece, node)
        if self._nodes.exactly(run) is not None:
            self._nodes.remove(run)
        self._nodes.put(run, piece)
        return piece


def _link(node: Node, before: Node) -> None:
    node.before, node.after = before, before.after
    before.after.before = node
    before.after = node


def _unlink(node: Node) -> None:
    node.before.after = node.after
    node.after.before = node.before
