"""Text that came before anyone asked for it, and the idle GPU time that turns it into KV.

The counterpart of pushing KV for receivers that can afford to compute: text is small, so it arrives at once,
and its prefill runs while nobody waits (semantics A1, arm `text-prefetch`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from simkv.compute.gpu import Gpu, GpuSequence
from simkv.errors import InvariantError
from simkv.jobs import Job
from simkv.kv.block import Run, overlap
from simkv.kv.buffer import KvBuffer
from simkv.kv.prefix import OPEN_LOOP, Conversation, Prompt, tokens_in
from simkv.kv.runmap import RunMap, RunSet
from simkv.ledger import Ledger, Unit


class TextAhead:
    """The texts of one server: which it has, which wait to be prefilled, which are being prefilled.

    Parameters
    ----------
    reserve : takes room for speculated blocks, or says no.
    arrived : called with each run that was computed.
    freed : called when blocks that were held for a prefill are held no more.
    """

    def __init__(
        self,
        buffer: KvBuffer,
        gpu: Gpu,
        ledger: Ledger,
        *,
        block_tokens: int,
        reserve: Callable[[list[Run], Unit], bool],
        arrived: Callable[[Run], None],
        freed: Callable[[], None],
    ) -> None:
        self.known = RunSet()
        self._buffer = buffer
        self._gpu = gpu
        self._ledger = ledger
        self._block_tokens = block_tokens
        self._reserve = reserve
        self._arrived = arrived
        self._freed = freed
        self._waiting: list[Job] = []
        self._computing: RunMap[GpuSequence] = RunMap()
        self._prefills: dict[_Prefill, None] = {}

    def came(self, job: Job) -> None:
        """A text is here: know it, and prefill it if it is still speculative."""
        if not job.conversation.has_ended or job.conversation.key == OPEN_LOOP:
            for run in job.runs:
                self.known.add(run)
        if not job.demand and job.unit is not None and job.unit.is_open:
            self._ledger.begin(job.unit)
            self._waiting.append(job)
            self.compute()

    def compute(self) -> None:
        """Begin to prefill every waiting text whose front is resident."""
        for job in list(self._waiting):
            front = self._front(job)
            if all(self._buffer.resident(run) for run in front):
                self._waiting.remove(job)
                self._begin(job)
            elif job.conversation.key == OPEN_LOOP and any(self._buffer.absent(run) for run in front):
                self._drop(job, "never_used")  # no end of a session would ever drop it

    def promote(self, run: Run) -> None:
        """A request waits for blocks that are being prefilled: do it as demand."""
        for _, sequence in self._computing.overlapping(run):
            self._gpu.promote(sequence)

    def take_over(self, prompt: Prompt) -> list[list[Run]]:
        """A request asks for texts that wait: its own prefill makes them; return the blocks of each that was late."""
        wanted = RunSet()
        for span in prompt.spans if self._waiting else ():
            wanted.add(span)
        late = []
        for job in [job for job in self._waiting if any(wanted.overlapping(run) for run in job.runs)]:
            assert job.unit is not None
            is_late = job.unit.is_open and any(self._buffer.not_resident(run) for run in job.runs)
            if is_late:
                late.append(job.runs)
            self._drop(job, "used_late" if is_late else "never_used")
        return late

    def end_session(self, conversation: Conversation) -> None:
        """Nobody will ask for the texts of a conversation that is over."""
        for job in [job for job in self._waiting if job.conversation is conversation]:
            self._drop(job, "never_used")
        for span in conversation.private_spans():
            self.known.take(span)

    def computing(self, run: Run) -> list[Run]:
        """Return the runs that are being prefilled and share a block with `run`."""
        return [computed for computed, _ in self._computing.overlapping(run)]

    def spare(self, needed: list[Run]) -> list[tuple[int, Callable[[], None]]]:
        """Return prefills that nobody asked for, newest first: how many blocks each would free, and how.

        A step under way is finished first, so the room may come free only then; until it does, the prefill is listed
        first, with nothing to do. `needed` is what the request that wants room needs itself: nothing goes of that.
        """
        spare: list[tuple[int, Callable[[], None]]] = []
        for prefill in reversed(self._prefills):
            blocks = sum(gap.count for gap in prefill.gaps)
            if prefill.sequence.cancelled:
                spare.insert(0, (blocks, lambda: None))
            elif prefill.unit.outcome != "used_late" and not any(
                overlap(gap, run) for gap in prefill.gaps for run in needed
            ):
                spare.append((blocks, partial(self._give_up, prefill)))
        return spare

    def _give_up(self, prefill: _Prefill) -> None:
        self._ledger.decide(prefill.unit, "evicted")
        self._gpu.cancel(prefill.sequence)

    def check_at_rest(self) -> None:
        """Raise unless no text is being prefilled, and none waits but those of a stream without end.

        Raises
        ------
        InvariantError : something leaked.
        """
        waiting = [job for job in self._waiting if job.conversation.key != OPEN_LOOP]
        if waiting or self._prefills or len(self._computing):
            raise InvariantError(f"{len(waiting)} texts wait and {len(self._prefills)} are prefilled for ever")

    def _drop(self, job: Job, outcome: str) -> None:
        assert job.unit is not None
        self._waiting.remove(job)
        self._ledger.decide(job.unit, outcome)
        self._ledger.end(job.unit)

    def _begin(self, job: Job) -> None:
        unit, part = job.unit, job.chain[-1]
        assert unit is not None
        gaps = [gap for run in job.runs for gap in self._buffer.absent(run)]
        front = self._front(job)
        for run in front:
            self._buffer.pin(run)  # not to be evicted for what follows it
        if not gaps or not self._reserve(gaps, unit):
            for run in reversed(front):
                self._buffer.release(run, was_used=False)
            self._ledger.decide(unit, "never_used")
            self._ledger.end(unit)
            return
        surplus = sum(run.count for run in job.runs) - sum(gap.count for gap in gaps)
        if surplus:
            self._ledger.cut(unit, surplus, "never_used")
        sequence = GpuSequence(
            sum(tokens_in(part, gap, self._block_tokens) for gap in gaps),
            self._context_tokens(job, gaps[0].start),
            speculative=True,
            on_spent=lambda seconds: self._ledger.spend_gpu(unit, seconds),
            on_finished=lambda: self._computed(prefill),
        )
        prefill = _Prefill(unit, sequence, gaps, front)
        self._prefills[prefill] = None
        for gap in gaps:
            self._computing.put(gap, sequence)
        self._gpu.submit(sequence)

    def _front(self, job: Job) -> list[Run]:
        """Return what must be resident before a text can be prefilled."""
        part, first = job.chain[-1].run, job.runs[0].start
        front = [before.run for before in job.chain[:-1]]
        return [*front, Run(part.start, first - part.start)] if first > part.start else front

    def _context_tokens(self, job: Job, first_block: int) -> int:
        """Return [tokens] in front of a block of a job's part."""
        part = job.chain[-1]
        inside = tokens_in(part, Run(part.run.start, first_block - part.run.start), self._block_tokens)
        return sum(before.tokens for before in job.chain[:-1]) + inside

    def _computed(self, prefill: _Prefill) -> None:
        del self._prefills[prefill]
        for gap in prefill.gaps:
            self._computing.take(gap)
            if prefill.sequence.prefill_left_tokens:  # stopped half-way: nothing whole came of it
                self._buffer.abandon(gap)
            else:
                self._buffer.arrive(gap)
                self._arrived(gap)
        for run in reversed(prefill.front):
            self._buffer.release(run, was_used=False)
        self._ledger.end(prefill.unit)
        if not prefill.sequence.cancelled:
            self.compute()
        self._freed()


class _Prefill:
    """One text that is being prefilled: what it makes, and the blocks in front that it holds."""

    __slots__ = ("front", "gaps", "sequence", "unit")

    def __init__(self, unit: Unit, sequence: GpuSequence, gaps: list[Run], front: list[Run]) -> None:
        self.unit = unit
        self.sequence = sequence
        self.gaps = gaps
        self.front = front
