"""Results in the formats of aiperf and vLLM: the numbers are simkv's, by the other tool's formulas."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simkv import cli
from simkv.cli_report import write_files
from simkv.errors import InputError
from simkv.export import EXPORTS, Choice
from simkv.report.reading import SavedRun, SavedSweep, read_sweep
from simkv.workload import open_trace
from tests.conftest import ROOT
from tests.unit.exported_runs import saved, with_losses, with_nothing

MS = 1000.0


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> SavedRun:
    return saved(tmp_path_factory.mktemp("exported"))


@pytest.fixture(scope="module")
def lossy(run: SavedRun, tmp_path_factory: pytest.TempPathFactory) -> SavedRun:
    return with_losses(run, tmp_path_factory.mktemp("lossy") / "out")


def aiperf(run: SavedRun, arm: str = "none") -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return records and summary."""
    files = EXPORTS["aiperf"].make(run, Choice(arm))
    lines = files["profile_export.jsonl"].decode().splitlines()
    return [json.loads(line) for line in lines], json.loads(files["profile_export_aiperf.json"])


def bench(run: SavedRun, arm: str = "none") -> dict[str, Any]:
    """Return the file of an arm."""
    told = json.loads(EXPORTS["vllm-bench"].make(run, Choice(arm))[f"{arm}.json"])
    assert isinstance(told, dict)
    return told


def value(record: dict[str, Any], name: str) -> float:
    return float(record["metrics"][name]["value"])


def test_records_agree_with_themselves(run: SavedRun) -> None:
    """Stamps [ns], latency, TTFT and inter-token latency [ms] tell one story; one token has no gap."""
    records, _ = aiperf(run)
    assert len(records) == 12
    for record in records:
        stamps = record["metadata"]["request_end_ns"] - record["metadata"]["request_start_ns"]
        assert stamps / 1e6 == pytest.approx(value(record, "request_latency"), abs=2e-6)
        gaps = value(record, "output_sequence_length") - 1
        assert ("inter_token_latency" in record["metrics"]) == (gaps > 0)
        if gaps:
            whole = value(record, "time_to_first_token") + gaps * value(record, "inter_token_latency")
            assert whole == pytest.approx(value(record, "request_latency"))
            per_user = value(record, "output_token_throughput_per_user")
            assert per_user == pytest.approx(MS / value(record, "inter_token_latency"))
        assert record["error"] is None


def test_the_aggregate_is_that_of_the_records(run: SavedRun) -> None:
    """Mean, deviation, extremes and percentiles, as NumPy has them; throughput over first start to last end."""
    records, summary = aiperf(run)
    for name in ("time_to_first_token", "request_latency", "inter_token_latency", "input_sequence_length"):
        values = np.array([value(record, name) for record in records if name in record["metrics"]])
        told = summary[name]
        assert (told["count"], told["unit"]) == (len(values), records[-1]["metrics"][name]["unit"])
        assert told["avg"] == pytest.approx(values.mean())
        assert told["std"] == pytest.approx(values.std())
        assert told["sum"] == pytest.approx(values.sum())
        assert (told["min"], told["max"]) == pytest.approx((values.min(), values.max()))
        for p in (1, 5, 10, 25, 50, 75, 90, 95, 99):
            assert told[f"p{p}"] == pytest.approx(np.percentile(values, p))
    starts = [record["metadata"]["request_start_ns"] for record in records]
    ends = [record["metadata"]["request_end_ns"] for record in records]
    span_s = (max(ends) - min(starts)) / 1e9
    assert summary["benchmark_duration"] == {"unit": "sec", "avg": pytest.approx(span_s)}
    assert summary["request_throughput"]["avg"] == pytest.approx(12 / span_s)
    assert summary["output_token_throughput"]["avg"] == pytest.approx(summary["total_osl"]["avg"] / span_s)
    assert summary["is_complete"] is True


