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
