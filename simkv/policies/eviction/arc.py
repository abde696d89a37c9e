"""Two lists, for what was used once and more often, whose sizes follow what was missed for having left them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from simkv.kv.block import Run
from simkv.policies.eviction.ghost import Ghost
from simkv.policies.eviction.order import RunLine
from simkv.policies.eviction.question import EVICTION, Coming


@EVICTION.register("arc")
@dataclass
class Arc:
    """Evict what was used longest ago, of those used once or of those used again, whichever were missed less.

    Both lists remember what left them; a block that comes back shows that its list was too short.

    Source: Megiddo, Modha, "ARC: a self-tuning, low overhead replacement cache", FAST 2003.
    """

    _once: RunLine = field(default_factory=RunLine, init=False, repr=False)  # T1
    _again: RunLine = field(init=False, repr=False)  # T2
    _left_once: Ghost = field(default_factory=Ghost, init=False, repr=False)  # B1
    _left_again: Ghost = field(default_factory=Ghost, init=False, repr=False)  # B2
    _blocks: float = field(default=math.inf, init=False, repr=False)  # c
    _wanted: float = field(default=0.0, init=False, repr=False)  # p: how long T1 should be
    _offered: RunLine | None = field(default=None, init=False, repr=False)
    _turn: RunLine | None = field(default=None, init=False, repr=False)  # whose blocks leave for what was announced
    _returns: bool = field(default=False, init=False, repr=False)
    _returns_to_again: bool = field(default=False, init=False, repr=False)

    def __post_init__(self) -> None:
        self._again = RunLine(self._once)

    def sized(self, blocks: int) -> None:
        """Learn the room: the lists and what they remember are twice as much."""
        self._blocks = blocks

    def inserted(self, run: Run, now_s: float) -> None:
        """Start as used once, or as used again where it is remembered."""
        if not self._returns:
            for ghost in (self._left_once, self._left_again):
                for piece in ghost.recall(run):
                    self._learn(ghost, piece[1])
                    self._again.append(piece, 1)
            for gap in reversed(self._once.gaps(run)):
                self._once.append(gap)
        else:
            self._again.append(run, 1)
        self._returns = self._returns_to_again = False
        self._offered = self._turn = None
        self._left_once.trim(max(0, self._blocks - self._once.blocks))
        self._left_again.trim(2 * self._blocks - self._once.blocks - len(self._left_once) - self._again.blocks)

    def used(self, run: Run, now_s: float) -> None:
        """Move what is used again to the recent end of its list."""
        for node in reversed(self._once.isolate(run)):
            if node.line is self._once and not node.value:
                self._once.move(node, 1)
            else:
                self._again.move(node, 1)

    def removed(self, run: Run) -> None:
        """Remember it, if it leaves as a victim."""
        for piece, line, _ in reversed(self._once.take(run)):
            if line is self._offered:
                (self._left_once if line is self._once else self._left_again).add(piece)

    def victim(self, need_bytes: int) -> Run | None:
        """Return the run used longest ago, of the list that is longer than it should be."""
        if self._turn is not None and self._turn.blocks:
            return self._turn.first()
        once = self._once.blocks
        is_long = once > self._wanted or (once == self._wanted and self._returns_to_again)
        self._offered = self._once if (once and is_long) or not self._again.blocks else self._again
        return self._offered.first()

    def coming(self, run: Run) -> Coming:
        """Return as many as the victim's list gives until the other has its turn; one where it is remembered."""
        last = Run(run[0] + run[1] - 1, 1)
        for ghost in (self._left_once, self._left_again):
            if ghost.at_end(last)[1]:
                self._returns, self._returns_to_again = True, ghost is self._left_again
                self._learn(ghost, 1)
                ghost.recall(last)
                return Coming(1)
        if self.victim(1) is None or self._offered is None:
            return Coming(1)
        self._turn = self._offered
        once, left = self._once.blocks, len(self._left_once)
        spare = self._blocks - once - left
        turns = math.inf if spare <= 0 else spare
        if self._offered is self._again:
            turns = min(turns, math.floor(self._wanted - once) + 1)
            if spare <= 0:
                turns = min(turns, left)
        alike = min(self._left_once.at_end(run)[0], self._left_again.at_end(run)[0])
        return Coming(int(max(1, min(alike, self._offered.blocks, turns))))

    def passed(self, run: Run, now_s: float) -> None:
        """Do nothing: everything is stored."""

    def _learn(self, ghost: Ghost, blocks: int) -> None:
        """Lengthen the list that should have kept the blocks that come back; call before they are recalled."""
        other = self._left_again if ghost is self._left_once else self._left_once
        step = blocks * max(len(other) / max(1, len(ghost)), 1)
        if ghost is self._left_once:
            self._wanted = min(self._wanted + step, self._blocks)
        else:
            self._wanted = max(self._wanted - step, 0.0)
