"""A comparison as rows: arm, metric, value and the ends of its interval. What sweeps keep of each point."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from simkv.results import OUTCOMES, REQUEST_COLUMNS, SCHEMA_VERSION, STATUSES, RunResult

if TYPE_CHECKING:
    import pandas as pd

    from simkv.report.comparison import Comparison
    from simkv.statistics import Estimate

#: Columns of a row, and their pandas types.
MEASURES = {"arm": "string", "metric": "string", "value": "float64", "ci_low": "float64", "ci_high": "float64"}

#: Metrics that count requests which no mean includes (semantics F5).
LOST = tuple(f"requests_{status}" for status in STATUSES[1:])

#: Metrics of which more is better; nobody wants the least of them.
MORE_IS_BETTER = (
    *("any_hit_ratio", "any_hit_ratio_all_queries", "any_hit_ratio_first_turns", "any_hit_ratio_later_turns"),
    *("complete_hit_ratio", "readiness", "coverage", "accuracy", "timeliness", "in_time", "requests_finished"),
    "speculative_bytes_used_in_time",
)

#: Metrics of which a table also holds every replication, as `ttft_s.mean[3]`: what paired comparisons of any two arms
#: of a point want. Of all metrics they would be most of the table.
BY_REPLICATION = ("ttft_s.mean", "ttft_s.p99")


def rows_of(comparison: Comparison) -> list[list[Any]]:
    """Return a row an arm and metric.

    Means a replication with 95 % intervals; totals over replications without (requests, bytes by outcome, pollution);
    the difference to the baseline; 1 under `is_reference` for what no real system could be, under `is_lossy` where a
    codec changes the KV, so that equal times are not equal answers, under `moves_kv` unless it sends text alone; and
    some metrics by replication.
    """
    summary = comparison.summary
    rows: list[list[Any]] = []
    for arm in summary.arms:
        name = arm.info.name
        rows += [_row(name, metric, estimate) for metric, estimate in arm.metrics.items()]
        contrast = summary.contrast(name, summary.baseline)
        if contrast is not None:
            rows.append(_row(name, "ttft_difference_s", contrast.difference))
        rows += [
            [name, f"{metric}[{replication}]", found[metric], None, None]
            for metric in BY_REPLICATION
            for replication, found in enumerate(arm.replications)
        ]
        totals = {f"requests_{status}": count for status, count in arm.requests.items()}
        totals |= {f"speculative_bytes_{outcome}": count for outcome, count in arm.speculative_bytes.items()}
        totals |= {"pollution_bytes": arm.pollution_bytes}
        totals |= {"is_reference": bool(arm.info.reference), "is_lossy": not arm.info.is_exact}
        totals |= {"moves_kv": arm.info.moves_kv}
        rows += [[name, metric, float(count), None, None] for metric, count in totals.items()]
    return rows


def metric_names() -> list[str]:
    """Return every metric that a row may be of.

    Examples
    --------
    >>> [name for name in metric_names() if "p99" in name or name.endswith("link_bytes")]
    ['ttft_s.p99', 'tpot_s.p99', 'e2e_s.p99', 'link_bytes']
    """
    from simkv.metrics import replication_metrics  # noqa: PLC0415 - NumPy, where a name is all that is wanted

    nothing = RunResult("", 0, {name: [] for name in REQUEST_COLUMNS}, {})
    totals = (f"requests_{status}" for status in STATUSES), (f"speculative_bytes_{outcome}" for outcome in OUTCOMES)
    return [*replication_metrics(nothing), *totals[0], *totals[1], "pollution_bytes"]


def points_of(comparison: Comparison) -> pd.DataFrame:
    """Return the table of a sweep whose only point is this comparison.

    Examples
    --------
    >>> points_of(simkv.run(simkv.load("scenarios/three_turns.yaml"))).columns.tolist()  # doctest: +SKIP
    ['point_id', 'arm', 'metric', 'value', 'ci_low', 'ci_high']
    """
    import pandas as pd  # noqa: PLC0415 - workers of a sweep make rows and need no tables

    rows = rows_of(comparison)
    told = {"point_id": pd.Series([comparison.scenario.name] * len(rows), dtype="string")}
    for place, (name, kind) in enumerate(MEASURES.items()):
        told[name] = pd.Series([row[place] for row in rows], dtype=kind)
    return pd.DataFrame(told)


def write(frame: pd.DataFrame, path: Path) -> None:
    """Write a table as Parquet, whole or not at all; equal tables are equal bytes."""
    import pyarrow as pa  # noqa: PLC0415 - as above
    import pyarrow.parquet as pq  # noqa: PLC0415

    table = pa.Table.from_pandas(frame, preserve_index=False)
    table = table.replace_schema_metadata({"schema_version": str(SCHEMA_VERSION)})
    made = path.with_name(f".{path.name}.new")
    pq.write_table(table, made, compression="zstd")
    made.replace(path)


def _row(arm: str, metric: str, estimate: Estimate) -> list[Any]:
    return [arm, metric, estimate.value, estimate.low, estimate.high]
