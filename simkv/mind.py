"""What should be moved ahead of time? Who remembers, predicts and decides; moves nothing, keeps no directory.

A mind belongs to whoever speculates: to a source that pushes, or to a receiver that pulls. It hears of queries, of
answers that end and of hints, asks the predictors and the prefetch policy, and says what is wished for now.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from simkv.gaps import Pulse, Rhythm
from simkv.history import Remembered
from simkv.jobs import Query, Receiver
from simkv.kv.block import Run, joined, overlap
from simkv.kv.prefix import OPEN_LOOP, Conversation, Part
from simkv.kv.runmap import RunSet
from simkv.policies.prefetch.question import (
    Foresight,
    Kind,
    LinkView,
    Moment,
    PrefetchPolicy,
    PrefetchView,
    moments_of,
)
from simkv.predictors.gap import Gap
from simkv.predictors.question import History, Item, Predictor
from simkv.request import GapKind
from simkv.track_record import TrackRecord

#: Returns what of these blocks is not held where they would go.
Lacks = Callable[[tuple[Run, ...]], list[Run]]


class Wish(NamedTuple):
    """Something worth having at the receiver.

    Attributes
    ----------
    chain : all that must be there for it to be usable, itself last.
    deadline_s : [s] see `Prefetch`.
    is_due : it is time to begin; else only what is under way of it stays wanted.
    """

    chain: tuple[Part, ...]
    kind: Kind
    deadline_s: float | None
    is_due: bool


class Surroundings(NamedTuple):
    """Where a mind thinks: what it may ask of the world around it.

    Attributes
    ----------
    now : returns [s] the time.
    call_at : calls an action at a time [s].
    link : returns what is believed of the link to the receiver that a query came from.
    compute_s : returns [s] how long the source would compute what it lacks of a chain, as far as known.
    text_bytes : returns [bytes] of the text of some of a part's blocks.
    block_bytes : [bytes] a block.
    buffer_bytes : [bytes] that a receiver can hold.
    knows_document : it is where documents are: the words of their chunks are known.
    """

    now: Callable[[], float]
    call_at: Callable[[float, Callable[[], None]], None]
    link: Callable[[Query], LinkView]
    compute_s: Callable[[tuple[Part, ...]], float]
    text_bytes: Callable[[Part, Run], int]
    block_bytes: int
    buffer_bytes: Callable[[Receiver], int]
    knows_document: bool


@dataclass(slots=True)
class _Known:
    """One conversation, as far as a mind knows it.

    Attributes
    ----------
    query : the last one.
    pulse : when it asked and paused.
    hinted : what the client said it would ask next.
    wished : what was speculated since the last query and is not given up.
    decisions : so far; tells a timer that it is stale.
    """

    remembered: Remembered
    query: Query
    pulse: Pulse
    hinted: Mapping[Item, tuple[Part, ...]] = field(default_factory=dict)
    wished: dict[Item, Wish] = field(default_factory=dict)
    decisions: int = 0


class Mind:
    """The speculative mind of a source or a receiver.

    Parameters
    ----------
    prefetch, predictor : the policies.
    rhythm : knows when queries come.
    prefetch_sees_future, predictor_sees_future : whether they are registered as oracles.
    steps : how many queries off the next use of each item is; None = nobody wants to know.

    Attributes
    ----------
    on_timer : called with a conversation whose policy wants to be asked again; set by the owner.
    """

    def __init__(
        self,
        prefetch: PrefetchPolicy,
        predictor: Predictor,
        around: Surroundings,
        rhythm: Rhythm,
        *,
        prefetch_sees_future: bool,
        predictor_sees_future: bool,
        steps: Callable[[History], Mapping[Item, float]] | None = None,
    ) -> None:
        self.on_timer: Callable[[Conversation], None] = lambda _: None
        self._prefetch = prefetch
        self._predictor = predictor
        self._around = around
        self._rhythm = rhythm
        self._steps = steps
        self._is_timed = False  # whether the policy ever asked when the next query will come
        self._prefetch_sees_future = prefetch_sees_future
        self._predictor_sees_future = predictor_sees_future
        self._moments = moments_of(prefetch)
        self._known: dict[int, _Known] = {}
        self._record = TrackRecord()

    def wants(self, moment: Moment) -> bool:
        """Whether its policy is asked at such moments."""
        return moment in self._moments

    def listens(self, moment: Moment) -> bool:
        """Whether it wants to hear of such moments: where answers end, gaps begin, which are learned for who asks."""
        return moment in self._moments or (moment == "pause" and self._is_timed)

    # -- what it is told ---------------------------------------------------------------------------

    def learn(self, query: Query) -> None:
        """A turn asked: remember it, and what had been wished for before it."""
        key, now_s = query.conversation.key, self._around.now()
        known = self._known.get(key)
        if known is None:
            remembered = Remembered(query.conversation, knows_document=self._around.knows_document)
            known = self._known[key] = _Known(remembered, query, Pulse(now_s))
        else:
            self._settle(known.wished, query)
            self._rhythm.asked(key, known.pulse, _last(known.remembered), now_s)
            known.query = query
        known.hinted, known.wished = {}, {}
        outcome = known.remembered.learn(query.prompt)
        if outcome is not None:
            self._predictor.observe(outcome)

    def paused(self, conversation: Conversation, kind: GapKind) -> bool:
        """The answer has ended, a gap begins; return whether the conversation is known here."""
        known = self._known.get(conversation.key)
        if known is not None:
            self._rhythm.paused(known.pulse, kind, self._around.now())
        return known is not None

    def hinted(self, conversation: Conversation, items: Mapping[Item, tuple[Part, ...]]) -> bool:
        """The client says what it will ask; return whether the conversation is known here."""
        known = self._known.get(conversation.key)
        if known is not None:
            known.hinted = items
        return known is not None

    def displaced(self, receiver: Receiver, runs: list[Run]) -> None:
        """Speculation pushed these blocks out at a receiver."""
        self._record.displaced(receiver, runs)

    def has_ended(self, conversation: Conversation) -> None:
        """A conversation is over: forget it."""
        self._known.pop(conversation.key, None)

    def last_query(self, conversation: Conversation) -> Query:
        """Return the last query of a conversation that is known here."""
        return self._known[conversation.key].query

    def steps(self, conversation: Conversation) -> list[tuple[Run, float]]:
        """Return how many queries off the next use of what a conversation knows is, for those who evict."""
        if self._steps is None:
            return []
        remembered = self._known[conversation.key].remembered
        found = self._steps(remembered.view(None)).items()
        return [(chain[-1].run, steps) for item, steps in found if (chain := remembered.parts_of(item))]

    # -- what it decides ---------------------------------------------------------------------------

    def decide(self, conversation: Conversation, moment: Moment, lacks: Lacks) -> list[Wish]:
        """Return what is wished for from now on, most urgent first."""
        known = self._known[conversation.key]
        known.decisions += 1
        if moment == "query":
            lacks = _beside(known.query.prompt.spans, lacks)
        meaning = _Meaning(known.remembered, known.query.foresight, known.hinted)
        now_s = self._around.now()
        wishes, later_s = [], []
        before, known.wished = known.wished, {}
        # A policy that is not asked at queries still learns of them: what it wanted before is over
        answer = self._prefetch.decide(self._view(known, meaning, moment, lacks)) if self._answers(moment) else []
        for item, kind, deadline_s, start_s in answer:
            chain = meaning.parts_of(item)
            if not chain:
                continue
            wishes.append(Wish(chain, kind, deadline_s, start_s <= now_s))
            if start_s > now_s:
                later_s.append(start_s)
            elif item in before or lacks(spans(chain)):  # what is there anyway is nothing that was speculated
                known.wished[item] = wishes[-1]
        known.wished |= {item: wish for item, wish in before.items() if not lacks(spans(wish.chain))}  # come meanwhile
        if later_s:
            number = known.decisions
            self._around.call_at(min(later_s), lambda: self._ring(conversation, number))
        return wishes

    def _answers(self, moment: Moment) -> bool:
        return moment == "timer" or self.wants(moment)

    def _settle(self, wished: Mapping[Item, Wish], query: Query) -> None:
        """Note which wishes the next query came to ask for, and which of these were not there in time."""
        asked = {part.item for part in query.prompt.parts} if not query.prompt.asked else set(query.prompt.asked)
        lacking = [run for _, run in (*query.kv, *query.texts)]
        for item, wish in wished.items():
            blocks = spans(wish.chain)
            used = item in asked if isinstance(item, int) else _named(blocks, query.prompt.spans)
            is_sent = wish.kind != "compute"  # else nothing was to be there
            late = used and is_sent and any(overlap(block, run) for block in blocks for run in lacking)
            self._record.settle(used=used, late=late)
        self._record.missed(query.receiver, lacking)

    def _ring(self, conversation: Conversation, number: int) -> None:
        known = self._known.get(conversation.key)
        if known is not None and known.decisions == number:
            self.on_timer(conversation)

    def _view(self, known: _Known, meaning: _Meaning, moment: Moment, lacks: Lacks) -> PrefetchView:
        around, receiver = self._around, known.query.receiver
        history = known.remembered.view(meaning.next_items if self._predictor_sees_future else None)
        return PrefetchView(
            now_s=around.now(),
            moment=moment,
            asked=history.asked,
            chunks=history.chunks,
            probabilities=lambda: self._predictor.predict(history),
            hinted=tuple(known.hinted),
            held=lambda item: not lacks(spans(meaning.parts_of(item))),
            item_bytes=lambda item: sum(run.count for run in spans(meaning.parts_of(item))) * around.block_bytes,
            compute_s=lambda item: around.compute_s(meaning.parts_of(item)),
            until_next=lambda: self._until_next(known),
            link=around.link(known.query),
            buffer_bytes=around.buffer_bytes(receiver),
            record=self._record.told(),
            lacking_bytes=lambda item, kind: self._lacking_bytes(meaning.parts_of(item), kind, lacks),
            foresight=meaning if self._prefetch_sees_future else None,
        )

    def _lacking_bytes(self, chain: tuple[Part, ...], kind: Kind, lacks: Lacks) -> int:
        if kind == "kv":
            return sum(run.count for run in lacks(spans(chain))) * self._around.block_bytes
        if kind == "text":
            return sum(self._around.text_bytes(part, run) for part in chain for run in lacks((part.run,)))
        return 0

    def _until_next(self, known: _Known) -> Gap | None:
        self._is_timed = True
        key, query = known.query.conversation.key, known.query
        if key == OPEN_LOOP:
            return None  # nobody comes back
        last = _last(known.remembered)
        return self._rhythm.until_next(key, known.pulse, last, self._around.now(), query.foresight.next_gap_s)


class _Meaning:
    """What items mean: by what is remembered or was hinted, and for oracles by what will be asked."""

    __slots__ = ("_foresight", "_future", "_hinted", "_remembered")

    def __init__(self, remembered: Remembered, foresight: Foresight, hinted: Mapping[Item, tuple[Part, ...]]) -> None:
        self._remembered = remembered
        self._foresight = foresight
        self._hinted = hinted
        self._future: Mapping[Item, tuple[Part, ...]] = {}

    def next_parts(self, count: int) -> Mapping[Item, tuple[Part, ...]]:
        """Return what the next turns will ask for, and keep it in mind."""
        self._future = self._foresight.next_parts(count)
        return self._future

    def next_gap_s(self) -> float | None:
        """Return [s] from the end of this answer to the next query."""
        return self._foresight.next_gap_s()

    def earliest_s(self, count: int) -> Mapping[Item, float]:
        """Return [s] how soon what the next turns will ask for may be asked for."""
        return self._foresight.earliest_s(count)

    def next_items(self) -> list[Item]:
        """Return the items of the next turn."""
        return list(self.next_parts(1))

    def parts_of(self, item: Item) -> tuple[Part, ...]:
        """Return all that an item needs to be usable, itself last."""
        return self._future.get(item) or self._hinted.get(item) or self._remembered.parts_of(item)


def _last(remembered: Remembered) -> int | None:
    return remembered.moves[-1] if remembered.moves else None


def spans(chain: tuple[Part, ...]) -> tuple[Run, ...]:
    """Return the blocks of a chain in as few runs as possible."""
    return joined(part.run for part in chain)


def _beside(coming: tuple[Run, ...], lacks: Lacks) -> Lacks:
    """Return what is lacking and does not come anyway, because the query itself asked for it."""
    asked = RunSet()
    for span in coming:
        asked.add(span)
    return lambda blocks: [piece for run in lacks(blocks) for piece in asked.gaps(run)]


def _named(blocks: tuple[Run, ...], prompt: tuple[Run, ...]) -> bool:
    """Return whether a prompt names the last block of a chain."""
    last = blocks[-1].end - 1
    return any(run.start <= last < run.end for run in prompt)