@pytest.mark.parametrize("arm", ["none", "long", "text"])
def test_both_formats_say_what_the_summary_of_the_run_says(run: SavedRun, arm: str) -> None:
    """Mean and 99th percentile of TTFT, TPOT and E2E are simkv's own, in ms."""
    metrics = next(told["metrics"] for told in run.summary["arms"] if told["name"] == arm)
    _, summary = aiperf(run, arm)
    told = bench(run, arm)
    names = (("ttft", "time_to_first_token"), ("tpot", "inter_token_latency"), ("e2el", "request_latency"))
    for (short, long), ours in zip(names, ("ttft_s", "tpot_s", "e2e_s"), strict=True):
        assert summary[long]["avg"] == pytest.approx(MS * metrics[ours]["mean"])
        assert summary[long]["p99"] == pytest.approx(MS * metrics[ours]["p99"])
        assert told[f"mean_{short}_ms"] == pytest.approx(MS * metrics[ours]["mean"])
        assert told[f"p99_{short}_ms"] == pytest.approx(MS * metrics[ours]["p99"])


def test_scalars_follow_from_the_arrays_by_the_formulas_of_vllm(run: SavedRun) -> None:
    """Arrays are in s, scalars in ms; TPOT is (latency - TTFT) / (tokens - 1) where there is a second token."""
    told = bench(run)
    ttfts, latencies = np.array(told["ttfts"]), np.array(told["latencies"])
    lens = np.array(told["output_lens"])
    many = lens > 1
    tpots = (latencies - ttfts)[many] / (lens[many] - 1)
    for name, values in (("ttft", ttfts), ("tpot", tpots), ("e2el", latencies)):
        assert told[f"mean_{name}_ms"] == pytest.approx(MS * values.mean())
        assert told[f"median_{name}_ms"] == pytest.approx(MS * np.median(values))
        assert told[f"std_{name}_ms"] == pytest.approx(MS * values.std())
        assert told[f"p99_{name}_ms"] == pytest.approx(MS * np.percentile(values, 99))
    starts = np.array(told["start_times"])
    assert list(starts) == sorted(starts)
    duration_s = (starts + latencies).max() - starts.min()
    assert told["duration"] == pytest.approx(duration_s)
    assert told["request_throughput"] == pytest.approx(told["completed"] / duration_s)
    assert told["output_throughput"] == pytest.approx(lens.sum() / duration_s)
    assert told["total_input_tokens"] == sum(told["input_lens"])
    assert 1 <= told["max_concurrent_requests"] <= 3


@pytest.mark.parametrize(("target", "file"), [("aiperf", "profile_export.jsonl"), ("vllm-bench", "none.json")])
def test_simkv_reads_what_it_writes_as_a_trace(run: SavedRun, tmp_path: Path, target: str, file: str) -> None:
    """Input and output length of every request come back."""
    (tmp_path / file).write_bytes(EXPORTS[target].make(run, Choice("none"))[file])
    trace = open_trace(tmp_path / file)
    assert trace.format == target
    block_tokens = trace.header.block_tokens
    read = [
        (turn.new_tokens + block_tokens * sum(blocks.count for blocks in turn.block_runs), turn.answer_tokens)
        for each in trace.sessions()
        for turn in each.turns
    ]
    rows = run.requests[run.requests["arm"] == "none"]
    assert sorted(read) == sorted(zip(rows["input_tokens"], rows["output_tokens"], strict=True))


def test_what_was_not_simulated_is_left_out(run: SavedRun) -> None:
    """No gaps between single tokens, no texts, no wall clock."""
    told = bench(run)
    assert not {"itls", "mean_itl_ms", "max_output_tokens_per_s", "generated_texts", "date"} & set(told)
    records, summary = aiperf(run)
    assert "inter_chunk_latency" not in records[-1]["metrics"]
    assert not {"start_time", "aiperf_version", "input_config"} & set(summary)


