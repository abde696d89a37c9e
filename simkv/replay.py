"""Requests in, records out: engines alone, without a network and without speculation.

What `simkv validate vllm` and the benchmarks play: each request of an open loop goes to one engine, which batches
it with the others under vLLM's rules over a paged pool with a prefix cache.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from simkv.clock import Clock, Event, Order
from simkv.compute.gpu import Gpu
from simkv.compute.sequence import GpuSequence
from simkv.compute.steptime import StepTime
from simkv.errors import InputError
from simkv.kv.radix import BlockPool, PagedContent
from simkv.policies.batching import BATCHING, Batching
from simkv.workload.asked import Asked

#: Ids of blocks that no trace names begin here: the end of a prompt, and the answer.
OWN_IDS = 1 << 60
_OWN_BITS = 24  # blocks of one request's own; 16 million of 16 tokens


@dataclass(slots=True)
class Engine:
    """What an engine is, in numbers (the preset `vllm-0.19`).

    Attributes
    ----------
    blocks, block_tokens : of the KV pool.
    token_budget, max_sequences : of a step.
    async_scheduling : decide a step when the one before it begins.
    reserve_prompt : admit a request only if all of its prompt fits.
    caches_prefixes : look for known prefixes.
    """

    blocks: int
    block_tokens: int = 16
    token_budget: int = 2048
    max_sequences: int = 256
    async_scheduling: bool = True
    reserve_prompt: bool = True
    caches_prefixes: bool = True


@dataclass(slots=True)
class Records:
    """What happened to each request, one element each, in order of arrival; times [s] are NaN before they happen.

    Attributes
    ----------
    cached_tokens : [tokens] found in the prefix cache when it was admitted first.
    preemptions : how often it lost its memory.
    """

    arrival_s: array[float] = field(default_factory=lambda: array("d"))
    scheduled_s: array[float] = field(default_factory=lambda: array("d"))
    first_token_s: array[float] = field(default_factory=lambda: array("d"))
    last_token_s: array[float] = field(default_factory=lambda: array("d"))
    input_tokens: array[int] = field(default_factory=lambda: array("q"))
    cached_tokens: array[int] = field(default_factory=lambda: array("q"))
    output_tokens: array[int] = field(default_factory=lambda: array("q"))
    preemptions: array[int] = field(default_factory=lambda: array("q"))
    rejected: int = 0


class _Recorded(GpuSequence):
    """A sequence that writes down what happens to it."""

    def __init__(self, env: Clock, records: Records, index: int, asked: Asked, content: PagedContent) -> None:
        self.prefill_left_tokens, self.output_left_tokens = asked.input_tokens, asked.output_tokens
        self.context_tokens = self.found_tokens = 0
        self.content = content
        if asked.priority:
            self.priority = asked.priority
        self._env = env
        self._records = records
        self._index = index

    def start(self) -> None:
        """See `GpuSequence`."""
        if not self.scheduled:
            self.scheduled = True
            self._records.scheduled_s[self._index] = self._env._now

    def emit(self) -> None:
        """See `GpuSequence`."""
        if not self.has_emitted:
            self.has_emitted = True
            self._records.first_token_s[self._index] = self._env._now

    def finish(self) -> None:
        """See `GpuSequence`."""
        index, records = self._index, self._records
        records.last_token_s[index] = self._env._now
        if self.found_tokens:
            records.cached_tokens[index] = self.found_tokens
        if self.preemptions:
            records.preemptions[index] = self.preemptions


class Replay:
    """Engines alike, and the requests that go to them in turn.

    Attributes
    ----------
    records : of the requests that have arrived.
    gpus, pools : of the engines.
    """

    def __init__(
        self,
        requests: Iterable[Asked],
        engine: Engine,
        step_times: Sequence[StepTime],
        *,
        batching: Batching | None = None,
        step_by_step: bool = False,
    ) -> None:
        self.env = Clock()
        self.records = Records()
        self.pools = [
            BlockPool(
                engine.blocks,
                engine.block_tokens,
                reserve_prompt=engine.reserve_prompt,
                caches_prefixes=engine.caches_prefixes,
            )
            for _ in step_times
        ]
        self.gpus = [
            Gpu(
                self.env,
                step_time,
                batching if batching is not None else BATCHING.create("chunked-fcfs"),
                room=pool,
                token_budget=engine.token_budget,
                max_sequences=engine.max_sequences,
                async_scheduling=engine.async_scheduling,
                step_by_step=step_by_step,
            )
            for step_time, pool in zip(step_times, self.pools, strict=True)
        ]
        self._requests = iter(requests)
        self._coming: Asked | None = None
        self._await_next()

    def run(self, until_s: float | None = None) -> Records:
        """Play all requests, or those of the time until a moment; return what happened to them."""
        self.env.run(until=until_s)
        return self.records

    def _await_next(self) -> None:
        asked = self._coming = next(self._requests, None)
        if asked is not None:
            if asked.arrival_s < self.env.now:
                raise InputError(
                    f"requests must be in order of arrival, got {asked.arrival_s} s after {self.env.now} s"
                )
            Event(self._arrive).at(self.env, asked.arrival_s, Order.ARRIVAL)

    def _arrive(self, _: object) -> None:
        asked, records = self._coming, self.records
        assert asked is not None
        index = len(records.arrival_s)
        records.arrival_s.append(asked.arrival_s)
        records.scheduled_s.append(math.nan)
        records.first_token_s.append(math.nan)
        records.last_token_s.append(math.nan)
        records.input_tokens.append(asked.input_tokens)
        records.output_tokens.append(asked.output_tokens)
        records.cached_tokens.append(0)
        records.preemptions.append(0)
        which = index % len(self.gpus)
        if self.pools[which].fits(asked.input_tokens + asked.output_tokens):
            content = PagedContent(asked.runs, OWN_IDS + (index << _OWN_BITS))
            self.gpus[which].submit(_Recorded(self.env, records, index, asked, content))
        else:
            records.rejected += 1
        self._await_next()
