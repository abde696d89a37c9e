"""Links, buffers and GPUs as they are on a grid of time.

Nothing is scheduled for it, and nothing asked that changes what it is asked of: between two events all is as it was
after the first, so an instant is looked at when the next event is known to come later.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from simpy import Environment

from simkv.build import World
from simkv.busy import GpuWatch, LinkWatch
from simkv.kv.buffer import KvBuffer
from simkv.ledger import Unit
from simkv.results import BUFFER_QUANTITIES, GPU_QUANTITIES, LINK_QUANTITIES
from simkv.units import BITS_PER_BYTE
from simkv.watching import hook


class Sample(NamedTuple):
    """A row of `results.SAMPLE_COLUMNS`, without arm and replication."""

    time_s: float
    object: str
    quantity: str
    value: float


class Sampler:
    """Looks at everything at given instants.

    Parameters
    ----------
    instants_s : [s] when, ascending.

    Attributes
    ----------
    samples : in order of time. Memory that answers take block by block is counted when a server looks at it next.
    """

    def __init__(self, instants_s: Sequence[float]) -> None:
        self.samples: list[Sample] = []
        self._instants_s = instants_s
        self._taken = 0
        self._links: list[LinkWatch] = []
        self._gpus: list[GpuWatch] = []
        self._buffers: dict[str, KvBuffer] = {}

    def attach(self, world: World, links: list[LinkWatch], gpus: list[GpuWatch]) -> None:
        """Hook the loop of a run that has not begun."""
        self._links, self._gpus = links, gpus
        self._buffers = {server.name: server.buffer for server in world.servers}
        self._buffers |= {name: source.buffer for name, source in world.sources.items()}
        env = world.env

        def step(call: Callable[[], None]) -> None:
            self._look_until(env.peek())
            call()

        def run(call: Any) -> object:
            try:
                return Environment.run(env, *call.args, **call.keywords)  # the loop that asks for each step
            finally:
                self._look_until(math.inf)

        hook(env, "step", step)
        hook(env, "run", run)

    def _look_until(self, next_s: float) -> None:
        """Look at the instants before the next event."""
        while self._taken < len(self._instants_s) and self._instants_s[self._taken] < next_s:
            self._look(self._instants_s[self._taken], self._instants_s[max(0, self._taken - 1)])
            self._taken += 1

    def _look(self, at_s: float, before_s: float) -> None:
        for link in self._links:
            bits = link.take_bits(at_s)
            for quantity in LINK_QUANTITIES[:-1]:
                sent = bits.get(quantity.removesuffix("_bps"), 0.0)
                self._note(at_s, link.name, quantity, sent / (at_s - before_s) if at_s > before_s else 0.0)
            self._note(at_s, link.name, LINK_QUANTITIES[-1], link.backlog_bits(at_s) / BITS_PER_BYTE)
        for name, buffer in self._buffers.items():
            held = buffer.used_blocks, _speculative_blocks(buffer)
            for quantity, blocks in zip(BUFFER_QUANTITIES, held, strict=True):
                self._note(at_s, name, quantity, blocks * buffer.block_bytes)
        for gpu in self._gpus:
            sequences = gpu.gpu.running, gpu.gpu.waiting, gpu.speculative_waiting
            for quantity, count in zip(GPU_QUANTITIES, sequences, strict=True):
                self._note(at_s, gpu.name, quantity, count)

    def _note(self, at_s: float, name: str, quantity: str, value: float) -> None:
        self.samples.append(Sample(at_s, name, quantity, float(value)))


def _speculative_blocks(buffer: KvBuffer) -> int:
    """Return how many blocks were brought, or are being brought, that nobody has asked for."""
    return sum(run.count for run, entry in buffer._entries if isinstance(entry.mark, Unit) and entry.mark.is_open)
