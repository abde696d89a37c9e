"""Who did what when in a run: spans of requests, links and GPUs, and samples of what is full.

Hooks only: a run without them pays nothing, and one with them gives the same bytes. The causes of a request's waits are
those of `simkv explain`; here they are noted for all requests at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from simkv.build import World
from simkv.busy import GpuWatch, LinkWatch, Span
from simkv.claim import Claim
from simkv.compute.sequence import GpuSequence
from simkv.job_watch import JobWatch
from simkv.jobs import Job, Query
from simkv.kv.prefix import Prompt
from simkv.network.flow import Flow, TransferRecord
from simkv.network.slicing import SlicedLink
from simkv.recorder import Request
from simkv.results import REQUEST_LANES, RunResult
from simkv.sampling import Sample, Sampler
from simkv.sending import Source
from simkv.text_ahead import TextAhead
from simkv.waiting import JobTrace, Readiness, waits
from simkv.watching import hook

#: The lane of each kind of a request's span.
LANE_OF = {kind: lane for lane, kinds in REQUEST_LANES.items() for kind in kinds}


class Spans(JobWatch):
    """Takes down one run; show it the run's world before anything happens.

    Parameters
    ----------
    instants_s : [s] when everything is sampled, ascending.

    Examples
    --------
    >>> from simkv.scenario import load
    >>> from simkv.simulation import run
    >>> spans = Spans()
    >>> result = run(load("scenarios/three_turns.yaml"), "none", watch=spans.attach)
    >>> [(span.lane, span.kind, round(span.end_s - span.start_s, 6)) for span in spans.of_requests(result)][:3]
    [('lookup', 'question', 0.1), ('prefill', 'source_compute', 2.0), ('transfer', 'transfer', 3.0)]
    """

    def __init__(self, instants_s: Sequence[float] = ()) -> None:
        super().__init__()
        self._sampler = Sampler(instants_s)
        self._wires: list[Span] = []
        self._links: list[LinkWatch] = []
        self._gpus: list[GpuWatch] = []
        self._turns: list[Readiness] = []  # by request_id
        self._live: dict[int, tuple[Request, Prompt]] = {}  # by identity of the prompt, until its last token
        self._asking: Request | None = None  # whose question a source answers just now
        self._owners: dict[Job, Request] = {}  # who asked for a job, or came to wait for it
        self._flows: dict[Flow, Job] = {}
        self._sessions: dict[GpuSequence, int] = {}  # of speculative work, until it is done

    def attach(self, world: World) -> None:
        """Hook the live objects of a run that has not begun."""
        super().attach(world)
        hook(world.serving, "_arrive", self._arrived)
        hook(world.serving, "_finish", self._finished)
        for server in world.servers:
            hook(server, "claim", self._claimed)
            hook(server._holding, "_pin", self._took)
            hook(server._texts, "_begin", partial(self._prefills, server._texts))
        for source in world.sources.values():
            self._attach_source(source)
        self._gpus = [GpuWatch(name, gpu, self.now, self._session_of) for name, gpu in world.gpus.items()]
        for name, link in world.links.items():
            self._links.append(LinkWatch(name, link, self.now, self._sent))
            if isinstance(link, SlicedLink):
                self._links.append(LinkWatch(f"{name}/speculative", link._slice, self.now, self._sent))
        self._sampler.attach(world, self._links, self._gpus)

    def _attach_source(self, source: Source) -> None:
        hook(source, "query", self._asked)
        hook(source, "_transmit", self._transmitted)
        hook(source, "_compute", self._computes)

    # -- what came of it ---------------------------------------------------------------------------

    @property
    def samples(self) -> list[Sample]:
        """What was sampled, in order of time."""
        return self._sampler.samples

    def of_objects(self) -> list[Span]:
        """Return the spans of links, transfers and GPUs, in order of their start."""
        lanes = [self._wires, *(link.spans for link in self._links), *(gpu.spans for gpu in self._gpus)]
        return sorted((span for lane in lanes for span in lane), key=lambda span: span.start_s)

    def of_requests(self, result: RunResult) -> Iterator[Span]:
        """Yield the spans of requests, in order of arrival.

        Parameters
        ----------
        result : of the run that was watched.
        """
        names = ("arrival_s", "scheduled_s", "first_token_s", "last_token_s", "session", "turn", "server", "status")
        columns = result.requests
        for request_id, told in enumerate(self._turns):
            row = {name: _known(columns[name][request_id]) for name in names}
            for kind, start_s, end_s in _stretches(row, told, result.end_s):
                yield Span(
                    *(LANE_OF[kind], row["server"], start_s, end_s, kind),
                    *(request_id, row["session"], row["turn"]),
                )

    # -- requests ----------------------------------------------------------------------------------

    def _arrived(self, call: Callable[[], tuple[Request, Prompt]], *_: object) -> tuple[Request, Prompt]:
        request, prompt = call()
        self._turns.append(Readiness())
        self._live[id(prompt)] = request, prompt
        return request, prompt

    def _finished(self, call: Callable[[], None], _: Request, claim: Claim, __: object) -> None:
        call()
        self._live.pop(id(claim.prompt), None)

    def _claimed(self, call: Callable[[], None], claim: Claim) -> None:
        request, _ = self._live[id(claim.prompt)]
        told, on_ready = self._turns[request.request_id], claim.on_ready

        def ready() -> None:
            told.ready_s, told.brought_by = self.now(), self.cause
            on_ready()

        claim.on_ready = ready
        call()

    def _took(self, call: Callable[[], None], claim: Claim, *_: object) -> None:
        request, _prompt = self._live[id(claim.prompt)]
        told = self._turns[request.request_id]
        if told.memory_s is None:  # not when it takes it again
            told.memory_s = self.now()
        call()

    # -- what moves --------------------------------------------------------------------------------

    def _asked(self, call: Callable[[], None], query: Query) -> None:
        live = self._live.get(id(query.prompt))
        self._asking = live[0] if live is not None else None
        call()
        self._asking = None

    def job_began(self, trace: JobTrace) -> None:
        """A source begins what a question asks for, or something ahead of time, which is nobody's until then."""
        if self._asking is not None and trace.job.unit is None:
            self._owners[trace.job] = self._asking

    def job_promoted(self, trace: JobTrace, _: object) -> None:
        """A question has come for what is under way."""
        if self._asking is not None:
            self._owners[trace.job] = self._asking

    def _transmitted(self, call: Callable[[], None], job: Job) -> None:
        call()
        if job.flow is not None:
            self._flows[job.flow] = job

    def _sent(self, flow: Flow, record: TransferRecord, outcome: str) -> None:
        """Note what a transfer sent in one class."""
        job = self._flows.get(flow) if outcome == "promoted" else self._flows.pop(flow, None)
        if record.end_s <= record.start_s and not record.wire_bytes:
            return
        kind, request, session = record.traffic, None, -1
        if job is not None:
            kind += "_text" if job.kind == "text" else ""
            session = job.conversation.draw
            request = self._owners.get(job) if record.traffic == "demand" else None
            if outcome != "promoted":
                self._owners.pop(job, None)
        whose = (request.request_id, session, request.turn) if request is not None else (-1, session, -1)
        self._wires.append(Span("wire", record.link, record.start_s, record.end_s, kind, *whose, record.wire_bytes))

    # -- for whom a GPU speculates -------------------------------------------------------------------

    def _computes(self, call: Callable[[], None], job: Job, _: object) -> None:
        call()
        if job.sequence is not None and job.unit is not None:
            self._sessions[job.sequence] = job.conversation.draw

    def _prefills(self, texts: TextAhead, call: Callable[[], None], job: Job) -> None:
        before = len(texts._prefills)
        call()
        if len(texts._prefills) > before:
            self._sessions[next(reversed(texts._prefills)).sequence] = job.conversation.draw

    def _session_of(self, sequence: GpuSequence) -> int:
        session = self._sessions.get(sequence, -1)
        if not sequence.prefill_left_tokens or sequence.cancelled:
            self._sessions.pop(sequence, None)
        return session


def _known(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def _stretches(row: dict[str, Any], told: Readiness, end_s: float) -> Iterator[tuple[str, float, float]]:
    """Yield (kind, start, end) of all that a request went through, without a gap."""
    at_s = row["arrival_s"]
    for wait in waits(row, told):
        yield wait.cause, wait.start_s, wait.end_s
        at_s = wait.end_s
    first_s, last_s = row["first_token_s"], row["last_token_s"]
    if last_s is not None and last_s > at_s:
        yield "decode", at_s, last_s
    elif row["status"] == "unfinished" and end_s > at_s:
        yield ("decode" if first_s is not None else "unfinished"), at_s, end_s
