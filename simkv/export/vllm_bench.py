"""Results with the keys of `vllm bench serve --save-detailed`: arrays in s, scalars in ms; and what its sweeps plot.

Keys, formulas and the order by arrival are those of vLLM's `benchmarks/serve.py`. A file an arm has one replication
with its arrays; `summary.json` has a row for each arm and replication, which `vllm bench sweep plot` reads. What was
not simulated is left out, not set to 0: `itls` and all that follows from them (a run keeps no single token gaps),
`generated_texts`, `queue_times`, the date. As in vLLM, a request that failed has 0 where it has no number.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from simkv import __version__
from simkv.errors import InputError
from simkv.export.chosen import ADVICE, Run, as_json, facts, replication_of, rows_of, spread
from simkv.export.target import Choice
from simkv.metrics import Floats
from simkv.registry import unknown
from simkv.report.reading import SavedRun, SavedSweep
from simkv.report.rows import LOST
from simkv.units import MS_PER_S

PERCENTILES = (50, 90, 95, 99)


def make(saved: SavedRun | SavedSweep, choice: Choice) -> dict[str, bytes]:
    """Return a file an arm, or of the one arm that is wanted, and the summary of all their replications.

    Of a sweep only the summary: a row a point and arm, with what varied, and means over replications.
    """
    if isinstance(saved, SavedSweep):
        return {"summary.json": as_json(_points(saved, choice.arm))}
    arms = saved.arms if choice.arm is None else [saved.check_arm(choice.arm)]
    wanted = saved.check_replication(choice.replication)
    if "summary" in arms:
        raise InputError("has an arm 'summary', whose file would be that of all; want another name", str(saved.path))
    files: dict[str, bytes] = {}
    rows = []
    for arm in arms:
        for replication in range(saved.replications):
            run = replication_of(saved, arm, replication)
            told = _scalars(run)
            rows.append(told)
            if replication == wanted:
                files[f"{arm}.json"] = as_json(told | _arrays(run))
    return files | {"summary.json": as_json(rows)}


def _points(sweep: SavedSweep, arm: str | None) -> list[dict[str, Any]]:
    """Return a row for each point and arm of a sweep."""
    points = sweep.points
    arms = [str(name) for name in points["arm"].unique()]
    if arm is not None and arm not in arms:
        raise unknown("arm", arm, arms, str(sweep.path))
    found = []
    for (point, name), rows in points.groupby(["point_id", "arm"], sort=False, observed=True):
        if arm in (None, name):
            values = dict(zip(rows["metric"], rows["value"], strict=True))
            told = {path: str(rows[path].iloc[0]) for path in sweep.paths}
            told |= {"simkv_version": __version__, "simkv_sweep": sweep.header["sweep"], "simkv_point": str(point)}
            found.append(
                told | {"simkv_note": ADVICE, "backend": "simkv", "label": name, "run_number": 0} | _of(values)
            )
    return found


def _of(values: dict[str, float]) -> dict[str, Any]:
    """Return the metrics of a point and arm under vLLM's names."""
    told: dict[str, Any] = {
        "completed": int(values["requests_finished"]),
        "failed": int(sum(values.get(name, 0) for name in LOST)),
    }
    words = {"mean": "mean", "p50": "median", "p90": "p90", "p95": "p95", "p99": "p99"}
    for name, ours in (("ttft", "ttft_s"), ("tpot", "tpot_s"), ("e2el", "e2e_s")):
        for key, word in words.items():
            value = values.get(f"{ours}.{key}")
            told[f"{word}_{name}_ms"] = None if value is None or np.isnan(value) else value * MS_PER_S
    return told


def _scalars(run: Run) -> dict[str, Any]:
    tokens_in, tokens_out = int(run.column("input_tokens").sum()), int(run.column("output_tokens").sum())
    span_s = run.span_s
    told: dict[str, Any] = {f"simkv_{key}": value for key, value in facts(run.saved, run.arm, run.replication).items()}
    told |= {
        "simkv_note": ADVICE,
        "backend": "simkv",
        "endpoint_type": "simkv",
        "label": run.arm,
        "model_id": str(run.saved.scenario.model),
        "num_prompts": len(run.finished) + len(run.others),
        "max_concurrency": None,
        "run_number": run.replication,
        "duration": span_s,
        "completed": len(run.finished),
        "failed": len(run.others),
        "total_input_tokens": tokens_in,
        "total_output_tokens": tokens_out,
        "request_throughput": len(run.finished) / span_s if span_s else None,
        "request_goodput": None,  # as in vLLM without a service level
        "output_throughput": tokens_out / span_s if span_s else None,
        "total_token_throughput": (tokens_in + tokens_out) / span_s if span_s else None,
        "max_concurrent_requests": _most_at_once(run),
    }
    for name, values in (("ttft", run.ttft_s), ("tpot", run.tpot_s), ("e2el", run.e2e_s)):
        told |= _times(name, values)
    return told


def _times(name: str, values_s: Floats) -> dict[str, float | None]:
    """Return mean, median, deviation and percentiles [ms] of a time; None where no request has it."""
    known = values_s[~np.isnan(values_s)] * MS_PER_S
    words = {"mean": "mean", "p50": "median", "std": "std", "p90": "p90", "p95": "p95", "p99": "p99"}
    if not known.size:
        return {f"{word}_{name}_ms": None for word in words.values()}
    found = spread(known, PERCENTILES)
    return {f"{word}_{name}_ms": found[key] for key, word in words.items()}


def _most_at_once(run: Run) -> int:
    """Return how many requests were in the system at once at most; one that leaves makes room for one that comes."""
    changes = sorted(
        [(time_s, 1) for time_s in run.column("arrival_s")] + [(s, -1) for s in run.column("last_token_s")]
    )
    most = now = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most


def _arrays(run: Run) -> dict[str, Any]:
    """Return a value a request, in order of arrival."""
    rows = [*rows_of(run.finished), *rows_of(run.others)]
    rows.sort(key=lambda row: (row["arrival_s"], row["request_id"]))
    return {
        "input_lens": [row["input_tokens"] for row in rows],
        "output_lens": [row["output_tokens"] if row["status"] == "finished" else 0 for row in rows],
        "ttfts": [_since_arrival(row, "first_token_s") for row in rows],
        "latencies": [_since_arrival(row, "last_token_s") for row in rows],
        "start_times": [row["arrival_s"] for row in rows],
        "errors": ["" if row["status"] == "finished" else f"simkv: {row['status']}" for row in rows],
    }


def _since_arrival(row: dict[str, Any], name: str) -> float:
    """Return [s] from arrival to a moment; 0 where it did not come, as vLLM has it."""
    return 0.0 if row[name] is None or np.isnan(row[name]) else float(row[name] - row["arrival_s"])
