"""What does a source do ahead of time? It hears what its pusher should know, and carries out what the pusher says.

The wishes come from a mind: the source's own (it pushes), or that of a receiver (which pulls).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from simkv.jobs import Job, Query, Receiver
from simkv.kv.block import Run
from simkv.kv.prefix import OPEN_LOOP, Conversation, Part, tokens_in
from simkv.kv.runmap import RunSet
from simkv.ledger import Ledger, Unit
from simkv.mind import Wish, spans
from simkv.network.link import Link, Traffic
from simkv.policies.prefetch.question import LinkView, Moment
from simkv.predictors.question import Item
from simkv.pushing import Push, Pusher
from simkv.request import GapKind
from simkv.sensing import LinkSense

if TYPE_CHECKING:
    from simkv.sending import Source

STEP_BYTES = 8  # an item and a number of steps, 4 bytes each


class Ahead:
    """The speculative side of one source.

    Parameters
    ----------
    sense : makes what measures one link.

    Attributes
    ----------
    pusher : knows what receivers hold, and has the mind of a source that pushes.
    """

    def __init__(self, ledger: Ledger, sense: Callable[[Link], LinkSense]) -> None:
        self.pusher = Pusher()
        self._ledger = ledger
        self._make_sense = sense
        self._senses: dict[Link, LinkSense] = {}
        self._sense_of: dict[Receiver, LinkSense] = {}
        self._computes = False  # whether KV was ever made here that nobody had asked for
        self._source: Source

    def serve(self, source: Source) -> None:
        """Work for this source."""
        self._source = source
        if self.pusher.mind is not None:
            self.pusher.mind.on_timer = lambda conversation: self._decide(conversation, "timer")

    def connect(self, receiver: Receiver, link: Link) -> None:
        """A receiver is reached over a link."""
        if link not in self._senses:
            self._senses[link] = self._make_sense(link)
        self._sense_of[receiver] = self._senses[link]

    def listens(self, moment: Moment) -> bool:
        """Whether it wants to hear of such moments from its receivers."""
        return self.pusher.mind is not None and self.pusher.mind.listens(moment)

    @property
    def learns(self) -> bool:
        """Whether it wants to hear of every query, also of those that lack nothing."""
        return self.pusher.mind is not None or self._computes

    def link_view(self, query: Query) -> LinkView:
        """Return what it believes of the link to the receiver that a query came from."""
        return self._sense_of[query.receiver].view(query.conversation.key)

    def compute_s(self, chain: tuple[Part, ...]) -> float:
        """Return [s] how long it would compute what it lacks of a chain, by the prompts that it computed so far."""
        source = self._source
        lacking = sum(
            tokens_in(part, gap, source.block_tokens) for part in chain for gap in source.buffer.not_resident(part.run)
        )
        return lacking * source.prefill_s_per_token

    # -- what it is told ---------------------------------------------------------------------------

    def query(self, query: Query) -> None:
        """A turn arrived at a receiver, and what it lacks is being sent."""
        if self._computes:
            self._settle_made(query)
        if (mind := self.pusher.mind) is not None:
            self._carry_out(query, *self.pusher.consider(query, self._source.outstanding(query.receiver)))
            if steps := mind.steps(query.conversation):
                told_bytes = len(steps) * STEP_BYTES
                self._source.tell(
                    query.receiver, Traffic.SPECULATIVE, lambda: query.receiver.foretold(steps), told_bytes
                )

    def paused(self, conversation: Conversation, kind: GapKind) -> None:
        """An answer has ended, and a gap of this kind begins."""
        mind = self.pusher.mind
        if mind is not None and mind.paused(conversation, kind) and mind.wants("pause"):
            self._decide(conversation, "pause")

    def hinted(self, conversation: Conversation, items: Mapping[Item, tuple[Part, ...]]) -> None:
        """A client says what it will ask."""
        if self.pusher.mind is not None and self.pusher.mind.hinted(conversation, items):
            self._decide(conversation, "hint")

    def pulled(self, query: Query, wishes: Iterable[Wish], held: RunSet) -> None:
        """A receiver says what it wishes for, and what of that it holds."""
        pushes, unwanted = self.pusher.plan(query, wishes, held, self._source.outstanding(query.receiver))
        self._carry_out(query, pushes, unwanted)

    def has_arrived(self, job: Job, kept: list[Run]) -> None:
        """A receiver says that a job is there, and what it keeps of it."""
        self.pusher.is_held(job.receiver, kept)
        if job.flow is not None:
            self._sense_of[job.receiver].arrived(job.flow)

    def has_ended(self, conversation: Conversation) -> None:
        """A conversation is over: stop speculating for it."""
        for job in self.pusher.has_ended(conversation):
            self._source.cancel(job, "never_used")

    def began(self, job: Job) -> None:
        """A speculative job began."""
        self.pusher.began(job)
        self._sense_of[job.receiver].expects(job.conversation.key, job.payload_bytes)
        self._computes = self._computes or job.kind == "compute"

    def is_over(self, job: Job) -> None:
        """A speculative job arrived, was promoted or was cancelled."""
        if self.pusher.is_over(job):
            self._sense_of[job.receiver].expects(job.conversation.key, -job.payload_bytes)

    # -- what it does ------------------------------------------------------------------------------

    def _decide(self, conversation: Conversation, moment: Moment) -> None:
        assert self.pusher.mind is not None
        query = self.pusher.mind.last_query(conversation)
        self._carry_out(query, *self.pusher.reconsider(query, moment, self._source.outstanding(query.receiver)))

    def _carry_out(self, query: Query, pushes: list[Push], unwanted: list[Job]) -> None:
        for job in unwanted:  # first: what they hold makes room
            self._source.cancel(job, "cancelled")
        for push in pushes:
            self._push(query, push)

    def _push(self, query: Query, push: Push) -> None:
        """Begin to move what can be moved: a source without a GPU sends the front of the KV that it has."""
        source = self._source
        blocks, chain, kind, deadline_s = push
        part = chain[-1]
        if source.gpu is None and kind == "kv":
            blocks, chain = Run(blocks.start, source.buffer.leading(blocks)), ()
        count = blocks.count
        if kind == "compute":
            lacking = [gap for span in spans(chain) for gap in source.buffer.not_resident(span)]
            count = sum(gap.count for gap in lacking) if source.gpu is not None else 0
        if not count:
            return
        payload_bytes = 0
        if kind == "text":
            payload_bytes = source.text_bytes(part, blocks)
        elif kind == "kv":
            payload_bytes = source.kv_bytes(query, part, blocks)
        moved = blocks if kind != "compute" else None
        unit = self._ledger.open(query.conversation.key, count, moved, query.receiver.fates)
        source.begin(Job(query, [blocks], chain, kind, payload_bytes=payload_bytes, unit=unit, deadline_s=deadline_s))
        if query.conversation.has_ended and query.conversation.key != OPEN_LOOP:  # the source hears of it too late
            self._ledger.decide(unit, "never_used")

    def _settle_made(self, query: Query) -> None:
        """What was made here ahead of time, and is asked for now, was made in time."""
        buffer = self._source.buffer
        for part in query.prompt.parts:
            for piece, unit in buffer.marks(part.run):
                if isinstance(unit, Unit) and not buffer.arriving(piece):
                    self._ledger.decide(unit, "used_in_time")
                    buffer.unmark(piece)
