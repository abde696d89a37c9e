"""The few calls that differ between a CPU and a CUDA device, and the clock of each."""

from __future__ import annotations

import math
import os
import platform
import resource
import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from simkv.errors import InputError

from .journal import Burst

Call = Callable[[], object]

_LEAST_S, _MOST_SAMPLES = 0.02, 30  # of one burst (calibration study, section 3.5)
_LEAST_SAMPLE_S = 2e-4  # shorter calls are repeated inside one sample, so that reading the clock weighs nothing
_WARM_S = 0.01  # a first call below this only warms
_WARM_CALLS, _REPLAYS, _GRAPH_CALLS = 3, 6, 6


class Device(Protocol):
    """What probes and clocks need of a device."""

    kind: str
    clock: str
    torch_device: torch.device

    def facts(self) -> Mapping[str, str]:
        """Return what tells this device from another."""

    def burst(self, call: Call) -> Burst:
        """Return the time of one call, from a short burst of them."""

    def sync(self) -> None:
        """Wait until the device has done all that it was told."""

    def pinned(self, tensor: Tensor) -> Tensor:
        """Return a copy of a host tensor in memory that the device reads directly."""

    def causal(self, query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        """Return attention of new tokens over cached ones and themselves."""

    def causal_mask(self, new: int, cached: int, dtype: torch.dtype) -> Tensor | None:
        """Return the mask that `causal` wants for such a chunk; None = it needs none."""


def open_device(name: str) -> Device:
    """Return a device by its name.

    Raises
    ------
    InputError : no such device here.
    """
    if name == "cpu":
        return Cpu()
    if not torch.cuda.is_available():
        raise InputError("--device cuda: PyTorch sees no CUDA device here; want a GPU host, or --device cpu")
    return Cuda()


class Cpu:
    """One core: thread CPU time, which does not count while other programs hold the core."""

    kind, clock = "cpu", "thread_cpu"

    def __init__(self) -> None:
        torch.set_num_threads(1)
        self.torch_device = torch.device("cpu")

    def facts(self) -> Mapping[str, str]:
        """Return the processor and what it can do."""
        isa = torch.backends.cpu.get_cpu_capability()
        return {"name": _processor(), "isa": isa, "cores": str(os.cpu_count()), "threads": str(torch.get_num_threads())}

    def burst(self, call: Call) -> Burst:
        """Return the least thread CPU time of one call."""
        first = _cpu_sample(call, 1)
        inner = max(1, math.ceil(_LEAST_SAMPLE_S / max(first[0], 1e-7)))
        samples = [] if first[0] < _WARM_S else [first]
        spent = first[0] if samples else 0.0
        while spent < _LEAST_S and len(samples) < _MOST_SAMPLES:
            samples.append(_cpu_sample(call, inner))
            spent += samples[-1][0] * inner
        cpu, wall, preempted = zip(*samples, strict=True)
        return Burst(min(cpu), median(wall), sum(preempted) / len(samples), len(samples))

    def sync(self) -> None:
        """Return at once: calls end when they return."""

    def pinned(self, tensor: Tensor) -> Tensor:
        """Return the tensor: a host reads all memory alike."""
        return tensor

    def causal(self, query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        """Return attention by SDPA; the mask is a matrix where something is cached."""
        alone = mask is None
        return scaled_dot_product_attention(query, keys, values, mask, is_causal=alone, enable_gqa=True)

    def causal_mask(self, new: int, cached: int, dtype: torch.dtype) -> Tensor | None:
        """Return minus infinity above the diagonal that ends in the lower right corner."""
        if not cached:
            return None
        return torch.full((new, cached + new), -math.inf, dtype=dtype).triu_(cached + 1)


def _cpu_sample(call: Call, inner: int) -> tuple[float, float, bool]:
    """Return (thread CPU time, wall time [s], whether pre-empted) of one call out of `inner`."""
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw
    wall, cpu = time.perf_counter(), time.thread_time()
    for _ in range(inner):
        call()
    cpu, wall = time.thread_time() - cpu, time.perf_counter() - wall
    preempted = resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw > before
    return cpu / inner, wall / inner, preempted


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123 - not a file of anybody's
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


class Cuda:
    """A CUDA GPU: events around replays of a captured graph, so that launches do not count."""

    kind, clock = "cuda", "cuda_event"

    def __init__(self) -> None:
        torch.set_num_threads(1)
        self.torch_device = torch.device("cuda")
        #: Bursts whose call could not be captured and ran eagerly.
        self.eager = 0

    def facts(self) -> Mapping[str, str]:
        """Return the GPU, its memory and its software."""
        of = torch.cuda.get_device_properties(0)
        return {
            "name": of.name,
            "memory_bytes": str(of.total_memory),
            "multiprocessors": str(of.multi_processor_count),
            "capability": f"{of.major}.{of.minor}",
            "cuda": str(torch.version.cuda),
            "bursts_without_graph": str(self.eager),
            "threads": "1",
        }

    def burst(self, call: Call) -> Burst:
        """Return the median time of one call over replays of a graph of several."""
        wall = time.perf_counter()
        run, calls = self._captured(call)
        for _ in range(_WARM_CALLS):
            run()
        values = [self._timed(run) / calls]
        spent = values[0] * calls * _REPLAYS
        while spent < _LEAST_S and len(values) < _MOST_SAMPLES:
            values.append(self._timed(run) / calls)
            spent += values[-1] * calls * _REPLAYS
        wall = time.perf_counter() - wall
        return Burst(median(values), wall / (len(values) * calls * _REPLAYS), 0.0, len(values))

    def _captured(self, call: Call) -> tuple[Call, int]:
        """Return a graph of several calls, each over the next of rotating buffers; the call itself if it cannot be."""
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(_WARM_CALLS):
                call()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                for _ in range(_GRAPH_CALLS):
                    call()
        except RuntimeError:  # what asks the host something, such as a solver, cannot be captured
            self.eager += 1
            self.sync()
            return call, 1
        return graph.replay, _GRAPH_CALLS

    def _timed(self, run: Call) -> float:
        """Return the time [s] of one of several replays."""
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        for _ in range(_REPLAYS):
            run()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) * 1e-3 / _REPLAYS

    def sync(self) -> None:
        """Wait for the GPU."""
        torch.cuda.synchronize()

    def pinned(self, tensor: Tensor) -> Tensor:
        """Return a copy in page-locked memory."""
        return tensor.pin_memory()

    def causal(self, query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        """Return attention by SDPA; a bias of the lower right corner keeps the flash kernel."""
        from torch.nn.attention.bias import causal_lower_right  # noqa: PLC0415 - of no use on a CPU

        if query.shape[-2] == keys.shape[-2]:
            return scaled_dot_product_attention(query, keys, values, is_causal=True, enable_gqa=True)
        bias = causal_lower_right(query.shape[-2], keys.shape[-2])
        groups = query.shape[1] // keys.shape[1]
        if groups > 1:  # the bias knows nothing of grouped queries
            keys, values = (tensor.repeat_interleave(groups, 1) for tensor in (keys, values))
        return scaled_dot_product_attention(query, keys, values, attn_mask=bias)

    def causal_mask(self, new: int, cached: int, dtype: torch.dtype) -> Tensor | None:
        """Return nothing: the kernel knows."""
        return None
