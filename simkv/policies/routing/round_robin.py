"""Every turn to the next server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from simkv.policies.routing.question import ROUTING, ServerView, VisibleRequest


@ROUTING.register("round-robin")
@dataclass
class RoundRobin:
    """Send each turn to the next server in turn, wherever its KV lies.

    Source: the default of most load balancers; the baseline of Preble (Srivatsa et al., ICLR'25).
    """

    _next: int = field(default=0, init=False, repr=False)

    def choose(self, request: VisibleRequest, servers: Sequence[ServerView]) -> int:
        """Return the next index."""
        index = self._next % len(servers)
        self._next = index + 1
        return index
