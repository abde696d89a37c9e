"""What happened to one turn of one session, and what whoever speculates saw and decided before it.

A tracer is attached to the live objects of one run (`simulation.run(..., watch=tracer.attach)`): it hooks some of
their methods and changes nothing that they do. A run without one pays nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from simkv.build import World
from simkv.claim import Claim
from simkv.job_watch import JobWatch
from simkv.jobs import Job, Query
from simkv.kv.prefix import OPEN_LOOP, Conversation
from simkv.kv.runmap import RunSet
from simkv.ledger import Unit
from simkv.mind import Mind, Wish, spans
from simkv.network.link import Traffic
from simkv.policies.prefetch.question import Moment, Prefetch
from simkv.predictors.question import Item
from simkv.pushing import Push
from simkv.sending import Source
from simkv.server import Server
from simkv.waiting import JobTrace, Readiness
from simkv.watching import Watched, hook

MOST_STRANGERS = 8  # decisions shown before a request without session: the stream's last ones


@dataclass(slots=True)
class PartLook:
    """What a turn found of one part of its prompt when it arrived, in blocks.

    Attributes
    ----------
    fresh : it comes into being with the turn.
    speculated : resident or arriving blocks that speculation brought and nobody had asked for.
    cause : of the miss; "" where there is none.
    """

    item: Item
    fresh: bool
    blocks: int
    resident: int
    arriving: int
    missing: int
    speculated: int
    cause: str = ""


@dataclass(slots=True)
class TurnTrace(Readiness):
    """One turn. Times [s]; None = not reached.

    Attributes
    ----------
    asked_s : its question reached the source.
    promoted : jobs under way that it came to wait for, and what each was doing.
    speculative_bytes : [bytes] of its session, by what had become of them at its first token.
    """

    looks: list[PartLook] = field(default_factory=list)
    asked_s: float | None = None
    promoted: list[tuple[JobTrace, str]] = field(default_factory=list)
    speculative_bytes: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class DecisionTrace:
    """One question to a prefetch policy and what came of it.

    Attributes
    ----------
    wishes : what its answer meant.
    saw : what the policy looked at, by name.
    decided : its answer.
    held, under_way : items of it that the receiver was believed to hold, and of which the rest was on its way.
    begun, stopped : what the source began and stopped because of it.
    """

    at_s: float
    moment: Moment
    wishes: list[Wish]
    saw: dict[str, Any]
    decided: list[Prefetch]
    held: list[Item] = field(default_factory=list)
    under_way: list[Item] = field(default_factory=list)
    begun: list[JobTrace] = field(default_factory=list)
    stopped: list[JobTrace] = field(default_factory=list)


class Tracer(JobWatch):
    """Watches one turn of one session, by its draw index.

    Attributes
    ----------
    told : the turn; None while it has not come.
    decisions : since the turn before, oldest first.
    jobs : of the session, in order of their begin; those that ended before the turn before are left out. Of others,
        those under way.
    """

    def __init__(self, draw: int, turn: int) -> None:
        super().__init__()
        self.told: TurnTrace | None = None
        self.decisions: deque[DecisionTrace] = deque()
        self._draw = draw
        self._turn = turn
        self._playing = -1  # the session's turn that came last
        self._claim: Claim | None = None
        self._carried_out: DecisionTrace | None = None  # whose pushes begin just now
        self._units: dict[Unit, None] = {}
        self._cut: dict[str, int] = {}

    def attach(self, world: World) -> None:
        """Hook the live objects of a run that has not begun."""
        super().attach(world)
        hook(world.serving, "serve", self._served)
        hook(world.serving, "_first_token", self._first_token)
        hook(world.ledger, "open", self._opened)
        hook(world.ledger, "cut", self._was_cut)
        for server in world.servers:
            hook(server, "claim", partial(self._claimed, server))
            hook(server._holding, "_pin", self._took)
            puller = server._upstream._puller if server._upstream is not None else None
            if puller is not None:
                self._attach_mind(puller._mind)
        for source in world.sources.values():
            self._attach_source(source)

    def _attach_source(self, source: Source) -> None:
        hook(source, "query", self._asked)
        if source.ahead is not None:
            hook(source.ahead.pusher, "plan", self._planned)
            hook(source.ahead, "_carry_out", self._carrying_out)
            if source.ahead.pusher.mind is not None:
                self._attach_mind(source.ahead.pusher.mind)

    def _attach_mind(self, mind: Mind) -> None:
        watched = Watched(mind._prefetch)
        mind._prefetch = watched
        hook(mind, "decide", partial(self._decided, watched))

    # -- the turn ----------------------------------------------------------------------------------

    def _served(self, call: Callable[[], Any], conversation: Conversation, turn: int, _: object) -> Any:
        if conversation.draw == self._draw:
            self._playing = turn
            if turn < self._turn:  # what came before it is not asked for
                self.decisions.clear()
                ended = [job for job, trace in self.jobs.items() if trace.landed_s or trace.stopped_s]
                for job in ended:
                    del self.jobs[job]
        return call()

    def _claimed(self, server: Server, call: Callable[[], None], claim: Claim) -> None:
        if claim.conversation.draw != self._draw or self._playing != self._turn:
            call()
            return
        told = self.told = TurnTrace(looks=list(_looks(server, claim)))
        self._claim, on_ready = claim, claim.on_ready

        def ready() -> None:
            told.ready_s, told.brought_by = self.now(), self.cause
            on_ready()

        claim.on_ready = ready
        call()

    def _took(self, call: Callable[[], None], claim: Claim, *_: object) -> None:
        if self.told is not None and claim is self._claim and self.told.memory_s is None:  # not when it takes it again
            self.told.memory_s = self.now()
        call()

    def _asked(self, call: Callable[[], None], query: Query) -> None:
        if self.told is not None and self._claim is not None and query.prompt is self._claim.prompt:
            self.told.asked_s = self.now()
        call()

    def _first_token(self, call: Callable[[], None], _: object, __: object, claim: Claim) -> None:
        if self.told is not None and claim is self._claim:
            for index, look in enumerate(self.told.looks):  # a miss that is none of the counted ones came late
                if not look.fresh and look.resident < look.blocks:
                    look.cause = claim.misses.get(index, "late")
            self.told.speculative_bytes = self._spent_bytes()
        call()

    # -- what moves --------------------------------------------------------------------------------

    def job_began(self, trace: JobTrace) -> None:
        """A source begins a job."""
        if self._carried_out is not None:
            self._carried_out.begun.append(trace)

    def job_promoted(self, trace: JobTrace, on_late: object) -> None:
        """A request comes to wait for a job: this one, perhaps."""
        if self.told is not None and self._claim is not None and on_late == self._claim.was_late:
            self.told.promoted.append((trace, _doing(trace.job)))

    def job_stopped(self, trace: JobTrace) -> None:
        """A source stops a job."""
        if self._carried_out is not None:
            self._carried_out.stopped.append(trace)

    def job_ended(self, job: Job) -> None:
        """Memory follows what is under way, and what the session had."""
        if job.conversation.draw != self._draw:
            super().job_ended(job)

    # -- what is speculated ------------------------------------------------------------------------

    def _decided(
        self, watched: Watched, call: Callable[[], list[Wish]], conversation: Conversation, moment: Moment, _: object
    ) -> list[Wish]:
        wishes = call()
        is_stream = conversation.key == OPEN_LOOP
        if self.told is None and (is_stream or conversation.draw == self._draw):
            self.decisions.append(DecisionTrace(self.now(), moment, wishes, watched.saw, watched.decided))
            if is_stream and len(self.decisions) > MOST_STRANGERS:
                self.decisions.popleft()
        return wishes

    def _planned(
        self, call: Callable[[], tuple[list[Push], list[Job]]], _: object, wishes: list[Wish], held: RunSet, __: object
    ) -> tuple[list[Push], list[Job]]:
        """Compare what was wished for with what must be moved; its pushes begin next."""
        self._carried_out = next((each for each in self.decisions if each.wishes is wishes), None)
        told = self._carried_out
        lacking = [any(held.gaps(span) for span in spans(wish.chain)) for wish in wishes] if told is not None else []
        pushes, unwanted = call()
        if told is not None:
            moved = {push.chain[-1].item for push in pushes}
            for wish, lacks in zip(wishes, lacking, strict=True):
                item = wish.chain[-1].item
                if not lacks:
                    told.held.append(item)
                elif wish.is_due and item not in moved:
                    told.under_way.append(item)
        return pushes, unwanted

    def _carrying_out(self, call: Callable[[], None], *_: object) -> None:
        call()
        self._carried_out = None

    def _opened(self, call: Callable[[], Unit], session: int, *_: object) -> Unit:
        unit = call()
        if session == self._draw:
            self._units[unit] = None
        return unit

    def _was_cut(self, call: Callable[[], None], unit: Unit, _: int, outcome: str) -> None:
        """Some blocks of a unit get an outcome of their own, and their share of its bytes."""
        before_bytes = self._bytes_of(unit) if unit in self._units else 0
        call()
        if unit in self._units and unit.is_open:
            self._cut[outcome] = self._cut.get(outcome, 0) + before_bytes - self._bytes_of(unit)

    def _spent_bytes(self) -> dict[str, int]:
        """Return [bytes] of the session's speculation by what has become of it; "open" = nobody can say yet."""
        spent = dict(self._cut)
        for unit in self._units:
            outcome = unit.outcome or "open"
            spent[outcome] = spent.get(outcome, 0) + self._bytes_of(unit)
        return {outcome: count for outcome, count in spent.items() if count}

    def _bytes_of(self, unit: Unit) -> int:
        flows = sum(
            flow.sent_wire_bytes(self.now())
            if flow.end_s is None and flow.traffic is Traffic.SPECULATIVE
            else flow.wire_bytes_by_class.get(Traffic.SPECULATIVE, 0)
            for flow in unit._flows
        )
        return unit._wire_bytes + flows


def _looks(server: Server, claim: Claim) -> Iterator[PartLook]:
    """Yield what there is of each part, before the request changes anything."""
    for part in claim.prompt.parts:
        look = server.buffer.survey(part.run)
        marks = server.buffer.marks(part.run) if look.is_marked else []
        yield PartLook(
            part.item,
            part.fresh,
            part.run.count,
            resident=sum(run.count for run in look.resident),
            arriving=sum(run.count for run in look.arriving),
            missing=look.absent_blocks,
            speculated=sum(run.count for run, mark in marks if isinstance(mark, Unit) and mark.is_open),
        )


def _doing(job: Job) -> str:
    """Return what a job that has not arrived is doing."""
    if job.flow is not None:
        return "in flight"
    if job.sequence is not None:
        return "computing" if job.sequence.scheduled else "waiting for the GPU"
    return "waiting for the link" if job.in_line else "queued"
