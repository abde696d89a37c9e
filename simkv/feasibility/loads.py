"""How busy are links and GPUs with what must be done, and what share of the waiting could prefetch remove?

Work per second over what can be done per second, at mean rates; nobody waits for anybody here.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median_low
from typing import Literal

from simkv.feasibility.arithmetic import decode_s, packed_prefill_s
from simkv.feasibility.asks import Ask
from simkv.feasibility.setting import Setting, Wire
from simkv.units import BITS_PER_BYTE

Way = Literal["kv", "resent", "text"]  # how KV gets here: what is missing, all of it each turn, or its text


@dataclass(frozen=True, slots=True)
class Busy:
    """Which share of the time a GPU computes; above 1 it cannot keep up.

    Attributes
    ----------
    packed : when its steps are always full: the least.
    alone : when it serves one request at a time: the most.
    """

    packed: float
    alone: float


def ways_of(setting: Setting) -> dict[Way, list[str]]:
    """Return the arms in which missing KV gets here in either way."""
    found: dict[Way, list[str]] = {}
    for arm in setting.scenario.arms:
        acquisition = setting.scenario.for_arm(arm.name).policies.acquisition.name
        if acquisition != "perfect-residency":
            way: Way = "text" if acquisition == "text" else "resent" if acquisition == "resend" else "kv"
            found.setdefault(way, []).append(arm.name)
    return found


def down_load(setting: Setting, server: str, wire: Wire, way: Way) -> float | None:
    """Return what share of a link's capacity demand needs for what a server lacks; None without a rate of turns."""
    if way == "kv":
        payloads = [setting.kv_bytes(ask.fetched_tokens) for ask in setting.asks_of(server)]
    elif way == "resent":
        payloads = [setting.kv_bytes(ask.old_tokens) for ask in setting.asks_of(server)]
    else:
        payloads = [setting.text_bytes(ask.missing_tokens) for ask in setting.asks_of(server)]
    return _link_load(setting, wire, payloads)


def up_load(setting: Setting, server: str, wire: Wire) -> float | None:
    """Return what share of a link's capacity new KV needs that is written through to a pool."""
    return _link_load(setting, wire, [setting.shape.kv_bytes(ask.written_tokens) for ask in setting.asks_of(server)])


def _link_load(setting: Setting, wire: Wire, payloads: list[int]) -> float | None:
    sample = setting.sample
    if not sample.turns_per_s or not wire.capacity_bps:
        return None
    bits_a_turn = BITS_PER_BYTE * sum(map(wire.wire_bytes, payloads)) / len(sample.asks)
    return bits_a_turn * sample.turns_per_s / wire.capacity_bps


def serving_busy(setting: Setting, server: str, way: Way) -> Busy | None:
    """Return how busy each GPU of a server is with prefill and answers."""
    packed_s = alone_s = 0.0
    batch = _largest_batch(setting, server)
    for ask in setting.asks_of(server):
        new = ask.text_prefill_tokens if way == "text" else ask.kv_prefill_tokens
        prefill_s = ask.text_prefill_s if way == "text" else ask.prefill_s
        alone_s += prefill_s + ask.decode_s
        packed_s += min(prefill_s, _packed_s(setting, server, new, ask.prompt_tokens - new))
        packed_s += decode_s(setting.gpus[server], ask.prompt_tokens, ask.answer_tokens, batch)
    return _share(setting, server, packed_s, alone_s)


def source_busy(setting: Setting, source: str) -> Busy | None:
    """Return how busy the GPU of a source is with KV that others lack."""
    packed_s = alone_s = 0.0
    for ask in setting.asks_of(source):
        if ask.computed_tokens:
            prefill_s = setting.prefill_s(source, ask.computed_tokens, ask.computed_behind_tokens)
            alone_s += prefill_s
            packed_s += min(prefill_s, _packed_s(setting, source, ask.computed_tokens, ask.computed_behind_tokens))
    return _share(setting, source, packed_s, alone_s)


def _packed_s(setting: Setting, server: str, new_tokens: int, cached_tokens: int) -> float:
    budget_tokens = setting.scenario.servers[server].engine.token_budget
    return packed_prefill_s(setting.gpus[server], new_tokens, cached_tokens, budget_tokens)


def _largest_batch(setting: Setting, server: str) -> int:
    """Return how many median sequences fit into a server's buffer and batch."""
    spec = setting.scenario.servers[server]
    tokens = [ask.prompt_tokens + ask.answer_tokens for ask in setting.asks_of(server)]
    room_tokens = spec.buffers["hbm"].size_bytes // setting.shape.kv_bytes_per_token
    return max(1, min(spec.engine.max_sequences, room_tokens // median_low(tokens))) if tokens else 1


def _share(setting: Setting, server: str, packed_s: float, alone_s: float) -> Busy | None:
    sample = setting.sample
    if not sample.turns_per_s:
        return None
    a_turn = sample.turns_per_s / len(sample.asks) / setting.scenario.servers[server].count
    return Busy(packed_s * a_turn, alone_s * a_turn)


def helped_turns(asks: list[Ask]) -> float:
    """Return the share of turns for which prefetch could bring KV: something is missing, and it is no first turn."""
    return sum(1 for ask in asks if ask.fetched_tokens and not ask.is_first) / len(asks)


def helped_time(asks: list[Ask]) -> float:
    """Return the share of all time to first token, nobody in the way, that those turns spend until KV is there."""
    total_s = sum(ask.wait_s + ask.prefill_s for ask in asks)
    return sum(ask.wait_s for ask in asks if not ask.is_first) / total_s if total_s else 0.0
