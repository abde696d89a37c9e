"""Comparisons: which runs are made, that workers change nothing, what is compared with what, what is written."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

import simkv
from simkv import compare as module
from simkv.compare import ArmInfo, Comparison, compare, describe
from simkv.errors import InputError, SimkvError
from simkv.report import folder as folder_module
from simkv.results import MISS_CAUSES, OUTCOMES, REQUEST_COLUMNS, TRANSFER_COLUMNS, RunResult
from tests.unit.synthetic_runs import ARMS, PlugIn, comparison, request, run_of, scenario, synthetic_run

FILES = {
    "manifest.json",
    "resolved.yaml",
    "summary.json",
    "run.log",
    "runs.jsonl",
    "requests.parquet",
    "transfers.parquet",
    "metrics.parquet",
}


def run_synthetic(task: tuple[Any, str, int, int]) -> RunResult:
    """Stand in for a simulation; picklable, so that worker processes can import it."""
    _, arm, replication, seed = task
    return synthetic_run(arm, replication, seed)


def run_refused(task: tuple[Any, str, int, int]) -> RunResult:
    raise InputError(f"no such trace for {task[1]}", "a.yaml:3:10")


def run_killed(task: tuple[Any, str, int, int]) -> RunResult:
    os._exit(9)


@pytest.fixture
def synthetic(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every run is a synthetic one, in this process and in workers; no scenario is ever written as YAML."""
    monkeypatch.setattr(module, "_run_one", run_synthetic)
    monkeypatch.setitem(sys.modules, "simkv.scenario", SimpleNamespace(resolved=lambda s: f"name: {s.name}\n"))
    monkeypatch.setattr(simkv, "__version__", "0.0.1", raising=False)
    return


