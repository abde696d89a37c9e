"""Puts the profile of a model on a GPU together from the times of single operations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from importlib.metadata import version
from typing import NamedTuple

import numpy as np

from simkv import model
from simkv.compute.calibration import SHAPE_FACTS, MeasuredProfile, Provenance
from simkv.compute.op_table import OpTable
from simkv.errors import InputError
from simkv.model import ModelShape
from simkv.profiling.derived import bundles
from simkv.profiling.derived.elementwise import Elementwise
from simkv.profiling.derived.gpus import Gpu, get
from simkv.profiling.derived.kernels import Decode, Heads, Prefill
from simkv.profiling.derived.matrices import Matrices
from simkv.profiling.derived.tables import LICENCE, PROJECT, VERSION, GpuTables, read

_DIGITS = 6  # of a time: those of the tables
_MS = 1e-3  # s
_BYTES = 2  # a 16-bit number

#: [tokens] of a step at which matrices are priced, where the tables reach: all measured ones up to it.
_MOST_TOKENS = 16384
#: [tokens] of a chunk, and cached before it.
_NEW = (1, 16, 64, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 12288, 16384)
_CACHED = (0, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072)
#: [tokens] of KV that each decode reads.
_KV = (1, 16, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072)
#: Sequences that emit a token.
_EMITTING = (1, 2, 4, 8, 16, 32, 64, 96, 128, 192, 256, 512)
_MOST_DECODES = 512
_DOUBLINGS = 2  # a row of decodes goes this far beyond the longest KV that was measured

_WARNINGS = {
    "prefill": "nothing was measured behind cached tokens: the serial KV walk of the kernel stands for it (7 % median"
    " error on the one GPU where that can be checked)",
    "decode": "beyond the longest KV that was measured for a number of decodes, the memory rate reached there is held",
    "mixed": "prefill and decodes in one step cost their sum; where it was measured, a step of both took 1.2 to 1.7"
    " times as long in the median",
    "site": "no measured shape: the share of the roofline is that of the four nearest ones",
}


class _Parts(NamedTuple):
    """What the operations of a rank are priced with."""

    shape: ModelShape
    tp: int
    matrices: Matrices
    elementwise: Elementwise
    prefill: Prefill
    decode: Decode
    tables: GpuTables


def derive(gpu_name: str, model_name: str, source: str, tp: int = 1) -> MeasuredProfile:
    """Return the profile of a model on a GPU.

    Parameters
    ----------
    gpu_name : of `gpus.GPUS`.
    model_name : a built-in model, or a config.json.
    source : "aic" = the installed aiconfigurator-core; else a folder of tables (see docs/profiles.md).
    tp : GPUs of the tensor-parallel group.

    Raises
    ------
    InputError : unknown GPU or model, a source that cannot be read, or a shape that its tables do not reach.

    Examples
    --------
    >>> derive("h100-sxn", "Llama-3.1-8B", "aic")
    Traceback (most recent call last):
    simkv.errors.InputError: unknown GPU 'h100-sxn'; did you mean 'h100-sxm'?; known: a100-sxm, b200-sxm, h100-sxm, h200-sxm, l40s, rtx-4090, rtx-pro-6000
    """  # noqa: E501 - the message is one line
    gpu, shape = get(gpu_name), model.get(model_name)
    if shape.name in gpu.bundles and tp in bundles.TPS[gpu.bundles[shape.name]]:
        return bundles.thinned(gpu, shape, source, tp)
    if not gpu.system:
        raise InputError(
            f"{gpu.name}: measured for {', '.join(gpu.bundles)} alone, tp 1; not for {shape.name}, tp {tp}"
        )
    return _profile(gpu, parts(gpu, shape, source, tp))


def parts(gpu: Gpu, shape: ModelShape, source: str, tp: int) -> _Parts:
    """Return what the operations of one rank are priced with.

    Raises
    ------
    InputError : the model has experts, cannot be split so, or its heads were not measured.
    """
    if shape.experts:
        raise InputError(f"{shape.name}: the tables hold no times of experts")
    if shape.kv_heads % tp or shape.heads % tp or shape.intermediate % tp:
        raise InputError(f"{shape.name}: its {shape.kv_heads} KV heads cannot be split over tp {tp}")
    tables, matrices = _tables(source, gpu.system)
    heads = Heads(shape.heads // tp, shape.kv_heads // tp, shape.head_dim)
    return _Parts(
        shape,
        tp,
        matrices,
        Elementwise(gpu.elementwise, tables.memory_bytes_per_s),
        Prefill(tables, heads),
        Decode(tables, heads),
        tables,
    )


@lru_cache(maxsize=2)
def _tables(source: str, system: str) -> tuple[GpuTables, Matrices]:
    tables = read(source, system)
    return tables, Matrices(tables)


def matrices_of(shape: ModelShape, tp: int = 1) -> dict[str, tuple[int, int]]:
    """Return (outputs, inputs) of the matrices of a layer and of lm_head on one rank, by operation.

    Examples
    --------
    >>> matrices_of(model.get("Llama-3.1-8B"))["qkv_proj"]
    (6144, 4096)
    """
    query = shape.heads * shape.head_dim // tp
    return {
        "qkv_proj": ((shape.heads + 2 * shape.kv_heads) * shape.head_dim // tp, shape.hidden),
        "o_proj": (shape.hidden, query),
        "gate_up_proj": (2 * shape.intermediate // tp, shape.hidden),
        "down_proj": (shape.hidden, shape.intermediate // tp),
        "lm_head": (-(-shape.vocab // tp), shape.hidden),
    }


def _profile(gpu: Gpu, of: _Parts) -> MeasuredProfile:
    sources = {"times": f"{VERSION} (matrices, attention, collectives), Vidur and LLMServingSim (elementwise work)"}
    notes = {
        "derived": "put together from times of single operations; nobody timed this model on this GPU as a whole",
        "host": "GPU time alone: what the host adds to a step is not in it",
        "contexts": "unequal contexts are priced by their mean",
    }
    if gpu.caution:
        notes["caution"] = gpu.caution
    if of.tp > 1:
        notes["group"] = f"one rank of {of.tp}; all-reduces by NCCL's measured times inside one node"
    return MeasuredProfile(
        where=f"{gpu.name}/{of.shape.name}",
        model_name=of.shape.name,
        shape_facts={fact: getattr(of.shape, fact) for fact in SHAPE_FACTS},
        device=gpu.device,
        tp=of.tp,
        software=_software(of.tables),
        clock={"kind": "CUDA graph replays of single operations, as the sources say"} | sources,
        provenance=Provenance(PROJECT, VERSION, LICENCE, of.tables.files, f"simkv {version('simkv')}"),
        skewed=False,
        notes=notes,
        ops=tuple(_ops(of)),
        kind="derived",
    )


def _software(tables: GpuTables) -> dict[str, str]:
    parts_of = [file.file.split("/") for file in tables.files]
    return {part[4]: part[5] for part in parts_of if part[4] in ("vllm", "nccl")}


def _ops(of: _Parts) -> Iterator[OpTable]:
    tokens = [count for count in of.matrices.measured_m() if count <= _MOST_TOKENS]
    for name, (n, k) in matrices_of(of.shape, of.tp).items():
        places = _EMITTING if name == "lm_head" else tokens
        warnings = () if of.matrices.is_measured(n, k) else (_WARNINGS["site"],)
        yield _line(name, places, of.matrices.times_s(places, n, k).tolist(), warnings)
    names = ["rotary_emb", "layernorm", "act_fn", "embedding", "final_layernorm", *["qk_norm"] * of.shape.qk_norm]
    coarse = [count for count in _NEW if count <= tokens[-1]]
    for name in names:
        yield _line(name, coarse, of.elementwise.times_s(name, coarse, of.shape, of.tp))
    yield _line("sampler", _EMITTING, of.elementwise.sampler_s(_EMITTING, of.shape))
    if of.tp > 1:
        yield _line("all_reduce", coarse, all_reduce_s(of.tables, of.tp, of.shape.hidden, coarse))
    yield OpTable("attention", list(_attention(of)), "derived", tuple(_WARNINGS[key] for key in _ATTENTION))


_ATTENTION = ("prefill", "decode", "mixed")


def _line(name: str, places: Sequence[int], times_s: Sequence[float], warnings: tuple[str, ...] = ()) -> OpTable:
    rows = [(place, _rounded(time_s)) for place, time_s in zip(places, times_s, strict=True)]
    return OpTable(name, rows, "derived", warnings)


def _attention(of: _Parts) -> Iterator[tuple[float, ...]]:
    for new in _NEW:
        for cached in _CACHED:
            yield new, cached, 0, 0, _rounded(of.prefill.time_s(new, cached))
    for batch in of.decode.batches():
        if batch > _MOST_DECODES:
            continue
        most = of.decode.longest(batch) * 2**_DOUBLINGS
        for kv_tokens in _KV:
            if kv_tokens <= most:
                yield 0, 0, batch, kv_tokens, _rounded(of.decode.time_s(batch, kv_tokens))


def all_reduce_s(tables: GpuTables, gpus: int, hidden: int, tokens: Sequence[int]) -> list[float]:
    """Return the times [s] of one all-reduce of the activations of so many tokens: NCCL's, log-log between sizes.

    Raises
    ------
    InputError : no times of so many GPUs.
    """
    rows = tables.nccl[(tables.nccl["op_name"] == "all_reduce") & (tables.nccl["num_gpus"] == gpus)]
    if rows.empty:
        raise InputError(f"{tables.system}: no times of an all-reduce over {gpus} GPUs")
    rows = rows.sort_values("message_size")
    sizes, times = np.log(rows["message_size"].to_numpy(float)), np.log(rows["latency_ms"].to_numpy(float) * _MS)
    return [float(np.exp(np.interp(np.log(count * hidden), sizes, times))) for count in tokens]


def _rounded(time_s: float) -> float:
    return float(f"{time_s:.{_DIGITS}g}")
