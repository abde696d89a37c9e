"""A comparison as pandas tables: a row an arm, a row a request, a row a transfer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from simkv.report.summary import ArmSummary, Summary
from simkv.results import OUTCOMES, RunResult
from simkv.statistics import Estimate


def records(columns: Mapping[str, str], parts: Sequence[tuple[RunResult, dict[str, list[Any]]]]) -> pd.DataFrame:
    """Return the records of all runs as one table.

    Parameters
    ----------
    columns : name -> pandas type, as in `results.py`.
    parts : each run and its columns; arm and replication are the run's own.
    """

    def joined(name: str) -> list[Any]:
        if name in ("arm", "replication"):
            return [getattr(run, name) for run, part in parts for _ in next(iter(part.values()), [])]
        return [value for _, part in parts for value in part.get(name, ())]

    return pd.DataFrame({name: pd.Series(joined(name), dtype=kind) for name, kind in columns.items()})


def one_row_an_arm(summary: Summary) -> pd.DataFrame:
    """Return one row an arm; `_low` and `_high` are the ends of 95 % intervals, NaN where there is none."""
    return pd.DataFrame([_frame_row(summary, arm) for arm in summary.arms])


def _frame_row(summary: Summary, arm: ArmSummary) -> dict[str, Any]:
    name = arm.info.name
    row: dict[str, Any] = {
        "arm": name,
        "reference": arm.info.reference,
        "prefetch": arm.info.prefetch,
        "eviction": arm.info.eviction,
        "predictor": arm.info.predictor,
        "acquisition": arm.info.acquisition,
    }
    row |= {f"requests_{status}": count for status, count in arm.requests.items()}
    for metric, estimate in arm.metrics.items():
        row |= _columns(metric.replace(".", "_"), estimate)
    to_baseline, to_best = summary.contrast(name, summary.baseline), summary.contrast(name, summary.best)
    row |= _columns("ttft_difference_s", to_baseline.difference if to_baseline else Estimate(None))
    row["ttft_difference_p_holm"] = _number(summary.p_holm.get(name))
    row |= _columns("ttft_ratio", to_best.ratio if to_best else Estimate(None))
    row |= _columns("latency_saved_s", arm.saved_s)
    row["net_efficiency_s_per_mb"] = _number(arm.net_efficiency)
    row |= _columns("exposed_stall_removed_s", arm.stall_removed)
    row |= _columns("exposed_stall_removed_ratio", arm.stall_removed_ratio)
    for question, regret in arm.regrets.items():
        row |= _columns(f"regret_{question}_s", regret.seconds) | {
            f"regret_{question}_reference": regret.reference or ""
        }
    row["pollution_bytes"] = arm.pollution_bytes
    row |= {f"speculative_bytes_{outcome}": arm.speculative_bytes[outcome] for outcome in OUTCOMES}
    row |= {f"speculative_gpu_s_{outcome}": arm.speculative_gpu_s[outcome] for outcome in OUTCOMES}
    return row


def _columns(name: str, estimate: Estimate) -> dict[str, float]:
    return {
        name: _number(estimate.value),
        f"{name}_low": _number(estimate.low),
        f"{name}_high": _number(estimate.high),
    }


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
