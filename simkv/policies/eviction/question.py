"""Which KV leaves a full buffer? The form in which every eviction policy answers."""

from __future__ import annotations

from typing import Protocol

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
        """`run` was used; called when the use ends, the end of a prompt before its front."""

    def removed(self, run: Run) -> None:
        """`run` can no longer be evicted: it left, or it was offered as victim while in use."""

    def victim(self, need_bytes: int) -> Run | None:
        """Return what to evict next; None when nothing is evictable.

        The buffer takes as much of it as it needs, from the end (the blocks that most depend on others).
        """


EVICTION: Registry[Eviction] = Registry("eviction policy", "simkv.eviction")
