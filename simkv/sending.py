"""What does the holder of KV do when it learns of a query? It computes, sends, pushes ahead, promotes, cancels.

A source is a server with a buffer and, unless it is a mere pool, a GPU. It acts on messages that took time
to arrive, and on a directory of what each receiver holds that messages keep nearly right (semantics C2).
Sending is store and forward: a transfer begins when its KV is complete.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from simpy import Environment

from simkv.clock import Order, call_after
from simkv.compute.gpu import Gpu, GpuSequence
from simkv.errors import InputError
from simkv.history import Remembered
from simkv.kv.block import Run, joined
from simkv.kv.buffer import KvBuffer
from simkv.kv.prefix import Conversation, Part, Prompt, in_parts, tokens_in
from simkv.kv.runmap import RunMap, RunSet
from simkv.ledger import Ledger, Unit
from simkv.network.link import Flow, Link, Traffic
from simkv.policies.acquisition.question import Plan
from simkv.policies.prefetch.question import Foresight, Kind, PrefetchPolicy, PrefetchView
from simkv.predictors.question import Item, Predictor


class Receiver(Protocol):
    """What a source asks of the server that it sends to."""

    def announced(self, job: Job) -> None:
        """A push is on its way: make room, or refuse it."""

    def delivered(self, job: Job) -> None:
        """All of a job's blocks, or its text, are here."""

    def withdrawn(self, job: Job) -> None:
        """An announced push will not come."""

    def unavailable(self, conversation: Conversation, runs: list[Run]) -> None:
        """The source has no such blocks and cannot make them."""


@dataclass(slots=True)
class Query:
    """What a receiver tells its source when a turn arrives.

    Attributes
    ----------
    wanted : (part index, blocks) that the receiver lacks, in prompt order.
    plan : whether it wants their KV or their text.
    on_late : called once for every speculated unit that the query finds under way.
    foresight : the future, handed on to oracles alone.
    """

    receiver: Receiver
    conversation: Conversation
    prompt: Prompt
    wanted: list[tuple[int, Run]]
    plan: Plan
    on_late: Callable[[], None]
    foresight: Foresight


class Job:
    """One thing on its way to one receiver: first computed where it must be, then sent.

    Attributes
    ----------
    runs : blocks to send, in order.
    chain : the parts that must be complete at the source before, the job's own last.
    kind : "kv" or "text".
    demand : a request waits for it.
    unit : what the ledger calls it while it is speculative; None for jobs that began as demand.
    landed : it arrived at the receiver.
    """

    __slots__ = (
        "after",
        "cancelled",
        "chain",
        "computing",
        "conversation",
        "demand",
        "flow",
        "kind",
        "landed",
        "pinned",
        "receiver",
        "runs",
        "sequence",
        "unit",
        "waits_for",
    )

    def __init__(
        self,
        receiver: Receiver,
        conversation: Conversation,
        runs: list[Run],
        chain: tuple[Part, ...],
        kind: Kind,
        unit: Unit | None,
    ) -> None:
        self.receiver = receiver
        self.conversation = conversation
        self.runs = runs
        self.chain = chain
        self.kind = kind
        self.unit = unit
        self.demand = unit is None
        self.cancelled = False
        self.landed = False
        self.flow: Flow | None = None
        self.sequence: GpuSequence | None = None
        self.computing: list[Run] = []  # blocks that it computes now
        self.pinned: list[Run] = []
        self.waits_for: Job | None = None  # computes something that this one needs
        self.after: list[Job] = []  # jobs that wait for this one

    @property
    def traffic(self) -> Traffic:
        """The class that its bytes belong to now."""
        return Traffic.DEMAND if self.demand else Traffic.SPECULATIVE


