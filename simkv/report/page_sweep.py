"""What the page of a sweep says: who is best where, each metric against what varied, every point, what failed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from simkv.report.comparison import ArmInfo
from simkv.report.figures import STYLE, arm_styles
from simkv.report.layout import decimals, with_interval
from simkv.report.page import Section
from simkv.report.page_run import line_of
from simkv.report.reading import SavedSweep
from simkv.report.svg import inline
from simkv.results import STATUSES
from simkv.statistics import Estimate

_SIZE_INCH = (4.7, 3.3)
_MOST_DECIMALS = 3

#: Metric -> title and axis label. Those that say nothing in a sweep are left out of it.
METRICS = {
    "ttft_s.mean": ("Mean time to first token", "mean TTFT [s]"),
    "ttft_s.p99": ("99th percentile of time to first token", "p99 TTFT [s]"),
    "any_hit_ratio": ("Queries with a prefetched unit in time", "any hit ratio"),
    "wasted_bytes": ("Wasted bytes a replication", "wasted bytes"),
}


def context(saved: SavedSweep) -> dict[str, Any]:
    """Return what the template shows."""
    points, paths = saved.points, saved.paths
    arms = arms_of(points)
    order = points_of(points, paths)
    return {
        "title": str(saved.header["scenario"]),
        "told": f"sweep over {', '.join(paths)}: {_counted(len(order) + len(saved.failures), 'point')}, "
        f"{len(saved.failures)} failed",
        "sentences": list(_sentences(points, arms)),
        "warnings": list(_warnings(points, saved.failures)),
        "arms": [
            {"name": arm.name, "mark": None, "reference": arm.reference, "line": line_of(style)}
            for arm, style in arm_styles(arms)
        ],
        "figures": list(_figures(points, paths, arms)),
        "tables": list(_tables(points, order, arms)),
        "paths": paths,
        "points": [[str(value) for value in row] for row in order[paths].itertuples(index=False)],
        "failures": [
            ([str(row[path]) for path in paths], str(row["error"])) for row in saved.failures.to_dict("records")
        ],
        "header": saved.header,
    }


def arms_of(points: pd.DataFrame) -> tuple[ArmInfo, ...]:
    """Return the arms of a sweep in the order of its table; those marked so are references."""
    marked = points[(points["metric"] == "is_reference") & (points["value"] == 1)]["arm"]
    references = set(marked)
    names = [str(name) for name in points["arm"].unique()]
    return tuple(
        ArmInfo(name, reference="no real system could be this" if name in references else "") for name in names
    )


def points_of(points: pd.DataFrame, paths: list[str]) -> pd.DataFrame:
    """Return point_id and paths, a row a finished point, in the order of the grid."""
    return points.drop_duplicates("point_id")[["point_id", *paths]].reset_index(drop=True)


def values_of(points: pd.DataFrame, metric: str, arm: str, order: pd.DataFrame) -> pd.DataFrame:
    """Return value and interval of an arm, a row a point, in order."""
    found = points[(points["metric"] == metric) & (points["arm"] == arm)].drop_duplicates("point_id").set_index("point_id")
    return found[["value", "ci_low", "ci_high"]].reindex(order["point_id"])


def _sentences(points: pd.DataFrame, arms: tuple[ArmInfo, ...]) -> Iterator[str]:
    feasible = [arm.name for arm in arms if not arm.reference]
    means = points[(points["metric"] == "ttft_s.mean") & points["arm"].isin(feasible)].dropna(subset=["value"])
    if not len(means):
        yield "No request finished at any point." if len(points) else "No point finished."
        return
    best = means.loc[means.groupby("point_id", sort=False)["value"].idxmin()]
    if len(feasible) == 1:
        low, high = best["value"].min(), best["value"].max()
        digits = decimals([low, high])
        yield f"One arm, {feasible[0]}: mean time to first token from {low:.{digits}f} to {high:.{digits}f} s over the points."
        return
    counts = best["arm"].value_counts(sort=False).sort_values(ascending=False, kind="stable")
    told = ", ".join(f"{arm} at {count}" for arm, count in counts.items())
    yield f"Lowest mean time to first token of what a real system could be, at {_counted(len(best), 'point')}: {told}."
    if means["ci_low"].isna().all():
        yield "One replication: no interval can be given, and any difference may be chance."
        return
    unclear = sum(_overlaps(group) for _, group in means.groupby("point_id", sort=False))
    if unclear:
        yield f"At {unclear} of them the interval of the lowest mean meets that of another: the best may be that one."


def _overlaps(group: pd.DataFrame) -> bool:
    """Return whether the interval of the lowest mean meets that of another arm."""
    best = group.loc[group["value"].idxmin()]
    others = group[group["arm"] != best["arm"]]
    return bool((others["ci_low"] <= best["ci_high"]).any())


def _warnings(points: pd.DataFrame, failures: pd.DataFrame) -> Iterator[str]:
    if len(failures):
        yield f"{_counted(len(failures), 'point')} failed; what went wrong stands below, and no figure shows them."
    for status in STATUSES[1:]:
        lost = points[(points["metric"] == f"requests_{status}") & (points["value"] > 0)]
        if len(lost):
            told = ", ".join(
                f"{arm} {int(count):,}" for arm, count in lost.groupby("arm", sort=False)["value"].sum().items()
            )
            yield f"Requests {status.replace('_', ' ')}, which no mean includes, over all points: {told}."


def _figures(points: pd.DataFrame, paths: list[str], arms: tuple[ArmInfo, ...]) -> Iterator[Section]:
    """Yield each metric against the one thing that varies; nothing where several do, or where there is one point."""
    order = points_of(points, paths)
    axis = next((path for path in paths if order[path].nunique() == len(order)), None)
    if axis is None or len(order) < 2:
        return
    for metric, (title, label) in METRICS.items():
        known = points[points["metric"] == metric]["value"]
        if not known.notna().any() or not known.any():
            continue
        with mpl.rc_context(STYLE):
            figure = Figure(figsize=_SIZE_INCH, layout="constrained")
            axes = figure.add_subplot()
            _draw(axes, points, metric, order, axis, arms)
            axes.set(xlabel=axis, ylabel=label)
            if metric.endswith("bytes"):
                axes.yaxis.set_major_formatter(EngFormatter(unit="B"))
        said = f"{title} against {axis}, by arm; all values stand in the tables below."
        caption = (
            "Band: 95 % interval over replications."
            if points[points["metric"] == metric]["ci_low"].notna().any()
            else ""
        )
        yield Section(
            metric.replace(".", "-"), title, inline(figure, metric.replace(".", "-"), said), caption, by_arm=True
        )


def _draw(
    axes: Axes, points: pd.DataFrame, metric: str, order: pd.DataFrame, axis: str, arms: tuple[ArmInfo, ...]
) -> None:
    places = np.arange(len(order))
    for place, (arm, style) in enumerate(arm_styles(arms)):
        rows = values_of(points, metric, arm.name, order)
        axes.plot(places, rows["value"], marker="o", markersize=3.5, gid=f"arm-{place}", **style)
        look: Any = {"color": style["color"], "alpha": 0.18, "linewidth": 0, "zorder": 1, "gid": f"arm-{place}"}
        axes.fill_between(places, rows["ci_low"].to_numpy(), rows["ci_high"].to_numpy(), **look)
    axes.set_xticks(places, [str(value) for value in order[axis]], rotation=30, ha="right", rotation_mode="anchor")
    axes.set_ylim(bottom=0)


def _tables(points: pd.DataFrame, order: pd.DataFrame, arms: tuple[ArmInfo, ...]) -> Iterator[dict[str, Any]]:
    for metric, (title, label) in METRICS.items():
        if metric not in set(points["metric"]):
            continue
        scale, unit = (1e6, " [MB]") if metric.endswith("bytes") else (1.0, " [s]" if "[s]" in label else "")
        columns = [
            [_estimate(row, scale) for row in values_of(points, metric, arm.name, order).itertuples(index=False)]
            for arm in arms
        ]
        if not any(estimate.value for column in columns for estimate in column):
            continue
        digits = decimals([estimate.value for column in columns for estimate in column], _MOST_DECIMALS)
        rows = [[with_interval(estimate, digits) for estimate in row] for row in zip(*columns, strict=True)]
        yield {"title": title + unit, "rows": rows}


def _estimate(row: Any, scale: float) -> Estimate:
    value, low, high = (None if math.isnan(number) else number / scale for number in row)
    return Estimate(value, low, high)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
