"""What should a source move ahead of time, and what that it began is no longer wanted?

Keeps what the source knows: a directory of what each receiver holds, nearly right because messages take time
(semantics C2), and each conversation's past. Asks the predictor and the prefetch policy; moves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from simkv.history import Remembered
from simkv.jobs import Job, Query, Receiver, UnderWay
from simkv.kv.block import Run, joined
from simkv.kv.prefix import OPEN_LOOP, Conversation, Part, in_parts
from simkv.kv.runmap import RunSet
from simkv.policies.prefetch.question import Foresight, Kind, PrefetchPolicy, PrefetchView
from simkv.predictors.question import Item, Predictor


class Push(NamedTuple):
    """Blocks worth moving ahead of time.

    Attributes
    ----------
    blocks : what the receiver is believed to lack and nobody moves yet.
    chain : the parts that must be complete at the source before, the blocks' own last.
    kind : "kv" or "text".
    """

    blocks: Run
    chain: tuple[Part, ...]
    kind: Kind


class Pusher:
    """The speculative mind of a source.

    Parameters
    ----------
    prefetch, predictor : the policies.
    prefetch_sees_future, predictor_sees_future : whether they are registered as oracles.
    block_bytes : [bytes] a block.
    now : returns the simulated time [s].
    """

    def __init__(
        self,
        prefetch: PrefetchPolicy,
        predictor: Predictor,
        *,
        prefetch_sees_future: bool,
        predictor_sees_future: bool,
        block_bytes: int,
        now: Callable[[], float],
    ) -> None:
        self._prefetch = prefetch
        self._predictor = predictor
        self._prefetch_sees_future = prefetch_sees_future
        self._predictor_sees_future = predictor_sees_future
        self._block_bytes = block_bytes
        self._now = now
        self._held: dict[Receiver, RunSet] = {}  # the directory
        self._remembered: dict[int, Remembered] = {}
        self._jobs: dict[int, dict[Job, None]] = {}  # speculative and not arrived, by conversation

    # -- what it is told ---------------------------------------------------------------------------

    def is_held(self, receiver: Receiver, runs: list[Run]) -> None:
        """A receiver says that it holds these blocks."""
        held = self._held.setdefault(receiver, RunSet())
        for run in runs:
            held.add(run)

    def was_evicted(self, receiver: Receiver, runs: list[Run]) -> None:
        """A receiver says that these blocks are gone there."""
        held = self._held.setdefault(receiver, RunSet())
        for run in runs:
            held.take(run)

    def began(self, job: Job) -> None:
        """A push began."""
        self._jobs.setdefault(job.conversation.key, {})[job] = None

    def is_over(self, job: Job) -> None:
        """A push arrived, was promoted or was cancelled."""
        self._jobs.get(job.conversation.key, {}).pop(job, None)

    def has_ended(self, conversation: Conversation) -> list[Job]:
        """A conversation is over: forget it; return what is still under way for it."""
        self._remembered.pop(conversation.key, None)
        return list(self._jobs.pop(conversation.key, ()))

    def under_way(self) -> list[Job]:
        """Return what is speculative and has not arrived, of the conversation heard of last first, newest first."""
        return [job for jobs in reversed(self._jobs.values()) for job in reversed(jobs)]

    # -- what it decides ---------------------------------------------------------------------------

    def consider(self, query: Query, outstanding: UnderWay) -> tuple[list[Push], list[Job]]:
        """Learn from a query; return what to push now, and which pushes of the conversation to cancel."""
        held = self._update_directory(query)
        remembered = self._learn(query)
        unwanted = dict.fromkeys(
            job
            for job in self._jobs.get(query.conversation.key, ())
            if job.receiver is query.receiver or query.conversation.key != OPEN_LOOP  # a stream goes to all receivers
        )
        pushes: list[Push] = []
        planned = RunSet()
        knowledge = _Knowledge(remembered, query.foresight)
        for item, kind in self._prefetch.decide(self._view(knowledge, held)):
            chain = knowledge.parts_of(item)
            for span in spans(chain):
                for job in (*outstanding.of("kv", span), *outstanding.of("text", span)) if unwanted else ():
                    unwanted.pop(job, None)
                for lacking in held.gaps(span):
                    idle = [gap for run in outstanding.lacks("kv", lacking) for gap in outstanding.lacks("text", run)]
                    new = [gap for run in idle for gap in planned.gaps(run)]
                    planned.add(lacking)
                    if new:
                        pushes += [Push(gap, chain[: index + 1], kind) for index, gap in in_parts(chain, new)]
        return pushes, list(unwanted)

    def _update_directory(self, query: Query) -> RunSet:
        """When the turn ends the receiver holds all of its prompt; what it fetches, once it has arrived."""
        held = self._held.setdefault(query.receiver, RunSet())
        for span in query.prompt.spans:
            held.add(span)
        for _, run in query.kv:
            held.take(run)
        return held

    def _learn(self, query: Query) -> Remembered:
        remembered = self._remembered.get(query.conversation.key)
        if remembered is None:
            remembered = self._remembered[query.conversation.key] = Remembered(query.conversation)
        outcome = remembered.learn(query.prompt)
        if outcome is not None:
            self._predictor.observe(outcome)
        return remembered

    def _view(self, knowledge: _Knowledge, held: RunSet) -> PrefetchView:
        next_items = knowledge.next_items if self._predictor_sees_future else None
        history = knowledge.remembered.view(next_items)
        return PrefetchView(
            now_s=self._now(),
            asked=history.asked,
            chunks=history.chunks,
            probabilities=lambda: self._predictor.predict(history),
            held=lambda item: all(held.covers(span) for span in spans(knowledge.parts_of(item))),
            item_bytes=lambda item: knowledge.parts_of(item)[-1].run.count * self._block_bytes,
            foresight=knowledge if self._prefetch_sees_future else None,
        )


class _Knowledge:
    """What items mean: by what is remembered, and for oracles by what will be asked."""

    __slots__ = ("_foresight", "_future", "remembered")

    def __init__(self, remembered: Remembered, foresight: Foresight) -> None:
        self.remembered = remembered
        self._foresight = foresight
        self._future: Mapping[Item, tuple[Part, ...]] = {}

    def next_parts(self, count: int) -> Mapping[Item, tuple[Part, ...]]:
        """Return what the next turns will ask for, and keep it in mind."""
        self._future = self._foresight.next_parts(count)
        return self._future

    def next_items(self) -> list[Item]:
        """Return the items of the next turn."""
        return list(self.next_parts(1))

    def parts_of(self, item: Item) -> tuple[Part, ...]:
        """Return all that an item needs to be usable, itself last."""
        return self._future.get(item) or self.remembered.parts_of(item)


def spans(chain: tuple[Part, ...]) -> tuple[Run, ...]:
    """Return the blocks of a chain in as few runs as possible."""
    return joined(part.run for part in chain)