def test_lost_requests_stand_beside_the_means_in_aiperf(lossy: SavedRun) -> None:
    """A rejected one is an error that ends when it was turned away; an unfinished one makes the run incomplete."""
    records, summary = aiperf(lossy)
    (error,) = [record for record in records if record["error"]]
    assert (error["metrics"], error["error"]["type"]) == ({}, "rejected")
    assert error["metadata"]["request_end_ns"] - error["metadata"]["request_start_ns"] == 250_000_000
    assert len(records) == 11
    assert summary["request_count"]["avg"] == 10
    assert summary["error_request_count"]["avg"] == 1
    assert summary["is_complete"] is False
    assert summary["incomplete_reason"] == "1 requests had not ended when the simulation did"


def test_lost_requests_stand_beside_the_means_in_vllm(lossy: SavedRun) -> None:
    """As vLLM has it: 0 where there is no number, an error that says why, and no part in any mean."""
    told = bench(lossy)
    lost = [at for at, error in enumerate(told["errors"]) if error]
    assert [told["errors"][at] for at in lost] == ["simkv: rejected", "simkv: unfinished"]
    assert [(told["ttfts"][at], told["latencies"][at], told["output_lens"][at]) for at in lost] == [(0, 0, 0)] * 2
    assert (told["completed"], told["failed"], told["num_prompts"]) == (10, 2, 12)
    kept = [ttft for at, ttft in enumerate(told["ttfts"]) if at not in lost]
    assert told["mean_ttft_ms"] == pytest.approx(MS * math.fsum(kept) / 10)


def test_where_nothing_ended_there_are_no_numbers(run: SavedRun, tmp_path: Path) -> None:
    """No percentile of nothing, no division by no time: left out in aiperf, null for vLLM."""
    nothing = with_nothing(run, tmp_path / "out")
    records, summary = aiperf(nothing)
    assert records == []
    assert not {"time_to_first_token", "request_throughput"} & set(summary)
    assert (summary["request_count"]["avg"], summary["is_complete"]) == (0, False)
    told = bench(nothing)
    assert (told["completed"], told["failed"]) == (0, 12)
    assert (told["mean_ttft_ms"], told["request_throughput"], told["max_concurrent_requests"]) == (None, None, 0)


def test_the_summary_has_a_row_for_each_arm_and_replication(tmp_path: Path) -> None:
    """`vllm bench sweep plot` reads a list of runs; the arrays stay in the files of the arms."""
    files = EXPORTS["vllm-bench"].make(saved(tmp_path, replications=2), Choice(None, 1))
    rows = json.loads(files["summary.json"])
    assert [(row["label"], row["run_number"]) for row in rows[:4]] == [
        ("none", 0),
        ("none", 1),
        ("long", 0),
        ("long", 1),
    ]
    assert len(rows) == 12
    assert not any("ttfts" in row for row in rows)
    assert json.loads(files["none.json"])["run_number"] == 1


@pytest.mark.parametrize("target", ["aiperf", "vllm-bench"])
def test_exports_say_where_they_come_from_and_are_the_same_each_time(run: SavedRun, target: str) -> None:
    first, second = (EXPORTS[target].make(run, Choice("none")) for _ in range(2))
    assert first == second
    text = b"".join(first.values()).decode()
    assert "validate before use" in text
    assert "manifest_sha256" in text


