"""What remembers, predicts and decides in a scenario, and where: at a source that pushes, a receiver that pulls."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from simpy import Environment

from simkv.ahead import Ahead
from simkv.clock import Order, call_at
from simkv.gaps import Rhythm
from simkv.jobs import Query, Receiver
from simkv.kv.prefix import Part, tokens_in
from simkv.ledger import Ledger
from simkv.mind import Mind, Surroundings
from simkv.network.link import Link
from simkv.policies import ESTIMATORS, EVICTION, PREFETCH
from simkv.policies.eviction.question import Told
from simkv.policies.prefetch import LinkView
from simkv.predictors import PREDICTORS
from simkv.predictors.timing import TIMING
from simkv.pulling import Puller
from simkv.scenario import Scenario
from simkv.sensing import LinkSense


class Speculation:
    """Makes the speculative sides of sources and receivers of one scenario.

    Parameters
    ----------
    scenario : as `Scenario.for_arm` returns it.
    block_tokens, block_bytes : [tokens] a block, and [bytes] of it on the wire.
    """

    def __init__(
        self, scenario: Scenario, env: Environment, ledger: Ledger, block_tokens: int, block_bytes: int
    ) -> None:
        self._policies = scenario.policies
        self._text_bytes_per_token = scenario.run.text_bytes_per_token
        self._env = env
        self._ledger = ledger
        self._block_tokens = block_tokens
        self._block_bytes = block_bytes
        self._tells = issubclass(EVICTION.get(scenario.policies.eviction.name), Told)

    def puller(self, link: Link) -> Callable[..., Puller] | None:
        """Return what makes the mind of a receiver; None when its source has one, or nobody."""
        if self._nobody_thinks or self._policies.initiator.name == "push":
            return None

        def make(receiver: Receiver, ask: Callable[..., None]) -> Puller:
            sense = self._sense(link, sees_all=False)
            mind = self._mind(lambda query: sense.view(query.conversation.key), lambda _: 0.0)
            return Puller(mind, receiver.buffer, sense, ask)

        return make

    @property
    def _nobody_thinks(self) -> bool:
        return self._policies.prefetch.name == "none" and not self._tells

    def ahead(self) -> Ahead | None:
        """Make the speculative side of a source."""
        if self._nobody_thinks:
            return None
        ahead = Ahead(self._ledger, partial(self._sense, sees_all=True))
        if self._policies.initiator.name == "push":
            ahead.pusher.mind = self._mind(ahead.link_view, ahead.compute_s)
        return ahead

    def _sense(self, link: Link, *, sees_all: bool) -> LinkSense:
        name, params = self._policies.estimator
        hears = ESTIMATORS.is_oracle(name) or getattr(ESTIMATORS.get(name), "hears_reports", False)
        return LinkSense(link, ESTIMATORS.create(name, params), hears_reports=hears, sees_all=sees_all)

    def _mind(self, link: Callable[[Query], LinkView], compute_s: Callable[[tuple[Part, ...]], float]) -> Mind:
        """Make what remembers, predicts and decides."""
        policies, env, block_tokens = self._policies, self._env, self._block_tokens
        token_bytes, predictor = self._text_bytes_per_token, PREDICTORS.create(*policies.predictor)
        around = Surroundings(
            now=lambda: env.now,
            call_at=lambda at_s, action: call_at(env, at_s, Order.DECISION, action),
            link=link,
            compute_s=compute_s,
            text_bytes=lambda part, run: tokens_in(part, run, block_tokens) * token_bytes,
            block_bytes=self._block_bytes,
            buffer_bytes=lambda receiver: receiver.buffer.capacity_blocks * self._block_bytes,
            knows_document=policies.initiator.name == "push",
        )
        return Mind(
            PREFETCH.create(*policies.prefetch),
            predictor,
            around,
            Rhythm(TIMING.create(*policies.timing), sees_future=TIMING.is_oracle(policies.timing.name)),
            prefetch_sees_future=PREFETCH.is_oracle(policies.prefetch.name),
            predictor_sees_future=PREDICTORS.is_oracle(policies.predictor.name),
            steps=getattr(predictor, "steps", None) if self._tells else None,
        )
