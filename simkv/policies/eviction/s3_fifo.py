"""Three queues by arrival: a small one for the new, a main one, and a memory of what the small one evicted."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

from simkv.kv.block import Run
from simkv.policies.eviction.ghost import Ghost
from simkv.policies.eviction.order import Node, RunLine
from simkv.policies.eviction.question import EVICTION, Coming
from simkv.policies.ranges import check_share

_MOST_USES = 3  # the main queue counts no further: two bits


@EVICTION.register("s3-fifo")
@dataclass
class S3Fifo:
    """Let new blocks pass through a small queue; what is used again there, or comes back soon, enters the main queue.

    Until the room is full for the first time, what the small queue has no place for enters the main queue too, as in
    the authors' code (libCacheSim).

    Parameters
    ----------
    small_ratio : share of the room for the small queue.
    ghost_ratio : how many evicted blocks are remembered, as a share of the room.
    threshold : so many uses after the first, and a block leaves the small queue for the main one.

    Source: Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023.
    """

    small_ratio: float = 0.1
    ghost_ratio: float = 0.9
    threshold: int = 2
    _small: RunLine = field(default_factory=RunLine, init=False, repr=False)
    _main: RunLine = field(init=False, repr=False)
    _ghost: Ghost = field(default_factory=Ghost, init=False, repr=False)
    _small_blocks: int = field(default=sys.maxsize, init=False, repr=False)
    _main_blocks: int = field(default=sys.maxsize, init=False, repr=False)
    _was_full: bool = field(default=False, init=False, repr=False)
    _choice: Node | None = field(default=None, init=False, repr=False)
    _is_leaving: bool = field(default=False, init=False, repr=False)  # what is removed next, is so as a victim
    _returns: Run | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        check_share("small_ratio", self.small_ratio)
        check_share("ghost_ratio", self.ghost_ratio)
        if self.threshold < 1:
            raise ValueError(f"threshold must be at least 1, got {self.threshold}")
        self._main = RunLine(self._small)

    def sized(self, blocks: int) -> None:
        """Divide the room."""
        self._small_blocks = int(blocks * self.small_ratio)
        self._main_blocks = blocks - self._small_blocks
        self._ghost.size = int(blocks * self.ghost_ratio)

    def inserted(self, run: Run, now_s: float) -> None:
        """Put what came back soon into the main queue, all else into the small one."""
        self._choice, self._is_leaving = None, False
        if self._returns is not None:
            self._returns = None
            self._main.append(run)
            return
        for piece in self._ghost.recall(run):
            self._main.append(piece)
        for gap in reversed(self._small.gaps(run)):
            room = gap[1] if self._was_full else min(gap[1], max(0, self._small_blocks - self._small.blocks))
            if room:
                self._small.append(Run(gap.end - room, room))
            if room < gap[1]:
                self._main.append(Run(gap[0], gap[1] - room))

    def used(self, run: Run, now_s: float) -> None:
        """Count the use where it stands."""
        self._choice = None
        for node in reversed(self._small.isolate(run)):
            if node.value <= _MOST_USES:
                node.value += 1
                self._small.join(node)

    def removed(self, run: Run) -> None:
        """Remember it, if it leaves as the victim that the small queue offered."""
        self._choice = None
        for piece, line, _ in reversed(self._small.take(run)):
            if self._is_leaving and line is self._small:
                self._ghost.add(piece)

    def victim(self, need_bytes: int) -> Run | None:
        """Move on what was used again, and return the first run that was not."""
        self._was_full = True
        if self._choice is None:
            self._choice = self._chosen()
        self._is_leaving = True
        return None if self._choice is None else self._choice.run

    def _chosen(self) -> Node | None:
        if self._main.blocks <= self._main_blocks:
            while self._small.blocks:
                node = self._small.end.after
                if node.value <= self.threshold:
                    return node
                self._main.move(node, value=1)
        while self._main.blocks:
            node = self._main.end.after
            if node.value <= 1:
                return node
            self._main.move(node, value=node.value - 1)
        node = self._small.end.after
        return None if node is self._small.end else node

    def coming(self, run: Run) -> Coming:
        """Return as many as the victim gives until the queues change their turns."""
        alike, returns = self._ghost.at_end(run)
        victim = self.victim(1)
        assert victim is not None
        assert self._choice is not None
        spare = self._main_blocks - self._main.blocks
        if self._choice.line is self._small:
            turns = max(1, spare + 1) if returns else alike if spare >= 0 else 1
        else:
            turns = alike if returns else max(1, -spare)
        blocks = min(alike, victim[1], turns)
        if returns:
            self._returns = Run(run.end - blocks, blocks)
            self._ghost.recall(self._returns)
        return Coming(blocks)

    def passed(self, run: Run, now_s: float) -> None:
        """Do nothing: everything is stored."""