@pytest.mark.parametrize("target", ["aiperf", "vllm-bench", "mooncake", "lmcache", "hicache", "vllm"])
def test_an_unknown_arm_is_refused_with_a_guess(run: SavedRun, target: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, one line, nothing written."""
    before = sorted(run.path.iterdir())
    assert cli.main(["report", str(run.path), "--export", target, "--arm", "lung"]) == 2
    assert "unknown arm 'lung'; did you mean 'long'?" in capsys.readouterr().err
    assert sorted(run.path.iterdir()) == before


@pytest.mark.parametrize("target", ["aiperf", "vllm-bench", "lmcache", "hicache", "vllm"])
def test_a_folder_of_something_else_is_refused(tmp_path: Path, target: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    assert cli.main(["report", str(tmp_path), "--export", target]) == 2
    assert "holds no results; want a folder that `simkv run` or `simkv sweep` saved" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_what_an_earlier_export_left_does_not_stay(tmp_path: Path) -> None:
    """A file of another arm beside a summary without it would be read as if it belonged there."""
    folder = str(saved(tmp_path, replications=1).path)
    assert cli.main(["report", folder, "--export", "vllm-bench"]) == 0
    assert cli.main(["report", folder, "--export", "vllm-bench", "--arm", "none"]) == 0
    assert sorted(path.name for path in Path(folder, "vllm-bench").iterdir()) == ["none.json", "summary.json"]


def test_what_needs_one_arm_asks_for_it(run: SavedRun) -> None:
    with pytest.raises(InputError, match="has several arms; want --arm, one of none, long, text"):
        EXPORTS["aiperf"].make(run, Choice())
    with pytest.raises(InputError, match="unknown replication 3; want 0 to 0"):
        EXPORTS["aiperf"].make(run, Choice("none", 3))


def test_a_sweep_is_a_row_a_point_and_arm_for_vllm(tmp_path: Path) -> None:
    """What varied, and the means of the sweep's own table, in ms."""
    out = tmp_path / "sweep"
    values = ["-p", "links.down.capacity=1 Mbit/s,4 Mbit/s", "--out", str(out)]
    assert cli.main(["sweep", str(ROOT / "scenarios/three_turns.yaml"), *values]) == 0
    sweep = read_sweep(out)
    rows = json.loads(EXPORTS["vllm-bench"].make(sweep, Choice())["summary.json"])
    assert [(row["links.down.capacity"], row["label"]) for row in rows] == [
        (capacity, arm) for capacity in ("1 Mbit/s", "4 Mbit/s") for arm in ("none", "sequential")
    ]
    table = sweep.points[sweep.points["metric"] == "ttft_s.mean"]["value"]
    assert [row["mean_ttft_ms"] for row in rows] == pytest.approx([MS * value for value in table])
    assert [(row["completed"], row["failed"]) for row in rows] == [(3, 0)] * 4
    one = json.loads(EXPORTS["vllm-bench"].make(sweep, Choice("none"))["summary.json"])
    assert [row["label"] for row in one] == ["none", "none"]
    with pytest.raises(InputError, match="unknown arm 'nine'; did you mean 'none'"):
        EXPORTS["vllm-bench"].make(sweep, Choice("nine"))


@pytest.mark.parametrize("target", ["aiperf", "mooncake", "lmcache", "hicache", "vllm"])
def test_a_sweep_is_refused(tmp_path: Path, target: str) -> None:
    with pytest.raises(InputError, match="holds a sweep"):
        EXPORTS[target].make(SavedSweep(tmp_path, {"paths": []}), Choice("none"))


@pytest.mark.evidence
def test_aiperf_reads_what_is_written_for_it(run: SavedRun, lossy: SavedRun) -> None:
    """Its own models take every record and the aggregate."""
    pytest.importorskip("aiperf", reason="aiperf is not installed")
    from aiperf.common.models.export_models import JsonExportData
    from aiperf.common.models.record_models import MetricRecordInfo

    for each in (run, lossy):
        files = EXPORTS["aiperf"].make(each, Choice("none"))
        for line in files["profile_export.jsonl"].splitlines():
            assert MetricRecordInfo.model_validate_json(line).metadata.worker_id == "simkv"
        told = JsonExportData.model_validate_json(files["profile_export_aiperf.json"])
        assert told.time_to_first_token.count == told.request_count.avg


@pytest.mark.parametrize("name", ["../out.json", "/out.json", "a/b.json"])
def test_no_file_leaves_the_folder(name: str, tmp_path: Path) -> None:
    """Arms name files, and whoever made a folder named its arms."""
    with pytest.raises(InputError, match="no file of an export can be called"):
        write_files({"good.json": b"", name: b""}, tmp_path / "made")
    assert not list(tmp_path.iterdir())
