"""What happens to KV at the server that serves: who holds which blocks, what arrives, what is refused.

A request takes all the memory it needs at once, or waits for it holding nothing, so that no two requests
can block each other; room for the answer is taken with the prompt ("reserve-ahead", as Orca does), so no
running sequence is ever preempted. What it then lacks comes from a source, from another request that is
computing it, or from its own prefill.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from simpy import Environment

from simkv.claim import Claim, take_overlap
from simkv.clock import Order, call_at
from simkv.compute.gpu import Gpu
from simkv.jobs import Job, Query
from simkv.kv.block import Run, joined
from simkv.kv.buffer import KvBuffer, Survey
from simkv.kv.prefix import Conversation, Part, in_parts, is_own, tokens_in
from simkv.kv.runmap import RunSet
from simkv.ledger import Ledger, Unit
from simkv.network.link import Link, Traffic
from simkv.policies.acquisition.question import Acquisition, AcquisitionView, Plan
from simkv.sending import Source
from simkv.text_ahead import TextAhead


class Server:
    """A node that serves turns: one GPU, one KV buffer, and where missing KV comes from.

    Parameters
    ----------
    source, uplink : who sends what is missing, and the link to tell it; None = everything is computed here.
    acquisition : how missing KV gets here.
    blend_share : share of each reused independent chunk that is recomputed (semantics B3); 0 = naive.
    control_bytes : [bytes] of payload in a control message.
    text_bytes_per_token : [bytes] of text a token.
    """

    def __init__(
        self,
        env: Environment,
        name: str,
        gpu: Gpu,
        make_buffer: Callable[[Callable[[Run, object], None]], KvBuffer],
        *,
        ledger: Ledger,
        acquisition: Acquisition,
        source: Source | None,
        uplink: Link | None,
        block_tokens: int,
        control_bytes: int,
        text_bytes_per_token: int,
        blend_share: float,
    ) -> None:
        self.env = env
        self.name = name
        self.gpu = gpu
        self.buffer = make_buffer(self._was_evicted)
        self.sessions = 0
        self.requests = 0
        self._ledger = ledger
        self._acquisition = acquisition
        self._source = source
        self._uplink = uplink
        self._block_tokens = block_tokens
        self._control_bytes = control_bytes
        self._text_bytes_per_token = text_bytes_per_token
        self._blend_share = blend_share
        self._queue: deque[Claim] = deque()  # wait for memory, first come, first served
        self._claims: list[Claim] = []  # wait for something to arrive
        self._texts = TextAhead(
            self.buffer,
            gpu,
            ledger,
            block_tokens=block_tokens,
            reserve=self._reserve_speculative,
            arrived=self._wake,
            freed=self._admit,
        )
        self._displaced = RunSet()  # what speculation evicted
        self._evicted: list[Run] = []  # since the last notice
        self._makes_room_for = Traffic.DEMAND

    # -- a request takes what it needs -------------------------------------------------------------

    def claim(self, claim: Claim) -> None:
        """Take a request in; its `on_ready` is called once all it needs is here, or it is rejected."""
        looks = self._first_look(claim)
        if self._queue:
            self._queue.append(claim)
        elif self._hold(claim, looks):
            self._acquire(claim)
        else:
            self._queue.append(claim)
            self._admit()

    def tokens(self, claim: Claim) -> tuple[int, int]:
        """Return [tokens] of the prompt (cached, to prefill); the latter with what blending recomputes."""
        cached = claim.cached_tokens(self._block_tokens)
        return cached, claim.prompt.prompt_tokens - cached + claim.blended_tokens(self._blend_share)

    def prefilled(self, claim: Claim) -> None:
        """The prompt is computed: its blocks are usable by others from now on."""
        for _, run in claim.recomputed:
            look = self.buffer.survey(run)
            for piece in look.resident:  # another request computed the same meanwhile
                self.buffer.pin(piece)
                claim.pinned.append(piece)
            for piece in look.arriving:
                self.buffer.arrive(piece, pin=True)
                claim.pinned.append(piece)
                self._wake(piece)
        if claim.recomputed:
            self._texts.compute()

    def release(self, claim: Claim) -> None:
        """The answer is complete: keep what may serve again, drop the rest, let others have the room."""
        own, kept = claim.prompt.own, claim.prompt.kept_blocks
        if kept < own.count:
            self.buffer.release(Run(own.start + kept, own.count - kept), drop=True)
        if kept:
            self.buffer.release(Run(own.start, kept))
        for run in reversed(joined(sorted(claim.pinned))):
            self.buffer.release(run)
        self._write_through(claim)
        self._admit()

    def session_ended(self, conversation: Conversation) -> None:
        """A conversation is over: its speculation ends, here and at the source."""
        self._texts.end_session(conversation)
        self._ledger.end_session(conversation.key)
        source = self._source
        if source is not None and source.speculates:
            self._tell(Traffic.SPECULATIVE, lambda: source.has_ended(conversation))

    # -- what the source sends ---------------------------------------------------------------------

    def announced(self, job: Job) -> None:
        """Make room for a push that began, or refuse it: no room, or here already."""
        if job.demand or job.cancelled or job.landed:
            return
        absent = [gap for run in job.runs for gap in self.buffer.absent(run)]
        arriving = any(self.buffer.arriving(run) for run in job.runs)
        if (not absent and not arriving) or not self._reserve_speculative(absent, job.unit):
            self._refuse(job)

    def delivered(self, job: Job) -> None:
        """Take in what has arrived."""
        if job.kind == "text":
            self._texts.came(job)
            for claim in list(self._claims):
                for run in job.runs:
                    take_overlap(claim.texts, run)
                self._check_ready(claim)
        else:
            for run in job.runs:
                for piece in self.buffer.arriving(run):
                    self.buffer.arrive(piece)
                    self._wake(piece)
            self._texts.compute()
            self._admit()  # a push that has arrived can be evicted
        source = self._source
        if source is not None and source.speculates:
            self._tell(job.traffic, lambda: source.has_arrived(job))

    def withdrawn(self, job: Job) -> None:
        """Give back the room of a push that will not come, unless a request has claimed it since."""
        for run in job.runs:
            for piece, mark in self.buffer.marks(run):
                if mark is job.unit:
                    for gone in self.buffer.arriving(piece):
                        self.buffer.abandon(gone)
        self._admit()

    def unavailable(self, conversation: Conversation, runs: list[Run]) -> None:
        """The source has no such blocks: whoever of this conversation waits for them computes them."""
        for claim in list(self._claims):
            if claim.conversation is conversation:
                for run in runs:
                    claim.recomputed += in_parts(claim.prompt.parts, take_overlap(claim.awaited, run))
                self._check_ready(claim)

    # -- taking memory -----------------------------------------------------------------------------

    def _first_look(self, claim: Claim) -> list[Survey]:
        """Count what was needed, what speculation brought in time and what it still brings (semantics F1, F2)."""
        looks = [self.buffer.survey(span) for span in claim.prompt.spans]
        missing = sum(look.absent_blocks for look in looks) > claim.prompt.fresh_blocks
        claim.ready_at_arrival = not (missing or any(look.arriving for look in looks))
        if not claim.ready_at_arrival or any(look.is_marked for look in looks):
            whole = [self._look_at(claim, part) for part in claim.prompt.parts if not part.fresh]  # look at all
            claim.ready_at_arrival = all(whole)
        claim.was_late(self._texts.take_over(claim.prompt))
        return looks

    def _look_at(self, claim: Claim, part: Part) -> bool:
        """Count one part; return whether all of it is resident."""
        look = self.buffer.survey(part.run)
        is_missing = bool(look.absent or look.arriving)
        units = self._settle_marks(claim, part.run) if look.is_marked else 0
        claim.needed_units += units or is_missing
        return not is_missing

    def _settle_marks(self, claim: Claim, run: Run) -> int:
        """Decide what speculated units that are asked for have become; return how many they were."""
        units = 0
        for piece, mark in self.buffer.marks(run):
            if isinstance(mark, Unit) and mark.is_open:
                units += 1
                if self.buffer.arriving(piece):
                    self._ledger.decide(mark, "used_late")
                    claim.late_units += 1
                else:
                    self._ledger.decide(mark, "used_in_time")
                    claim.in_time_units += 1
            self.buffer.unmark(piece)
        return units

    def _admit(self) -> None:
        """Give memory to the requests that wait for it, in order."""
        while self._queue:
            claim = self._queue[0]
            if not self._hold(claim, [self.buffer.survey(span) for span in claim.prompt.spans]):
                if self.buffer.pinned_blocks:
                    return
                claim.rejected = True
            self._queue.popleft()
            if claim.rejected:
                claim.on_ready()
            else:
                self._acquire(claim)

    def _hold(self, claim: Claim, looks: list[Survey]) -> bool:
        """Pin what is resident and reserve what is not, all or nothing; `looks` are the parts' spans as they are."""
        prompt, buffer = claim.prompt, self.buffer
        own = buffer.survey(prompt.own) if prompt.own_known_tokens else Survey([prompt.own], [], [], 0, False)
        need = sum(look.absent_blocks + look.idle_blocks for look in (*looks, own))  # what is in use cannot make room
        if need > buffer.capacity_blocks - buffer.pinned_blocks:
            return False
        if known := prompt.own_known_tokens // self._block_tokens:
            claim.own_cached_blocks = buffer.leading(Run(prompt.own.start, known))
        self._take(claim, looks, own)
        return True

    def _take(self, claim: Claim, looks: list[Survey], own: Survey) -> None:
        prompt, buffer = claim.prompt, self.buffer
        for piece in own.resident:
            buffer.pin(piece)
        for span, look in zip(prompt.spans, looks, strict=True):
            for piece in joined(look.resident):
                buffer.pin(piece)
                claim.pinned.append(piece)
            claim.awaited += look.arriving
            if look.is_marked:  # a push that began while the request waited for memory: from here on it is its own
                self._settle_marks(claim, span)
                claim.was_late(0)
            claim.recomputed += in_parts(prompt.parts, look.absent)
        self._makes_room_for = Traffic.DEMAND
        for gap in own.absent:
            buffer.reserve(gap, pin=True)
        for _, gap in claim.recomputed:
            buffer.reserve(gap)

    def _acquire(self, claim: Claim) -> None:
        """Decide how what is missing gets here, tell the source, and wait if there is something to wait for."""
        parts = claim.prompt.parts
        movable = [(index, run) for index, run in claim.recomputed if not parts[index].fresh]
        wanted: list[tuple[int, Run]] = []
        if movable or claim.awaited:
            wanted = self._want(claim, movable)
        source = self._source
        if source is not None and (wanted or source.speculates):
            query = Query(
                self, claim.conversation, claim.prompt, wanted, claim.plan, claim.was_late, claim.foresight
            )
            self._tell(Traffic.DEMAND if wanted else Traffic.SPECULATIVE, lambda: source.query(query))
        if claim.is_ready:
            claim.on_ready()
        else:
            self._claims.append(claim)

    def _want(self, claim: Claim, movable: list[tuple[int, Run]]) -> list[tuple[int, Run]]:
        """Return what the source must send; what it sends as KV is awaited instead of recomputed."""
        for run in claim.awaited:
            self._texts.promote(run)
        if self._source is None:
            return []
        claim.plan = self._acquisition.decide(self._acquisition_view(claim, movable))
        if claim.plan is Plan.ASSUME:
            for index, run in movable:
                self.buffer.arrive(run, pin=True)
                claim.pinned.append(run)
                claim.recomputed.remove((index, run))
            return []
        if claim.plan is Plan.TEXT:
            wanted = [(index, gap) for index, run in movable for gap in self._texts.known.gaps(run)]
            claim.texts = [run for _, run in wanted]
            return wanted
        arriving = in_parts(claim.prompt.parts, claim.awaited)
        for index, run in movable:
            claim.recomputed.remove((index, run))
            claim.awaited.append(run)
            for piece, _ in self._displaced.take(run):
                self._ledger.pollution_bytes += piece.count * self.buffer.block_bytes
        return sorted(movable + arriving)

    def _acquisition_view(self, claim: Claim, movable: list[tuple[int, Run]]) -> AcquisitionView:
        tokens = sum(tokens_in(claim.prompt.parts[index], run, self._block_tokens) for index, run in movable)
        return AcquisitionView(
            now_s=self.env.now,
            missing_tokens=tokens,
            kv_bytes=sum(run.count for _, run in movable) * self.buffer.block_bytes,
            text_bytes=tokens * self._text_bytes_per_token,
        )

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

    # -- room, notices, write-through --------------------------------------------------------------

    def _reserve_speculative(self, gaps: list[Run], unit: Unit | None) -> bool:
        buffer = self.buffer
        if sum(gap.count for gap in gaps) > buffer.capacity_blocks - buffer.pinned_blocks or self._queue:
            return False
        self._makes_room_for = Traffic.SPECULATIVE
        for gap in gaps:
            buffer.reserve(gap, mark=unit)
            self._displaced.take(gap)
        self._makes_room_for = Traffic.DEMAND
        return True

    def _refuse(self, job: Job) -> None:
        source = self._source
        if job.unit is not None:
            self._ledger.decide(job.unit, "never_used")
        if source is not None:
            self._tell(Traffic.SPECULATIVE, lambda: source.was_refused(job))

    def _was_evicted(self, run: Run, mark: object) -> None:
        if isinstance(mark, Unit) and mark.is_open:
            self._ledger.cut(mark, run.count, "evicted")
        elif self._makes_room_for is Traffic.SPECULATIVE and not is_own(run):
            self._displaced.add(run)
        if self._source is None or not self._source.speculates or is_own(run):
            return
        if not self._evicted:
            traffic = self._makes_room_for
            call_at(self.env, self.env.now, Order.DECISION, lambda: self._send_evictions(traffic))
        self._evicted.append(run)

    def _send_evictions(self, traffic: Traffic) -> None:
        evicted, self._evicted = self._evicted, []
        source = self._source
        if source is not None:
            self._tell(traffic, lambda: source.was_evicted(self, evicted))

    def _tell(self, traffic: Traffic, action: Callable[[], None]) -> None:
        """Send a control message to the source; `action` happens when it arrives."""
        assert self._uplink is not None
        self._uplink.send(self._control_bytes, traffic, lambda _: action(), control=True)

    def _write_through(self, claim: Claim) -> None:
        """Send newly computed blocks to a source that only stores; its metadata says what it has."""
        source = self._source
        if source is None or source.gpu is not None or self._uplink is None:
            return
        runs = [gap for _, run in claim.recomputed for gap in source.buffer.absent(run)]
        if runs:
            payload_bytes = sum(run.count for run in runs) * self.buffer.block_bytes
            self._uplink.send(payload_bytes, Traffic.BACKGROUND, lambda _: source.store(runs))
