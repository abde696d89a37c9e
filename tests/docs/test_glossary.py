"""docs/glossary.md has a row for every metric, outcome and column that a person may meet in results."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from simkv import results

PAGE = Path(__file__).resolve().parents[2] / "docs" / "glossary.md"

#: Keys of the JSON of `simkv run --json`, which is a public interface.
RUN_JSON_KEYS = (
    *("schema_version", "scenario", "seed", "replications", "arms", "name", "prefetch", "eviction", "predictor"),
    *("metrics", "ttft_s", "tpot_s", "e2e_s", "mean", "p50", "p90", "p95", "p99", "mean_ci95"),
    *("any_hit_ratio", "any_hit_ratio_all_queries", "complete_hit_ratio", "coverage", "accuracy", "timeliness"),
    *("wasted_bytes", "net_efficiency", "quality_f1", "speculative_bytes", "speculative_gpu_s", "pollution_bytes"),
    *("requests", "extrapolated_time_ratio", "readiness", "miss_causes"),
    *("exposed_stall_removed", "seconds", "regret_prefetch", "regret_eviction", "reference", "reason"),
    *("comparisons", "arm", "baseline", "metric", "difference", "difference_ci95", "ratio", "ratio_ci95"),
)

#: Terms that a reader of the field expects an exact meaning for, beyond keys and columns.
TERMS = (
    *("request", "session", "turn", "think time", "chunk", "KV block", "run of blocks", "layout", "composition"),
    *("server", "source", "GPU", "step", "KV buffer", "resident", "evict", "link", "capacity", "throughput", "delay"),
    *("demand", "speculative", "background", "prefetch", "promote", "directory", "committed bytes"),
    *("routing policy", "batching policy", "eviction policy", "acquisition policy", "prefetch policy", "predictor"),
    *("oracle", "scenario", "trace", "series", "profile", "arm", "run", "replication", "sweep", "baseline"),
    *("ITL", "goodput", "exposed stall removed", "latency saved", "readiness", "common random numbers"),
    *("break-even bandwidth of KV against text", "break-even bandwidth of KV against recompute"),
    *("think time needed to hide one chunk", "answer and think time", "x of one chunk", "offered load"),
    *("overload", "surplus", "ceiling of N", "ceiling of N, by time"),
)


def defined() -> set[str]:
    """Return what the first column of the glossary's tables names, and the names set in code anywhere."""
    text = PAGE.read_text(encoding="utf-8")
    first_column = re.findall(r"^\| ([^|]+) \|", text, flags=re.MULTILINE)
    plain = {term.strip() for cell in first_column for term in cell.replace("`", "").split(",")}
    return plain | {cell.replace("`", "") for cell in first_column} | set(re.findall(r"`([a-z_0-9]+)`", text))


def public_names() -> dict[str, list[str]]:
    """Return everything that results name, by where it stands."""
    totals = (results.LinkTotals, results.GpuTotals)
    aggregates = [field.name for kind in totals for field in dataclasses.fields(kind)]
    own = [field.name for field in dataclasses.fields(results.RunResult) if field.name != "end_s"]
    return {
        "requests.parquet": list(results.REQUEST_COLUMNS),
        "transfers.parquet": list(results.TRANSFER_COLUMNS),
        "status": list(results.STATUSES),
        "outcome": list(results.OUTCOMES),
        "totals": aggregates,
        "run": own,
        "JSON": list(RUN_JSON_KEYS),
    }


@pytest.mark.parametrize("where", public_names())
def test_every_public_name_is_defined(where: str) -> None:
    """A name that results carry and the glossary lacks would mean whatever its reader thinks."""
    assert [name for name in public_names()[where] if name not in defined()] == []


def test_every_term_is_defined() -> None:
    """The words of the field have one meaning each, in a first column."""
    assert [term for term in TERMS if term not in defined()] == []


def test_every_figure_of_check_is_defined() -> None:
    """What `simkv check` prints before a run has a formula, under the same name."""
    from simkv.feasibility import figures
    from simkv.scenario import load

    found = figures(load(PAGE.parents[1] / "scenarios" / "5g_slice.yaml"))
    assert sorted({figure.name for figure in found} - defined()) == []


def test_break_even_example() -> None:
    """The page's own figure follows from its formula: 8 k r = 17.7 Mbit/s."""
    from simkv.model import get

    assert round(8 * get("Qwen2.5-3B").kv_bytes_per_token * 60 / 1e6, 1) == 17.7
    assert "17.7 Mbit/s" in PAGE.read_text(encoding="utf-8")
