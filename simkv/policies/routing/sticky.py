"""A session stays where it began."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from simkv.policies.routing.question import ROUTING, ServerView, VisibleRequest


@ROUTING.register("sticky")
@dataclass
class Sticky:
    """Send a new session to the server with the fewest sessions, its later turns to the same server.

    Source: session affinity, as in the "session-based routing" of the vLLM production stack.
    """

    def choose(self, request: VisibleRequest, servers: Sequence[ServerView]) -> int:
        """Return the session's home, or the least crowded server (first of equals)."""
        if request.home is not None:
            return request.home
        return min(range(len(servers)), key=lambda i: servers[i].sessions)
