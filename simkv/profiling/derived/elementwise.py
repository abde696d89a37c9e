"""What do norms, rotations, activations and look-ups take? By the bytes that they move.

Times over bytes are Vidur's (A100, H100, A40); what one of them takes at least is that of vLLM's fused kernels, which
LLMServingSim measured. Both stand in `elementwise.json`, a few dozen numbers; `measured` computes them again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from simkv.errors import InputError
from simkv.model import ModelShape

_BYTES = 2  # a 16-bit number
_MICRO = 1e-6  # s
_ROUND_TRIP = 2  # read and written
_GATED = 3  # two halves read, their product written

#: [tokens] at which Vidur's times are taken.
_PLACES = (64, 128, 256, 512, 1024, 2048, 4096)
#: GPU -> Vidur's table of it, the width of the model that it timed, of its MLP, and of its queries and keys.
_VIDUR = {
    "a100": ("a100_meta-llama_meta-llama-3-8b_mlp.csv.gz", 4096, 14336, 5120),
    "h100": ("h100_meta-llama_llama-2-7b-hf_mlp.csv.gz", 4096, 11008, 8192),
    "a40": ("a40_meta-llama_llama-2-7b-hf_mlp.csv.gz", 4096, 11008, 8192),
}
_VIDUR_OPS = {
    "layernorm": "input_layernorm",
    "add": "add",
    "rotary_emb": "attn_rope",
    "act_fn": "mlp_act",
    "embedding": "emb",
}
#: [bytes/s] of the data sheets: of the GPUs that Vidur timed, and of the one whose sampler was timed.
MEMORY_BYTES_PER_S = {"a100": 2039e9, "h100": 3350e9, "a40": 696e9, "rtx-pro-6000": 1792e9}


def bytes_per_token(shape: ModelShape, tp: int = 1) -> dict[str, int]:
    """Return the [bytes] that each operation moves for a token on one rank.

    Examples
    --------
    >>> from simkv.model import get
    >>> bytes_per_token(get("Llama-3.1-8B"))["act_fn"]
    86016
    """
    rotated = (shape.heads + shape.kv_heads) * shape.head_dim // tp
    return _moved(shape.hidden, shape.intermediate // tp, rotated)


def _moved(hidden: int, intermediate: int, rotated: int) -> dict[str, int]:
    return {
        "layernorm": _ROUND_TRIP * _BYTES * hidden,
        "add": (_ROUND_TRIP + 1) * _BYTES * hidden,
        "rotary_emb": _ROUND_TRIP * _BYTES * rotated,
        "act_fn": _GATED * _BYTES * intermediate,
        "embedding": _ROUND_TRIP * _BYTES * hidden,
        "qk_norm": _ROUND_TRIP * _BYTES * rotated,
    }


class Elementwise:
    """Elementwise operations of one GPU [s].

    Parameters
    ----------
    like : the GPU of `elementwise.json` whose times are taken.
    memory_bytes_per_s : [bytes/s] of the GPU's memory; what exceeds the least time shrinks with it.

    Examples
    --------
    >>> from simkv.model import get
    >>> h100 = Elementwise("h100", 3350e9)
    >>> [round(1e6 * time_s, 1) for time_s in h100.times_s("act_fn", [1, 4096], get("Llama-3.1-8B"))]
    [2.7, 175.6]
    """

    def __init__(self, like: str, memory_bytes_per_s: float) -> None:
        told = _told()
        self._times: Mapping[str, Sequence[Sequence[float]]] = told["times_us"][like]
        self._least_us: Mapping[str, float] = told["least_us"]
        self._sampler: Sequence[Sequence[float]] = told["sampler_us"]
        self._slower = MEMORY_BYTES_PER_S[like] / memory_bytes_per_s
        self._sampler_slower = MEMORY_BYTES_PER_S["rtx-pro-6000"] / memory_bytes_per_s

    def times_s(self, op: str, tokens: Sequence[int], shape: ModelShape, tp: int = 1) -> list[float]:
        """Return the times [s] of an operation; a norm adds the residual, as vLLM's fused one does."""
        moved = bytes_per_token(shape, tp)
        parts = {"layernorm": ("layernorm", "add"), "final_layernorm": ("layernorm", "add")}.get(op, (op,))
        least_us = self._least_us[{"final_layernorm": "layernorm", "qk_norm": "layernorm"}.get(op, op)]
        return [
            _MICRO * (least_us + sum(self._above_us(part, count * moved[part]) for part in parts)) for count in tokens
        ]

    def _above_us(self, op: str, moved: float) -> float:
        """Return [us] above the least time for so many bytes; beyond the last place its slope goes on."""
        rows = self._times["layernorm" if op == "qk_norm" else op]
        places, times = [row[0] for row in rows], [row[1] for row in rows]
        slope = (times[-1] - times[-2]) / (places[-1] - places[-2])
        found = float(np.interp(moved, places, times)) + max(0.0, moved - places[-1]) * slope
        return self._slower * max(0.0, found - times[0])

    def sampler_s(self, sequences: Sequence[int], shape: ModelShape) -> list[float]:
        """Return the times [s] to sample for so many sequences: above the least, by the size of the logits."""
        told = _told()
        places, times = [row[0] for row in self._sampler], [row[1] for row in self._sampler]
        scale = self._sampler_slower * shape.vocab / told["sampler_vocab"]
        slope = (times[-1] - times[-2]) / (places[-1] - places[-2])
        found = [float(np.interp(n, places, times)) + max(0, n - places[-1]) * slope for n in sequences]
        return [_MICRO * (times[0] + scale * (time - times[0])) for time in found]


def _told() -> Any:
    path = resources.files("simkv.profiling.derived") / "elementwise.json"
    return json.loads(path.read_text(encoding="utf-8"))


def measured(folder: Path) -> dict[str, Any]:
    """Return the numbers of `elementwise.json` from the tables that they were taken from.

    Parameters
    ----------
    folder : holds vidur/ and llmservingsim/.

    Raises
    ------
    InputError : a table is absent.
    """
    return {
        "times_us": {gpu: _vidur(folder / "vidur" / file, *widths) for gpu, (file, *widths) in _VIDUR.items()},
        **_fused(folder / "llmservingsim" / "rtxpro6000_llama-3.1-8b"),
    }


def _vidur(path: Path, hidden: int, intermediate: int, rotated: int) -> dict[str, list[list[float]]]:
    if not path.is_file():
        raise InputError("no such table", str(path))
    rows = pd.read_csv(path)
    rows = rows[rows["num_tensor_parallel_workers"] == 1]
    medians = rows.groupby("num_tokens").median(numeric_only=True)
    moved = _moved(hidden, intermediate, rotated)
    return {
        op: [[place * moved[op], _us(medians.at[place, f"time_stats.{name}.median"])] for place in _PLACES]
        for op, name in _VIDUR_OPS.items()
    }


def _us(time_ms: Any) -> float:
    return round(1000 * float(time_ms), 3)


def _fused(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise InputError("no such folder", str(folder))
    dense = pd.read_csv(folder / "tp1_dense.csv.gz")
    first = dense[dense["tokens"] == 1].set_index("layer")["time_us"]
    heads = pd.read_csv(folder / "tp1_per_sequence.csv.gz")
    sampler = heads[heads["layer"] == "sampler"].set_index("sequences")["time_us"]
    return {
        "least_us": {op: float(first[op]) for op in ("layernorm", "rotary_emb", "act_fn", "embedding")},
        "sampler_us": [[count, float(sampler[count])] for count in (1, 8, 32, 64, 128, 192, 256)],
        "sampler_vocab": 128256,
    }
