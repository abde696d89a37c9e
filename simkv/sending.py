"""What does the holder of KV do when it learns of a query? It computes, sends, pushes ahead, promotes, cancels.

A source is a server with a buffer and, unless it is a mere pool, a GPU. It acts on messages that took time
to arrive. Sending is store and forward: a transfer begins when its KV is complete. What it moves ahead of time
is told in `ahead.py`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from simpy import Environment

from simkv.ahead import Ahead
from simkv.answering import answer
from simkv.clock import Order, call_after
from simkv.coding import Coder, Coding
from simkv.compute.gpu import Gpu, GpuSequence
from simkv.errors import InputError, InvariantError
from simkv.jobs import Job, Query, Receiver, UnderWay
from simkv.kv.block import Run, joined
from simkv.kv.buffer import KvBuffer
from simkv.kv.prefix import Part, in_parts, tokens_in
from simkv.kv.runmap import RunMap
from simkv.ledger import Ledger, Unit
from simkv.mind import spans
from simkv.network.link import Link, Traffic
from simkv.pacing import Line

_LEARNING = 0.2  # weight of the newest prompt in what a token takes: about the last five count


class Source:
    """A server from which others get KV.

    Parameters
    ----------
    buffer : what it holds.
    gpu : computes what it does not hold; None = a pool that only stores.
    ahead : moves things ahead of time; None = nothing ever.
    block_tokens : [tokens] a block.
    text_bytes_per_token : [bytes] of text a token.
    control_bytes : [bytes] of payload in a control message.
    coding : in which form KV travels.
    sends_text_along : receivers need the text of a chunk beside its KV, to blend it (semantics B3).
    """

    def __init__(
        self,
        env: Environment,
        name: str,
        make_buffer: Callable[[Callable[[Run, object], None]], KvBuffer],
        gpu: Gpu | None,
        ahead: Ahead | None,
        *,
        ledger: Ledger,
        block_tokens: int,
        text_bytes_per_token: int,
        control_bytes: int,
        coding: Coding,
        sends_text_along: bool,
    ) -> None:
        self.env = env
        self.name = name
        self.buffer = make_buffer(self._was_evicted_here)
        self.gpu = gpu
        self.ahead = ahead
        self.prefill_s_per_token = 0.0  # [s] learned, waiting for the GPU included; 0 before the first prompt
        self._ledger = ledger
        self.block_tokens = block_tokens
        self._text_bytes_per_token = text_bytes_per_token
        self._control_bytes = control_bytes
        self._wire_block_bytes = coding.wire_block_bytes
        self._coder = Coder(gpu, coding, "code", ledger)
        self._sends_text_along = sends_text_along
        self._links: dict[Receiver, Link] = {}
        self._lines: dict[Link, Line] = {}
        self._outstanding: dict[Receiver, UnderWay] = {}
        self._computing: RunMap[Job] = RunMap()
        self._waiting_for_room: deque[Job] = deque()
        if ahead is not None:
            ahead.serve(self)

    def connect(self, receiver: Receiver, link: Link) -> None:
        """Make a server one of its receivers, reached over `link`."""
        self._links[receiver] = link
        self._lines.setdefault(link, Line(self._transmit))
        self._outstanding[receiver] = UnderWay()
        if self.ahead is not None:
            self.ahead.connect(receiver, link)

    def outstanding(self, receiver: Receiver) -> UnderWay:
        """Return what is under way to a receiver."""
        return self._outstanding[receiver]

    # -- messages that arrive ----------------------------------------------------------------------

    def query(self, query: Query) -> None:
        """A turn arrived at a receiver: serve what it lacks, learn from it, push what may follow."""
        answer(self, query)
        if self.ahead is not None:
            self.ahead.query(query)

    def has_arrived(self, job: Job, kept: list[Run]) -> None:
        """A receiver says that a job is there, and what it keeps of it: as KV, or as text that it prefills."""
        self.forget(job)
        if self.ahead is not None:
            self.ahead.has_arrived(job, kept)

    def was_evicted(self, receiver: Receiver, runs: list[Run], *, by_speculation: bool) -> None:
        """A receiver says that these blocks are gone there, and whether speculation pushed them out."""
        if self.ahead is not None:
            self.ahead.pusher.was_evicted(receiver, runs, by_speculation=by_speculation)

    def was_refused(self, job: Job) -> None:
        """A receiver has no room for a push, or has it already: stop it."""
        if not job.demand:
            self.cancel(job, "never_used")

    def store(self, runs: list[Run]) -> None:
        """Keep blocks that a receiver wrote here, as far as there is room."""
        for run in runs:
            for gap in self.buffer.absent(run):
                if self.buffer.reserve(gap):
                    self.buffer.arrive(gap)

    # -- demand ------------------------------------------------------------------------------------

    def kv_bytes(self, query: Query, part: Part, run: Run) -> int:
        """Return [bytes] of KV in the form that a query wants, and of the text that must go along to blend it."""
        text_bytes = self.text_bytes(part, run) if self._sends_text_along and not query.prompt.chained else 0
        if query.form is None:
            return run.count * self._wire_block_bytes + text_bytes
        token_bytes = self.buffer.block_bytes // self.block_tokens
        return query.form.payload_bytes(part, run, self.block_tokens, token_bytes) + text_bytes

    def text_bytes(self, part: Part, run: Run) -> int:
        """Return [bytes] of the text of some blocks of a part."""
        return tokens_in(part, run, self.block_tokens) * self._text_bytes_per_token

    def promote(self, job: Job, on_late: Callable[[list[Run]], None]) -> None:
        """Somebody waits for a job from now on: it is demand."""
        if job.demand:
            return
        job.demand = True
        if self.ahead is not None:
            self.ahead.is_over(job)
        if job.unit is not None and job.unit.is_open:
            self._ledger.decide(job.unit, "used_late")
            on_late(job.runs)
        self._promote_compute(job)
        self._coder.promote(job)
        link = self._links[job.receiver]
        if job.flow is not None:
            link.promote(job.flow)
            self._lines[link].over(job)
        elif job.in_line:
            self._transmit(job)

    def _promote_compute(self, job: Job) -> None:
        """Promote what a job computes, and what it waits for."""
        assert self.gpu is not None or job.sequence is None
        waiting: Job | None = job
        while waiting is not None:
            if waiting.sequence is not None and self.gpu is not None:
                self.gpu.promote(waiting.sequence)
            waiting = waiting.waits_for

    # -- a job from begin to end -------------------------------------------------------------------

    def begin(self, job: Job) -> None:
        """Begin to move, or to make, what a job says."""
        self._outstanding[job.receiver].add(job)
        if job.unit is not None:
            self._ledger.begin(job.unit)
            if self.ahead is not None:
                self.ahead.began(job)
        self._prepare(job)

    def _prepare(self, job: Job) -> None:
        """Send what is complete; compute what is not, after whoever computes a piece of it already."""
        job.waits_for = None
        if job.cancelled:
            self._end(job)
            return
        if job.kind == "text":
            self._coder.run(job, self._send)
            return
        missing = [gap for span in spans(job.chain) for gap in self.buffer.not_resident(span)]
        if not missing:
            self._go(job)
            return
        for gap in missing:
            for _, other in self._computing.overlapping(gap):
                job.waits_for = other
                other.after.append(job)
                if job.demand:
                    self._promote_compute(job)
                return
        self._compute(job, missing)

    def _go(self, job: Job) -> None:
        """All that a job needs is here."""
        if job.kind == "compute":
            self._made(job)
            return
        for run in spans(job.chain) or job.runs:
            self.buffer.pin(run)
            job.pinned.append(run)
        self._coder.run(job, self._send)

    def _compute(self, job: Job, gaps: list[Run]) -> None:
        """Take room for what is missing of a job's chain, and prefill it behind what is there."""
        assert self.gpu is not None
        resident = [held for span in spans(job.chain) for held in joined(self.buffer.survey(span).resident)]
        for run in resident:
            self.buffer.pin(run)
        if not self._reserve_all(gaps, job.unit if job.kind == "compute" else None):
            for run in resident:
                self.buffer.release(run, was_used=False)
            self._has_no_room(job)
            return
        job.pinned = resident
        job.computing = gaps
        for gap in gaps:
            self._computing.put(gap, job)
        pieces = in_parts(job.chain, gaps)
        tokens = sum(tokens_in(job.chain[index], piece, self.block_tokens) for index, piece in pieces)
        began_s = self.env.now
        job.sequence = GpuSequence(
            tokens,
            sum(part.tokens for part in job.chain) - tokens,
            speculative=not job.demand,
            on_spent=lambda seconds: self._spent(job, seconds),
            on_finished=lambda: self._computed(job, (self.env.now - began_s) / tokens),
        )
        self.gpu.submit(job.sequence)

    def _has_no_room(self, job: Job) -> None:
        if not job.demand:
            self.cancel(job, "never_used")
        elif self.buffer.pinned_blocks:
            self._waiting_for_room.append(job)
            for other in self.ahead.pusher.under_way() if self.ahead is not None else ():
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

    def _reserve_all(self, runs: list[Run], mark: Unit | None) -> bool:
        for index, run in enumerate(runs):
            if not self.buffer.reserve(run, mark=mark):
                for taken in runs[:index]:
                    self.buffer.abandon(taken)
                return False
        return True

    def _spent(self, job: Job, seconds: float) -> None:
        if job.unit is not None:
            self._ledger.spend_gpu(job.unit, seconds)

    def _computed(self, job: Job, s_per_token: float) -> None:
        sequence, job.sequence = job.sequence, None
        assert sequence is not None
        if not sequence.prefill_left_tokens:
            self.prefill_s_per_token += (s_per_token - self.prefill_s_per_token) * (
                _LEARNING if self.prefill_s_per_token else 1.0
            )
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
        elif job.kind == "compute":
            self._made(job)
        else:
            self._coder.run(job, self._send)
        for other in after:
            self._prepare(other)

    def _send(self, job: Job) -> None:
        """Send a job at once, or in its turn if it has a deadline."""
        if job.cancelled:
            self._end(job)
        elif job.demand or job.deadline_s is None:
            self._transmit(job)
        else:
            job.in_line = True
            self._lines[self._links[job.receiver]].enter(job)

    def _transmit(self, job: Job) -> None:
        job.in_line = False
        link = self._links[job.receiver]
        job.flow = link.send(job.payload_bytes, job.traffic, lambda _: self._landed(job))
        if job.deadline_s is not None:
            job.flow.on_sent = lambda: self._lines[link].over(job)
        if job.unit is not None:
            self._ledger.watch(job.unit, job.flow)
            if job.kind == "kv" and not job.demand:
                call_after(self.env, link.delay_s, Order.TRANSFER_END, lambda: job.receiver.announced(job))

    def _made(self, job: Job) -> None:
        """KV that only had to be made is here: it stays until it is asked for or evicted."""
        job.landed = True
        self.forget(job)
        self._end(job)

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
        self.forget(job)
        if job.unit is not None:
            self._ledger.decide(job.unit, outcome)
        if job.sequence is not None and self.gpu is not None:
            if job.sequence.speculative:  # else a demand waits for what it computes
                self.gpu.cancel(job.sequence)
        elif job.flow is not None:
            link = self._links[job.receiver]
            link.cancel(job.flow)
            self._lines[link].over(job)
            self.tell(job.receiver, Traffic.SPECULATIVE, lambda: job.receiver.withdrawn(job))
            self._end(job)
        elif job.waits_for is None and not self._coder.is_at(job):
            self._end(job)

    def tell(self, receiver: Receiver, traffic: Traffic, action: Callable[[], None], more_bytes: int = 0) -> None:
        """Send a control message, longer than usual by so much; `action` happens when it arrives."""
        self._links[receiver].send(self._control_bytes + more_bytes, traffic, lambda _: action(), control=True)

    def forget(self, job: Job) -> None:
        """A job is under way no more."""
        self._outstanding[job.receiver].remove(job)
        if self.ahead is not None:
            self.ahead.is_over(job)

    def _was_evicted_here(self, run: Run, mark: object) -> None:
        """Its own buffer had no room for what was made ahead of time."""
        if isinstance(mark, Unit):
            self._ledger.cut(mark, run.count, "evicted")

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
