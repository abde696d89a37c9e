"""What happens to KV at the server that serves: who holds which blocks, what arrives, what is refused.

A request takes all the memory it needs at once, or waits for it holding nothing, so that no two requests
can block each other; room for the answer is taken with the prompt ("reserve-ahead", as Orca does), so no
running sequence is ever preempted, or block by block as it grows (`paging.py`). What a request then lacks comes from
a source, from an earlier request that is computing it, or from its own prefill.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

from simpy import Environment

from simkv.acquiring import Acquirer, Wanted
from simkv.claim import Claim, take_overlap
from simkv.clock import Order, call_at
from simkv.coding import Coder, Coding
from simkv.compute.gpu import Gpu
from simkv.compute.room import Room
from simkv.errors import InvariantError
from simkv.first_look import FirstLook
from simkv.holding import Answers, Holding
from simkv.jobs import Job, Query, Receiver
from simkv.kv.block import Run, overlap
from simkv.kv.buffer import KvBuffer
from simkv.kv.prefix import Conversation, Part, in_parts, is_own
from simkv.kv.runmap import RunSet
from simkv.kv_ahead import KvAhead
from simkv.ledger import Ledger, Unit
from simkv.making import Making
from simkv.network.link import Traffic
from simkv.paging import Paging
from simkv.policies.acquisition.question import Acquisition
from simkv.policies.routing.question import VisibleRequest
from simkv.server_load import Load
from simkv.text_ahead import TextAhead
from simkv.upstream import Upstream


class Server:
    """A node that serves turns: one GPU, one KV buffer, and where missing KV comes from.

    Parameters
    ----------
    make_gpu : makes its GPU over the memory that answers grow into; None = they hold theirs from the start.
    answers : "reserved" = room for an answer is taken with its prompt; "paged" = block by block as it grows.
    upstream : makes its line to the source that sends what is missing; None = everything is computed here.
    acquisition : how missing KV gets here.
    coding : in which form it travels.
    blend_share : share of each reused independent chunk that is recomputed (semantics B3); 0 = naive.
    text_bytes_per_token : [bytes] of text a token.
    """

    def __init__(
        self,
        env: Environment,
        name: str,
        make_gpu: Callable[[Room | None], Gpu],
        make_buffer: Callable[[Callable[[Run, object], None]], KvBuffer],
        *,
        ledger: Ledger,
        answers: Answers = "reserved",
        acquisition: Acquisition,
        coding: Coding,
        upstream: Callable[[Receiver], Upstream] | None,
        block_tokens: int,
        text_bytes_per_token: int,
        blend_share: float,
    ) -> None:
        self.env = env
        self.name = name
        self.buffer = make_buffer(self._was_evicted)
        self._holding = Holding(self.buffer, block_tokens, answers, self._make_way)
        self._lost = 0  # requests that lost their memory and wait for it: they come before those that never had any
        paging = Paging(
            *(self.buffer, block_tokens),
            unpin=self._holding.unpin,
            lost=self._has_lost,
            hold_again=self._hold_again,
        )
        self.gpu = make_gpu(paging if answers == "paged" else None)
        self.load = Load(name, self.cached_tokens)
        self._ledger = ledger
        self._upstream = upstream(self) if upstream is not None else None
        self._block_tokens = block_tokens
        self._blend_share = blend_share
        self._queue: deque[Claim] = deque()  # wait for memory, first come, first served
        self._claims: list[Claim] = []  # wait for something to arrive
        self._look = FirstLook(self.buffer, ledger)
        self.fates = self._look.fates
        self._kv = KvAhead(self.buffer, ledger, gave_up=lambda job: self._refuse(job, Traffic.DEMAND))
        self._texts = TextAhead(
            self.buffer,
            self.gpu,
            ledger,
            block_tokens=block_tokens,
            reserve=lambda gaps, unit: not self._queue and self._kv.reserve(gaps, unit),
            arrived=self._wake,
            freed=self._admit_later,
        )
        self._making = Making(self._texts.computing)
        self._coder = Coder(self.gpu, coding, "decode", ledger)
        self._acquirer = Acquirer(
            *(acquisition, self.buffer, ledger, self._kv, self._texts),
            wire_block_bytes=coding.wire_block_bytes,
            arrived=self._wake,
            block_tokens=block_tokens,
            text_bytes_per_token=text_bytes_per_token,
        )
        self._received = 0  # jobs that have arrived

    # -- a request takes what it needs -------------------------------------------------------------

    def cached_tokens(self, request: VisibleRequest) -> int:
        """Return [tokens] of a prompt whose KV is here now, for whoever routes."""
        self.gpu.catch_up()
        return request.reusable.cached_tokens(self.buffer.leading, self._block_tokens)

    def claim(self, claim: Claim) -> None:
        """Take a request in; its `on_ready` is called once all it needs is here, or it is rejected."""
        self.gpu.catch_up()
        looks = self._look.at(claim)
        claim.was_late(*self._texts.take_over(claim.prompt))
        if self._queue or self._lost:
            self._queue.append(claim)
        elif self._holding.take(claim, looks):
            self._acquire(claim)
        else:
            self._queue.append(claim)
            self._admit()
        self.gpu.room_changed()

    def tokens(self, claim: Claim) -> tuple[int, int]:
        """Return [tokens] of the prompt (cached, to prefill); the latter with what blending recomputes."""
        cached = claim.cached_tokens(self._block_tokens)
        return cached, claim.prompt.prompt_tokens - cached + claim.blended_tokens(self._blend_share)

    def prefilled(self, claim: Claim) -> None:
        """The prompt is computed, for the first time or again: its blocks are usable by others from now on."""
        for _, run in claim.recomputed:
            for piece in self._holding.use(claim, run):
                self._wake(piece)
            self._making.remove(claim, run)
        claim.is_computed = True
        if claim.lost_tokens:  # in the step that computed it: what others wait for is here, and nobody uses it
            self._holding.unpin(claim)
            self._forget_computed(claim)
        if claim.recomputed or claim.lost_tokens:
            self._texts.compute()
            self.gpu.room_changed()

    def release(self, claim: Claim) -> None:
        """The answer is complete: keep what may serve again, drop the rest, let others have the room."""
        self.gpu.catch_up()
        self._holding.let_go(claim)
        if self._upstream is not None:
            self._upstream.write_through([run for _, run in claim.recomputed], self.buffer.block_bytes)
            self._upstream.has_answered(claim.conversation, claim.prompt.stopped_by)
        self._admit()
        self.gpu.room_changed()

    def hinted(self, conversation: Conversation, items: Mapping[int | Run, tuple[Part, ...]]) -> None:
        """A client says what it will ask next."""
        if self._upstream is not None:
            self._upstream.hint(conversation, items)

    def session_ended(self, conversation: Conversation) -> None:
        """A conversation is over: its speculation ends, here and at the source."""
        self._texts.end_session(conversation)
        self._kv.forget(spans := conversation.private_spans())
        self.fates.forget(spans)
        self._ledger.end_session(conversation.key)
        if self._upstream is not None:
            self._upstream.has_ended(conversation)

    def foretold(self, steps: list[tuple[Run, float]]) -> None:
        """Let the eviction policy know in how many queries of a conversation blocks are used next."""
        for run, count in steps:
            self.buffer.foretold(run, count)

    # -- what the source sends ---------------------------------------------------------------------

    def announced(self, job: Job) -> None:
        """Make room for a push that began, or refuse it: no room, or here already."""
        if job.demand or job.cancelled or job.landed or job.unit is None:
            return
        if any(overlap(run, awaited) for claim in self._claims for awaited in claim.awaited for run in job.runs):
            return  # asked for since it was sent: there is room already, and the source will hear of it
        self.gpu.catch_up()
        has_ended = not job.unit.is_open
        if self._queue or self._lost or has_ended or not self._kv.accept(job):
            self._ledger.decide(job.unit, "never_used")
            self._refuse(job, Traffic.SPECULATIVE)
        self.gpu.room_changed()

    def delivered(self, job: Job) -> None:
        """Decode what has arrived, and take it in."""
        self._coder.run(job, self._take_in)

    def _take_in(self, job: Job) -> None:
        self.gpu.catch_up()
        self._received += 1
        job.received = self._received
        self._look.settle_late(job, self._claims, self._queue)
        kept = job.runs
        if job.kind == "text":
            self._texts.came(job)
            self._has_come(job)
        else:
            self._kv.landed(job)
            for piece in [piece for run in job.runs for piece in self.buffer.arriving(run)]:
                for brought in self._making.gaps(piece):
                    self.buffer.arrive(brought)
                    self._wake(brought)
            self._has_come(job)
            looks = [self.buffer.survey(run) for run in job.runs]
            kept = [piece for look in looks for piece in (*look.resident, *look.arriving)]
            self._texts.compute()
            self._admit()  # a push that has arrived can be evicted
        if self._upstream is not None:
            self._upstream.has_arrived(job, kept)
        self.gpu.room_changed()

    def _has_come(self, job: Job) -> None:
        """Let go on who waited for a text, or for KV that was here already."""
        for claim in list(self._claims):
            for run in job.runs:
                take_overlap(claim.texts if job.kind == "text" else claim.again, run)
            self._check_ready(claim)

    def withdrawn(self, job: Job) -> None:
        """Give back the room of a push that will not come, unless a request has claimed it since."""
        self.gpu.catch_up()
        awaited = RunSet()
        for run in (run for claim in self._claims for run in claim.awaited):
            awaited.add(run)
        self._kv.withdrawn(job, awaited)
        self._admit()
        self.gpu.room_changed()

    def unavailable(self, conversation: Conversation, runs: list[Run]) -> None:
        """The source has no such blocks: whoever of this conversation waits for them computes them."""
        for claim in [claim for claim in self._claims if claim.conversation is conversation]:
            for gap in [gap for run in runs for gap in self._making.gaps(run, before=claim)]:
                found = in_parts(claim.prompt.parts, take_overlap(claim.awaited, gap))
                claim.recomputed += found
                self._making.add(claim, found)
            for run in runs:
                take_overlap(claim.again, run)
            self._check_ready(claim)
        self.gpu.room_changed()

    # -- taking memory -----------------------------------------------------------------------------

    def _admit_later(self) -> None:
        """Let waiting requests in once all else of this instant has happened."""
        call_at(self.env, self.env.now, Order.DECISION, self._admit_now)

    def _admit_now(self) -> None:
        self.gpu.catch_up()
        self._admit()
        self.gpu.room_changed()

    def _admit(self) -> None:
        """Give memory to the requests that wait for it, in order; first to those that had some before."""
        while self._queue and not self._lost:
            claim = self._queue[0]
            if not self._holding.take(claim, self._holding.looks(claim)):
                if self.buffer.pinned_blocks:
                    return
                claim.rejected = True
            self._queue.popleft()
            if claim.rejected:
                claim.on_ready()
            else:
                self._acquire(claim)

    def _has_lost(self, claim: Claim) -> None:
        """A request that runs has lost its memory (`paging.py`)."""
        self._lost += 1
        if claim.is_computed:
            self._forget_computed(claim)

    def _forget_computed(self, claim: Claim) -> None:
        claim.is_computed = False
        claim.recomputed = []
        claim.own_cached_blocks = 0

    def _hold_again(self, claim: Claim) -> int | None:
        """Take memory for a request that lost it; what is gone of its prompt it computes itself."""
        looks = self._holding.looks(claim)
        if claim.recomputed or any(look.arriving for look in looks) or not self._holding.take(claim, looks):
            return None
        self._lost -= 1
        self._making.add(claim, claim.recomputed)
        if not self._lost:
            self._admit_later()
        return claim.cached_tokens(self._block_tokens)

    def _make_way(self, blocks: int, needed: list[Run]) -> None:
        """Stop speculation that holds so many blocks, if it holds as many: demand comes first (semantics D3)."""
        # a cancelled push keeps its room until it hears so: by then a request may wait for the same blocks
        needed = needed + [run for claim in self._claims for run in claim.awaited]
        spare = [*self._texts.spare(needed), *self._kv.spare(needed)]
        if sum(freed for freed, _ in spare) < blocks:
            return
        for freed, give_up in spare:
            if blocks > 0:
                give_up()
                blocks -= freed

    def _acquire(self, claim: Claim) -> None:
        """Decide how what is missing gets here, tell the source, and wait if there is something to wait for."""
        wanted = self._want(claim)
        self._making.add(claim, claim.recomputed)
        if self._upstream is not None:
            query = Query(
                *(self, claim.conversation, claim.prompt, wanted.kv, wanted.texts, self._received),
                on_late=claim.was_late,
                foresight=claim.foresight,
                form=wanted.form,
            )
            self._upstream.ask(query)
        if claim.is_ready:
            claim.on_ready()
        else:
            self._claims.append(claim)

    def _want(self, claim: Claim) -> Wanted:
        """Return what the source must send: what is missing, on its way in a lower class, or wanted again."""
        parts = claim.prompt.parts
        if all(part.fresh for part in parts):
            return Wanted([], [])
        for run in claim.awaited:
            self._texts.promote(run)
            self._coder.promote_blocks(run)
        if self._upstream is None:
            return Wanted([], [])
        movable = [(index, run) for index, run in claim.recomputed if not parts[index].fresh]
        brought = [gap for run in claim.awaited for gap in self._making.gaps(run, before=claim)]
        return self._acquirer.want(claim, movable, in_parts(parts, brought), self.env.now)

    def _wake(self, piece: Run) -> None:
        """Let every request that waits for these blocks take them into use."""
        for claim in list(self._claims):
            for taken in take_overlap(claim.awaited, piece):
                self.buffer.pin(taken)
                claim.pinned.append(taken)
            self._check_ready(claim)

    def _check_ready(self, claim: Claim) -> None:
        if claim.is_ready and claim in self._claims:
            self._claims.remove(claim)
            claim.on_ready()

    # -- room that is lost -------------------------------------------------------------------------

    def _refuse(self, job: Job, traffic: Traffic) -> None:
        if self._upstream is not None:
            self._upstream.refuse(job, traffic)

    def _was_evicted(self, run: Run, mark: object) -> None:
        takes_room = self._kv.takes_room
        if isinstance(mark, Unit) and mark.is_open:
            self._ledger.cut(mark, run.count, "evicted")
        elif takes_room and not is_own(run):
            self._kv.was_displaced(run)
        if not is_own(run):
            self.fates.note(run, "evicted")
            if self._upstream is not None:
                self._upstream.was_evicted(run, Traffic.SPECULATIVE if takes_room else Traffic.DEMAND)

    def check_at_rest(self) -> None:
        """Raise unless nobody waits and nothing is held: what a server must come to when all has happened.

        Raises
        ------
        InvariantError : something leaked.
        """
        self.buffer.check_all_free()
        self._texts.check_at_rest()
        if self._queue or self._claims or len(self._making) or not self.load.is_empty:
            raise InvariantError(
                f"server {self.name}: {len(self._queue)} requests wait for memory and {len(self._claims)} for KV;"
                f" {self.load.requests} requests and {self.load.sessions} sessions have not ended"
            )
