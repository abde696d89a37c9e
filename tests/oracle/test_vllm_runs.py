"""Two recorded runs of vLLM 0.19, played again: how close simkv comes, and what it is sensitive to.

Nothing is fitted to them but the host's time a step, which hides behind the GPU in both (semantics D1).
"""

from __future__ import annotations

import functools
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from simkv import model
from simkv.units import parse_bytes
from simkv.validate import validate as table
from simkv.validate.vllm import Comparison, validate
from tests.conftest import DATA

RTX4090, QWEN = "rtx4090_llama-3.1-8b", "rtxpro6000_qwen3-32b"
RUNS = (RTX4090, QWEN)
#: Most that a mean, and a percentile, of TTFT, TPOT and E2E may be away from what was measured.
WITHIN = {RTX4090: (0.01, 0.02), QWEN: (0.02, 0.04)}
LATENCIES = ("ttft_s", "tpot_s", "e2e_s")

pytestmark = pytest.mark.skipif(
    not (DATA / "vllm_runs").is_dir(), reason=f"no recorded vLLM runs at {DATA / 'vllm_runs'} (set SIMKV_DATA)"
)


@functools.cache
def played(run: str, **how: Any) -> Comparison:
    return validate(DATA / "vllm_runs" / run, **how)


def error(found: Comparison, metric: str = "ttft_s", statistic: str = "mean") -> float:
    return found.metrics[metric][statistic]["error_ratio"]


def changed(run: str, folder: Path, **arguments: object) -> Path:
    """Return a copy of a run whose engine had other arguments."""
    path = folder / run
    shutil.copytree(DATA / "vllm_runs" / run, path, copy_function=shutil.copyfile)
    path.chmod(0o755)
    meta = json.loads((path / "meta.json").read_text())
    meta["engine_kwargs"] |= arguments
    (path / "meta.json").write_text(json.dumps(meta))
    return path


def tables(run: str) -> Path:
    return DATA / "gpu_profiles" / "llmservingsim" / run


# -- how close ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", LATENCIES)
@pytest.mark.parametrize("run", RUNS)
def test_latencies_are_those_measured(run: str, metric: str) -> None:
    mean, percentile = WITHIN[run]
    values = played(run).metrics[metric]
    assert set(values) == {"mean", "p50", "p90", "p95", "p99"}
    far = {
        name: value["error_ratio"]
        for name, value in values.items()
        if abs(value["error_ratio"]) > (mean if name == "mean" else percentile)
    }
    assert far == {}


@pytest.mark.parametrize("statistic", ["mean", "p90"])
@pytest.mark.parametrize("run", RUNS)
def test_prefill_takes_as_long_as_measured(run: str, statistic: str) -> None:
    """From the decision to schedule a request to its first token: two steps at least, as decided one ahead."""
    assert abs(error(played(run), "scheduled_to_first_s", statistic)) <= 0.05


@pytest.mark.parametrize("run", RUNS)
def test_requests_are_scheduled_in_the_same_order(run: str) -> None:
    found = played(run).rank_correlation
    assert found is not None
    assert found >= 0.99


@pytest.mark.parametrize("run", RUNS)
def test_as_many_run_at_each_second(run: str) -> None:
    found = played(run).running_mae_ratio
    assert found is not None
    assert found <= 0.05


@pytest.mark.parametrize("run", RUNS)
def test_leaping_changes_no_number(run: str) -> None:
    leaping, stepping = played(run), played(run, step_by_step=True)
    for metric, statistics in leaping.metrics.items():
        for name, value in statistics.items():
            assert stepping.metrics[metric][name] == pytest.approx(value, rel=1e-9), (metric, name)
    assert stepping.rank_correlation == pytest.approx(leaping.rank_correlation, rel=1e-9)
    assert stepping.running_mae_ratio == pytest.approx(leaping.running_mae_ratio, rel=1e-9)
    assert (stepping.preemptions, stepping.cached_ratio) == (leaping.preemptions, leaping.cached_ratio)


def test_percentiles_of_what_was_measured_are_those_that_the_source_published() -> None:
    """So the definitions of TTFT, TPOT and latency are the source's [its summary, in ms, one digit]."""
    names = {"TTFT": "ttft_s", "TPOT": "tpot_s", "Latency": "e2e_s"}
    for run in RUNS:
        lines = (DATA / "vllm_runs" / run / "published_summary.txt").read_text().splitlines()
        rows = [line.split() for line in lines if line.split() and line.split()[0] in names]
        assert len(rows) == 15
        for metric, statistic, measured_ms, *_ in rows:
            name = statistic.lower().replace("median", "p50")
            ours_s = played(run).metrics[names[metric]][name]["measured"]
            assert 1000 * ours_s == pytest.approx(float(measured_ms), rel=0.002, abs=0.06), (run, metric, statistic)


