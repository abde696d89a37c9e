"""Every turn to the least loaded server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from simkv.policies.routing.question import ROUTING, ServerView, VisibleRequest


@ROUTING.register("least-loaded")
@dataclass
class LeastLoaded:
    """Send each turn to the server with the least in it (of equals, to the first), wherever its KV lies.

    Parameters
    ----------
    by : what is counted: `requests`, or `tokens` of their prompts.

    Source: join the shortest queue, Winston, "Optimality of the shortest line discipline", Journal of Applied
    Probability 14(1), 1977.
    """

    by: Literal["requests", "tokens"] = "requests"

    def choose(self, request: VisibleRequest, servers: Sequence[ServerView]) -> int:
        """Return the index of the least loaded."""
        if self.by == "tokens":
            return min(range(len(servers)), key=lambda i: servers[i].context_tokens)
        return min(range(len(servers)), key=lambda i: servers[i].requests)
