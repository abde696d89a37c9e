"""Every turn to any server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from simkv.policies.routing.question import ROUTING, ServerView, VisibleRequest
from simkv.rng import uniform


@ROUTING.register("random")
@dataclass
class Random:
    """Send each turn to a server drawn uniformly.

    Parameters
    ----------
    seed : of the draws; with it, session and turn decide.

    Source: folklore; the baseline of Mitzenmacher, "The power of two choices in randomized load balancing", IEEE
    Transactions on Parallel and Distributed Systems 12(10), 2001.
    """

    seed: int = 0

    def choose(self, request: VisibleRequest, servers: Sequence[ServerView]) -> int:
        """Return an index drawn for this turn."""
        return int(uniform(self.seed, "random routing", request.session, request.turn) * len(servers))
