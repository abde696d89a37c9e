"""A scenario with all that its figures are worked out from: prices, links at their mean, a sample of its turns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from simkv import build, fitting, model
from simkv.compute.profile import PROFILES
from simkv.compute.steptime import StepTime
from simkv.feasibility.arithmetic import decode_s, prefill_s, transfer_s
from simkv.feasibility.asks import Ask, blend_ratio, sampled
from simkv.kv.codec import CODEC, Codec
from simkv.model import ModelShape
from simkv.network.capacity import Replayed
from simkv.network.transport import make as make_transport
from simkv.scenario import Link, Scenario
from simkv.workload import read_series


@dataclass(frozen=True, slots=True)
class Wire:
    """A link that carries nothing, at its mean capacity.

    Examples
    --------
    >>> Wire("slice", 8e6, 0.01, "warm").transfer_s(1_448_000)
    1.5
    """

    name: str
    capacity_bps: float
    delay_s: float
    transport: str

    def wire_bytes(self, payload_bytes: int) -> int:
        """Return [bytes] that a message fills, headers included."""
        return make_transport(self.transport).wire_bytes(payload_bytes)

    def transfer_s(self, payload_bytes: int) -> float:
        """Return [s] from the first bit of a message to its last."""
        return transfer_s(self.wire_bytes(payload_bytes), self.capacity_bps)

    def payload_bps(self, payload_bytes: int) -> float:
        """Return [bit/s] of payload that messages of this size get."""
        return self.capacity_bps * payload_bytes / self.wire_bytes(payload_bytes)


class Setting:
    """What the figures of one scenario share.

    Parameters
    ----------
    scenario : as it was loaded; figures are those of its first replication.
    """

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.shape: ModelShape = model.get(scenario.model, scenario.path.parent)
        self.gpus: Mapping[str, StepTime] = {
            name: PROFILES.create(*spec.gpu).step_time(self.shape)
            for name, spec in scenario.servers.items()
            if spec.gpu is not None
        }
        traffic = build.read_traffic(scenario, 0, scenario.seed)
        fitting.check_missing(scenario, traffic.header)
        self.blend_ratio = blend_ratio(scenario, traffic.header)
        self._codec: Codec = CODEC.create(*scenario.policies.codec)
        block_bytes = self.shape.kv_bytes(traffic.header.block_tokens)
        #: Turns in the buffers of the scenario; and, without their times, in buffers that never evict.
        self.sample = sampled(scenario, traffic, block_bytes, self._price)
        self.unbounded = sampled(scenario, traffic, block_bytes, lambda ask: None, unbounded=True)

    def asks_of(self, server: str) -> list[Ask]:
        """Return the turns that come to a server, or to the servers whose source it is."""
        servers = self.scenario.servers
        return [ask for ask in self.sample.asks if server in (ask.server, servers[ask.server].source)]

    def prefill_s(self, server: str, new_tokens: int, cached_tokens: int) -> float:
        """Return [s] that a prefill takes alone."""
        budget_tokens = self.scenario.servers[server].engine.token_budget
        return prefill_s(self.gpus[server], new_tokens, cached_tokens, budget_tokens)

    def kv_bytes(self, tokens: int) -> int:
        """Return [bytes] that move so that a receiver can use the KV of these tokens: their text too, to blend."""
        wire_bytes = self._codec.wire_bytes(self.shape.kv_bytes(tokens), self.shape.dtype_bytes)
        return wire_bytes + (self.text_bytes(tokens) if self.blend_ratio else 0)

    def text_bytes(self, tokens: int) -> int:
        """Return [bytes] of the text of so many tokens."""
        return tokens * self.scenario.run.text_bytes_per_token

    def wire(self, origin: str, target: str) -> Wire:
        """Return the link between two servers that must be joined: the schema saw to it."""
        links = self.scenario.links.items()
        name, link = next((name, link) for name, link in links if (link.from_, link.to) == (origin, target))
        return Wire(name, _mean_bps(link), link.delay_s, link.transport)

    def _price(self, ask: Ask) -> None:
        """Fill in the times of a turn, nobody in the way."""
        new, text_new = ask.kv_prefill_tokens, ask.text_prefill_tokens
        ask.prefill_s = self.prefill_s(ask.server, new, ask.prompt_tokens - new)
        ask.text_prefill_s = ask.prefill_s
        if text_new != new:
            ask.text_prefill_s = self.prefill_s(ask.server, text_new, ask.prompt_tokens - text_new)
        ask.decode_s = decode_s(self.gpus[ask.server], ask.prompt_tokens, ask.answer_tokens)
        source = self.scenario.servers[ask.server].source
        if not ask.missing_tokens or source is None:
            return
        up, down = self.wire(ask.server, source), self.wire(source, ask.server)
        delays_s = up.delay_s + down.delay_s
        ask.text_wait_s = delays_s + down.transfer_s(self.text_bytes(ask.missing_tokens))
        ask.wait_s = delays_s + down.transfer_s(self.kv_bytes(ask.fetched_tokens))
        if ask.computed_tokens:
            ask.wait_s += self.prefill_s(source, ask.computed_tokens, ask.computed_behind_tokens)


def _mean_bps(link: Link) -> float:
    if isinstance(link.capacity, float):
        return link.capacity
    return _series_mean_bps(link.capacity.series, link.capacity.mean_bps)


@lru_cache(maxsize=8)
def _series_mean_bps(path: Path, mean_bps: float | None) -> float:
    series = read_series(path)
    return Replayed(series.times_s, series.rates_bps, mean_bps=mean_bps).mean_bps
