"""Results as aiperf writes them: `profile_export.jsonl`, a request a line, and `profile_export_aiperf.json`.

Field names, units and formulas are those of aiperf 0.13 (schema 1.4): times in ms, time stamps in ns, inter-token
latency as a mean for each request, percentiles by linear interpolation, standard deviation of the population. Its clock
is the wall's; ours begins at 0 when the simulation does. What was not simulated is left out: single token gaps.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from simkv.export.chosen import ADVICE, Run, as_json, facts, one_run, rows_of, spread
from simkv.export.target import Choice
from simkv.metrics import Floats
from simkv.report.reading import SavedRun, SavedSweep
from simkv.units import MS_PER_S, NS_PER_S

SCHEMA_VERSION = "1.4"
PERCENTILES = (1, 5, 10, 25, 50, 75, 90, 95, 99)

#: What aiperf names for who measured; here nobody did.
_WHO = "simkv"


def make(saved: SavedRun | SavedSweep, choice: Choice) -> dict[str, bytes]:
    """Return both files of one arm and replication."""
    run = one_run(saved, choice, "aiperf")
    lines = [json.dumps(record, allow_nan=False) for record in _records(run)]
    return {
        "profile_export.jsonl": "".join(f"{line}\n" for line in lines).encode(),
        "profile_export_aiperf.json": as_json(_summary(run)),
    }


def _records(run: Run) -> Iterator[dict[str, Any]]:
    """Yield a record for each request that ended at a known time, in order of arrival."""
    metrics = _by_request(run)
    told = [
        (
            row["arrival_s"],
            row["last_token_s"],
            row,
            {name: _value(name, values[at]) for name, values in metrics.items()},
        )
        for at, row in enumerate(rows_of(run.finished))
    ]
    told += [(row["arrival_s"], _refused_s(row), row, {}) for row in rows_of(run.others)]
    for arrival_s, end_s, row, found in sorted(told, key=lambda item: (item[0], item[2]["request_id"])):
        if end_s is not None:
            yield {
                "metadata": _metadata(run, row, arrival_s, end_s),
                "metrics": {name: value for name, value in found.items() if value is not None},
                "error": None if row["status"] == "finished" else _error(row),
            }


def _refused_s(row: dict[str, Any]) -> float | None:
    """Return [s] when a request was turned away; None = it did not end."""
    return row["arrival_s"] + row["stall_s"] if row["status"] == "rejected" else None


def _metadata(run: Run, row: dict[str, Any], arrival_s: float, end_s: float) -> dict[str, Any]:
    return {
        "session_num": row["session"],
        "x_request_id": f"{run.arm}/{run.replication}/{row['request_id']}",
        "x_correlation_id": f"{run.arm}/{run.replication}/{row['session']}",
        "conversation_id": row["session_id"],
        "turn_index": row["turn"],
        "request_start_ns": _ns(arrival_s),
        "request_end_ns": _ns(end_s),
        "worker_id": _WHO,
        "record_processor_id": _WHO,
        "benchmark_phase": "profiling",
        "was_cancelled": False,
    }


def _error(row: dict[str, Any]) -> dict[str, Any]:
    return {"type": row["status"], "message": f"{row['status']} by server {row['server'] or 'none'}, in the simulation"}


def _ns(time_s: float) -> int:
    return round(time_s * NS_PER_S)


def _by_request(run: Run) -> dict[str, Floats]:
    """Return each metric of the finished requests, in aiperf's units; NaN = it has none."""
    tpot_s = run.tpot_s
    with np.errstate(divide="ignore"):
        per_user = np.where(tpot_s > 0, 1 / tpot_s, np.nan)
    return {
        "time_to_first_token": run.ttft_s * MS_PER_S,
        "request_latency": run.e2e_s * MS_PER_S,
        "inter_token_latency": tpot_s * MS_PER_S,
        "output_token_throughput_per_user": per_user,
        "input_sequence_length": run.column("input_tokens"),
        "output_sequence_length": run.column("output_tokens"),
        "usage_prompt_cache_read_tokens": run.column("cached_tokens"),
    }


_UNITS = {
    "time_to_first_token": "ms",
    "request_latency": "ms",
    "inter_token_latency": "ms",
    "output_token_throughput_per_user": "tokens/sec/user",
    "input_sequence_length": "tokens",
    "output_sequence_length": "tokens",
    "usage_prompt_cache_read_tokens": "tokens",
}


def _value(name: str, value: float) -> dict[str, Any] | None:
    if np.isnan(value):
        return None
    return {"value": int(value) if _UNITS[name] == "tokens" else float(value), "unit": _UNITS[name]}


def _summary(run: Run) -> dict[str, Any]:
    unfinished = int((run.others["status"] == "unfinished").sum())
    refused = len(run.others) - unfinished
    told: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "benchmark_id": "-".join([_WHO, run.saved.summary["scenario"], run.arm, str(run.replication)]),
        "metadata": {"model": _model(run)},
        "request_count": _scalar("requests", len(run.finished)),
        "error_request_count": _scalar("requests", refused) if refused else None,
    }
    told |= {name: _distribution(_UNITS[name], values) for name, values in _by_request(run).items()}
    told |= _totals(run)
    told |= {
        "was_cancelled": False,
        "is_complete": not unfinished,
        "incomplete_reason": f"{unfinished} requests had not ended when the simulation did" if unfinished else None,
        "simkv": facts(run.saved, run.arm, run.replication) | {"note": ADVICE, "time_0": "the start of the simulation"},
    }
    return {key: value for key, value in told.items() if value is not None}


def _model(run: Run) -> str:
    return str(run.saved.scenario.model)


def _totals(run: Run) -> dict[str, Any]:
    """Return sums over the run and rates over its span."""
    tokens_in, tokens_out = int(run.column("input_tokens").sum()), int(run.column("output_tokens").sum())
    told: dict[str, Any] = {
        "total_isl": _scalar("tokens", tokens_in),
        "total_osl": _scalar("tokens", tokens_out),
        "benchmark_duration": _scalar("sec", run.span_s),
    }
    if run.span_s > 0:
        told["request_throughput"] = _scalar("requests/sec", len(run.finished) / run.span_s)
        told["output_token_throughput"] = _scalar("tokens/sec", tokens_out / run.span_s)
    return told


def _scalar(unit: str, value: float) -> dict[str, Any]:
    return {"unit": unit, "avg": value}


def _distribution(unit: str, values: Floats) -> dict[str, Any] | None:
    known = values[~np.isnan(values)]
    if not known.size:
        return None
    found = spread(known, PERCENTILES)
    told: dict[str, Any] = {"unit": unit, "avg": found["mean"], "std": found["std"]}
    told |= {f"p{p}": found[f"p{p}"] for p in PERCENTILES}
    return told | {
        "min": float(known.min()),
        "max": float(known.max()),
        "count": int(known.size),
        "sum": float(known.sum()),
    }
