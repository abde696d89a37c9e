"""What does a receiver ask for ahead of time? The mind of a receiver that pulls, and the buffer that it knows exactly.

The counterpart of `ahead.py` for `policies.initiator: pull`. A wish travels to the source before anything moves, which
a push saves; but no belief about the buffer is ever stale, and what is measured of the link is this receiver's share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from simkv.jobs import Job, Query, Receiver
from simkv.kv.block import Run
from simkv.kv.buffer import KvBuffer
from simkv.kv.prefix import Conversation, Part
from simkv.kv.runmap import RunSet
from simkv.mind import Mind, Wish, spans
from simkv.policies.prefetch.question import Moment
from simkv.predictors.question import Item
from simkv.request import GapKind
from simkv.sensing import LinkSense


class Puller:
    """The mind of one receiver.

    Parameters
    ----------
    sense : measures the link on which the source sends.
    ask : sends wishes to the source: the conversation's last query, the wishes, what of them is here.
    """

    def __init__(
        self, mind: Mind, buffer: KvBuffer, sense: LinkSense, ask: Callable[[Query, list[Wish], RunSet], None]
    ) -> None:
        self._mind = mind
        self._buffer = buffer
        self._sense = sense
        self._ask = ask
        self._asked_bytes: dict[
            int, int
        ] = {}  # of KV, of each conversation whose wishes the source knows, not here yet
        mind.on_timer = lambda conversation: self._decide(conversation, "timer")

    def query(self, query: Query) -> None:
        """A turn has arrived and taken what is here."""
        self._mind.learn(query)
        for run, steps in self._mind.steps(query.conversation):
            self._buffer.foretold(run, steps)
        self._decide(query.conversation, "query")

    def paused(self, conversation: Conversation, kind: GapKind) -> None:
        """An answer has ended, and a gap of this kind begins."""
        if self._mind.paused(conversation, kind) and self._mind.wants("pause"):
            self._decide(conversation, "pause")

    def hinted(self, conversation: Conversation, items: Mapping[Item, tuple[Part, ...]]) -> None:
        """A client says what it will ask."""
        if self._mind.hinted(conversation, items) and self._mind.wants("hint"):
            self._decide(conversation, "hint")

    def has_ended(self, conversation: Conversation) -> None:
        """A conversation is over."""
        self._mind.has_ended(conversation)
        self._expect(conversation.key, None)

    def displaced(self, receiver: Receiver, runs: list[Run]) -> None:
        """Speculation pushed these blocks out here."""
        self._mind.displaced(receiver, runs)

    def has_arrived(self, job: Job) -> None:
        """Something that the source sent is here."""
        key = job.conversation.key
        if job.kind == "kv" and not job.demand and key in self._asked_bytes:
            arrived_bytes = sum(run.count for run in job.runs) * self._buffer.block_bytes
            self._expect(key, max(0, self._asked_bytes[key] - arrived_bytes))
        if job.flow is not None:
            self._sense.arrived(job.flow)

    def _decide(self, conversation: Conversation, moment: Moment) -> None:
        key = conversation.key
        wishes = self._mind.decide(conversation, moment, self._lacking)
        if not wishes and key not in self._asked_bytes:  # else nothing wished for stops what was
            return
        held = self._held(wishes)
        query = self._mind.last_query(conversation)
        self._expect(key, self._lacking_bytes(wishes, held, query.kv if moment == "query" else ()) if wishes else None)
        self._ask(query, wishes, held)

    def _lacking_bytes(self, wishes: list[Wish], held: RunSet, coming: Iterable[tuple[int, Run]]) -> int:
        """Return [bytes] of KV that wishes will bring, each block once, and none that comes anyway."""
        lacking, asked = RunSet(), RunSet()
        for _, run in coming:
            asked.add(run)
        for wish in wishes:
            for span in spans(wish.chain) if wish.is_due and wish.kind == "kv" else ():
                for piece in (piece for gap in held.gaps(span) for piece in asked.gaps(gap)):
                    lacking.add(piece)
        return sum(run.count for run, _ in lacking) * self._buffer.block_bytes

    def _expect(self, key: int, count_bytes: int | None) -> None:
        self._sense.expects(key, (count_bytes or 0) - self._asked_bytes.pop(key, 0))
        if count_bytes is not None:
            self._asked_bytes[key] = count_bytes

    def _lacking(self, blocks: tuple[Run, ...]) -> list[Run]:
        return [gap for run in blocks for gap in self._buffer.not_resident(run)]

    def _held(self, wishes: list[Wish]) -> RunSet:
        held = RunSet()
        for piece in (piece for wish in wishes for span in spans(wish.chain) for piece in self._resident(span)):
            held.add(piece)
        return held

    def _resident(self, span: Run) -> list[Run]:
        return self._buffer.survey(span).resident
