"""Text that came before anyone asked for it, and the idle GPU time that turns it into KV.

The counterpart of pushing KV for receivers that can afford to compute: text is small, so it arrives at once,
and its prefill runs while nobody waits (semantics A1, arm `text-prefetch`).
"""

from __future__ import annotations

from collections.abc import Callable

from simkv.compute.gpu import Gpu, GpuSequence
from simkv.jobs import Job
from simkv.kv.block import Run
from simkv.kv.buffer import KvBuffer
from simkv.kv.prefix import Conversation, Prompt, tokens_in
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

    def came(self, job: Job) -> None:
        """A text is here: know it, and prefill it if it is still speculative."""
        for run in job.runs:
            self.known.add(run)
        if not job.demand and job.unit is not None and job.unit.is_open:
            self._ledger.begin(job.unit)
            self._waiting.append(job)
            self.compute()

    def compute(self) -> None:
        """Begin to prefill every waiting text whose front is resident."""
        later = []
        waiting, self._waiting = self._waiting, []
        for job in waiting:
            if all(self._buffer.resident(part.run) for part in job.chain[:-1]):
                self._begin(job)
            else:
                later.append(job)
        self._waiting += later

    def promote(self, run: Run) -> None:
        """A request waits for blocks that are being prefilled: do it as demand."""
        for _, sequence in self._computing.overlapping(run):
            self._gpu.promote(sequence)

    def take_over(self, prompt: Prompt) -> int:
        """A request asks for texts that wait: its own prefill makes them; return how many were late."""
        wanted = {part.run for part in prompt.parts}
        late = 0
        for job in [job for job in self._waiting if job.chain[-1].run in wanted]:
            assert job.unit is not None
            late += job.unit.is_open
            self._drop(job, "used_late")
        return late

    def end_session(self, conversation: Conversation) -> None:
        """Nobody will ask for the texts of a conversation that is over."""
        for job in [job for job in self._waiting if job.conversation is conversation]:
            self._drop(job, "never_used")

    def _drop(self, job: Job, outcome: str) -> None:
        assert job.unit is not None
        self._waiting.remove(job)
        self._ledger.decide(job.unit, outcome)
        self._ledger.end(job.unit)

    def _begin(self, job: Job) -> None:
        unit, part = job.unit, job.chain[-1]
        assert unit is not None
        gaps = self._buffer.absent(part.run)
        front = [before.run for before in job.chain[:-1]]
        for run in front:
            self._buffer.pin(run)  # not to be evicted for what follows it
        if not gaps or not self._reserve(gaps, unit):
            for run in reversed(front):
                self._buffer.release(run)
            self._ledger.decide(unit, "never_used")
            self._ledger.end(unit)
            return
        tokens = sum(tokens_in(part, gap, self._block_tokens) for gap in gaps)
        sequence = GpuSequence(
            tokens,
            sum(before.tokens for before in job.chain) - tokens,
            speculative=True,
            on_spent=lambda seconds: self._ledger.spend_gpu(unit, seconds),
            on_finished=lambda: self._computed(unit, gaps, front),
        )
        for gap in gaps:
            self._computing.put(gap, sequence)
        self._gpu.submit(sequence)

    def _computed(self, unit: Unit, gaps: list[Run], front: list[Run]) -> None:
        for gap in gaps:
            self._computing.take(gap)
            self._buffer.arrive(gap)
            self._arrived(gap)
        for run in reversed(front):
            self._buffer.release(run)
        self._ledger.end(unit)
        self.compute()
        self._freed()
