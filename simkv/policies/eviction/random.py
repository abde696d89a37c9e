"""Any block, all alike."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from itertools import count as count_from

from simkv.kv.block import Run
from simkv.policies.eviction.question import EVICTION, Coming
from simkv.rng import stream


@EVICTION.register("random")
@dataclass
class Random:
    """Evict a block drawn uniformly.

    Blocks are kept one by one, for that is how they leave: a run costs as much as it has blocks.

    Parameters
    ----------
    seed : of the draws.

    Source: folklore; Belady, "A study of replacement algorithms for a virtual-storage computer", IBM Systems Journal
    5(2), 1966.
    """

    seed: int = 1
    _blocks: list[int] = field(default_factory=list, init=False, repr=False)
    _places: dict[int, int] = field(default_factory=dict, init=False, repr=False)  # of each block in that list
    _choice: Run | None = field(default=None, init=False, repr=False)
    _came: Run | None = field(default=None, init=False, repr=False)  # of these, one leaves next
    _draws: random.Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._draws = stream(self.seed, "random eviction")

    def inserted(self, run: Run, now_s: float) -> None:
        """Let its blocks take part in the draws."""
        self._choice = None
        first, count = run
        self._places.update(zip(range(first, first + count), count_from(len(self._blocks)), strict=False))
        self._blocks.extend(range(first, first + count))

    def used(self, run: Run, now_s: float) -> None:
        """Do nothing: use does not count."""

    def removed(self, run: Run) -> None:
        """Take its blocks out of the draws; the last of the list takes the place of each."""
        self._choice = None
        blocks, places = self._blocks, self._places
        for block in range(run[0], run[0] + run[1]):
            place = places.pop(block, None)
            if place is not None:
                last = blocks.pop()
                if last != block:
                    blocks[place] = last
                    places[last] = place

    def victim(self, need_bytes: int) -> Run | None:
        """Return a block drawn among all; the same one until it leaves or others come."""
        if self._choice is None and self._blocks:
            self._choice = Run(self._blocks[int(self._draws.random() * len(self._blocks))], 1)
        return self._choice

    def coming(self, run: Run) -> Coming:
        """Return as many as come until a draw falls on one of those that have come; then that one leaves."""
        if self._came is not None:
            self._choice = Run(self._came[0] + int(self._draws.random() * self._came[1]), 1)
            self._came = None
            return Coming(1)
        total = len(self._blocks)
        for count in range(1, min(run[1], total)):
            if self._draws.random() * total < count:
                self._came = Run(run.end - count, count)
                return Coming(count)
        return Coming(max(1, min(run[1], total)))

    def passed(self, run: Run, now_s: float) -> None:
        """Do nothing: everything is stored."""