def folder_bytes(found: Comparison, folder: Path) -> dict[str, bytes]:
    found.save(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.usefixtures("synthetic")
def test_every_arm_runs_every_replication_in_order() -> None:
    seen: list[tuple[int, int]] = []
    found = compare(scenario(), progress=lambda done, total: seen.append((done, total)))
    assert [(r.arm, r.replication) for r in found.results] == [(arm, i) for arm in ARMS for i in range(3)]
    assert seen == [(i, 21) for i in range(1, 22)]
    assert (found.seed, found.replications) == (7, 3)


@pytest.mark.usefixtures("synthetic")
def test_chosen_arms_keep_the_scenarios_order_and_take_the_seed() -> None:
    found = compare(scenario(), ["threshold", "none"], seed=11)
    assert [arm.name for arm in found.arms] == ["none", "threshold"]
    assert found.results[0].requests == synthetic_run("none", 0, 11).requests
    assert found.to_json()["seed"] == 11


@pytest.mark.usefixtures("synthetic")
def test_results_do_not_depend_on_the_number_of_workers(tmp_path: Path) -> None:
    """Not a byte of the folder differs between one process and two."""
    small = scenario(["none", "threshold"], replications=2)
    alone = folder_bytes(compare(small), tmp_path / "alone")
    together = folder_bytes(compare(small, workers=2), tmp_path / "together")
    assert set(alone) == FILES
    assert alone == together


def test_a_run_asks_the_simulation(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []

    def run(*task: Any) -> RunResult:
        asked.append(task)
        return synthetic_run(*task[1:])

    fake = SimpleNamespace(run=run)
    monkeypatch.setitem(sys.modules, "simkv.simulation", fake)
    monkeypatch.setattr(simkv, "simulation", fake, raising=False)
    small = scenario(["none"], replications=2)
    compare(small, seed=3)
    assert asked == [(small, "none", 0, 3), (small, "none", 1, 3)]


@pytest.mark.parametrize(
    ("arms", "problem"),
    [
        (["treshold"], "unknown arm 'treshold'; did you mean 'threshold'?; known: none, threshold"),
        (["none", "none"], "want each arm once, got none, none"),
        ([], "want at least one arm, got none; known: none, threshold"),
    ],
)
def test_arms_must_exist_once(arms: list[str], problem: str) -> None:
    with pytest.raises(InputError) as caught:
        compare(scenario(["none", "threshold"]), arms)
    assert str(caught.value) == problem


def test_at_least_one_worker() -> None:
    with pytest.raises(InputError, match="want at least 1 worker, got 0"):
        compare(scenario(), workers=0)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_a_run_comes_through(monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    monkeypatch.setattr(module, "_run_one", run_refused)
    with pytest.raises(InputError, match=r"a.yaml:3:10: no such trace for none"):
        compare(scenario(["none"], replications=4), workers=workers)


def test_a_dead_worker_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_run_one", run_killed)
    with pytest.raises(SimkvError, match="a worker process died"):
        compare(scenario(["none"], replications=2), workers=2)


def policies(**names: str) -> Any:
    chosen = {"prefetch": "none", "eviction": "lru", "predictor": "sequential", "acquisition": "fetch"}
    chosen |= {"timing": "semi-markov", "estimator": "ewma", "codec": "identity", **names}
    return SimpleNamespace(**{question: PlugIn(name) for question, name in chosen.items()})


@pytest.mark.parametrize(
    ("names", "reference"),
    [
        ({}, ""),
        ({"predictor": "oracle"}, ""),  # nobody asks it
        ({"prefetch": "threshold", "predictor": "oracle"}, "reference point: knows the next turn"),
        ({"prefetch": "oracle"}, "reference point: knows the next turn"),
        ({"timing": "oracle"}, ""),
        ({"prefetch": "threshold", "timing": "oracle"}, "reference point: knows when the next turn comes"),
        ({"prefetch": "adaptive", "estimator": "oracle"}, "reference point: knows the true rate of the link"),
        ({"acquisition": "perfect-residency"}, "infeasible reference"),
        ({"eviction": "belady"}, "reference point: evicts by the recorded order of use"),
        (
            {"prefetch": "oracle", "eviction": "belady"},
            "reference point: knows the next turn; reference point: evicts by the recorded order of use",
        ),
    ],
)
def test_references_are_labelled(names: dict[str, str], reference: str) -> None:
    assert describe("arm", policies(**names)).reference == reference


@pytest.mark.parametrize(
    ("acquisition", "prefetch", "moves"),
    [
        ("fetch", PlugIn("none"), True),
        ("text", PlugIn("none"), False),
        ("text", PlugIn("threshold", {"kind": "text"}), False),
        ("text", PlugIn("threshold", {"kind": "compute"}), False),
        ("text", PlugIn("threshold", {"kind": "kv"}), True),
        ("text", PlugIn("threshold"), True),  # without a kind of its own a policy moves KV
    ],
)
def test_an_arm_moves_kv_unless_it_sends_text_on_demand_and_ahead(
    acquisition: str, prefetch: PlugIn, moves: bool
) -> None:
    chosen = policies(acquisition=acquisition)
    chosen.prefetch = prefetch
    assert describe("arm", chosen).moves_kv is moves


def test_the_baseline_is_none_and_the_headline_the_best_that_does_not_speculate() -> None:
    """Text is slower than none here; oracle and perfect residency are no candidates, however fast."""
    summary = comparison().summary
    assert (summary.baseline, summary.best) == ("none", "none")
    without = comparison(["text", "text-prefetch", "perfect-residency"]).summary
    assert (without.baseline, without.best) == ("text", "text")
    assert comparison(["threshold", "oracle"]).summary.best is None


def test_both_baselines_are_compared_where_they_differ() -> None:
    found = comparison(["none", "threshold"], replications=2)
    fast = [run_of([request(0, 0, 0.1), request(0, 1, 0.1)], "text", i) for i in range(2)]
    arms = (*found.arms, ArmInfo("text", acquisition="text"))
    both = Comparison(found.scenario, arms, [*found.results, *fast], 7, 2)
    assert (both.summary.baseline, both.summary.best) == ("none", "text")
    pairs = dict.fromkeys((c["arm"], c["baseline"]) for c in both.to_json()["comparisons"])
    assert list(pairs) == [("none", "text"), ("threshold", "none"), ("threshold", "text"), ("text", "none")]


def test_differences_are_arm_minus_baseline_and_ratios_baseline_over_arm() -> None:
    rows = {"none": (4.0, 2.0), "threshold": (1.0, 2.0)}
    runs = [run_of([request(0, t, s) for t, s in enumerate(times)], arm) for arm, times in rows.items()]
    found = Comparison(scenario(list(rows)), (ArmInfo("none"), ArmInfo("threshold", "threshold")), runs, 7, 1)
    by_metric = {c["metric"]: c for c in found.to_json()["comparisons"]}
    assert by_metric["ttft_s"] == {
        "arm": "threshold",
        "baseline": "none",
        "metric": "ttft_s",
        "difference": -1.5,
        "difference_ci95": None,
        "ratio": 2.0,
        "ratio_ci95": None,
    }
    assert by_metric["ttft_s.sum"]["difference"] == -3.0
    assert found.summary.arms[1].saved_s.value == 3.0


def test_net_efficiency_is_the_product_of_its_factors() -> None:
    arm = comparison().summary.arms[4]
    assert arm.saved_s.value is not None
    factors = arm.saved_s.value * (arm.metrics["any_hit_ratio"].value or 0.0)
    assert arm.net_efficiency == pytest.approx(factors / (arm.wasted_bytes / 3 / 1e6))


def test_quality_is_a_number_only_where_the_runs_give_one() -> None:
    found = comparison(["none"])
    assert found.to_json()["arms"][0]["metrics"]["quality_f1"] is None
    for run, f1 in zip(found.results, (0.5, 0.6, 0.7), strict=True):
        run.notes["quality"] = f1
    again = Comparison(found.scenario, found.arms, found.results, 7, 3)
    assert again.to_json()["arms"][0]["metrics"]["quality_f1"] == pytest.approx(0.6)


def test_json_has_the_agreed_keys_in_the_agreed_order() -> None:
    document = json.loads(json.dumps(comparison(replications=2).to_json(), allow_nan=False))
    assert list(document) == ["schema_version", "scenario", "seed", "replications", "arms", "comparisons"]
    assert (document["schema_version"], document["scenario"], document["replications"]) == (1, "synthetic", 2)
    arm = document["arms"][1]
    assert list(arm) == [
        *("name", "prefetch", "eviction", "predictor", "metrics", "speculative_bytes", "speculative_gpu_s"),
        *("pollution_bytes", "requests", "extrapolated_time_ratio", "exposed_stall_removed"),
        *("regret_prefetch", "regret_eviction", "miss_causes"),
    ]
    assert list(arm["exposed_stall_removed"]) == ["seconds", "ci95", "ratio", "ratio_ci95"]
    assert list(arm["regret_prefetch"]) == ["reference", "seconds", "ci95", "reason"]
    assert list(arm["miss_causes"]) == list(MISS_CAUSES)
    assert list(arm["metrics"]) == [
        *("ttft_s", "tpot_s", "e2e_s", "any_hit_ratio", "any_hit_ratio_all_queries", "complete_hit_ratio"),
        *("coverage", "accuracy", "timeliness", "wasted_bytes", "net_efficiency", "quality_f1", "readiness"),
    ]
    assert list(arm["metrics"]["ttft_s"]) == ["mean", "p50", "p90", "p95", "p99", "mean_ci95"]
    assert list(arm["speculative_bytes"]) == list(arm["speculative_gpu_s"]) == list(OUTCOMES)
    assert list(arm["requests"]) == ["finished", "rejected", "timed_out", "unfinished"]
    waste = sum(arm["speculative_bytes"][outcome] for outcome in ("cancelled", "evicted", "never_used"))
    assert arm["metrics"]["wasted_bytes"] == waste > 0


def test_frames_have_the_agreed_types() -> None:
    found = comparison(["none", "threshold"])
    assert {name: str(kind) for name, kind in found.requests.dtypes.items()} == REQUEST_COLUMNS
    assert {name: str(kind) for name, kind in found.transfers.dtypes.items()} == TRANSFER_COLUMNS
    assert (len(found.requests), len(found.transfers)) == (600, 6)


def test_the_table_has_a_row_an_arm_and_numbers_with_intervals() -> None:
    table = comparison().table.set_index("arm")
    assert list(table.index) == list(ARMS)
    row = table.loc["threshold"]
    assert row["ttft_s_mean_low"] < row["ttft_s_mean"] < row["ttft_s_mean_high"]
    assert row["ttft_ratio_low"] < row["ttft_ratio"] < row["ttft_ratio_high"]
    assert table.loc["none", "requests_finished"] == 300


@pytest.mark.usefixtures("synthetic")
def test_parquet_holds_what_the_runs_recorded(tmp_path: Path) -> None:
    """Types, units and values survive; what never happened is null."""
    found = comparison(["none", "threshold"], replications=1)
    for name, value in request(20, 0, None, status="rejected").items():
        found.results[1].requests[name].append(value)
    found.save(tmp_path)
    read = pd.read_parquet(tmp_path / "requests.parquet")
    pd.testing.assert_frame_equal(read, found.requests, check_dtype=False, check_categorical=False)
    layout = pq.read_schema(tmp_path / "requests.parquet")
    assert layout.names == list(REQUEST_COLUMNS)
    assert layout.field("stall_s").metadata[b"unit"] == b"s"
    assert layout.field("input_tokens").metadata[b"unit"] == b"tokens"
    assert layout.field("turn").metadata is None or b"unit" not in layout.field("turn").metadata
    assert layout.metadata[b"schema_version"] == b"1"
    assert pq.read_table(tmp_path / "requests.parquet")["first_token_s"].null_count == 1
    assert pq.read_schema(tmp_path / "transfers.parquet").names == list(TRANSFER_COLUMNS)


@pytest.mark.usefixtures("synthetic")
def test_parquet_is_written_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = comparison(["none", "threshold"])
    found.save(tmp_path / "one")
    monkeypatch.setattr(folder_module, "BATCH_ROWS", 150)
    found.save(tmp_path / "many")
    one, many = (pq.ParquetFile(tmp_path / name / "requests.parquet") for name in ("one", "many"))
    assert (one.num_row_groups, many.num_row_groups) == (1, 3)
    pd.testing.assert_frame_equal(one.read().to_pandas(), many.read().to_pandas())


@pytest.mark.usefixtures("synthetic")
def test_the_manifest_names_inputs_and_files_and_no_place_or_time(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    text, trace = tmp_path / "in" / "a.yaml", tmp_path / "trace.jsonl"
    text.write_text("name: a\n")
    trace.write_text("{}\n")
    found = comparison(["none"])
    found.scenario = scenario(["none"], path=text, trace=trace)
    found.save(tmp_path / "out")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert [(i["name"], i["sha256"]) for i in manifest["inputs"]] == [
        ("a.yaml", hashlib.sha256(b"name: a\n").hexdigest()),
        ("../trace.jsonl", hashlib.sha256(b"{}\n").hexdigest()),
    ]
    assert manifest["schema_version"] == 1
    assert (manifest["simkv"], manifest["seed"], manifest["packages"]["pandas"]) == ("0.0.1", 7, pd.__version__)
    assert set(manifest["files"]) == FILES - {"manifest.json"}
    for name, digest in manifest["files"].items():
        assert hashlib.sha256((tmp_path / "out" / name).read_bytes()).hexdigest() == digest
    assert str(tmp_path) not in (tmp_path / "out" / "manifest.json").read_text()


@pytest.mark.usefixtures("synthetic")
def test_the_log_has_a_line_a_run(tmp_path: Path) -> None:
    comparison(["none"], replications=2).save(tmp_path)
    lines = (tmp_path / "run.log").read_text().splitlines()
    assert lines[0] == "# simkv run log, schema_version 1"
    assert lines[2].startswith("arm=none replication=1 finished=100 rejected=0 timed_out=0 unfinished=0 end_s=2000.0 ")
    assert (tmp_path / "resolved.yaml").read_text() == "# schema_version: 1\nname: synthetic\n"


def test_a_comparison_without_requests_can_be_written_down(tmp_path: Path, synthetic: None) -> None:
    found = Comparison(scenario(["none"]), (ArmInfo("none"),), [run_of([])], 7, 1)
    found.save(tmp_path)
    assert len(pd.read_parquet(tmp_path / "requests.parquet")) == 0
    assert json.loads((tmp_path / "summary.json").read_text())["arms"][0]["metrics"]["ttft_s"]["mean"] is None
