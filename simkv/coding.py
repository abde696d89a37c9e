"""KV that moves in another form: the sender's GPU codes it before a transfer, the receiver's decodes it after it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from simkv.compute.gpu import Gpu
from simkv.compute.kernel import Kernel
from simkv.compute.steptime import StepTime
from simkv.jobs import Job
from simkv.kv.block import Run, overlap
from simkv.kv.codec import Codec
from simkv.ledger import Ledger

Way = Literal["code", "decode"]


class Coding:
    """What a codec costs at one node: bytes on the wire, and GPU time.

    Parameters
    ----------
    codec : what it does to the bytes.
    block_tokens, block_bytes : [tokens] a block, and [bytes] of it as it lies in buffers.
    element_bytes : [bytes] one number of it.
    price : list of its GPU.

    Attributes
    ----------
    wire_block_bytes : [bytes] a block on the wire.

    Examples
    --------
    >>> from simkv.compute.steptime import FixedStepTime
    >>> from simkv.kv.codec import CODEC
    >>> Coding(CODEC.create("int8"), 16, 64_000, 2, FixedStepTime(0.0, 0.0)).wire_block_bytes
    34000
    """

    def __init__(self, codec: Codec, block_tokens: int, block_bytes: int, element_bytes: int, price: StepTime) -> None:
        self.wire_block_bytes = codec.wire_bytes(block_bytes, element_bytes)
        self._codec = codec
        self._block_tokens = block_tokens
        self._moved_bytes = block_bytes + self.wire_block_bytes
        self._price = price

    def kernel(self, job: Job, way: Way) -> tuple[float, bool]:
        """Return what it takes to code, or to decode, what a job moves: it reads one form and writes the other.

        Returns
        -------
        [s] of GPU time, and whether that rests on an extension of the price list.
        """
        if self._codec.exact or job.kind != "kv":
            return 0.0, False
        blocks = sum([run.count for run in job.runs])
        name = self._codec.kernels[way == "decode"]
        seconds = self._price.kernel_s(name, blocks * self._block_tokens, blocks * self._moved_bytes)
        return seconds, self._price.outside


class Coder:
    """What one GPU codes and decodes.

    Parameters
    ----------
    gpu : None = nothing there can be coded, and need not be.
    way : what it does.
    """

    def __init__(self, gpu: Gpu | None, coding: Coding, way: Way, ledger: Ledger) -> None:
        self._way = way
        self._gpu = gpu
        self._coding = coding
        self._ledger = ledger
        self._kernels: dict[Job, Kernel] = {}

    def run(self, job: Job, done: Callable[[Job], None]) -> None:
        """Code, or decode, what a job moves; `done` is called with it then, or at once where there is nothing to do."""
        seconds, outside = self._coding.kernel(job, self._way)
        if self._gpu is None or not seconds:
            done(job)
            return
        if job.unit is not None:
            self._ledger.begin(job.unit)
        kernel = self._kernels[job] = Kernel(
            seconds,
            speculative=not job.demand,
            outside=outside,
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
