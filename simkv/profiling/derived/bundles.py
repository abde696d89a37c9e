"""Measured bundles of LLMServingSim, thinned to the size of a ready-made profile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from simkv.compute.calibration import MeasuredProfile
from simkv.compute.op_table import OpTable
from simkv.errors import InputError
from simkv.model import ModelShape
from simkv.profiling import llmservingsim
from simkv.profiling.derived.gpus import Gpu

#: Folder -> groups whose rank was measured without what its GPUs tell each other; only whole GPUs are shipped.
TPS: Mapping[str, tuple[int, ...]] = {
    "rtxpro6000_llama-3.1-8b": (1,),
    "rtxpro6000_qwen3-32b": (1,),
    "rtx4090_llama-3.1-8b": (1,),
}

#: Places of attention that are kept: the power-of-two grid, every second one beside decodes.
_CHUNKS = (16, 32, 64, 128, 256, 512, 1024, 2048)
_KV = (16, 64, 256, 512, 1024, 2048, 4096, 8192, 16384)
_MIXED_CHUNKS, _MIXED_DECODES = (16, 128, 512, 2048), (1, 8, 32, 128, 256)
_MIXED_CACHED, _MIXED_KV = (0, 512, 2048, 8192, 16384), (16, 512, 2048, 8192, 16384)


def thinned(gpu: Gpu, shape: ModelShape, source: str, tp: int) -> MeasuredProfile:
    """Return a measured bundle with fewer points of attention and without its times of unequal contexts.

    Raises
    ------
    InputError : the wheel does not hold it, or the folder is absent.
    """
    if source == "aic":
        raise InputError(f"{gpu.name}: {shape.name} is LLMServingSim's; want --from a folder that holds llmservingsim/")
    whole = llmservingsim.read(Path(source) / "llmservingsim" / gpu.bundles[shape.name], tp)
    notes = dict(whole.notes) | {
        "derived": "measured by LLMServingSim; of attention, a thinner grid (docs/profiles.md)",
        "contexts": "unequal contexts are priced by their mean: import the bundle itself to price them",
    }
    ops = tuple(_kept(op) for op in whole.ops if not op.name.startswith("attention_"))
    return replace(
        whole, where=f"{gpu.name}/{shape.name}", device=gpu.device, skewed=False, notes=notes, ops=ops, kind="derived"
    )


def _kept(op: OpTable) -> OpTable:
    if op.name != "attention":
        return op
    rows = [row for row in op.rows if _is_kept(*row[:4])]
    return op._replace(rows=rows, warnings=())


def _is_kept(chunk: float, cached: float, decodes: float, kv_tokens: float) -> bool:
    if not decodes:
        return chunk in _CHUNKS and cached in (0, *_KV)
    if not chunk:
        return kv_tokens in _KV
    return chunk in _MIXED_CHUNKS and decodes in _MIXED_DECODES and cached in _MIXED_CACHED and kv_tokens in _MIXED_KV
