"""A small window of the recent, whose leavers must have been used more often than what they displace."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Literal

from simkv.kv.block import Run
from simkv.kv.runmap import RunMap
from simkv.policies.eviction.order import RunLine
from simkv.policies.eviction.question import EVICTION, Coming
from simkv.policies.eviction.sketch import Sketch
from simkv.policies.eviction.slru import Segments
from simkv.policies.ranges import check_share


class Counts:
    """How often blocks were counted lately; all counts are halved now and then, and what is 0 is forgotten.

    Examples
    --------
    >>> counts = Counts()
    >>> counts.add(Run(0, 4)); counts.add(Run(2, 2))
    >>> counts.at_end(Run(0, 4))
    (2, 2)
    """

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: RunMap[int] = RunMap()

    def add(self, run: Run) -> None:
        """Count each block of `run` once more; what goes on alike behind it is one run with it."""
        counts = self._counts
        pieces = [(piece, count + 1) for piece, count in counts.take(run)]
        if sum([piece[1] for piece, _ in pieces]) < run[1]:
            known = RunMap[int]()
            for piece, count in pieces:
                known.put(piece, count)
            pieces = sorted([*pieces, *((gap, 1) for gap in known.gaps(run))])
        end = run[0] + run[1]
        behind = counts.overlapping(Run(end, 1))
        if behind and behind[0][0][0] == end and behind[0][1] == pieces[-1][1]:
            counts.remove(behind[0][0])
            end += behind[0][0][1]
        for piece, count in reversed(pieces):
            start = piece[0]
            counts.put(Run(start, end - start), count)
            end = start

    def at_end(self, run: Run) -> tuple[int, int]:
        """Return how many blocks at the end of `run` have one count, and that count."""
        found = self._counts.overlapping(run)
        if not found:
            return run[1], 0
        (start, length), count = found[-1]
        end = run[0] + run[1]
        if start + length < end:
            return end - start - length, 0
        return end - max(start, run[0]), count

    def halve(self) -> None:
        """Halve all counts, rounding down."""
        counts: RunMap[int] = RunMap()
        for run, count in self._counts:
            if count > 1:
                counts.put(run, count // 2)
        self._counts = counts


@EVICTION.register("w-tinylfu")
@dataclass
class WTinyLfu:
    """Let new blocks pass a window; what leaves it stays only if it was used more often than the next main victim.

    The main part is a segmented LRU. Uses are counted when a block comes, when it is used in the main part, and when it
    leaves the window; counts are halved after as many uses of the main part as are `sample` times its blocks.

    Parameters
    ----------
    window_ratio : share of the room for the window; at least one block.
    protected_ratio : share of the main part for what was used again there.
    sample : see above.
    counts : "exact", or "sketch": in counters that blocks share, as those must who have no room for exact counts; it is
        slower here, block by block, and hits less often where blocks are many times the room.

    Source: Einziger, Friedman, Manes, "TinyLFU: a highly efficient cache admission policy", ACM Transactions on Storage
    13(4), 2017; what is counted follows libCacheSim.
    """

    window_ratio: float = 0.01
    protected_ratio: float = 0.8
    sample: int = 32
    counts: Literal["exact", "sketch"] = "exact"
    _window: RunLine = field(default_factory=RunLine, init=False, repr=False)
    _main: Segments = field(init=False, repr=False)
    _main_blocks: int = field(default=sys.maxsize, init=False, repr=False)
    _counts: Counts | Sketch = field(default_factory=Counts, init=False, repr=False)
    _uses: int = field(default=0, init=False, repr=False)
    _choice: Run | None = field(default=None, init=False, repr=False)
    _is_leaving: bool = field(default=False, init=False, repr=False)  # what is removed next, is so as a victim
    _enters: bool = field(default=False, init=False, repr=False)  # for each block that goes, one of the window stays

    def __post_init__(self) -> None:
        check_share("window_ratio", self.window_ratio)
        check_share("protected_ratio", self.protected_ratio)
        if self.sample < 1:
            raise ValueError(f"sample must be at least 1, got {self.sample}")
        if self.counts not in ("exact", "sketch"):
            raise ValueError(f"counts must be 'exact' or 'sketch', got {self.counts!r}")
        self._main = Segments(2, self._window)

    def sized(self, blocks: int) -> None:
        """Divide the room."""
        self._main_blocks = blocks - max(1, int(blocks * self.window_ratio))
        protected = int(self._main_blocks * self.protected_ratio)
        self._main.sized([self._main_blocks - protected, protected])
        if self.counts == "sketch":
            self._counts = Sketch(self._main_blocks)

    def inserted(self, run: Run, now_s: float) -> None:
        """Count it, and let it into the window."""
        self._choice, self._is_leaving = None, False
        self._counts.add(run)
        self._window.append(run)

    def used(self, run: Run, now_s: float) -> None:
        """Renew it in the window, or count it and lift it in the main part, from its end on."""
        self._choice = None
        while run[1]:
            node = self._window.isolate(run)[-1]  # the others may fall while this one is lifted
            start = node.run[0]
            if node.line is self._window:
                self._window.move(node, 1)
                self._window.join(node)
            else:
                self._use_main(node.run)
            run = Run(run[0], start - run[0])

    def removed(self, run: Run) -> None:
        """Forget it; if it is a main victim, let what displaces it in from the window."""
        self._choice = None
        self._window.cut(run)
        if not self._is_leaving:
            return
        if not self._enters:
            self._counts.add(run)  # it leaves the window
            return
        self._enter(run[1])

    def victim(self, need_bytes: int) -> Run | None:
        """Return what leaves: the next of the window, or of the main part if that was used less often."""
        if self._choice is None:
            self._choice = self._chosen()
        self._is_leaving = True
        return self._choice

    def _chosen(self) -> Run | None:
        room = self._main_blocks - sum(line.blocks for line in self._main.lines)
        if room > 0:
            self._enter(min(room, self._window.blocks))
        leaving, staying = self._window.first(), self._main.lowest().first()
        if leaving is None or staying is None:
            self._enters = False
            return leaving or staying
        leavers, often = self._counts.at_end(leaving)
        stayers, seldom = self._counts.at_end(staying)
        self._enters = often > seldom
        if self._enters:
            count = min(leavers, stayers)
            return Run(staying[0] + staying[1] - count, count)
        return Run(leaving[0] + leaving[1] - leavers, leavers)

    def _enter(self, blocks: int) -> None:
        """Move the next blocks of the window into the main part, counting them."""
        while blocks and (first := self._window.first()) is not None:
            count = min(blocks, first[1])
            piece = Run(first[0] + first[1] - count, count)
            self._window.cut(piece)
            self._main.append(piece, 1)
            self._counts.add(piece)
            blocks -= count

    def _use_main(self, run: Run) -> None:
        """Lift and count; counts are halved in the middle of a run if it is their turn then."""
        self._main.lift(run)
        while run[1]:
            count = min(run[1], self.sample * self._main_blocks - self._uses)
            self._counts.add(Run(run[0] + run[1] - count, count))
            run = Run(run[0], run[1] - count)
            self._uses += count
            if self._uses == self.sample * self._main_blocks:
                self._uses = 0
                self._counts.halve()

    def coming(self, run: Run) -> Coming:
        """Return as many as the victim gives: what comes in goes behind all others of the window."""
        victim = self.victim(1)
        return Coming(1 if victim is None else victim[1])

    def passed(self, run: Run, now_s: float) -> None:
        """Do nothing: everything is stored."""
