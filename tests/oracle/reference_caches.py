"""Caches of single blocks, each written down as plainly as its definition: what runs are held against."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Protocol


class Cache(Protocol):
    """A cache of single blocks."""

    def access(self, block: int) -> bool:
        """Use a block, bringing it in where it is missing; return whether it was there."""


class Lru:
    """Evicts what was used longest ago."""

    renews = True

    def __init__(self, size: int) -> None:
        self.size = size
        self.line: OrderedDict[int, None] = OrderedDict()

    def access(self, block: int) -> bool:
        """Look, evict, insert."""
        if block in self.line:
            if self.renews:
                self.line.move_to_end(block)
            return True
        if len(self.line) == self.size:
            self.line.popitem(last=False)
        self.line[block] = None
        return False


class Fifo(Lru):
    """Evicts what came first."""

    renews = False


class Lfu:
    """Evicts what was used least often since it came; among equals, what was used longest ago."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.clock = 0
        self.uses: dict[int, tuple[int, int]] = {}

    def access(self, block: int) -> bool:
        """Look, evict, insert."""
        self.clock += 1
        is_hit = block in self.uses
        if not is_hit and len(self.uses) == self.size:
            del self.uses[min(self.uses, key=lambda other: self.uses[other])]
        self.uses[block] = (self.uses.get(block, (0, 0))[0] + 1, self.clock)
        return is_hit


class Min:
    """Evicts what is used farthest in the future; with `bypass` that may be the block that is used now."""

    def __init__(self, size: int, accesses: Sequence[int], bypass: bool = False) -> None:
        self.size = size
        self.bypass = bypass
        self.accesses = accesses
        self.at = -1
        self.here: set[int] = set()

    def access(self, block: int) -> bool:
        """Look, evict, insert."""
        self.at += 1
        if block in self.here:
            return True
        if len(self.here) == self.size:
            leaving = max(self.here, key=self.next_use)
            if self.bypass and self.next_use(block) >= self.next_use(leaving):
                return False
            self.here.remove(leaving)
        self.here.add(block)
        return False

    def next_use(self, block: int) -> float:
        """Return the index of the next access to a block."""
        later = range(self.at + 1, len(self.accesses))
        return next((index for index in later if self.accesses[index] == block), math.inf)


class WTinyLfu:
    """A window of 1 %; what leaves it must have been counted more often than the next victim of the main part.

    The main part is an LRU in two segments, of which the upper has 80 %.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.main_size = size - max(1, int(size * 0.01))
        self.upper_size = int(self.main_size * 0.8)
        self.window: OrderedDict[int, None] = OrderedDict()
        self.lower: OrderedDict[int, None] = OrderedDict()
        self.upper: OrderedDict[int, None] = OrderedDict()
        self.counts: dict[int, int] = {}
        self.uses = 0

    def access(self, block: int) -> bool:
        """Look, evict, insert."""
        if block in self.window:
            self.window.move_to_end(block)
            return True
        if block in self.lower or block in self.upper:
            self.use_main(block)
            return True
        if len(self.window) + len(self.lower) + len(self.upper) == self.size:
            self.evict()
        self.window[block] = None
        self.count(block)
        return False

    def use_main(self, block: int) -> None:
        """Lift a block; what the upper segment cannot hold falls back."""
        self.lower.pop(block, None)
        self.upper[block] = None
        self.upper.move_to_end(block)
        if len(self.upper) > self.upper_size:
            self.lower[self.upper.popitem(last=False)[0]] = None
        self.count(block)
        self.uses += 1
        if self.uses == 32 * self.main_size:
            self.uses = 0
            self.counts = {other: count // 2 for other, count in self.counts.items()}

    def evict(self) -> None:
        """Fill the main part from the window; then let the next of the window or of the main part go."""
        while len(self.lower) + len(self.upper) < self.main_size:
            self.admit()
        victims = self.lower or self.upper
        leaving = next(iter(self.window))
        victim = next(iter(victims))
        if self.counts.get(leaving, 0) > self.counts.get(victim, 0):
            del victims[victim]
            self.admit()
        else:
            del self.window[leaving]
            self.count(leaving)

    def admit(self) -> None:
        """Move the next of the window into the lowest segment that has room."""
        block = self.window.popitem(last=False)[0]
        is_full = len(self.lower) >= self.main_size - self.upper_size
        (self.upper if is_full and len(self.upper) < self.upper_size else self.lower)[block] = None
        self.count(block)

    def count(self, block: int) -> None:
        """Count a use."""
        self.counts[block] = self.counts.get(block, 0) + 1
