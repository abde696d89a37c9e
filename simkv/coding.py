"""KV that moves in another form: the sender's GPU codes it before a transfer, the receiver's decodes it after it."""

from __future__ import annotations

from collections.abc import Callable

from simkv.compute.gpu import Gpu
from simkv.compute.kernel import Kernel
from simkv.jobs import Job
from simkv.kv.block import Run, overlap
from simkv.kv.codec import Codec
from simkv.ledger import Ledger


class Coding:
    """What a codec costs at one node: bytes on the wire, and GPU time.

    Parameters
    ----------
    codec : what it does to the bytes.
    block_bytes : [bytes] a block as it lies in buffers.
    element_bytes : [bytes] one number of it.
    stream_s : returns [s] that the GPU takes to read and write so many bytes (`StepTime.stream_s`).

    Attributes
    ----------
    wire_block_bytes : [bytes] a block on the wire.

    Examples
    --------
    >>> from simkv.kv.codec import CODEC
    >>> Coding(CODEC.create("int8"), 64_000, 2, lambda moved_bytes: moved_bytes / 1e12).wire_block_bytes
    34000
    """

    def __init__(self, codec: Codec, block_bytes: int, element_bytes: int, stream_s: Callable[[int], float]) -> None:
        self.wire_block_bytes = codec.wire_bytes(block_bytes, element_bytes)
        self._moved_bytes = 0 if codec.exact else block_bytes + self.wire_block_bytes
        self._stream_s = stream_s

    def takes_s(self, job: Job) -> float:
        """Return [s] of GPU time to code, or to decode, what a job moves: it reads one form and writes the other."""
        if job.kind != "kv" or not self._moved_bytes:
            return 0.0
        return self._stream_s(sum([run.count for run in job.runs]) * self._moved_bytes)


class Coder:
    """What one GPU codes and decodes.

    Parameters
    ----------
    gpu : None = nothing there can be coded, and need not be.
    """

    def __init__(self, gpu: Gpu | None, coding: Coding, ledger: Ledger) -> None:
        self._gpu = gpu
        self._coding = coding
        self._ledger = ledger
        self._kernels: dict[Job, Kernel] = {}

    def run(self, job: Job, done: Callable[[Job], None]) -> None:
        """Code, or decode, what a job moves; `done` is called with it then, or at once where there is nothing to do."""
        seconds = self._coding.takes_s(job)
        if self._gpu is None or not seconds:
            done(job)
            return
        if job.unit is not None:
            self._ledger.begin(job.unit)
        kernel = self._kernels[job] = Kernel(
            seconds,
            speculative=not job.demand,
            on_spent=lambda spent_s: self._spent(job, spent_s),
            on_finished=lambda: self._finished(job, done),
        )
        self._gpu.kernels.launch(kernel)

    def is_at(self, job: Job) -> bool:
        """Whether a job is being coded or decoded, or waits for it."""
        return job in self._kernels

    def promote(self, job: Job) -> None:
        """Somebody waits for a job: code it as demand."""
        if self._gpu is not None and job in self._kernels:
            self._gpu.kernels.promote(self._kernels[job])

    def promote_blocks(self, run: Run) -> None:
        """Somebody waits for some blocks: decode what brings them as demand."""
        for job in list(self._kernels):
            if any(overlap(each, run) for each in job.runs):
                self.promote(job)

    def _spent(self, job: Job, spent_s: float) -> None:
        if job.unit is not None:
            self._ledger.spend_gpu(job.unit, spent_s)

    def _finished(self, job: Job, done: Callable[[Job], None]) -> None:
        del self._kernels[job]
        done(job)
        if job.unit is not None:
            self._ledger.end(job.unit)
