"""Everything lives as long as waiting for its next use is worth it, by the gaps between uses seen so far."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from simkv.kv.block import Run
from simkv.policies.eviction.order import RunLine
from simkv.policies.eviction.question import EVICTION, Coming

_REMEMBERED = 10_000  # blocks that left, whose next use may still show how long their gap was


def best_ttl_s(gaps_s: Sequence[float], gain_s: float) -> float:
    """Return the time to live that gains most: of 0 and the observed gaps, the argmax of P(gap <= t) x gain - t.

    Parameters
    ----------
    gaps_s : [s] observed gaps, sorted.
    gain_s : [s] what a next use in time saves.

    Examples
    --------
    >>> best_ttl_s([1.0, 2.0, 50.0], gain_s=10.0), best_ttl_s([1.0, 2.0, 50.0], gain_s=2.0)
    (2.0, 0.0)
    """
    best_s, most = 0.0, 0.0
    for index, gap_s in enumerate(gaps_s, start=1):
        worth = index / len(gaps_s) * gain_s - gap_s
        if worth > most:
            best_s, most = gap_s, worth
    return best_s


@EVICTION.register("continuum-ttl")
@dataclass
class ContinuumTtl:
    """Drop what was not used for as long as waiting pays; where room is short, evict what was used longest ago.

    A gap is the time from one use of a run to its next, also where it has left in between. Until `samples` gaps have
    been seen, they are taken for exponential with a mean of `cold_gap_s`.

    Parameters
    ----------
    gain_s : what a next use in time saves, per second of holding.
    samples : how many of the last gaps count.
    cold_gap_s : mean gap that is believed at first.

    Source: Li et al., "Continuum: efficient and robust multi-turn LLM agent scheduling with KV cache time-to-live",
    arXiv 2511.02230, 2025.
    """

    gain_s: float = 60.0
    samples: int = 100
    cold_gap_s: float = 1.0
    _line: RunLine = field(default_factory=RunLine, init=False, repr=False)  # by last use
    _left: RunLine = field(default_factory=RunLine, init=False, repr=False)
    _gaps_s: deque[float] = field(default_factory=deque, init=False, repr=False)
    _sorted_s: list[float] = field(default_factory=list, init=False, repr=False)
    ttl_s: float = field(default=0.0, init=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("gain_s", "cold_gap_s"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be above 0 and finite, got {getattr(self, name)}")
        if self.samples < 1:
            raise ValueError(f"samples must be at least 1, got {self.samples}")
        mean_s = self.cold_gap_s
        self.ttl_s = mean_s * math.log(self.gain_s / mean_s) if self.gain_s > mean_s else 0.0

    def inserted(self, run: Run, now_s: float) -> None:
        """Let it live from now on; if it was here lately, learn how long it was not used."""
        for _, _, used_s in self._left.take(run):
            self._learn(now_s - used_s)
        self._line.append(run, now_s)

    def used(self, run: Run, now_s: float) -> None:
        """Let it live from now on, and learn how long it was not used."""
        for node in self._line.isolate(run):
            if now_s > node.value:
                self._learn(now_s - node.value)
        self._line.renew(run, now_s)

    def removed(self, run: Run) -> None:
        """Remember when it was last used."""
        for piece, _, used_s in reversed(self._line.take(run)):
            self._left.append(piece, used_s)
        while self._left.blocks > _REMEMBERED:
            self._left.pop_first()

    def victim(self, need_bytes: int) -> Run | None:
        """Return the run that was used longest ago."""
        return self._line.first()

    def expired(self, now_s: float) -> Run | None:
        """Return a run that is not worth waiting for any longer."""
        node = self._line.end.after
        return node.run if node.run[1] and node.value + self.ttl_s < now_s else None

    def coming(self, run: Run) -> Coming:
        """Return as many as are here: what comes in goes behind all others."""
        return Coming(max(1, self._line.blocks))

    def passed(self, run: Run, now_s: float) -> None:
        """Do nothing: everything is stored."""

    def _learn(self, gap_s: float) -> None:
        self._gaps_s.append(gap_s)
        insort(self._sorted_s, gap_s)
        if len(self._gaps_s) > self.samples:
            del self._sorted_s[bisect_left(self._sorted_s, self._gaps_s.popleft())]
        if len(self._gaps_s) == self.samples:
            self.ttl_s = best_ttl_s(self._sorted_s, self.gain_s)
