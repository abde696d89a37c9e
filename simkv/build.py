"""Scenario in, live objects out: the only place that knows both YAML and mechanisms.

One function per noun; a new plug-in changes nothing here. What speculates is made in `build_ahead.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

from simpy import Environment

from simkv import fitting, model
from simkv.build_ahead import Speculation
from simkv.clock import Clock
from simkv.coding import Coding
from simkv.compute.gpu import Gpu
from simkv.compute.host import WithHost
from simkv.compute.profile import PROFILES
from simkv.compute.room import Room
from simkv.compute.steptime import FixedStepTime, StepTime
from simkv.drawing import draws_of
from simkv.errors import InputError
from simkv.jobs import Receiver
from simkv.kv.block import Run
from simkv.kv.buffer import KvBuffer
from simkv.kv.codec import CODEC, Codec
from simkv.kv.prefix import Content
from simkv.ledger import Ledger
from simkv.network.capacity import Capacity, Constant, Replayed
from simkv.network.link import Link
from simkv.network.slicing import SlicedLink
from simkv.network.topology import Topology
from simkv.network.transport import make as make_transport
from simkv.policies import ACQUISITION, BATCHING, EVICTION, PREFETCH, ROUTING
from simkv.policies.eviction.question import Foreseeing, Priced
from simkv.recorder import Recorder
from simkv.request import Session, TraceHeader
from simkv.rng import stream
from simkv.scenario import Scenario
from simkv.scenario import Server as ServerSpec
from simkv.sending import Source
from simkv.server import Server
from simkv.serving import Serving
from simkv.upstream import Upstream
from simkv.workload import GENERATORS, open_trace, read_series
from simkv.workload.arrival import ClosedLoop, OpenLoop
from simkv.workload.hints import Hints
from simkv.workload.readers import Trace
from simkv.workload.thinking import THINK

DEFAULT_BLEND_SHARE = 0.15  # CacheBlend (Yao et al., EuroSys'25) recomputes about 15 % of the tokens; semantics B3


@dataclass(slots=True)
class World:
    """The live objects of one run.

    Attributes
    ----------
    notes : returns facts worth printing; asked when the run is over, for a stream is counted as it is read.
    """

    env: Environment
    serving: Serving
    servers: list[Server]
    sources: dict[str, Source]
    links: dict[str, Link]
    gpus: dict[str, Gpu]
    ledger: Ledger
    recorder: Recorder
    notes: Callable[[], dict[str, object]]


@dataclass(frozen=True, slots=True)
class Traffic:
    """The input of a scenario, read once per process: its header, how to get its sessions, what was cut."""

    header: TraceHeader
    sessions: Callable[[], list[Session]]
    stream: Trace | None
    notes: Callable[[], dict[str, object]]


def build(scenario: Scenario, replication: int, seed: int) -> World:
    """Make the live objects of one replication of one arm.

    Parameters
    ----------
    scenario : as `Scenario.for_arm` returns it.
    seed : of all random streams.

    Raises
    ------
    InputError : the scenario asks for what its trace cannot give.
    """
    env, ledger, recorder = Clock(), Ledger(), Recorder()
    traffic = read_traffic(scenario, replication, seed)
    fitting.check(scenario, traffic.header)
    content = Content(traffic.header)
    arrivals = _arrivals(scenario, traffic, content, replication, seed)
    foresee = lru_cache(maxsize=1)(arrivals.accesses)
    topology = _topology(scenario, env, recorder, replication, seed)
    maker = _Maker(scenario, env, ledger, topology, header=traffic.header, content=content, foresee=foresee)
    sources = {name: maker.source(name) for name in scenario.servers if name in maker.source_names}
    serving_names = [name for name in scenario.servers if name not in sources]
    servers = [server for name in serving_names for server in maker.servers(name, sources)]
    routing = ROUTING.create(scenario.policies.routing.name, scenario.policies.routing.params)
    serving = Serving(env, servers, routing, recorder)
    arrivals.begin(env, serving)
    links = {link.name: link for link in topology.links}
    return World(
        *(env, serving, servers, sources, links, maker.gpus, ledger, recorder),
        notes=lambda: _notes(scenario, traffic, maker),
    )


def read_traffic(scenario: Scenario, replication: int, seed: int) -> Traffic:
    """Return a scenario's sessions: of its trace, or made by its generator for this replication."""
    workload = scenario.workload
    if workload.generator is not None:
        generator = GENERATORS.create(workload.generator.name, workload.generator.params)
        made_from = stream(seed, replication, "generator").getrandbits(32)
        return Traffic(generator.header(), lambda: list(generator.sessions(made_from)), None, dict)
    assert workload.trace is not None  # the schema wants one of the two
    name, params = workload.format or (None, {})
    settings = (workload.max_input_tokens, workload.limit, tuple(params.items()))
    return _read_trace(workload.trace, _written(workload.trace), name, *settings)