class Source:
    """A server from which others get KV.

    Parameters
    ----------
    buffer : what it holds.
    gpu : computes what it does not hold; None = a pool that only stores.
    prefetch, predictor : what to move ahead of time; both belong to the source (push).
    prefetch_sees_future, predictor_sees_future : whether they are registered as oracles.
    text_bytes_per_token : [bytes] of text a token.
    control_bytes : [bytes] of payload in a control message.
    blend : whether receivers need the text of a chunk beside its KV (semantics B3).
    """

    def __init__(
        self,
        env: Environment,
        name: str,
        buffer: KvBuffer,
        gpu: Gpu | None,
        *,
        ledger: Ledger,
        prefetch: PrefetchPolicy,
        predictor: Predictor,
        prefetch_sees_future: bool,
        predictor_sees_future: bool,
        speculates: bool,
        block_tokens: int,
        text_bytes_per_token: int,
        control_bytes: int,
        blend: bool,
    ) -> None:
        self.env = env
        self.name = name
        self.buffer = buffer
        self.gpu = gpu
        self.speculates = speculates
        self._ledger = ledger
        self._prefetch = prefetch
        self._predictor = predictor
        self._prefetch_sees_future = prefetch_sees_future
        self._predictor_sees_future = predictor_sees_future
        self._block_tokens = block_tokens
        self._text_bytes_per_token = text_bytes_per_token
        self._control_bytes = control_bytes
        self._blend = blend
        self._links: dict[Receiver, Link] = {}
        self._held: dict[Receiver, RunSet] = {}  # the directory
        self._outstanding: dict[Receiver, RunMap[Job]] = {}
        self._remembered: dict[int, Remembered] = {}
        self._speculative_jobs: dict[int, dict[Job, None]] = {}
        self._computing: RunMap[Job] = RunMap()
        self._waiting_for_room: deque[Job] = deque()

    def connect(self, receiver: Receiver, link: Link) -> None:
        """Make a server one of its receivers, reached over `link`."""
        self._links[receiver] = link
        self._held[receiver] = RunSet()
        self._outstanding[receiver] = RunMap()

    # -- messages that arrive ----------------------------------------------------------------------

    def query(self, query: Query) -> None:
        """A turn arrived at a receiver: serve what it lacks, learn from it, speculate on what follows."""
        if query.plan is Plan.TEXT:
            self._serve_text(query)
        elif self.gpu is None:
            self._serve_from_store(query)
        else:
            for index, run in query.wanted:
                chain = query.prompt.parts[: index + 1] if query.prompt.chained else (query.prompt.parts[index],)
                for gap in self._promote_outstanding(query, run, "kv"):
                    self._begin(Job(query.receiver, query.conversation, [gap], chain, "kv", None))
        if self.speculates:
            self._update_directory(query)
            self._learn(query)
            self._speculate(query)

    def has_arrived(self, job: Job) -> None:
        """A receiver says that a job is there: note it in the directory."""
        self._forget(job)
        self.is_held(job.receiver, job.runs)  # what came as text, the receiver prefills

    def is_held(self, receiver: Receiver, runs: list[Run]) -> None:
        """A receiver says that it holds these blocks."""
        held = self._held[receiver]
        for run in runs:
            held.add(run)

    def was_evicted(self, receiver: Receiver, runs: list[Run]) -> None:
        """A receiver says that these blocks are gone there."""
        for run in runs:
            self._held[receiver].take(run)

    def was_refused(self, job: Job) -> None:
        """A receiver has no room for a push, or has it already: stop it."""
        if not job.demand:
            self.cancel(job, "never_used")

    def has_ended(self, conversation: Conversation) -> None:
        """A conversation is over: stop speculating for it."""
        self._remembered.pop(conversation.draw, None)
        for job in list(self._speculative_jobs.pop(conversation.draw, ())):
            self.cancel(job, "never_used")

    def store(self, runs: list[Run]) -> None:
        """Keep blocks that a receiver wrote here, as far as there is room."""
        for run in runs:
            for gap in self.buffer.absent(run):
                if self.buffer.reserve(gap):
                    self.buffer.arrive(gap)

    # -- demand ------------------------------------------------------------------------------------

    def _serve_text(self, query: Query) -> None:
        for index, run in query.wanted:
            part = query.prompt.parts[index]
            for gap in self._promote_outstanding(query, run, "text"):
                self._begin(Job(query.receiver, query.conversation, [gap], (part,), "text", None))

    def _serve_from_store(self, query: Query) -> None:
        """Send the front of what is wanted that is stored here; say so for the rest (semantics B4)."""
        ready: list[Run] = []
        unavailable: list[Run] = []
        for _, run in query.wanted:
            for gap in self._promote_outstanding(query, run, "kv"):
                count = 0 if unavailable else self.buffer.leading(gap)
                if count:
                    ready.append(Run(gap.start, count))
                if count < gap.count:
                    unavailable.append(Run(gap.start + count, gap.count - count))
        if ready:
            self._begin(Job(query.receiver, query.conversation, ready, (), "kv", None))
        if unavailable:
            self._tell(
                query.receiver,
                Traffic.DEMAND,
                lambda: query.receiver.unavailable(query.conversation, unavailable),
            )

    def _promote_outstanding(self, query: Query, run: Run, kind: Kind) -> list[Run]:
        """Promote what is under way; return the parts of `run` that are not."""
        outstanding = self._outstanding[query.receiver]
        for _, job in outstanding.overlapping(run):
            if job.kind == kind:
                self._promote(job, query.on_late)
        return outstanding.gaps(run)

    def _promote(self, job: Job, on_late: Callable[[], None]) -> None:
        if job.demand:
            return
        job.demand = True
        self._speculative_jobs.get(job.conversation.draw, {}).pop(job, None)
        if job.unit is not None and job.unit.is_open:
            self._ledger.decide(job.unit, "used_late")
            on_late()
        self._promote_compute(job)
        if job.flow is not None:
            self._links[job.receiver].promote(job.flow)

    def _promote_compute(self, job: Job) -> None:
        """Promote what a job computes, and what it waits for."""
        while True:
            if job.sequence is not None and self.gpu is not None:
                self.gpu.promote(job.sequence)
            if job.waits_for is None:
                return
            job = job.waits_for

    # -- a job from begin to end -------------------------------------------------------------------

    def _begin(self, job: Job) -> None:
        outstanding = self._outstanding[job.receiver]
        for run in job.runs:
            outstanding.put(run, job)
        if job.unit is not None:
            self._ledger.begin(job.unit)
            self._speculative_jobs.setdefault(job.conversation.draw, {})[job] = None
        self._prepare(job)

    def _prepare(self, job: Job) -> None:
        """Send what is complete; compute what is not, after whoever computes a piece of it already."""
        job.waits_for = None
        if job.cancelled:
            self._end(job)
            return
        if job.kind == "text":
            self._send(job)
            return
        missing = [gap for span in _spans(job.chain) for gap in self.buffer.not_resident(span)]
        if not missing:
            self._pin(job)
            self._send(job)
            return
        for gap in missing:
            for _, other in self._computing.overlapping(gap):
                job.waits_for = other
                other.after.append(job)
                if job.demand:
                    self._promote_compute(job)
                return
        self._compute(job, missing)

    def _pin(self, job: Job) -> None:
        for run in _spans(job.chain) or job.runs:
            self.buffer.pin(run)
            job.pinned.append(run)

    def _compute(self, job: Job, gaps: list[Run]) -> None:
        """Take room for what is missing of a job's chain, and prefill it behind what is there."""
        assert self.gpu is not None
        resident = [held for span in _spans(job.chain) for held in joined(self.buffer.survey(span).resident)]
        for run in resident:
            self.buffer.pin(run)
        if not self._reserve_all(gaps):
            for run in resident:
                self.buffer.release(run)
            self._has_no_room(job)
            return
        job.pinned = resident
        job.computing = gaps
        for gap in gaps:
            self._computing.put(gap, job)
        pieces = in_parts(job.chain, gaps)
        tokens = sum(tokens_in(job.chain[index], piece, self._block_tokens) for index, piece in pieces)
        job.sequence = GpuSequence(
            tokens,
            sum(part.tokens for part in job.chain) - tokens,
            speculative=not job.demand,
            on_finished=lambda: self._computed(job),
        )
        self.gpu.submit(job.sequence)

    def _has_no_room(self, job: Job) -> None:
        if not job.demand:
            self.cancel(job, "never_used")
        elif self.buffer.pinned_blocks:
            self._waiting_for_room.append(job)
        else:
            blocks = sum(part.run.count for part in job.chain)
            raise InputError(
                f"a document of {blocks} blocks does not fit into the {self.buffer.capacity_blocks} blocks of buffer"
                f" 'hbm'; want a larger size",
                f"servers.{self.name}.buffers.hbm",
            )

    def _reserve_all(self, runs: list[Run]) -> bool:
        for index, run in enumerate(runs):
            if not self.buffer.reserve(run):
                for taken in runs[:index]:
                    self.buffer.abandon(taken)
                return False
        return True

    def _computed(self, job: Job) -> None:
        sequence, job.sequence = job.sequence, None
        assert sequence is not None
        if job.unit is not None:
            self._ledger.spend_gpu(job.unit, sequence.speculative_s)
        for gap in job.computing:
            self._computing.take(gap)
            if sequence.prefill_left_tokens:  # cancelled half-way: nothing whole came of it
                self.buffer.abandon(gap)
            else:
                self.buffer.arrive(gap, pin=True)
                job.pinned.append(gap)
        job.computing = []
        after, job.after = job.after, []
        if job.cancelled:
            self._end(job)
        else:
            self._send(job)
        for other in after:
            self._prepare(other)

    def _send(self, job: Job) -> None:
        link = self._links[job.receiver]
        job.flow = link.send(self._payload_bytes(job), job.traffic, lambda _: self._landed(job))
        if job.unit is not None:
            self._ledger.watch(job.unit, job.flow)
            if job.kind == "kv" and not job.demand:
                call_after(self.env, link.delay_s, Order.TRANSFER_END, lambda: job.receiver.announced(job))

    def _payload_bytes(self, job: Job) -> int:
        text_bytes = sum(
            tokens_in(part, run, self._block_tokens) * self._text_bytes_per_token
            for part in job.chain[-1:]
            for run in job.runs
        )
        if job.kind == "text":
            return text_bytes
        kv_bytes = sum(run.count for run in job.runs) * self.buffer.block_bytes
        return kv_bytes + text_bytes if self._blend else kv_bytes

    def _landed(self, job: Job) -> None:
        job.landed = True
        if not self.speculates:
            self._forget(job)
        job.receiver.delivered(job)
        self._end(job)

    def _end(self, job: Job) -> None:
        """Let go of what a job held; nothing more can be spent on it here."""
        pinned, job.pinned = job.pinned, []
        for run in pinned:
            self.buffer.release(run)
        if job.unit is not None:
            self._ledger.end(job.unit)
        if pinned and self._waiting_for_room:
            waiting = list(self._waiting_for_room)
            self._waiting_for_room.clear()
            for other in waiting:
                self._prepare(other)

    def _tell(self, receiver: Receiver, traffic: Traffic, action: Callable[[], None]) -> None:
        """Send a control message; `action` happens when it arrives."""
        self._links[receiver].send(self._control_bytes, traffic, lambda _: action(), control=True)

    def _forget(self, job: Job) -> None:
        for run in job.runs:
            outstanding = self._outstanding[job.receiver]
            for piece, other in outstanding.overlapping(run):
                if other is job:
                    outstanding.remove(piece)
        self._speculative_jobs.get(job.conversation.draw, {}).pop(job, None)

    def cancel(self, job: Job, outcome: str) -> None:
        """Stop a speculative job that has not arrived; what it spent counts as `outcome`."""
        if job.cancelled or job.landed:
            return
        job.cancelled = True
        self._forget(job)
        if job.unit is not None:
            self._ledger.decide(job.unit, outcome)
        if job.sequence is not None and self.gpu is not None:
            if job.sequence.speculative:  # else a demand waits for what it computes
                self.gpu.cancel(job.sequence)
        elif job.flow is not None:
            self._links[job.receiver].cancel(job.flow)
            self._tell(job.receiver, Traffic.SPECULATIVE, lambda: job.receiver.withdrawn(job))
            self._end(job)
        elif job.waits_for is None:
            self._end(job)

    # -- learning and speculating ------------------------------------------------------------------

    def _update_directory(self, query: Query) -> None:
        """When the turn ends the receiver holds all of its prompt; what it fetches, once it has arrived."""
        held = self._held[query.receiver]
        for span in query.prompt.spans:
            held.add(span)
        if query.plan is Plan.FETCH and self.gpu is not None:
            for _, run in query.wanted:
                held.take(run)

    def _learn(self, query: Query) -> None:
        remembered = self._remembered.get(query.conversation.draw)
        if remembered is None:
            remembered = self._remembered[query.conversation.draw] = Remembered(query.conversation)
        outcome = remembered.learn(query.prompt)
        if outcome is not None:
            self._predictor.observe(outcome)

    def _speculate(self, query: Query) -> None:
        """Ask the prefetch policy what is wanted ahead of time; begin what is new, cancel what is not."""
        remembered = self._remembered[query.conversation.draw]
        receiver, outstanding = query.receiver, self._outstanding[query.receiver]
        unwanted = dict(self._speculative_jobs.get(query.conversation.draw, ()))
        for item, kind in self._prefetch.decide(self._view(query, remembered)):
            chain = remembered.parts_of(item)
            for span in _spans(chain):
                for _, job in outstanding.overlapping(span):
                    unwanted.pop(job, None)
                for lacking in self._held[receiver].gaps(span):
                    for index, gap in in_parts(chain, outstanding.gaps(lacking)):
                        self._push(query, gap, chain[: index + 1], kind)
        for job in unwanted:
            self.cancel(job, "cancelled")

    def _push(self, query: Query, gap: Run, chain: tuple[Part, ...], kind: Kind) -> None:
        """Begin to move blocks that the receiver is believed to lack, and that nobody moves yet."""
        if self.gpu is None:  # a pool sends the front of what it has
            gap = Run(gap.start, self.buffer.leading(gap))
            chain = ()
        if gap.count:
            unit = self._ledger.open(query.conversation.draw, gap.count)
            self._begin(Job(query.receiver, query.conversation, [gap], chain, kind, unit))

    def _view(self, query: Query, remembered: Remembered) -> PrefetchView:
        held = self._held[query.receiver]
        foresight = query.foresight

        def next_items() -> list[Item]:
            return foresight.next_items(1)

        history = remembered.view(next_items if self._predictor_sees_future else None)
        return PrefetchView(
            now_s=self.env.now,
            asked=remembered.asked,
            chunks=history.chunks,
            probabilities=lambda: self._predictor.predict(history),
            held=lambda item: all(held.covers(part.run) for part in remembered.parts_of(item)),
            item_bytes=lambda item: remembered.parts_of(item)[-1].run.count * self.buffer.block_bytes,
            foresight=foresight if self._prefetch_sees_future else None,
        )


def _spans(chain: tuple[Part, ...]) -> tuple[Run, ...]:
    """Return the blocks of a chain in as few runs as possible."""
    return joined(part.run for part in chain)
