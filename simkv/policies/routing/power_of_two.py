"""Every turn to the less loaded of two servers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from simkv.policies.routing.question import ROUTING, ServerView, VisibleRequest
from simkv.rng import uniform


@ROUTING.register("power-of-two")
@dataclass
class PowerOfTwo:
    """Draw two servers and send the turn to the one with fewer requests in it; of equals, to the one drawn first.

    Parameters
    ----------
    seed : of the draws; with it, session and turn decide.

    Source: Mitzenmacher, "The power of two choices in randomized load balancing", IEEE Transactions on Parallel and
    Distributed Systems 12(10), 2001.
    """

    seed: int = 0

    def choose(self, request: VisibleRequest, servers: Sequence[ServerView]) -> int:
        """Return the better of two different indices drawn for this turn."""
        count, key = len(servers), ("power of two", request.session, request.turn)
        first = int(uniform(self.seed, *key, "first") * count)
        if count == 1:
            return first
        other = int(uniform(self.seed, *key, "other") * (count - 1))
        other += other >= first
        return other if servers[other].requests < servers[first].requests else first
