"""Which KV leaves a full buffer? The form in which every eviction policy answers.

Four hooks are the question. A policy that must know more has one of the optional hooks below as well, and is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol, runtime_checkable

from simkv.kv.block import Run
from simkv.registry import Registry


class Eviction(Protocol):
    """Hooks that a buffer calls; O(1) or O(log n) each, never a scan.

    Runs given to the hooks need not be those given before: a use may touch, and a removal may cut, a part
    of what was inserted, or span several insertions.
    """

    def inserted(self, run: Run, now_s: float) -> None:
        """`run` became evictable: it was filled, or was passed over while in use and is free again."""

    def used(self, run: Run, now_s: float) -> None:
        """`run` was used; called when the use ends, the end of a prompt before its front.

        What is brought for a request is inserted and used at once; what is prefetched is used later. Its first use
        is the one it came for: only later ones are reuse.
        """

    def removed(self, run: Run) -> None:
        """`run` can no longer be evicted: it left, or it was offered as victim while in use."""

    def victim(self, need_bytes: int) -> Run | None:
        """Return what to evict next; None when nothing is evictable.

        The buffer takes as much of it as it needs, from the end (the blocks that most depend on others).
        """


@runtime_checkable
class Foreseeing(Protocol):
    """An oracle that must know the recorded order of accesses."""

    def foresee(self, accesses: Iterable[tuple[Run, ...]]) -> None:
        """Learn the runs of each access, in order; called once, before the run."""


@runtime_checkable
class Sized(Protocol):
    """A policy that divides the room, and so must know how much there is."""

    def sized(self, blocks: int) -> None:
        """Learn how many blocks the buffer holds; called once, before the run."""


@runtime_checkable
class Priced(Protocol):
    """A policy that weighs what it costs to get a block back."""

    def priced(self, recompute_s: Callable[[Run], float]) -> None:
        """Learn what it costs to compute a block of a run again [s], at its middle's depth in its prompt.

        Called once, before the run; asked only of blocks that some prompt has named.
        """


@runtime_checkable
class Expiring(Protocol):
    """A policy that drops blocks though nobody needs their room."""

    def expired(self, now_s: float) -> Run | None:
        """Return what is dropped now, all of it; None when there is nothing. Asked until it says so."""


@runtime_checkable
class Told(Protocol):
    """A policy that somebody tells how far in the future blocks are used."""

    def told(self, run: Run, steps: float) -> None:
        """`run`, here or not, is used in so many steps; `math.inf` = not that anybody knows."""


class Coming(NamedTuple):
    """How many of the blocks that are about to come may come together, and whether they stay.

    False: each would be the next to leave, for the next of them or at once, so none of them is stored.
    """

    blocks: int
    stays: bool = True


@runtime_checkable
class Foretold(Protocol):
    """A policy that can say how blocks that come one by one may come together, the same blocks leaving for them.

    Replays of traces ask (`simkv trace mrc`); without this hook blocks come one by one.
    """

    def coming(self, run: Run) -> Coming:
        """Say it of blocks that come from the end of `run` on (for oracles: from its front on) into a full buffer.

        Asked before anything leaves for them; what comes next is what was answered, and `passed` tells of what is
        not stored.
        """

    def passed(self, run: Run, now_s: float) -> None:
        """`run` was used, and not stored."""


EVICTION: Registry[Eviction] = Registry("eviction policy", "simkv.eviction")