def _written(path: Path) -> tuple[int, int]:
    """Return what changes when a file is written again; caches of what it says are keyed by it."""
    facts = path.stat()
    return facts.st_mtime_ns, facts.st_size


@lru_cache(maxsize=4)
def _read_trace(
    path: Path,
    _: tuple[int, int],
    format_name: str | None,
    max_input_tokens: int | None,
    limit: int | None,
    params: tuple[tuple[str, object], ...],
) -> Traffic:
    trace = open_trace(path, format_name, max_input_tokens, limit, dict(params))
    if not trace.header.has_sessions:
        return Traffic(trace.header, list, trace, trace.notes)
    sessions = lru_cache(maxsize=1)(lambda: list(trace.sessions()))
    return Traffic(trace.header, sessions, None, trace.notes)


@lru_cache(maxsize=8)
def _read_capacity(path: Path, _: tuple[int, int], mean_bps: float | None) -> Replayed:
    series = read_series(path)
    return Replayed(series.times_s, series.rates_bps, mean_bps=mean_bps)


def _arrivals(
    scenario: Scenario, traffic: Traffic, content: Content, replication: int, seed: int
) -> ClosedLoop | OpenLoop:
    hints, told = None, scenario.workload.hints
    if told is not None:
        hints = Hints(told.lead_s, told.lead_sigma, told.accuracy, seed=seed, replication=replication)
    if traffic.stream is not None:
        quantum_s = fitting.clock_quantum_s(traffic.header)
        fitting.check_priorities(scenario, ())
        return OpenLoop(traffic.stream.sessions, content, quantum_s, seed, replication)
    sessions = traffic.sessions()
    fitting.check_words(scenario, sessions)
    fitting.check_priorities(scenario, sessions)
    return ClosedLoop(draws_of(scenario, sessions, replication, seed), content, hints)


def _topology(scenario: Scenario, env: Environment, recorder: Recorder, replication: int, seed: int) -> Topology:
    """Make the graph of servers and links."""
    topology = Topology()
    for name in scenario.servers:
        topology.add_server(name)
    delays_s = {(spec.from_, spec.to): spec.delay_s for spec in scenario.links.values()}
    sources = {spec.source for spec in scenario.servers.values()}
    reserved_ratio = getattr(PREFETCH.create(*scenario.policies.prefetch), "reserved_ratio", 0.0)
    for name, spec in scenario.links.items():
        is_sliced = reserved_ratio > 0 and spec.from_ in sources
        link = (partial(SlicedLink, reserved_ratio=reserved_ratio) if is_sliced else Link)(
            env,
            name,
            _capacity(scenario, name, replication, seed),
            spec.delay_s,
            transport=make_transport(spec.transport),
            discipline=spec.discipline,
            committed_bytes=spec.committed_bytes,
            rtt_s=spec.delay_s + delays_s.get((spec.to, spec.from_), spec.delay_s),
            record=recorder.transferred,
        )
        topology.add_link(spec.from_, spec.to, link)
    return topology


