"""A device with everything that is measured on it: what `rounds` visits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import embedding, linear, rms_norm

from simkv.model import ModelShape

from .device import Call, Device
from .journal import Burst
from .kv_probes import KvProbes
from .layer import Layers
from .ops import OPS
from .plan import Case
from .waiting import Waiting, burst
from .wire import Peer

_COPIES = 4  # sets of weights in turn: more than the caches of one core hold


class Probes:
    """What `rounds.Bench` wants, on a real device.

    Parameters
    ----------
    device : where.
    shape : of the model.
    dtype : of weights, activations and KV.
    seed : of the random numbers.
    peer : the other end of TCP; None = a process that is started here.
    folder : where the file that is written and read lies.
    """

    def __init__(
        self,
        device: Device,
        shape: ModelShape,
        dtype: torch.dtype,
        seed: int,
        peer: str = "",
        folder: Path | None = None,
    ) -> None:
        self.device = device
        self._layers = Layers(device, shape, dtype, _COPIES, seed)
        self._kv = KvProbes(self._layers)
        self._table: Tensor | None = None
        self._address, self._folder = peer, folder
        self._peer: Peer | None = None
        self._waiting: Waiting | None = None
        self._anchors = self._make_anchors()

    def close(self) -> None:
        """End the other process, take the file away."""
        if self._waiting is not None:
            self._waiting.close()
        if self._peer is not None:
            self._peer.close()

    @property
    def anchors(self) -> list[str]:
        """Names of the fixed kernels."""
        return list(self._anchors)

    def anchor(self, name: str) -> Burst:
        """Visit a fixed kernel."""
        return self.device.burst(self._anchors[name])

    def measure(self, case: Case) -> Burst:
        """Visit a point; what the device cannot do is an answer too: the verdict tells of it, the samples why."""
        try:
            with torch.inference_mode():
                if OPS[case.op].io:
                    waits = self._waits()
                    return burst(waits.call(case.op, case.point[0]), waits.core)
                return self.device.burst(self.call(case.op, case.point))
        except (RuntimeError, OSError) as error:  # PyTorch out of memory or without such a kernel; a full disk
            return Burst(0.0, 0.0, 0.0, 0, str(error).splitlines()[0][:200] or "failed")

    def _waits(self) -> Waiting:
        if self._waiting is None:
            self._peer = Peer(self._address)
            self._waiting = Waiting(self._peer, self._folder)
        return self._waiting

    def call(self, op: str, point: tuple[int, ...]) -> Call:
        """Return the call of one operation at one point."""
        layers, kv = self._layers, self._kv
        makers: Mapping[str, Callable[..., Call]] = {
            "prefill_layer": lambda new, cached: layers.call(layers.chunk(new, cached)),
            "decode_layer": lambda batch, context: layers.call(layers.decodes(batch, context)),
            "mixed_layer": lambda n, c, batch, ctx: layers.call(layers.chunk(n, c), layers.decodes(batch, ctx)),
            "unequal_layer": lambda batch, mean, longest: layers.call(layers.unequal(batch, mean, longest)),
            "embedding": self._embedding,
            "lm_head": self._lm_head,
            "score_q2c": kv.q2c,
            "score_snapkv": kv.snapkv,
            "score_h2o": kv.h2o,
        }
        group = OPS[op].group
        if op in makers:
            return makers[op](*point)
        if group == "quantise":
            return kv.codec(op, *point)
        if group == "svd":
            return kv.svd(op, *point)
        return self._copy(op, *point) if group == "copy" else kv.picked(op, *point)

    def _vocabulary(self) -> Tensor:
        if self._table is None:
            self._table = self._layers.randn(self._layers.shape.vocab, self._layers.shape.hidden)
        return self._table

    def _embedding(self, tokens: int) -> Call:
        table = self._vocabulary()
        ids = torch.randint(len(table), (tokens,), device=table.device)
        return lambda: embedding(ids, table)

    def _lm_head(self, sequences: int) -> Call:
        """Return the last norm, the output matrix and the greedy choice."""
        table, width = self._vocabulary(), self._layers.shape.hidden
        hidden, norm = self._layers.randn(sequences, width), self._layers.randn(width)
        return lambda: linear(rms_norm(hidden, (width,), norm, 1e-6), table).argmax(-1)

    def _copy(self, op: str, size_bytes: int) -> Call:
        host = torch.randint(256, (size_bytes,), dtype=torch.uint8)
        if op == "clone_host":
            return lambda: torch.clone(host)
        if op == "copy_host":
            other = torch.empty_like(host)
            return lambda: other.copy_(host)
        _, _, way, memory = ("", *op.split("_"))
        host = self.device.pinned(host) if memory == "pinned" else host
        there = torch.empty(size_bytes, dtype=torch.uint8, device=self.device.torch_device)
        quick = memory == "pinned"
        return (lambda: there.copy_(host, quick)) if way == "h2d" else (lambda: host.copy_(there, quick))

    def _make_anchors(self) -> dict[str, Call]:
        """Return five kernels: two matrices, attention, KV arithmetic, a copy."""
        layers, kv = self._layers, self._kv
        here, there = (torch.zeros(2**22, dtype=torch.uint8, device=self.device.torch_device) for _ in range(2))
        return {
            "prefill_64": layers.call(layers.chunk(64, 0)),
            "decode_1": layers.call(layers.decodes(1, 512)),
            "attention": kv.q2c(1024, 16),
            "quantise": kv.codec("quantise_int8_token", 1024),
            "copy": lambda: there.copy_(here),
        }
