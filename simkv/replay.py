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
from simkv.kv.prefix import Part
from simkv.kv.radix import BlockPool, PagedContent
from simkv.kv.reusable import Reusable
from simkv.policies.batching import BATCHING, Batching
from simkv.policies.routing import Routing, VisibleRequest
from simkv.server_load import Load
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


_NO_TIMES = array("d", [math.nan]) * 4096
_NO_COUNTS = array("q", [0]) * 4096


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

    def make_room(self) -> None:
        """Make room for more requests: of each column at once, which is cheaper than one by one."""
        for times in (self.arrival_s, self.scheduled_s, self.first_token_s, self.last_token_s):
            times.extend(_NO_TIMES)
        for counts in (self.input_tokens, self.cached_tokens, self.output_tokens, self.preemptions):
            counts.extend(_NO_COUNTS)

    def cut(self, requests: int) -> None:
        """Keep so many requests: those that have arrived."""
        for column in (self.arrival_s, self.scheduled_s, self.first_token_s, self.last_token_s):
            del column[requests:]
        for counts in (self.input_tokens, self.cached_tokens, self.output_tokens, self.preemptions):
            del counts[requests:]


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


class _Routed(_Recorded):
    """A sequence that tells whoever routes of its first and last token."""

    def __init__(
        self, env: Clock, records: Records, index: int, asked: Asked, content: PagedContent, load: Load
    ) -> None:
        super().__init__(env, records, index, asked, content)
        self._load = load

    def emit(self) -> None:
        """See `GpuSequence`."""
        super().emit()
        self._load.prefilled(self._index)

    def finish(self) -> None:
        """See `GpuSequence`."""
        super().finish()
        self._load.left(self._index)
        self._load.sessions -= 1


class _Router:
    """Who sends requests to one of several engines; each is a session of its own."""

    def __init__(self, routing: Routing, gpus: Sequence[Gpu], pools: Sequence[BlockPool]) -> None:
        self._routing = routing
        self._block_tokens = pools[0].block_tokens
        looks = (_Look(gpu, pool) for gpu, pool in zip(gpus, pools, strict=True))
        self._loads = [Load(f"engine-{number}", look) for number, look in enumerate(looks)]
        self._views = tuple(load.view for load in self._loads)

    def choose(self, index: int, asked: Asked) -> tuple[int, Load]:
        """Return the index of an engine, and its load, which counts the request from now on."""
        size = self._block_tokens
        parts = tuple([Part(run, run[1] * size, run) for run in asked.runs])
        request = VisibleRequest(index, 0, asked.input_tokens, None, Reusable(parts))
        which = self._routing.choose(request, self._views)
        load = self._loads[which]
        load.sent(index, request)
        load.sessions += 1
        return which, load


class _Look:
    """Returns what an engine has cached of a prompt."""

    def __init__(self, gpu: Gpu, pool: BlockPool) -> None:
        self._gpu = gpu
        self._pool = pool

    def __call__(self, request: VisibleRequest) -> int:
        self._gpu.catch_up()
        runs = tuple([part.run for part in request.reusable.parts])
        return self._pool.cached_tokens(runs, request.prompt_tokens)


class Replay:
    """Engines alike, and the requests that go to one of them each.

    Parameters
    ----------
    routing : to which, where there are several; None = to one after the other.

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
        routing: Routing | None = None,
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
        self._router = _Router(routing, self.gpus, self.pools) if routing is not None and len(self.gpus) > 1 else None
        self._requests = iter(requests)
        self._arrived = 0
        self._coming = self._next()
        if self._coming is not None:
            Event(self._arrive).at(self.env, self._coming.arrival_s, Order.ARRIVAL)

    def run(self, until_s: float | None = None) -> Records:
        """Play all requests, or those of the time until a moment; return what happened to them."""
        self.env.run(until=until_s)
        self.records.cut(self._arrived)
        return self.records

    def _next(self) -> Asked | None:
        asked = next(self._requests, None)
        if asked is not None and asked.arrival_s < self.env._now:
            raise InputError(f"requests must be in order of arrival, got {asked.arrival_s} s after {self.env._now} s")
        return asked

    def _arrive(self, event: Event) -> None:
        asked, records, index = self._coming, self.records, self._arrived
        assert asked is not None
        if index == len(records.arrival_s):
            records.make_room()
        self._arrived = index + 1
        records.arrival_s[index] = asked.arrival_s
        records.input_tokens[index] = asked.input_tokens
        records.output_tokens[index] = asked.output_tokens
        content = PagedContent(asked.runs, OWN_IDS + (index << _OWN_BITS))
        if not self.pools[0].fits(asked.input_tokens + asked.output_tokens):
            records.rejected += 1
        elif self._router is None:
            self.gpus[index % len(self.gpus)].submit(_Recorded(self.env, records, index, asked, content))
        else:
            which, load = self._router.choose(index, asked)
            self.gpus[which].submit(_Routed(self.env, records, index, asked, content, load))
        following = self._coming = self._next()
        if following is not None:
            event.callbacks = (self._arrive,)  # the same event again, for the next
            event.at(self.env, following.arrival_s, Order.ARRIVAL)