def _capacity(scenario: Scenario, name: str, replication: int, seed: int) -> Capacity:
    """Return a constant rate, or the series from where this replication enters it (semantics G2)."""
    spec = scenario.links[name].capacity
    if isinstance(spec, float):
        return Constant(spec)
    series = _read_capacity(spec.series, _written(spec.series), spec.mean_bps)
    return series.with_offset(stream(seed, replication, name, "offset").random() * series.period_s)


class _Maker:
    """Makes servers and sources of one scenario."""

    def __init__(
        self,
        scenario: Scenario,
        env: Environment,
        ledger: Ledger,
        topology: Topology,
        *,
        header: TraceHeader,
        content: Content,
        foresee: Callable[[], list[tuple[Run, ...]]],
    ) -> None:
        self.scenario = scenario
        self.gpus: dict[str, Gpu] = {}
        self.source_names = {spec.source for spec in scenario.servers.values() if spec.source is not None}
        self.shape = model.get(scenario.model, scenario.path.parent)
        self.block_bytes = header.block_tokens * self.shape.kv_bytes_per_token
        self.blend_share = blend_share(scenario, header)
        self._env = env
        self._ledger = ledger
        self._topology = topology
        self._header = header
        self._content = content
        self._foresee = foresee
        self.codec: Codec = CODEC.create(*scenario.policies.codec)
        wire_bytes = self.codec.wire_bytes(self.block_bytes, self.shape.dtype_bytes)
        self._speculation = Speculation(scenario, env, ledger, header.block_tokens, wire_bytes)

    def servers(self, name: str, sources: dict[str, Source]) -> list[Server]:
        """Make all the servers of one name and connect each to its source."""
        spec = self.scenario.servers[name]
        made = []
        for index in range(spec.count):
            instance = name if spec.count == 1 else f"{name}-{index}"
            server = Server(
                self._env,
                instance,
                partial(self._gpu, instance, spec),
                lambda evicted: self._buffer(name, evicted),
                ledger=self._ledger,
                answers="paged" if spec.engine.preset == "vllm-0.19" else "reserved",
                acquisition=ACQUISITION.create(*self.scenario.policies.acquisition),
                coding=self._coding(name, spec),
                upstream=self._upstream(name, sources),
                block_tokens=self._header.block_tokens,
                text_bytes_per_token=self.scenario.run.text_bytes_per_token,
                blend_share=self.blend_share,
            )
            if spec.source is not None:
                sources[spec.source].connect(server, self._topology.link_between(spec.source, name))
            made.append(server)
        return made

    def _upstream(self, name: str, sources: dict[str, Source]) -> Callable[[Receiver], Upstream] | None:
        source = self.scenario.servers[name].source
        if source is None:
            return None
        return partial(
            Upstream,
            self._env,
            source=sources[source],
            uplink=self._topology.link_between(name, source),
            control_bytes=self.scenario.run.control_message_bytes,
            make_puller=self._speculation.puller(self._topology.link_between(source, name)),
        )

    def source(self, name: str) -> Source:
        """Make a server from which others get KV."""
        spec = self.scenario.servers[name]
        return Source(
            self._env,
            name,
            lambda evicted: self._buffer(name, evicted),
            self._gpu(name, spec, None) if spec.gpu is not None else None,
            self._speculation.ahead(),
            ledger=self._ledger,
            block_tokens=self._header.block_tokens,
            text_bytes_per_token=self.scenario.run.text_bytes_per_token,
            control_bytes=self.scenario.run.control_message_bytes,
            coding=self._coding(name, spec),
            sends_text_along=self.blend_share > 0,
        )

    def _coding(self, server: str, spec: ServerSpec) -> Coding:
        price: StepTime = FixedStepTime(0.0, 0.0)
        block_tokens = self._header.block_tokens
        if not self.codec.exact:
            assert spec.gpu is not None
            price = PROFILES.create(*spec.gpu).step_time(self.shape)
            try:
                for name in self.codec.kernels:
                    price.kernel_s(name, 1, 1)
            except InputError as error:
                raise InputError(error.message, f"servers.{server}.gpu") from None
        return Coding(self.codec, block_tokens, self.block_bytes, self.shape.dtype_bytes, price)

    def _gpu(self, instance: str, spec: ServerSpec, room: Room | None) -> Gpu:
        assert spec.gpu is not None
        engine, step_time = spec.engine, PROFILES.create(*spec.gpu).step_time(self.shape)
        if engine.host_s:
            step_time = WithHost(step_time, engine.host_s, engine.async_scheduling)
        gpu = Gpu(
            self._env,
            step_time,
            BATCHING.create(*self.scenario.policies.batching),
            room=room,
            token_budget=engine.token_budget,
            max_sequences=engine.max_sequences,
            speculative=engine.speculative,
            speculative_step_tokens=engine.speculative_step,
            async_scheduling=engine.async_scheduling,
            step_by_step=self.scenario.run.step_by_step,
        )
        self.gpus[instance] = gpu
        return gpu

    def _recompute_s(self, name: str) -> Callable[[Run], float]:
        """Return what a block costs to compute again: on the server's own GPU, or on the first that there is."""
        specs = [self.scenario.servers[name], *self.scenario.servers.values()]
        gpu = next(spec.gpu for spec in specs if spec.gpu is not None)
        return self._content.keep_depths().recompute_s(PROFILES.create(*gpu).step_time(self.shape).step)

    def _buffer(self, name: str, evicted: Callable[..., None] | None) -> KvBuffer:
        eviction = EVICTION.create(*self.scenario.policies.eviction)
        if isinstance(eviction, Foreseeing):
            eviction.foresee(self._foresee())
        if isinstance(eviction, Priced):
            eviction.priced(self._recompute_s(name))
        size_bytes = self.scenario.servers[name].buffers["hbm"].size_bytes
        if size_bytes < self.block_bytes:
            raise InputError(
                f"want room for at least one block of {self.block_bytes} bytes, got {size_bytes} bytes",
                f"servers.{name}.buffers.hbm.size",
            )
        return KvBuffer(size_bytes, self.block_bytes, eviction, lambda: self._env.now, evicted)