def test_the_table_of_rows_is_the_same_comparison() -> None:
    found = table("vllm", run=DATA / "vllm_runs" / RTX4090)
    assert list(found.columns) == ["metric", "statistic", "measured", "simulated", "error_ratio"]
    row = found[(found.metric == "ttft_s") & (found.statistic == "mean")].iloc[0]
    assert row.error_ratio == error(played(RTX4090))


# -- what it rests on --------------------------------------------------------------------------------------------


def test_blocks_are_counted_as_vllm_counts_them() -> None:
    """2,588 recorded, of which one is the null block; for the other run the memory that weights leave."""
    assert played(RTX4090).num_gpu_blocks == 2588
    assert "null block" in played(RTX4090).facts["KV blocks"]
    shape, gib = model.get("Qwen/Qwen3-32B"), parse_bytes("1 GiB")
    left_bytes = 2 * 96 * gib * 0.9 - shape.weight_bytes()
    assert played(QWEN).num_gpu_blocks == left_bytes // (16 * shape.kv_bytes_per_token)


def test_guessed_blocks_miss_by_a_fifth() -> None:
    """0.9 of 24 GiB is what one would take, not knowing what else lay in memory."""
    shape = model.get("meta-llama/Llama-3.1-8B")
    guessed = int((24 * parse_bytes("1 GiB") * 0.9 - shape.weight_bytes()) // (16 * shape.kv_bytes_per_token))
    assert guessed == 3400
    found = played(RTX4090, num_gpu_blocks=guessed)
    assert error(found) == pytest.approx(-0.209, abs=0.02)
    assert error(found, "tpot_s") == pytest.approx(0.121, abs=0.02)  # more at a time, so each slower
    assert found.rank_correlation == pytest.approx(1.0, abs=0.01)  # the order alone would not show it


def test_one_block_more_or_less_moves_less_than_half_a_percent() -> None:
    assert all(abs(error(played(RTX4090, num_gpu_blocks=n)) - error(played(RTX4090))) < 0.005 for n in (2587, 2589))


@pytest.mark.parametrize(
    ("how", "moved"),
    [
        ({"link_latency_s": 10e-6}, -0.035),
        ({"link_latency_s": 40e-6}, 0.070),
        ({"link_bandwidth_bytes_per_s": 12e9}, 0.134),
        ({"link_bandwidth_bytes_per_s": 20e9}, -0.080),
    ],
)
def test_the_link_between_gpus_matters(how: dict[str, float], moved: float) -> None:
    """128 all-reduces a step: twice the latency is 7 % of TTFT, so it must be an input."""
    assert error(played(QWEN, **how)) - error(played(QWEN)) == pytest.approx(moved, abs=0.015)


def test_a_host_that_hides_costs_nothing() -> None:
    """Every step of both runs takes longer than the host."""
    for run in RUNS:
        assert played(run, host_s=0.0).metrics == played(run).metrics


def test_without_asynchronous_scheduling_the_order_of_events_changes(tmp_path: Path) -> None:
    """A request waits for one step less; the host adds to each, which is what moves the means."""
    path = changed(RTX4090, tmp_path, async_scheduling=False)
    known = {"profile": tables(RTX4090)}
    free, added = (validate(path, **known, host_s=host_s) for host_s in (0.0, 0.0011))  # type: ignore[arg-type]
    assert "added" in added.facts["host"]
    first = "scheduled_to_first_s"
    assert error(free, first) < error(played(RTX4090), first) - 0.03
    assert error(added, "tpot_s") - error(free, "tpot_s") == pytest.approx(0.035, abs=0.015)
    assert error(added) > error(free) + 0.02


def test_unequal_contexts_are_priced_only_where_the_source_does(tmp_path: Path) -> None:
    """Its own tables of them are there for this card, but switched off; used all the same they miss."""
    path = tmp_path / "tables"
    shutil.copytree(tables(RTX4090), path, copy_function=shutil.copyfile)
    path.chmod(0o755)
    meta = (path / "meta.yaml").read_text()
    (path / "meta.yaml").write_text(meta.replace("skew_fit:\n  enabled: false", "skew_fit:\n  enabled: true"))
    found = played(RTX4090, profile=path)
    assert "skew" in found.facts["profile: contexts"]
    assert error(found) == pytest.approx(0.037, abs=0.01)
