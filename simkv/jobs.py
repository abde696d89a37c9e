"""What servers tell each other about KV: a query, and a job that answers it or runs ahead of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from simkv.compute.gpu import GpuSequence
from simkv.fates import Fates
from simkv.kv.block import Run
from simkv.kv.buffer import KvBuffer
from simkv.kv.prefix import Conversation, Part, Prompt, tokens_in
from simkv.kv.runmap import RunMap
from simkv.ledger import Unit
from simkv.network.link import Flow, Traffic
from simkv.policies.prefetch.question import Foresight, Kind

Pieces = list[tuple[int, Run]]  # (part index, blocks)


class Receiver(Protocol):
    """What a source asks of the server that it sends to.

    Attributes
    ----------
    buffer : where what is sent goes; its size is known to the source, its content is not.
    fates : why what is missing there is missing; for the books alone.
    """

    buffer: KvBuffer
    fates: Fates

    def announced(self, job: Job) -> None:
        """A push is on its way: make room, or refuse it."""

    def delivered(self, job: Job) -> None:
        """All of a job's blocks, or its text, are here."""

    def withdrawn(self, job: Job) -> None:
        """An announced push will not come."""

    def foretold(self, steps: list[tuple[Run, float]]) -> None:
        """In how many queries of a conversation its blocks are used next."""

    def unavailable(self, conversation: Conversation, runs: list[Run]) -> None:
        """The source has no such blocks and cannot make them."""


@dataclass(frozen=True, slots=True)
class NewPositions:
    """KV sent position by position, behind what an older version at the receiver holds.

    Attributes
    ----------
    known : [tokens] at the front of a block that the receiver has, by block.
    version_bytes : [bytes] that name the versions, with every run of blocks.
    importance_bytes : [bytes] of metadata with each position.
    """

    known: Mapping[int, int]
    version_bytes: int
    importance_bytes: int

    def payload_bytes(self, part: Part, run: Run, block_tokens: int, token_bytes: int) -> int:
        """Return [bytes] that a run of blocks of a part takes.

        Examples
        --------
        >>> form = NewPositions({7: 4}, version_bytes=64, importance_bytes=0)
        >>> form.payload_bytes(Part(Run(7, 2), 20, 0), Run(7, 2), 16, 1000)
        16064
        """
        tokens = tokens_in(part, run, block_tokens) - self.known.get(run.start, 0)
        return tokens * (token_bytes + self.importance_bytes) + self.version_bytes


@dataclass(slots=True)
class Query:
    """What a receiver tells its source when a turn arrives.

    Attributes
    ----------
    kv, texts : (part index, blocks) whose KV, and whose text, is to be sent, in prompt order.
    received : how many jobs had arrived at the receiver when it asked.
    on_late : called with the blocks of every speculated unit that the query finds under way.
    foresight : the future, handed on to oracles alone.
    form : how KV is sent; None = in whole blocks.
    """

    receiver: Receiver
    conversation: Conversation
    prompt: Prompt
    kv: Pieces
    texts: Pieces
    received: int
    on_late: Callable[[list[Run]], None]
    foresight: Foresight
    form: NewPositions | None = None


class Job:
    """One thing on its way to one receiver: first computed where it must be, then sent.

    Attributes
    ----------
    runs : blocks to send, in order.
    chain : the parts that must be complete at the source before, the job's own last; empty for what is stored.
    kind : "kv", "text", or "compute" (KV is made at the source and stays there).
    deadline_s : [s] when it is needed; None = nobody said, and it shares the link at once.
    payload_bytes : [bytes] of KV and text that it carries.
    unit : what the ledger calls it while it is speculative; None for jobs that began as demand.
    demand : a request waits for it.
    in_line : it is complete and waits for its turn on the link.
    landed : it arrived at the receiver, as number `received` there.
    computing, pinned : blocks that it computes now, and that it holds, at the source.
    waits_for, after : the job that computes something it needs, and those that need what it computes.
    """

    __slots__ = (
        "after",
        "cancelled",
        "chain",
        "computing",
        "conversation",
        "deadline_s",
        "demand",
        "flow",
        "in_line",
        "kind",
        "landed",
        "payload_bytes",
        "pinned",
        "received",
        "receiver",
        "runs",
        "sequence",
        "unit",
        "waits_for",
    )

    def __init__(
        self,
        query: Query,
        runs: list[Run],
        chain: tuple[Part, ...],
        kind: Kind,
        *,
        payload_bytes: int,
        unit: Unit | None = None,
        deadline_s: float | None = None,
    ) -> None:
        self.receiver = query.receiver
        self.conversation = query.conversation
        self.runs = runs
        self.chain = chain
        self.kind = kind
        self.payload_bytes = payload_bytes
        self.unit = unit
        self.deadline_s = deadline_s
        self.demand = unit is None
        self.cancelled = False
        self.in_line = False
        self.landed = False
        self.received = 0
        self.flow: Flow | None = None
        self.sequence: GpuSequence | None = None
        self.computing: list[Run] = []
        self.pinned: list[Run] = []
        self.waits_for: Job | None = None
        self.after: list[Job] = []

    @property
    def traffic(self) -> Traffic:
        """The class that its bytes belong to now."""
        return Traffic.DEMAND if self.demand else Traffic.SPECULATIVE


class UnderWay:
    """The jobs of one receiver that have not arrived, as far as their source knows; each kind apart."""

    def __init__(self) -> None:
        self._by_kind: dict[Kind, RunMap[Job]] = {"kv": RunMap(), "text": RunMap(), "compute": RunMap()}

    def __len__(self) -> int:
        return sum(len(jobs) for jobs in self._by_kind.values())

    def add(self, job: Job) -> None:
        """Take in a job, none of whose blocks are under way in its kind."""
        for run in job.runs:
            self._by_kind[job.kind].put(run, job)

    def remove(self, job: Job) -> None:
        """Forget a job, if it is here."""
        jobs = self._by_kind[job.kind]
        for run in job.runs:
            for piece, other in jobs.overlapping(run):
                if other is job:
                    jobs.remove(piece)

    def of(self, kind: Kind, run: Run) -> list[Job]:
        """Return the jobs of one kind that bring a part of `run`."""
        return [job for _, job in self._by_kind[kind].overlapping(run)]

    def lacks(self, kind: Kind, run: Run) -> list[Run]:
        """Return the parts of `run` that no job of this kind brings."""
        return self._by_kind[kind].gaps(run)

    def overlapping(self, run: Run) -> list[Job]:
        """Return the jobs of any kind that bring or make a part of `run`."""
        return [job for kind in self._by_kind for job in self.of(kind, run)]

    def idle(self, run: Run, kind: Kind) -> list[Run]:
        """Return the parts of `run` for which a job of this kind would be new: KV and text replace each other."""
        idle = [gap for piece in self.lacks("kv", run) for gap in self.lacks("text", piece)]
        return [gap for piece in idle for gap in self.lacks("compute", piece)] if kind == "compute" else idle
