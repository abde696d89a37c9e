"""Who finishes when, among members that share a capacity in proportion to their weights?

Virtual time: all members of a band progress at one speed per unit of weight, so the band keeps one clock
[bits per unit of weight] and each member the clock's value at which it will be done. Whatever the
capacity does and however many members there are, the next to finish is the top of a heap. Pure
arithmetic: no events, no bytes, no classes; `link.py` has those.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Generic, TypeVar

from simkv.network.capacity import RESIDUE_BITS, Capacity

_ROUNDING_STEPS = 16
"""Float steps of the clock time that the sums of one busy period may be off by; see `pop_finished`."""


class Member:
    """Something that a band serves; a band keeps its own notes on it."""

    __slots__ = ("_entry", "_finish_tag", "_weight")

    def __init__(self, weight: float) -> None:
        self._weight = weight
        self._finish_tag = math.inf  # [bit per weight] clock at which it is done
        self._entry = -1  # number of its live heap entry; -1 = not in a band


M = TypeVar("M", bound=Member)


class Band(Generic[M]):
    """Weighted processor sharing; O(log n) an operation, heap entries are deleted lazily.

    The owner says when it is served: `resume` at the start of each spell, `advance` before every change
    during a spell and at its end. A band that is not served stands still. The clock returns to 0 when the
    band empties, which keeps its floats small and makes each busy period independent of the past.

    Parameters
    ----------
    capacity : what it serves with.
    numbers : numbers its heap entries; bands that hand members on to each other share one, so that an entry
        left behind in one band is never taken for a live one of another. Ties go to the lower number.

    References
    ----------
    A. Parekh, R. Gallager, "A generalized processor sharing approach to flow control in integrated
    services networks: the single-node case", IEEE/ACM Trans. Networking 1(3), 1993.

    Examples
    --------
    >>> from simkv.network.capacity import Constant
    >>> band: Band[Member] = Band(Constant(80.0))
    >>> light, heavy = Member(1.0), Member(3.0)
    >>> band.add(light, 120.0)
    >>> band.add(heavy, 120.0)
    >>> band.next_finish_s()  # heavy has 60 of 80 bit/s
    2.0
    """

    __slots__ = ("_capacity", "_clock", "_heap", "_numbers", "_weight", "_weight_error", "members", "time_s")

    def __init__(self, capacity: Capacity, numbers: Iterator[int] | None = None) -> None:
        self._capacity = capacity
        self._numbers = count() if numbers is None else numbers
        self._heap: list[tuple[float, int, M]] = []
        self.members = 0
        self._clock = 0.0
        self._weight = 0.0
        self._weight_error = 0.0
        self.time_s = 0.0

    def __len__(self) -> int:
        return self.members

    @property
    def total_weight(self) -> float:
        """The members' weights, summed."""
        return self._weight + self._weight_error

    def resume(self, t_s: float) -> None:
        """Begin a spell of service at `t_s` [s]."""
        self.time_s = t_s

    def advance(self, t_s: float) -> None:
        """Serve from the last such moment to `t_s` [s]."""
        if t_s > self.time_s:
            self._clock = self._clock_at(t_s)
            self.time_s = t_s

    def add(self, member: M, bits: float) -> None:
        """Let `member` in, with `bits` to send."""
        self.members += 1
        self._add_weight(member._weight)
        self._push(member, self._clock + bits / member._weight)

    def remove(self, member: M) -> float:
        """Take `member` out; return [bit] that it had left."""
        left = self.bits_left(member)
        self._forget(member)
        return left

    def cut(self, member: M, bits: float) -> float:
        """Reduce what `member` has left to `bits` [bit] if it is more; return [bit] cut off."""
        excess = self.bits_left(member) - bits
        if excess <= 0.0:
            return 0.0
        self._push(member, self._clock + bits / member._weight)
        return excess

    def bits_left(self, member: M, t_s: float | None = None) -> float:
        """Return [bit] that `member` has left, now or after being served until `t_s` [s]."""
        clock = self._clock if t_s is None or t_s <= self.time_s else self._clock_at(t_s)
        return max(0.0, (member._finish_tag - clock) * member._weight)

    def next_finish_s(self) -> float:
        """Return [s] when the next member is done if nothing changes; inf if never."""
        head = self._head()
        if head is None:
            return math.inf
        return self._capacity.time_when(self.time_s, (head._finish_tag - self._clock) * self.total_weight)

    def pop_next(self, t_s: float) -> list[M]:
        """Serve until `t_s` [s], which `next_finish_s` gave; take out and return who is done then."""
        head = self._head()
        if head is not None:  # set, not computed: the one who is waited for is done to the last bit
            self._clock = head._finish_tag
        self.time_s = t_s
        return self._pop_up_to(0.0)

    def pop_finished(self) -> list[M]:
        """Take out and return who has nothing left but rounding.

        For the end of a spell: whoever ends at that very moment, in exact arithmetic, must not be left
        with a last billionth of a bit for the next spell.
        """
        rounding_s = _ROUNDING_STEPS * math.ulp(self.time_s)
        return self._pop_up_to(RESIDUE_BITS + rounding_s * self._capacity.rate_at(self.time_s))

    def _pop_up_to(self, bits: float) -> list[M]:
        done: list[M] = []
        while (head := self._head()) is not None and self.bits_left(head) <= bits:
            done.append(head)
            self._forget(head)
        return done

    def clear(self) -> None:
        """Take everybody out."""
        self._heap.clear()
        self.members = 0
        self._clock = self._weight = self._weight_error = 0.0

    def _clock_at(self, t_s: float) -> float:
        return self._clock + self._capacity.bits_between(self.time_s, t_s) / self.total_weight

    def _head(self) -> M | None:
        heap = self._heap
        while heap:
            _, entry, member = heap[0]
            if entry == member._entry:
                return member
            heappop(heap)
        return None

    def _push(self, member: M, finish_tag: float) -> None:
        member._entry = number = next(self._numbers)
        member._finish_tag = finish_tag
        heappush(self._heap, (finish_tag, number, member))
        if len(self._heap) > 2 * self.members + 64:  # mostly stale: memory follows the members, not the past
            self._heap = [item for item in self._heap if item[1] == item[2]._entry]
            heapify(self._heap)

    def _forget(self, member: M) -> None:
        member._entry = -1
        self.members -= 1
        if self.members:
            self._add_weight(-member._weight)
        else:
            self.clear()

    def _add_weight(self, change: float) -> None:
        """Add with the rounding error carried along (Neumaier 1974): light members outlive heavy ones unharmed."""
        total = self._weight + change
        if abs(self._weight) >= abs(change):
            self._weight_error += (self._weight - total) + change
        else:
            self._weight_error += (change - total) + self._weight
        self._weight = total
