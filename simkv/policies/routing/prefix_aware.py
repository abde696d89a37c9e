"""Where least is left to compute, and least is being computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from simkv.policies.ranges import check_not_negative
from simkv.policies.routing.question import ROUTING, ServerView, VisibleRequest
from simkv.rng import uniform


@ROUTING.register("prefix-aware")
@dataclass
class PrefixAware:
    """Send each turn where its cached prefix is long and the load is small; both are counted in tokens.

    A server costs weight x (prompt tokens that it would have to compute, this request's included) + (prompt tokens of
    all requests in it). The cheapest is chosen; of equals one is drawn, so that idle servers share what is new. Blocks
    that several of its requests share are counted for each, where Dynamo counts them once: each reads them. Answers
    are not counted, which is Dynamo's default too.

    Parameters
    ----------
    overlap_weight : of a token to compute against one that is only held; 0 = balance alone.
    seed : of the draws between equals; with it, session and turn decide.

    Source: NVIDIA Dynamo's KV router (`lib/kv-router`, logit = overlap_score_weight x potential prefill blocks + decode
    blocks; default weight 1, temperature 0). Kin: Srivatsa et al., "Preble", ICLR'25; SGLang's cache-aware router.
    """

    overlap_weight: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_not_negative("overlap_weight", self.overlap_weight)

    def choose(self, request: VisibleRequest, servers: Sequence[ServerView]) -> int:
        """Return the index of the cheapest."""
        costs = [self._cost(request, server) for server in servers]
        least = min(costs)
        cheapest = [index for index, cost in enumerate(costs) if cost == least]
        if len(cheapest) == 1:
            return cheapest[0]
        drawn = uniform(self.seed, "prefix-aware routing", request.session, request.turn)
        return cheapest[int(drawn * len(cheapest))]

    def _cost(self, request: VisibleRequest, server: ServerView) -> float:
        """Return the weighted tokens of a server that takes the request."""
        prefill_tokens = server.prefill_tokens + request.prompt_tokens - server.cached_tokens(request)
        return self.overlap_weight * prefill_tokens + server.context_tokens
