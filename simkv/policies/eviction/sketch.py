"""About how often were blocks counted lately? In counters that blocks share, so that no count is too low."""

from __future__ import annotations

import math
from array import array

from simkv.kv.block import Run

_MASK = (1 << 64) - 1


class Sketch:
    """A counting Bloom filter: a block raises all of its counters, and its count is the least of them.

    Parameters
    ----------
    entries : blocks that it is made for: with so many, a block that was never counted seems counted with probability
        `error`. More blocks than that collide more often.

    Source: Fan, Cao, Almeida, Broder, "Summary cache: a scalable wide-area Web cache sharing protocol", IEEE/ACM ToN
    8(3), 2000; sizes: Bloom, CACM 13(7), 1970. Mixing: Steele, Lea, Flood, "Fast splittable pseudorandom number
    generators", OOPSLA'14.

    Examples
    --------
    >>> sketch = Sketch(entries=1000)
    >>> sketch.add(Run(0, 4)); sketch.add(Run(3, 1))
    >>> sketch.at_end(Run(0, 4)), sketch.at_end(Run(0, 3))
    ((1, 2), (1, 1))
    """

    __slots__ = ("_counters", "_hashes")

    def __init__(self, entries: int, error: float = 0.001) -> None:
        counters_per_entry = -math.log(error) / math.log(2) ** 2
        self._hashes = math.ceil(math.log(2) * counters_per_entry)
        self._counters = array("L", bytes(8 * max(math.ceil(counters_per_entry * entries), 2 * self._hashes)))

    def add(self, run: Run) -> None:
        """Count each block of `run` once more."""
        counters = self._counters
        for block in range(run[0], run[0] + run[1]):
            for place in self._places(block):
                counters[place] += 1

    def at_end(self, run: Run) -> tuple[int, int]:
        """Return 1, and the count of the last block of `run`: neighbours need not be alike."""
        counters = self._counters
        return 1, min([counters[place] for place in self._places(run[0] + run[1] - 1)])

    def halve(self) -> None:
        """Halve all counters, rounding down."""
        self._counters = array("L", [count >> 1 for count in self._counters])

    def _places(self, block: int) -> list[int]:
        """Return a block's counters: two mixed halves, one step apart (double hashing)."""
        mixed = (block + 0x9E3779B97F4A7C15) & _MASK
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
        mixed ^= mixed >> 31
        first, step, size = mixed & 0xFFFFFFFF, mixed >> 32 | 1, len(self._counters)
        return [(first + turn * step) % size for turn in range(self._hashes)]
