"""What does the holder of KV do when it learns of a query? It computes, sends, pushes ahead, promotes, cancels.

A source is a server with a buffer and, unless it is a mere pool, a GPU. It acts on messages that took time
to arrive. Sending is store and forward: a transfer begins when its KV is complete. What to push ahead of time
is decided in `pushing.py`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from simpy import Environment

from simkv.clock import Order, call_after
from simkv.compute.gpu import Gpu, GpuSequence
from simkv.errors import InputError, InvariantError
from simkv.jobs import Job, Query, Receiver, UnderWay
from simkv.kv.block import Run, joined
from simkv.kv.buffer import KvBuffer
from simkv.kv.prefix import OPEN_LOOP, Conversation, Part, in_parts, tokens_in
from simkv.kv.runmap import RunMap
from simkv.ledger import Ledger
from simkv.network.link import Link, Traffic
from simkv.policies.prefetch.question import Kind
from simkv.pushing import Push, Pusher, spans


class Source:
    """A server from which others get KV.

    Parameters
    ----------
    buffer : what it holds.
    gpu : computes what it does not hold; None = a pool that only stores.
    pusher : decides what to move ahead of time; None = nothing ever.
    block_tokens : [tokens] a block.
    text_bytes_per_token : [bytes] of text a token.
    control_bytes : [bytes] of payload in a control message.
    sends_text_along : receivers need the text of a chunk beside its KV, to blend it (semantics B3).
    """

    def __init__(
        self,
        env: Environment,
        name: str,
        buffer: KvBuffer,
        gpu: Gpu | None,
        pusher: Pusher | None,
        *,
        ledger: Ledger,
        block_tokens: int,
        text_bytes_per_token: int,
        control_bytes: int,
        sends_text_along: bool,
    ) -> None:
        self.env = env
        self.name = name
        self.buffer = buffer
        self.gpu = gpu
        self._pusher = pusher
        self._ledger = ledger
        self._block_tokens = block_tokens
        self._text_bytes_per_token = text_bytes_per_token
        self._control_bytes = control_bytes
        self._sends_text_along = sends_text_along
        self._links: dict[Receiver, Link] = {}
        self._outstanding: dict[Receiver, UnderWay] = {}
        self._computing: RunMap[Job] = RunMap()
        self._waiting_for_room: deque[Job] = deque()

    def connect(self, receiver: Receiver, link: Link) -> None:
        """Make a server one of its receivers, reached over `link`."""
        self._links[receiver] = link
        self._outstanding[receiver] = UnderWay()

    @property
    def speculates(self) -> bool:
        """Whether it pushes ahead of time, and so wants to know of every query."""
        return self._pusher is not None

    # -- messages that arrive ----------------------------------------------------------------------

    def query(self, query: Query) -> None:
        """A turn arrived at a receiver: serve what it lacks, learn from it, push what may follow."""
        self._serve_text(query)
        if self.gpu is None:
            self._serve_from_store(query)
        else:
            self._serve_computed(query)
        if self._pusher is not None:
            pushes, unwanted = self._pusher.consider(query, self._outstanding[query.receiver])
            for job in unwanted:  # first: what they hold makes room
                self.cancel(job, "cancelled")
            for push in pushes:
                self._push(query, push)

    def has_arrived(self, job: Job, kept: list[Run]) -> None:
        """A receiver says that a job is there, and what it keeps of it: as KV, or as text that it prefills."""
        self._forget(job)
        if self._pusher is not None:
            self._pusher.is_held(job.receiver, kept)

    def was_evicted(self, receiver: Receiver, runs: list[Run]) -> None:
        """A receiver says that these blocks are gone there."""
        if self._pusher is not None:
            self._pusher.was_evicted(receiver, runs)

    def was_refused(self, job: Job) -> None:
        """A receiver has no room for a push, or has it already: stop it."""
        if not job.demand:
            self.cancel(job, "never_used")

    def has_ended(self, conversation: Conversation) -> None:
        """A conversation is over: stop speculating for it."""
        if self._pusher is not None:
            for job in self._pusher.has_ended(conversation):
                self.cancel(job, "never_used")

    def store(self, runs: list[Run]) -> None:
        """Keep blocks that a receiver wrote here, as far as there is room."""
        for run in runs:
            for gap in self.buffer.absent(run):
                if self.buffer.reserve(gap):
                    self.buffer.arrive(gap)

    # -- demand ------------------------------------------------------------------------------------

    def _serve_computed(self, query: Query) -> None:
        prompt = query.prompt
        for index, run in query.kv:
            chain = prompt.parts[: index + 1] if prompt.chained else (prompt.parts[index],)
            for gap in self._promote_outstanding(query, run, "kv"):
                self._begin(Job(query, [gap], chain, "kv", text_tokens=self._text_along(query, chain[-1], gap)))

    def _serve_text(self, query: Query) -> None:
        for index, run in query.texts:
            part = query.prompt.parts[index]
            for gap in self._promote_outstanding(query, run, "text"):
                tokens = tokens_in(part, gap, self._block_tokens)
                self._begin(Job(query, [gap], (part,), "text", text_tokens=tokens))

    def _serve_from_store(self, query: Query) -> None:
        """Send the front of what is wanted that is stored here; say so for the rest (semantics B4)."""
        ready: list[Run] = []
        unavailable: list[Run] = []
        text_tokens = 0
        for index, run in query.kv:
            for gap in self._promote_outstanding(query, run, "kv"):
                count = 0 if unavailable and query.prompt.chained else self.buffer.leading(gap)
                if count:
                    ready.append(Run(gap.start, count))
                    text_tokens += self._text_along(query, query.prompt.parts[index], ready[-1])
                if count < gap.count:
                    unavailable.append(Run(gap.start + count, gap.count - count))
        if ready:
            self._begin(Job(query, ready, (), "kv", text_tokens=text_tokens))
        if unavailable:
            self._tell(
                query.receiver, Traffic.DEMAND, lambda: query.receiver.unavailable(query.conversation, unavailable)
            )

    def _push(self, query: Query, push: Push) -> None:
        """Begin to move what can be moved: a source without a GPU sends the front of the KV that it has."""
        blocks, chain, kind = push
        part = chain[-1]
        if self.gpu is None and kind == "kv":
            blocks, chain = Run(blocks.start, self.buffer.leading(blocks)), ()
        if not blocks.count:
            return
        is_text = kind == "text"
        tokens = tokens_in(part, blocks, self._block_tokens) if is_text else self._text_along(query, part, blocks)
        unit = self._ledger.open(query.conversation.key, blocks.count)
        self._begin(Job(query, [blocks], chain, kind, text_tokens=tokens, unit=unit))
        if query.conversation.has_ended and query.conversation.key != OPEN_LOOP:  # the source hears of it too late
            self._ledger.decide(unit, "never_used")

    def _text_along(self, query: Query, part: Part, run: Run) -> int:
        """Return [tokens] whose text must go with the KV of `run`, to blend it."""
        if query.prompt.chained or not self._sends_text_along:
            return 0
        return tokens_in(part, run, self._block_tokens)

    def _promote_outstanding(self, query: Query, run: Run, kind: Kind) -> list[Run]:
        """Promote what is under way; return the parts of `run` that are not."""
        outstanding = self._outstanding[query.receiver]
        for job in outstanding.of(kind, run):
            if job.landed and job.received <= query.received:  # it came, and was gone again when this was asked
                self._forget(job)
            else:
                self._promote(job, query.on_late)
        return outstanding.lacks(kind, run)

    def _promote(self, job: Job, on_late: Callable[[], None]) -> None:
        if job.demand:
            return
        job.demand = True
        if self._pusher is not None:
            self._pusher.is_over(job)
        if job.unit is not None and job.unit.is_open:
            self._ledger.decide(job.unit, "used_late")
            on_late()
        self._promote_compute(job)
        if job.flow is not None:
            self._links[job.receiver].promote(job.flow)

    def _promote_compute(self, job: Job) -> None:
        """Promote what a job computes, and what it waits for."""
        assert self.gpu is not None or job.sequence is None
        waiting: Job | None = job
        while waiting is not None:
            if waiting.sequence is not None and self.gpu is not None:
                self.gpu.promote(waiting.sequence)
            waiting = waiting.waits_for

    # -- a job from begin to end -------------------------------------------------------------------

    def _begin(self, job: Job) -> None:
        self._outstanding[job.receiver].add(job)
        if job.unit is not None:
            self._ledger.begin(job.unit)
            if self._pusher is not None:
                self._pusher.began(job)
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
        missing = [gap for span in spans(job.chain) for gap in self.buffer.not_resident(span)]
        if not missing:
            for run in spans(job.chain) or job.runs:
                self.buffer.pin(run)
                job.pinned.append(run)
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

    def _compute(self, job: Job, gaps: list[Run]) -> None:
        """Take room for what is missing of a job's chain, and prefill it behind what is there."""
        assert self.gpu is not None
        resident = [held for span in spans(job.chain) for held in joined(self.buffer.survey(span).resident)]
        for run in resident:
            self.buffer.pin(run)
        if not self._reserve_all(gaps):
            for run in resident:
                self.buffer.release(run, was_used=False)
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
            on_spent=lambda seconds: self._spent(job, seconds),
            on_finished=lambda: self._computed(job),
        )
        self.gpu.submit(job.sequence)

    def _has_no_room(self, job: Job) -> None:
        if not job.demand:
            self.cancel(job, "never_used")
        elif self.buffer.pinned_blocks:
            self._waiting_for_room.append(job)
            for other in self._pusher.under_way() if self._pusher is not None else ():
                if job not in self._waiting_for_room:
                    return
                if other.pinned or other.computing:  # speculation makes way for demand (semantics D3)
                    self.cancel(other, "evicted")
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

    def _spent(self, job: Job, seconds: float) -> None:
        if job.unit is not None:
            self._ledger.spend_gpu(job.unit, seconds)

    def _computed(self, job: Job) -> None:
        sequence, job.sequence = job.sequence, None
        assert sequence is not None
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
        blocks = sum(run.count for run in job.runs) if job.kind == "kv" else 0
        return blocks * self.buffer.block_bytes + job.text_tokens * self._text_bytes_per_token

    def _landed(self, job: Job) -> None:
        job.landed = True
        job.receiver.delivered(job)
        self._end(job)

    def _end(self, job: Job) -> None:
        """Let go of what a job held; nothing more can be spent on it here."""
        pinned, job.pinned = job.pinned, []
        for run in pinned:
            self.buffer.release(run, was_used=job.demand)
        if job.unit is not None:
            self._ledger.end(job.unit)
        if self._waiting_for_room:
            waiting = list(self._waiting_for_room)
            self._waiting_for_room.clear()
            for other in waiting:
                self._prepare(other)

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

    def _tell(self, receiver: Receiver, traffic: Traffic, action: Callable[[], None]) -> None:
        """Send a control message; `action` happens when it arrives."""
        self._links[receiver].send(self._control_bytes, traffic, lambda _: action(), control=True)

    def _forget(self, job: Job) -> None:
        self._outstanding[job.receiver].remove(job)
        if self._pusher is not None:
            self._pusher.is_over(job)

    def check_at_rest(self) -> None:
        """Raise unless nothing is under way and nothing held: what a source must come to when all has happened.

        Raises
        ------
        InvariantError : something leaked.
        """
        self.buffer.check_all_free()
        left = sum(len(jobs) for jobs in self._outstanding.values()), len(self._computing), len(self._waiting_for_room)
        if any(left):
            raise InvariantError(
                f"source {self.name}: {left[0]} jobs are under way, {left[1]} compute, {left[2]} wait for room"
                " although nothing more will happen"
            )
