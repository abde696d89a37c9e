"""What is true of one receiver, its source and the link between them, for what typically moves at once?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median_low

from simkv.feasibility.asks import Ask
from simkv.feasibility.setting import Setting, Wire


@dataclass(frozen=True, slots=True)
class Route:
    """One receiver and where its KV comes from.

    Attributes
    ----------
    server, source : names.
    down, up : from the source and back.
    unit_tokens, unit : [tokens] what typically moves at once, and what to call it.
    server_tokens_per_s, source_tokens_per_s : [token/s] prefill of such a unit behind what is typically in front of
        it; inf = the source only stores.
    kv_bytes, text_bytes : [bytes] of payload that move for it in either form.
    blend_ratio : share of it that the receiver recomputes although it got the KV.
    """

    server: str
    source: str
    down: Wire
    up: Wire
    unit_tokens: int
    unit: str
    server_tokens_per_s: float
    source_tokens_per_s: float
    kv_bytes: int
    text_bytes: int
    blend_ratio: float

    @property
    def compute_s(self) -> float:
        """[s] that the source computes before it can send."""
        return self.unit_tokens / self.source_tokens_per_s

    @property
    def kv_s(self) -> float:
        """[s] until the receiver can use KV that the source has; delays apart, which text pays too."""
        return self.down.transfer_s(self.kv_bytes) + self.blend_ratio * self.unit_tokens / self.server_tokens_per_s

    @property
    def text_s(self) -> float:
        """[s] until the receiver has made the KV from text."""
        return self.down.transfer_s(self.text_bytes) + self.unit_tokens / self.server_tokens_per_s

    @property
    def delays_s(self) -> float:
        """[s] of propagation: the query there, the answer back."""
        return self.up.delay_s + self.down.delay_s

    @property
    def hiding_s(self) -> float:
        """[s] from the arrival of a query to that of the next unit, when the source starts as it hears of the query."""
        return self.compute_s + self.down.transfer_s(self.kv_bytes) + self.delays_s


def routes(setting: Setting) -> list[Route]:
    """Return one route for each server that has a source and needs anything from it."""
    found = []
    for name, spec in setting.scenario.servers.items():
        if spec.source is not None:
            tokens, unit = _unit(setting.sample.chunk_tokens, setting.asks_of(name))
            if tokens:
                found.append(_route(setting, name, spec.source, tokens, unit))
    return found


def _route(setting: Setting, server: str, source: str, tokens: int, unit: str) -> Route:
    fronts = [ask.front_tokens for ask in setting.asks_of(server) if ask.missing_tokens]
    front_tokens = median_low(fronts) if fronts else 0

    def tokens_per_s(name: str) -> float:
        seconds = setting.prefill_s(name, tokens, front_tokens) if name in setting.gpus else 0.0
        return tokens / seconds if seconds else math.inf

    return Route(
        server,
        source,
        down=setting.wire(source, server),
        up=setting.wire(server, source),
        unit_tokens=tokens,
        unit=unit,
        server_tokens_per_s=tokens_per_s(server),
        source_tokens_per_s=tokens_per_s(source),
        kv_bytes=setting.kv_bytes(tokens),
        text_bytes=setting.text_bytes(tokens),
        blend_ratio=setting.blend_ratio,
    )


def _unit(chunk_tokens: int | None, asks: list[Ask]) -> tuple[int, str]:
    """Return [tokens] that move at once, and what they are: a chunk, else what a request lacks, else what it reuses."""
    if chunk_tokens is not None:
        return chunk_tokens, f"a chunk of {chunk_tokens:,} tokens"
    lacking = [ask.missing_tokens for ask in asks if ask.missing_tokens]
    if lacking:
        return median_low(lacking), f"the {median_low(lacking):,} tokens that the median request with a gap lacks"
    reused = [ask.old_tokens for ask in asks if ask.old_tokens]
    if reused:
        return median_low(reused), f"the {median_low(reused):,} tokens that the median request reuses"
    return 0, ""
