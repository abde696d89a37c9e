"""The outcome of a sweep as tables: a row a point, arm and metric; a row a failed point; and one for people."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from simkv.results import SCHEMA_VERSION
from simkv.scenario.document import core_scalar
from simkv.sweep.points import Sweep
from simkv.units import format_seconds

if TYPE_CHECKING:
    from simkv.report.comparison import Comparison
    from simkv.statistics import Estimate

Outcomes = Mapping[str, Mapping[str, Any]]

MEASURES = ("arm", "metric", "value", "ci_low", "ci_high")


def rows_of(comparison: Comparison) -> list[list[Any]]:
    """Return a row an arm and metric: means with 95 % intervals, totals without, differences to the baseline."""
    summary = comparison.summary
    rows: list[list[Any]] = []
    for arm in summary.arms:
        name = arm.info.name
        rows += [_row(name, metric, estimate) for metric, estimate in arm.metrics.items()]
        contrast = summary.contrast(name, summary.baseline)
        if contrast is not None:
            rows.append(_row(name, "ttft_difference_s", contrast.difference))
        totals = {f"requests_{status}": count for status, count in arm.requests.items()}
        totals |= {f"speculative_bytes_{outcome}": count for outcome, count in arm.speculative_bytes.items()}
        totals |= {"wasted_bytes": arm.wasted_bytes, "pollution_bytes": arm.pollution_bytes}
        rows += [[name, metric, float(count), None, None] for metric, count in totals.items()]
    return rows


def _row(arm: str, metric: str, estimate: Estimate) -> list[Any]:
    return [arm, metric, estimate.value, estimate.low, estimate.high]


def points_frame(sweep: Sweep, outcomes: Outcomes) -> pd.DataFrame:
    """Return the tidy table of all finished points, in the order of the grid."""
    found = [
        (place, row)
        for place, point in enumerate(sweep.points)
        if outcomes.get(point.id, {}).get("status") == "finished"
        for row in outcomes[point.id]["rows"]
    ]
    told = _told(sweep, [place for place, _ in found])
    for index, name in enumerate(MEASURES):
        told[name] = pd.Series([row[index] for _, row in found], dtype="string" if index < 2 else "float64")
    return pd.DataFrame(told)


def failures_frame(sweep: Sweep, outcomes: Outcomes) -> pd.DataFrame:
    """Return a row a failed point, with what went wrong."""
    failed = [place for place, point in enumerate(sweep.points) if outcomes.get(point.id, {}).get("status") == "failed"]
    told = _told(sweep, failed)
    told["error"] = pd.Series([outcomes[sweep.points[place].id]["error"] for place in failed], dtype="string")
    return pd.DataFrame(told)


def save(frame: pd.DataFrame, path: Path) -> None:
    """Write a table as Parquet, whole or not at all; equal tables are equal bytes."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    table = table.replace_schema_metadata({"schema_version": str(SCHEMA_VERSION)})
    made = path.with_name(f".{path.name}.new")
    pq.write_table(table, made, compression="zstd")
    made.replace(path)


def to_text(sweep: Sweep, points: pd.DataFrame, failures: pd.DataFrame) -> str:
    """Return points x arms of mean TTFT with intervals, and the failed points below."""
    shown = points[points["metric"] == "ttft_s.mean"]
    lines = [f"{sweep.name}: mean TTFT, {len(sweep.points)} points, {len(failures)} failed"]
    if len(shown):
        cells = shown.assign(
            cell=[_cell(*row) for row in shown[["value", "ci_low", "ci_high"]].itertuples(index=False)]
        )
        wide = cells.pivot_table(index="point_id", columns="arm", values="cell", aggfunc="first", sort=False)
        values = cells.drop_duplicates("point_id").set_index("point_id")[list(sweep.paths)]
        lines.append(values.join(wide).to_string(index=False))
    for row in failures.to_dict("records"):
        lines.append("failed: " + ", ".join(f"{path}={row[path]}" for path in sweep.paths) + f": {row['error']}")
    return "\n".join(lines)


def to_json(sweep: Sweep, points: pd.DataFrame, failures: pd.DataFrame) -> dict[str, Any]:
    """Return both tables as plain lists, dicts, strings and numbers."""
    return {
        "schema_version": SCHEMA_VERSION,
        "scenario": sweep.name,
        "sweep": sweep.id,
        "paths": list(sweep.paths),
        "rows": _records(points),
        "failures": _records(failures),
    }


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return frame.astype(object).where(frame.notna(), None).to_dict("records")  # type: ignore[return-value]


def _cell(value: float, low: float, high: float) -> str:
    if math.isnan(value):
        return "-"
    ends = "" if math.isnan(low) else f" [{_short(low)}, {_short(high)}]"
    return _short(value) + ends


def _short(value_s: float) -> str:
    """Return a time in four digits."""
    return format_seconds(float(f"{value_s:.4g}"))


def _told(sweep: Sweep, places: list[int]) -> dict[str, pd.Series[Any]]:
    """Return the columns that say which point a row is of."""
    told: dict[str, pd.Series[Any]] = {
        "point_id": pd.Series([sweep.points[place].id for place in places], dtype="string")
    }
    for path in sweep.paths:
        values = [_scalar(point.values[path]) for point in sweep.points]
        kind = _kind(values)
        listed = [str(sweep.points[place].values[path]) if kind == "string" else values[place] for place in places]
        told[path] = pd.Series(listed, dtype=kind)
    return told


def _scalar(value: object) -> object:
    try:
        return core_scalar(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _kind(values: list[object]) -> str:
    """Return the type of a column: numbers where every value of the path is one."""
    kinds = {type(value) for value in values}
    return "int64" if kinds == {int} else "float64" if kinds <= {int, float} else "string"
