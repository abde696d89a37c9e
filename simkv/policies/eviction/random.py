"""Any block, all alike."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from simkv.kv.block import Run
from simkv.kv.runmap import RunMap
from simkv.policies.eviction.question import EVICTION, Coming
from simkv.rng import stream


class _Slot:
    """A run and its place in the list of its class."""

    __slots__ = ("index", "run")

    def __init__(self, run: Run, index: int) -> None:
        self.run = run
        self.index = index


@EVICTION.register("random")
@dataclass
class Random:
    """Evict a block drawn uniformly.

    Parameters
    ----------
    seed : of the draws.

    Source: folklore; Belady, "A study of replacement algorithms for a virtual-storage computer", IBM Systems Journal
    5(2), 1966.
    """

    seed: int = 1
    _slots: RunMap[_Slot] = field(default_factory=RunMap, init=False, repr=False)
    _classes: dict[int, list[_Slot]] = field(default_factory=dict, init=False, repr=False)  # by bits of their counts
    _blocks: dict[int, int] = field(default_factory=dict, init=False, repr=False)  # in each class
    _choice: Run | None = field(default=None, init=False, repr=False)
    _came: Run | None = field(default=None, init=False, repr=False)  # of these, one leaves next
    _draws: random.Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._draws = stream(self.seed, "random eviction")

    def inserted(self, run: Run, now_s: float) -> None:
        """Let it take part in the draws."""
        self._choice = None
        self._file(run)

    def used(self, run: Run, now_s: float) -> None:
        """Do nothing: use does not count."""

    def removed(self, run: Run) -> None:
        """Let what is left of its pieces take part on."""
        self._choice = None
        for whole, slot in self._slots.overlapping(run):
            self._slots.remove(whole)
            line = self._classes[slot.run[1].bit_length()]
            line[-1].index = slot.index
            line[slot.index] = line[-1]
            line.pop()
            self._blocks[slot.run[1].bit_length()] -= slot.run[1]
            if whole[0] < run[0]:
                self._file(Run(whole[0], run[0] - whole[0]))
            if whole[0] + whole[1] > run[0] + run[1]:
                self._file(Run(run[0] + run[1], whole[0] + whole[1] - run[0] - run[1]))

    def victim(self, need_bytes: int) -> Run | None:
        """Return a block drawn among all; the same one until it leaves or others come."""
        if self._choice is None:
            self._choice = self._drawn()
        return self._choice

    def coming(self, run: Run) -> Coming:
        """Return as many as come until a draw falls on one of those that have come; then that one leaves."""
        if self._came is not None:
            self._choice = Run(self._came[0] + int(self._draws.random() * self._came[1]), 1)
            self._came = None
            return Coming(1)
        total = sum(self._blocks.values())
        for count in range(1, min(run[1], total)):
            if self._draws.random() * total < count:
                self._came = Run(run.end - count, count)
                return Coming(count)
        return Coming(max(1, min(run[1], total)))

    def passed(self, run: Run, now_s: float) -> None:
        """Do nothing: everything is stored."""

    def _file(self, run: Run) -> None:
        bits = run[1].bit_length()
        line = self._classes.setdefault(bits, [])
        slot = _Slot(run, len(line))
        line.append(slot)
        self._blocks[bits] = self._blocks.get(bits, 0) + run[1]
        self._slots.put(run, slot)

    def _drawn(self) -> Run | None:
        """Draw a class by its blocks, then a block of it: runs of one class are alike to a factor of 2."""
        total = sum(self._blocks.values())
        if not total:
            return None
        draw = self._draws.random
        left = int(draw() * total)
        bits = 0
        for bits, blocks in self._blocks.items():  # noqa: B007 - the class that the draw falls into
            if left < blocks:
                break
            left -= blocks
        line = self._classes[bits]
        while True:
            run = line[int(draw() * len(line))].run
            place = int(draw() * (1 << bits))
            if place < run[1]:
                return Run(run[0] + place, 1)
