"""How often used, times what it costs to get back, on top of what was worth keeping lately."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from simkv.kv.block import Run
from simkv.policies.eviction.question import EVICTION, Coming
from simkv.policies.eviction.ranks import Ranks


@EVICTION.register("gdsf")
@dataclass
class Gdsf:
    """Evict the lowest worth: uses since it came x cost of a block, on top of the worth of the last one evicted.

    All blocks have one size. The blocks of a run that is used as one share the cost of its middle. A block that comes
    in and is worth less than all others is not stored, where that can be (`simkv trace mrc`).

    Parameters
    ----------
    cost : "transfer", the same for every block; or "recompute", which grows with a block's depth in its prompt (in a
        simulation: by the profile of the server's GPU; in a replay of a trace alone all blocks cost the same).

    Source: Cherkasova, "Improving WWW proxies performance with Greedy-Dual-Size-Frequency caching policy", HP
    Laboratories HPL-98-69R1, 1998.
    """

    cost: Literal["transfer", "recompute"] = "transfer"
    _worths: Ranks = field(default_factory=Ranks, init=False, repr=False)
    _last: float = field(default=0.0, init=False, repr=False)
    _entry: float | None = field(default=None, init=False, repr=False)  # the same, before what comes made room
    _recompute_s: Callable[[Run], float] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.cost not in ("transfer", "recompute"):
            raise ValueError(f"cost must be 'transfer' or 'recompute', got {self.cost!r}")

    def priced(self, recompute_s: Callable[[Run], float]) -> None:
        """Learn what it costs to compute a block again."""
        self._recompute_s = recompute_s

    def inserted(self, run: Run, now_s: float) -> None:
        """Start at 0 uses: worth what was evicted last."""
        self._worths.append(run, self._base())

    def used(self, run: Run, now_s: float) -> None:
        """Count one more use; its worth is on top of what was evicted last."""
        worths, base = self._worths, self._base()
        self._entry = None
        node = worths.books.at(run)
        if node is not None:
            uses = node.value + 1
            worths.move(node, base + uses * self._cost(run), uses)
            return
        for piece, _, before in reversed(worths.books.take(run)):
            worths.append(piece, base + (before + 1) * self._cost(piece), before + 1)

    def removed(self, run: Run) -> None:
        """Forget it and its uses."""
        self._worths.books.cut(run)

    def victim(self, need_bytes: int) -> Run | None:
        """Return the run that is first in the line of the lowest worth."""
        line = self._worths.lowest()
        if line is None:
            return None
        self._last = line.rank
        return line.first()

    def coming(self, run: Run) -> Coming:
        """Return as many as are worth the least, or as many as are worth less than all that is here."""
        line = self._worths.lowest()
        if line is None:
            return Coming(1)
        cost = self._cost(run)
        if self._last + cost < line.rank:
            less = math.ceil((line.rank - self._last) / cost) - 1
            return Coming(min(run.count, less), stays=False)
        self._entry = self._last
        return Coming(line.blocks if line.rank == self._last else 1)

    def passed(self, run: Run, now_s: float) -> None:
        """Take it for evicted: what comes next must be worth more."""
        self._last += run.count * self._cost(run)

    def _base(self) -> float:
        return self._last if self._entry is None else self._entry

    def _cost(self, run: Run) -> float:
        return 1.0 if self.cost == "transfer" or self._recompute_s is None else self._recompute_s(run)
