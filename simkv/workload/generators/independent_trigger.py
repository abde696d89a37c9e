"""Prefetches that look independent of demand: the workload of the prefetch threshold theorem.

Requests for unique chunks arrive as one Poisson stream, triggers of one prefetch each as another. A trigger opens a
session without asking for anything and asks its chunk with probability p, but only long after the prefetch is done.
So prefetch traffic is an independent Poisson stream of rate n lambda and demand keeps the rate lambda: on a link
shared without priorities a prefetch pays exactly when p exceeds the demand load (papers: Jiang and Kleinrock 1998).

For theory only: nothing is measured here, and no such user exists.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass

from simkv.request import Session, TraceHeader, Turn
from simkv.rng import stream
from simkv.workload.generators.question import GENERATORS, provenance, want

NAME = "independent-trigger"


@GENERATORS.register(NAME)
@dataclass
class IndependentTrigger:
    """Open-loop Poisson demand and independent Poisson prefetch triggers; for the threshold theorem.

    Parameters
    ----------
    request_rate_per_s : [1/s] lambda, requests that want a chunk, prefetched ones included.
    p : probability that a prefetched chunk is asked for.
    n : prefetches a request, so triggers come at rate n lambda; n p < 1 of the requests are theirs.
    horizon_s : [s] sessions start in [0, horizon_s).
    settle_s : [s] from a trigger to its request; long enough that the prefetch is over by then.
    block_tokens : [tokens] a block; each chunk is one block.

    Examples
    --------
    >>> sessions = list(IndependentTrigger(request_rate_per_s=0.5, p=1.0, n=0.5, horizon_s=100).sessions(seed=1))
    >>> {(len(session.chunk_tokens), len(session.turns)) for session in sessions}
    {(1, 1), (1, 2)}
    """

    request_rate_per_s: float = 0.5  # at a service time of 1 s the demand load of the worked example, 0.5
    p: float = 0.6  # just above that load: prefetching pays a little
    n: float = 0.5
    horizon_s: float = 10_000.0
    settle_s: float = 1000.0  # a thousand service times of the worked example
    block_tokens: int = 16

    def __post_init__(self) -> None:
        want(0 < self.request_rate_per_s < math.inf, f"request_rate_per_s: want above 0, got {self.request_rate_per_s}")
        want(0 <= self.p <= 1, f"p: want a probability, 0 to 1, got {self.p}")
        want(0 <= self.n < math.inf, f"n: want at least 0, got {self.n}")
        want(self.n * self.p <= 1, f"n * p: want at most 1 (they are a share of the requests), got {self.n * self.p:g}")
        want(0 < self.horizon_s < math.inf, f"horizon_s: want above 0, got {self.horizon_s}")
        want(0 <= self.settle_s < math.inf, f"settle_s: want at least 0, got {self.settle_s}")
        want(self.block_tokens >= 1, f"block_tokens: want at least 1, got {self.block_tokens}")

    def header(self) -> TraceHeader:
        """Return what is true of all sessions."""
        return TraceHeader(self.block_tokens, "independent", "session", True, provenance(NAME, self))

    def sessions(self, seed: int) -> Iterator[Session]:
        """Yield the sessions of both streams in order of their start."""
        plain = self._plain(seed)
        triggers = self._triggers(seed)
        yield from heapq.merge(plain, triggers, key=lambda session: session.start_s or 0.0)

    def _plain(self, seed: int) -> Iterator[Session]:
        """Yield the requests that nothing announces."""
        rate_per_s = self.request_rate_per_s * (1 - self.n * self.p)
        for index, start_s in enumerate(self._starts(seed, rate_per_s, "plain")):
            turn = Turn(new_tokens=1, answer_tokens=1, chunks=(0,))
            yield Session(f"plain-{index}", (turn,), "independent", None, (self.block_tokens,), start_s)

    def _triggers(self, seed: int) -> Iterator[Session]:
        """Yield the sessions whose first turn only makes a prefetch possible.

        Every one has a second turn, which keeps the session, and so its prefetch, alive; with probability p it asks.
        """
        asked = stream(seed, NAME, "trigger", "asked")
        trigger = Turn(new_tokens=1, answer_tokens=1)
        request = Turn(new_tokens=1, answer_tokens=1, think_s=self.settle_s, gap_kind="human", chunks=(0,))
        parting = Turn(new_tokens=1, answer_tokens=1, think_s=self.settle_s, gap_kind="human")
        for index, start_s in enumerate(self._starts(seed, self.n * self.request_rate_per_s, "trigger")):
            turns = (trigger, request if asked.random() < self.p else parting)
            yield Session(f"trigger-{index}", turns, "independent", None, (self.block_tokens,), start_s)

    def _starts(self, seed: int, rate_per_s: float, kind: str) -> Iterator[float]:
        """Yield [s] the points of a Poisson process up to the horizon."""
        if rate_per_s <= 0:
            return
        gaps = stream(seed, NAME, kind, "starts")
        start_s = gaps.expovariate(rate_per_s)
        while start_s < self.horizon_s:
            yield start_s
            start_s += gaps.expovariate(rate_per_s)
