"""Which of the wishes must a source still move, and what that it began is no longer wanted?

Keeps what a source knows: a directory of what each receiver holds, nearly right because messages take time
(semantics C2), and what is under way for each conversation. Decides nothing else and moves nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from simkv.jobs import Job, Query, Receiver, UnderWay
from simkv.kv.block import Run
from simkv.kv.prefix import OPEN_LOOP, Conversation, Part, in_parts
from simkv.kv.runmap import RunSet
from simkv.mind import Mind, Wish, spans
from simkv.policies.prefetch.question import Kind, Moment


class Push(NamedTuple):
    """Blocks worth moving ahead of time.

    Attributes
    ----------
    blocks : what the receiver is believed to lack and nobody moves yet.
    chain : the parts that must be complete at the source before, the blocks' own last.
    kind : "kv", "text" or "compute".
    deadline_s : [s] when it is needed; None = nobody said.
    """

    blocks: Run
    chain: tuple[Part, ...]
    kind: Kind
    deadline_s: float | None


class Pusher:
    """What a source knows of its receivers, and what it moves ahead of time for them.

    Attributes
    ----------
    mind : decides what is wished for; None = the receivers do, and pull.
    """

    def __init__(self) -> None:
        self.mind: Mind | None = None
        self._held: dict[Receiver, RunSet] = {}  # the directory
        self._jobs: dict[int, dict[Job, None]] = {}  # speculative and not arrived, by conversation

    # -- what it is told ---------------------------------------------------------------------------

    def is_held(self, receiver: Receiver, runs: list[Run]) -> None:
        """A receiver says that it holds these blocks."""
        held = self._held.setdefault(receiver, RunSet())
        for run in runs:
            held.add(run)

    def was_evicted(self, receiver: Receiver, runs: list[Run], *, by_speculation: bool) -> None:
        """A receiver says that these blocks are gone there, and whether speculation pushed them out."""
        if self.mind is not None and by_speculation:
            self.mind.displaced(receiver, runs)
        held = self._held.setdefault(receiver, RunSet())
        for run in runs:
            held.take(run)

    def began(self, job: Job) -> None:
        """A push began."""
        self._jobs.setdefault(job.conversation.key, {})[job] = None

    def is_over(self, job: Job) -> bool:
        """A push arrived, was promoted or was cancelled; return whether that is news."""
        jobs = self._jobs.get(job.conversation.key, {})
        if job not in jobs:
            return False
        del jobs[job]
        if not jobs:
            del self._jobs[job.conversation.key]
        return True

    def has_ended(self, conversation: Conversation) -> list[Job]:
        """A conversation is over: forget it; return what is still under way for it."""
        if self.mind is not None:
            self.mind.has_ended(conversation)
        return list(self._jobs.get(conversation.key, ()))

    def under_way(self) -> list[Job]:
        """Return what is speculative and has not arrived, of the conversation heard of last first, newest first."""
        return [job for jobs in reversed(self._jobs.values()) for job in reversed(jobs)]

    # -- what follows from it ----------------------------------------------------------------------

    def consider(self, query: Query, outstanding: UnderWay) -> tuple[list[Push], list[Job]]:
        """Learn from a query; return what to push now, and which pushes of the conversation to cancel."""
        assert self.mind is not None
        self._update_directory(query)
        self.mind.learn(query)
        return self.reconsider(query, "query", outstanding)

    def reconsider(self, query: Query, moment: Moment, outstanding: UnderWay) -> tuple[list[Push], list[Job]]:
        """Let the mind decide again; `query` is the conversation's last."""
        assert self.mind is not None
        held = self._held.setdefault(query.receiver, RunSet())
        wishes = self.mind.decide(
            query.conversation, moment, lambda blocks: [gap for run in blocks for gap in held.gaps(run)]
        )
        return self.plan(query, wishes, held, outstanding)

    def plan(
        self, query: Query, wishes: Iterable[Wish], held: RunSet, outstanding: UnderWay
    ) -> tuple[list[Push], list[Job]]:
        """Return what must be moved now of the wishes, and which pushes of the conversation nobody wishes for."""
        unwanted = dict.fromkeys(
            job
            for job in self._jobs.get(query.conversation.key, ())
            if job.receiver is query.receiver or query.conversation.key != OPEN_LOOP  # a stream goes to all receivers
        )
        pushes: list[Push] = []
        planned = RunSet()
        for chain, kind, deadline_s, is_due in wishes:
            for span in spans(chain):
                for job in outstanding.overlapping(span) if unwanted else ():
                    unwanted.pop(job, None)
                for lacking in held.gaps(span) if is_due else ():
                    idle = outstanding.idle(lacking, kind)
                    new = [gap for run in idle for gap in planned.gaps(run)]
                    planned.add(lacking)
                    pushes += [Push(gap, chain[: index + 1], kind, deadline_s) for index, gap in in_parts(chain, new)]
        return pushes, list(unwanted)

    def _update_directory(self, query: Query) -> None:
        """When the turn ends the receiver holds all of its prompt; what it fetches, once it has arrived."""
        held = self._held.setdefault(query.receiver, RunSet())
        for span in query.prompt.spans:
            held.add(span)
        for _, run in query.kv:
            held.take(run)