def blend_share(scenario: Scenario, header: TraceHeader) -> float:
    """Return which share of each reused chunk is computed again (semantics B3)."""
    composition = scenario.workload.composition
    if header.layout != "independent":
        return 0.0
    if composition is None:
        return DEFAULT_BLEND_SHARE
    return float(composition.params.get("share", DEFAULT_BLEND_SHARE)) if composition.name == "blend" else 0.0


def _notes(scenario: Scenario, traffic: Traffic, maker: _Maker) -> dict[str, object]:
    """Return facts worth printing beside the results, in words."""
    exact = traffic.header.layout != "independent" and maker.codec.exact
    block_tokens = traffic.header.block_tokens
    room = ", ".join(
        f"{name} {spec.buffers['hbm'].size_bytes // maker.block_bytes * block_tokens:,} tokens"
        for name, spec in scenario.servers.items()
    )
    facts = {
        "quality": "equal by construction (exact prefix reuse, no codec)" if exact else "not modelled",
        "KV": f"{maker.shape.kv_bytes_per_token:,} bytes a token, blocks of {block_tokens} tokens; room for {room}",
    }
    if not maker.codec.exact:
        sizes = (maker.block_bytes, maker.shape.dtype_bytes)
        nominal, wire = maker.codec.nominal_bytes(*sizes), maker.codec.wire_bytes(*sizes)
        name = scenario.policies.codec.name
        facts[f"codec {name}"] = f"a block of {sizes[0]:,} bytes is {nominal:,} nominally, {wire:,} on the wire"
    if scenario.workload.think is not None:
        facts["think times"] = THINK.create(*scenario.workload.think).words
    counts = traffic.notes()
    if counts:
        told = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items())
        facts["trace"] = f"the file gives {told}"
    return dict(facts)
