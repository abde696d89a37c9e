"""Do the ready-made profiles price a token as long as serving runs on real GPUs took? And a layer as their tables say?

A run of `batch` concurrent requests is taken to be in balance: while one token of each is decoded, batch / output
prompts have to be prefilled. TPOT = decode step + prefill x batch / output tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from simkv import model
from simkv.compute import shipped
from simkv.compute.op_table import layer_tables
from simkv.compute.profile import PROFILES
from simkv.compute.steptime import RooflineStepTime, StepTime
from simkv.errors import InputError
from simkv.validate import published
from simkv.validate.rows import Report, Row, compared

#: [ratio] claimed of the median error of the 42 runs, and of the layer table's median and worst.
TPOT_TOLERANCE, LAYER_MEDIAN, LAYER_WORST = 0.04, 0.02, 0.05

_MS = 1e3  # ms in a second
_P90 = 90
_MATRICES = ("qkv_proj", "o_proj", "gate_up_proj", "down_proj")
#: Repository's last part -> built-in model; FP8 checkpoints have the shape of the original.
_MODELS = {
    "Qwen3-32B": "Qwen3-32B",
    "Llama-3.1-70B": "Llama-3.1-70B",
    "Llama-3.1-8B-Instruct": "Llama-3.1-8B",
    "Llama-3.1-8B-Instruct-FP8": "Llama-3.1-8B",
}


class Kind(NamedTuple):
    """Runs that are counted together."""

    model: str
    gpu: str
    backend: str
    precision: str
    tp: int

    def __str__(self) -> str:
        told = f"{self.model}, {self.gpu}, tp {self.tp}, {self.backend}"
        return f"{told}, {self.precision}" if self.precision else told


_CLAIMED = Kind("Llama-3.1-8B", "h100-sxm", "trtllm", "", 1)


def validate() -> Report:
    """Compare TPOT of measured serving runs with what the ready-made profiles say.

    Examples
    --------
    >>> report = validate()
    >>> report.rows[0].verdict, report.misses
    ('ok', 0)
    """
    runs: dict[Kind, list[dict[str, str]]] = {}
    for line in published.lines("silicon"):
        kind = Kind(_MODELS[line["model"]], line["gpu"], line["backend"], line["precision"], int(line["tp"]))
        runs.setdefault(kind, []).append(line)
    ordered = sorted(runs, key=lambda kind: (kind != _CLAIMED, bool(kind.precision), kind))
    rows = [row for kind in ordered for row in _rows(kind, runs[kind])]
    return Report("silicon", rows, _FACTS)


_FACTS = {
    "runs": "aiconfigurator-core 0.12.0, silicon_sample.csv: aggregated serving of one pipeline stage",
    "prices": "ready-made profiles (derived), 16-bit; decode at input + output / 2 tokens of context; no host time",
    "precision": "not stated where none is named: taken to be 16 bits; fp8, fp4: priced at 16 bits, which is too long",
    "roofline": "data-sheet peaks, reached wholly",
}


def _rows(kind: Kind, runs: Sequence[dict[str, str]]) -> Iterator[Row]:
    shape = model.get(kind.model)
    derived = PROFILES.create(kind.gpu, {"tp": kind.tp}).step_time(shape)
    errors = _errors(runs, derived)
    about = f"TPOT of {len(runs)} runs, {kind}"
    tolerance = TPOT_TOLERANCE if kind == _CLAIMED else None
    yield compared(f"median absolute error: {about}", 0.0, float(np.median(np.abs(errors))), tolerance)
    yield compared(f"median error: {about}", 0.0, float(np.median(errors)))
    if kind == _CLAIMED:
        yield compared(f"p90 of the absolute error: {about}", 0.0, float(np.percentile(np.abs(errors), _P90)))
        ideal = _errors(runs, _roofline(kind.gpu, shape))
        yield compared(f"median error of the ideal roofline: {about}", 0.0, float(np.median(ideal)))


def _roofline(gpu: str, shape: model.ModelShape) -> StepTime:
    sheet = PROFILES.create(f"analytic-{gpu}", {"flop_efficiency": 1.0, "memory_efficiency": 1.0, "overhead_s": 0.0})
    prices = sheet.step_time(shape)
    if not isinstance(prices, RooflineStepTime):
        raise InputError(f"analytic-{gpu}: want a roofline")
    return prices


def tpot_s(prices: StepTime, input_tokens: int, output_tokens: int, batch: int) -> float:
    """Return TPOT [s] of concurrent requests in balance; see the module.

    Examples
    --------
    >>> from simkv.compute.steptime import FixedStepTime
    >>> tpot_s(FixedStepTime(0.001, 0.01), 1000, 100, 2)
    0.03
    """
    context = batch * (input_tokens + output_tokens // 2)
    prefill_s = prices.step([(input_tokens, 0)], 0, 0, 1)
    return prices.step([], batch, context, batch) + prefill_s * batch / output_tokens


def _errors(runs: Sequence[dict[str, str]], prices: StepTime) -> npt.NDArray[np.float64]:
    columns = ("input_tokens", "output_tokens", "batch")
    ours = [_MS * tpot_s(prices, *(int(run[name]) for name in columns)) for run in runs]
    theirs: npt.NDArray[np.float64] = np.array([float(run["tpot_ms"]) for run in runs])
    return np.array(ours) / theirs - 1.0


# -- one layer ----------------------------------------------------------------------------------------------------


def validate_layers() -> Report:
    """Compare matrices + attention of a layer with a table that another program composed of the same measurements.

    Examples
    --------
    >>> report = validate_layers()
    >>> [row.verdict for row in report.rows[:2]], report.misses
    (['ok', 'ok'], 0)
    """
    told = published.table("layers")
    rows: list[Row] = []
    for cell in told["cells"]:
        layer = _layer(cell["gpu"], cell["model"])
        about = f"{cell['gpu']}, {cell['model']} [ms]"
        for tokens, time_ms in zip(told["prefill_tokens"], cell["prefill_ms"], strict=True):
            rows.append(compared(f"prefill of {tokens:,}: {about}", time_ms, _MS * layer(tokens, 0, 0), LAYER_WORST))
        for (batch, context), time_ms in zip(told["decode"], cell["decode_ms"], strict=True):
            ours_ms = _MS * layer(0, batch, context)
            rows.append(compared(f"{batch} decodes at {context:,}: {about}", time_ms, ours_ms, LAYER_WORST))
    errors = np.abs([row.error_ratio for row in rows])
    summary = [
        compared(f"median absolute error of {len(rows)} layer times", 0.0, float(np.median(errors)), LAYER_MEDIAN),
        compared(f"worst absolute error of {len(rows)} layer times", 0.0, float(errors.max()), LAYER_WORST),
    ]
    facts = {"published": told["source"], "simulated": "ready-made profiles (derived), elementwise work left out"}
    return Report("layers", summary + rows, facts)


@lru_cache(maxsize=4)
def _layer(gpu: str, model_name: str) -> Callable[[int, int, int], float]:
    """Return what one layer's matrices and attention take [s], for (new tokens, decodes, KV of each)."""
    tables = layer_tables(shipped.read(shipped.find(gpu, model.get(model_name))).ops, skewed=False)

    def layer_s(new: int, decodes: int, kv_tokens: int) -> float:
        matrices_s = sum(tables.dense[name].at(new + decodes, []) for name in _MATRICES)
        return matrices_s + tables.attention.at(new, 0, decodes, kv_tokens, [])

    return layer_s
