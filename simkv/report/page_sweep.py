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

from simkv.metrics import MB_BYTES
from simkv.report.comparison import ArmInfo
from simkv.report.figures import STYLE, arm_styles
from simkv.report.layout import decimals, with_interval
from simkv.report.page import Section
from simkv.report.page_run import line_of
from simkv.report.reading import SavedSweep
from simkv.report.svg import inline
from simkv.report.sweep_table import METRICS, arms_of, estimates, points_of
from simkv.results import STATUSES
from simkv.statistics import Estimate

_SIZE_INCH = (4.7, 3.3)
_MOST_DECIMALS = 3


def context(saved: SavedSweep) -> dict[str, Any]:
    """Return what the template shows."""
    points, paths = saved.points, saved.paths
    arms = arms_of(points)
    order = points_of(points, paths)
    return {
        "title": str(saved.header["scenario"]),
        "told": f"sweep over {', '.join(paths)}: {_counted(len(order) + len(saved.failures), 'point')}, "
        f"{len(saved.failures)} failed",
        "sentences": list(_sentences(points, order, arms)),
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


def _sentences(points: pd.DataFrame, order: pd.DataFrame, arms: tuple[ArmInfo, ...]) -> Iterator[str]:
    feasible = [arm.name for arm in arms if not arm.reference]
    columns = [estimates(points, "ttft_s.mean", name, order) for name in feasible]
    known = [
        found
        for row in zip(*columns, strict=True)
        if (found := [(e.value, place, e) for place, e in enumerate(row) if e.value is not None])
    ]
    if not known:
        yield "No request finished at any point." if len(order) else "No point finished."
        return
    best = [min(row)[:2] for row in known]
    if len(feasible) == 1:
        low, high = min(best)[0], max(best)[0]
        digits = decimals([low, high])
        span = f"{low:.{digits}f} s" if low == high else f"{low:.{digits}f} to {high:.{digits}f} s"
        yield f"One arm, {feasible[0]}: mean time to first token {span} at {_counted(len(best), 'point')}."
        return
    counts = {name: sum(place == index for _, place in best) for index, name in enumerate(feasible)}
    ranked = sorted(counts, key=lambda name: -counts[name])
    told = ", ".join(f"{name} at {counts[name]}" for name in ranked if counts[name])
    yield f"Lowest mean time to first token of what a real system could be, at {_counted(len(best), 'point')}: {told}."
    yield from _certainty([[e for *_, e in sorted(row, key=lambda each: each[:2])] for row in known])


def _certainty(rows: list[list[Estimate]]) -> Iterator[str]:
    """Say at how many points the interval of the lowest mean meets another's."""
    if not any(estimate.interval for row in rows for estimate in row):
        yield "One replication: no interval can be given, and any difference may be chance."
        return
    unclear = sum(any(_meet(best, other) for other in others) for best, *others in rows)
    if unclear:
        yield f"At {unclear} of them the interval of the lowest mean meets that of another: the best may be that one."


def _meet(best: Estimate, other: Estimate) -> bool:
    return best.high is not None and other.low is not None and other.low <= best.high


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
        found = estimates(points, metric, arm.name, order)
        value, low, high = ([_number(getattr(each, part)) for each in found] for part in ("value", "low", "high"))
        axes.plot(places, value, marker="o", markersize=3.5, gid=f"arm-{place}", **style)
        look: Any = {"color": style["color"], "alpha": 0.18, "linewidth": 0, "zorder": 1, "gid": f"arm-{place}"}
        axes.fill_between(places, low, high, **look)
    axes.set_xticks(places, [str(value) for value in order[axis]], rotation=30, ha="right", rotation_mode="anchor")
    axes.set_ylim(bottom=0)


def _tables(points: pd.DataFrame, order: pd.DataFrame, arms: tuple[ArmInfo, ...]) -> Iterator[dict[str, Any]]:
    for metric, (title, label) in METRICS.items():
        columns = [estimates(points, metric, arm.name, order) for arm in arms]
        if not any(estimate.value for column in columns for estimate in column):
            continue
        unit = " [MB]" if metric.endswith("bytes") else " [s]" if "[s]" in label else ""
        if unit == " [MB]":
            columns = [[_megabytes(estimate) for estimate in column] for column in columns]
        digits = decimals([estimate.value for column in columns for estimate in column], _MOST_DECIMALS)
        rows = [[with_interval(estimate, digits) for estimate in row] for row in zip(*columns, strict=True)]
        yield {"title": title + unit, "rows": rows}


def _megabytes(found: Estimate) -> Estimate:
    value, low, high = (None if each is None else each / MB_BYTES for each in (found.value, found.low, found.high))
    return Estimate(value, low, high)


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
