"""docs/profiles.md tells the truth: its blocks print its tables, and the figures beside them are what tables give."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from simkv import model
from simkv.compute.op_table import OpTable
from simkv.compute.steptime import StepTime
from simkv.profiling import llmservingsim
from simkv.profiling.derived import compose
from simkv.profiling.derived.gpus import get
from simkv.profiling.derived.kernels import Heads, Prefill
from simkv.profiling.derived.tables import read
from simkv.validate import published, vllm
from tests.conftest import ROOT
from tests.docs.pages import execute

PAGE = (ROOT / "docs" / "profiles.md").read_text(encoding="utf-8")


def test_its_tables_are_what_its_blocks_print() -> None:
    done = list(execute(PAGE, {}))
    assert len(done) == 4
    assert [each.written for each in done] == [each.printed for each in done]


def test_the_runs_of_lower_precision_are_counted() -> None:
    runs = published.lines("silicon")
    told = re.search(r"Of the ([\d,]+) runs, (\d+) ran with FP8 or FP4", PAGE)
    assert told is not None
    assert int(told[1].replace(",", "")) == len(runs)
    assert int(told[2]) == sum(bool(run["precision"]) for run in runs)
    kinds: dict[tuple[str, str], dict[tuple[str, ...], float]] = {("sglang", ""): {}, ("trtllm", "fp8"): {}}
    for run in runs:
        kind = kinds.get((run["backend"], run["precision"]))
        if kind is not None and (run["model"], run["gpu"]) == ("Qwen3-32B", "h100-sxm"):
            setting = tuple(run[name] for name in ("tp", "input_tokens", "output_tokens", "batch"))
            kind[setting] = float(run["tpot_ms"])
    sglang, fp8 = kinds.values()
    ratios = [sglang[setting] / fp8[setting] for setting in sglang.keys() & fp8.keys()]
    assert (len(ratios), round(float(np.median(ratios)), 2)) == (84, 0.97)
    assert "84 settings that both ran they take 0.97" in PAGE.replace("\n", " ")


def cell(step: str, column: int) -> list[float]:
    """Return median and 95th percentile [%] that the page states of a kind of step."""
    (line,) = [line for line in PAGE.splitlines() if line.startswith(f"| {step}")]
    return [float(number) for number in re.findall(r"([\d.]+) %", line.split("|")[column])][:2]


def errors(ours: StepTime, theirs: StepTime, rows: list[tuple[float, ...]]) -> list[float]:
    """Return median and 95th percentile [%] of the absolute errors of whole steps."""
    found = []
    for new, cached, decodes, kv, _ in rows:
        chunks = [(int(new), int(cached))] if new else []
        step = (chunks, int(decodes), int(decodes * (kv - 1)) if decodes else 0, int(decodes) + bool(new))
        found.append(abs(ours.step(*step) / theirs.step(*step) - 1))
    return [100 * float(np.median(found)), 100 * float(np.percentile(found, 95))]


@pytest.mark.parametrize(
    ("column", "name", "bundle"),
    [(2, "Llama-3.1-8B", "rtxpro6000_llama-3.1-8b"), (3, "Qwen3-32B", "rtxpro6000_qwen3-32b")],
)
def test_derived_steps_beside_measured_ones(data: Path, column: int, name: str, bundle: str) -> None:
    """The same GPU from single operations and from LLMServingSim's tables: as far apart as the page says."""
    folder, shape, gpu = data / "gpu_profiles", model.get(name), get("rtx-pro-6000")
    measured = llmservingsim.read(folder / "llmservingsim" / bundle)
    parts = compose.parts(gpu, shape, str(folder), 1)
    ours, theirs = compose._profile(gpu, parts).step_time(shape), measured.step_time(shape)
    (attention,) = [op for op in measured.ops if op.name == "attention"]
    prefills = [row for row in attention.rows if not row[2]]
    for step, rows in (
        ("prefill, nothing cached", [row for row in prefills if not row[1]]),
        ("prefill, up to 4,096 cached", [row for row in prefills if 0 < row[1] <= 4096]),
        ("prefill, more cached", [row for row in prefills if row[1] > 4096]),
        ("decode (171)", [row for row in attention.rows if not row[0]]),
        ("both", [row for row in attention.rows if row[0] and row[2]][::7]),
    ):
        assert errors(ours, theirs, rows) == pytest.approx(cell(step, column), rel=0.06), step
    check_attention(folder, shape, attention, column)


def check_attention(folder: Path, shape: model.ModelShape, attention: OpTable, column: int) -> None:
    tables, heads = read(str(folder), "rtx_pro_6000_server"), Heads(shape.heads, shape.kv_heads, shape.head_dim)
    for step, corrected in (("attention of prefill alone", True), ("the same by counting operations", False)):
        prefill = Prefill(tables, heads, corrected)
        found = [abs(prefill.time_s(int(n), int(c)) / t - 1) for n, c, decodes, _, t in attention.rows if not decodes]
        said = [100 * float(np.median(found)), 100 * float(np.percentile(found, 95))]
        assert said == pytest.approx(cell(step, column), rel=0.06), step


@pytest.mark.evidence
def test_recorded_runs_with_shipped_profiles(data: Path) -> None:
    """Means of TTFT, TPOT and end-to-end time, in the page's order."""
    profiles = ROOT / "simkv" / "profiles"
    for run, file, told in (
        ("rtx4090_llama-3.1-8b", "rtx-4090/Llama-3.1-8B-tp1.json", (-0.7, -1.0, -0.8)),
        ("rtxpro6000_qwen3-32b", "rtx-pro-6000/Qwen3-32B-tp2.json", (-7.6, -8.3, -8.0)),
    ):
        found = vllm.validate(data / "vllm_runs" / run, profiles / file).metrics
        ours = [100 * found[name]["mean"]["error_ratio"] for name in ("ttft_s", "tpot_s", "e2e_s")]
        assert ours == pytest.approx(told, abs=0.06)
        said = " ".join(PAGE.split())
        assert all(f"{-value:.1f} %" in said for value in told)
