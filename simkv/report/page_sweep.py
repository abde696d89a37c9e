"""What the page of a sweep says: who is best where, each metric against what varied, every point, what failed."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter

from simkv.metrics import MB_BYTES
from simkv.report import page_figures
from simkv.report.comparison import ArmInfo
from simkv.report.figures import arm_styles, literal
from simkv.report.grid_axis import Axis, read_axis
from simkv.report.heat_map import caption, heat_map
from simkv.report.layout import counted, cut, decimals, with_interval
from simkv.report.page import Section
from simkv.report.page_run import line_of
from simkv.report.reading import SavedSweep
from simkv.report.svg import inline
from simkv.report.sweep_table import METRICS, arms_of, estimates, order_of
from simkv.report.winners import best_by_point
from simkv.results import STATUSES
from simkv.statistics import Estimate

_MOST_DECIMALS = 3
_MAP_IN = 3.7  # width of a heat map: its letters grow less than its width
_MOST_TICKS = 9
_LONGEST_LABEL = 16  # letters of a value below an axis
_LETTERS_ABREAST = 40  # of all values below an axis, before they slant

#: First words of paths that nobody chooses: what is compared is compared at equal values of them.
_GIVEN = ("links", "workload", "model", "seed", "replications")


def context(saved: SavedSweep) -> dict[str, Any]:
    """Return what the template shows."""
    points, paths = saved.points, saved.paths
    arms = arms_of(points)
    order = order_of(points, paths)
    return {
        "title": str(saved.header["scenario"]),
        "told": f"{'search' if saved.minimised else 'sweep'} over {', '.join(paths)}: "
        f"{counted(len(order) + len(saved.failures), 'point')}, {len(saved.failures)} failed",
        "sentences": [*_sought(saved), *_sentences(points, order, arms)],
        "warnings": list(_warnings(points, saved.failures)),
        "arms": [
            {"name": arm.name, "mark": None, "reference": arm.reference, "line": line_of(style)}
            for arm, style in arm_styles(arms)
        ],
        "figures": list(_figures(points, paths, arms, chosen=bool(saved.minimised))),
        "tables": list(_tables(points, order, arms)),
        "paths": paths,
        "points": [[str(value) for value in row] for row in order[paths].itertuples(index=False)],
        "failures": [
            ([str(row[path]) for path in paths], str(row["error"])) for row in saved.failures.to_dict("records")
        ],
        "header": saved.header,
        "axes": [] if saved.minimised else [shlex.quote(axis) for axis in grid_of(order, saved.failures, paths)],
    }


def _sought(saved: SavedSweep) -> Iterator[str]:
    """Say of a search what it sought."""
    if saved.minimised:
        yield f"A search for the least {' and '.join(saved.minimised)}: its points, in the order of the trials."


def _sentences(points: pd.DataFrame, order: pd.DataFrame, arms: tuple[ArmInfo, ...]) -> Iterator[str]:
    """Say who has the lowest mean TTFT where, and how sure that is."""
    able = [arm.name for arm in arms if not arm.reference and arm.is_exact]
    known = points[(points["metric"] == "ttft_s.mean") & points["arm"].isin(able)]
    if not points[points["metric"] == "ttft_s.mean"]["value"].notna().any():
        yield "No request finished at any point." if len(order) else "No point finished."
        return
    if not known["value"].notna().any():
        yield "Nobody is called best: no arm that a real system could be, without loss, finished a request."
        return
    cells = best_by_point(points)
    if len(able) == 1:
        means = [cell.value for cell in cells.values()]
        digits = decimals([min(means), max(means)])
        span = (
            f"{min(means):.{digits}f} s" if len(means) == 1 else f"{min(means):.{digits}f} to {max(means):.{digits}f} s"
        )
        yield f"One arm, {able[0]}: mean time to first token {span} at {counted(len(cells), 'point')}."
        return
    counts = {name: sum(cell.best == name for cell in cells.values()) for name in able}
    told = ", ".join(
        f"{name} at {counts[name]}" for name in sorted(able, key=lambda name: -counts[name]) if counts[name]
    )
    yield f"Lowest mean time to first token, at {counted(len(cells), 'point')}: {told}."
    if all(cell.p_holm is None for cell in cells.values()):
        yield "One replication: no interval can be given, and any difference may be chance."
    elif opened := sum(cell.is_open for cell in cells.values()):
        yield f"At {opened} of them the lowest is not told from every other (paired differences, Holm, 5 %)."
    else:
        yield "At each of them it is told from every other (paired differences, Holm's correction over points, 5 %)."
    lossy = [arm.name for arm in arms if not arm.is_exact and not arm.reference]
    if lossy:
        yield f"Left out of this, because a codec may change answers: {', '.join(lossy)}."


def _warnings(points: pd.DataFrame, failures: pd.DataFrame) -> Iterator[str]:
    if len(failures):
        yield f"{counted(len(failures), 'point')} failed; what went wrong stands below, and no figure shows them."
    for status in STATUSES[1:]:
        lost = points[(points["metric"] == f"requests_{status}") & (points["value"] > 0)]
        if len(lost):
            told = ", ".join(
                f"{arm} {int(count):,}" for arm, count in lost.groupby("arm", sort=False)["value"].sum().items()
            )
            yield f"Requests {status.replace('_', ' ')}, which no mean includes, over all points: {told}."


def free_paths(order: pd.DataFrame, paths: list[str]) -> list[str]:
    """Return what varies by itself; of paths that vary together, the first.

    Examples
    --------
    >>> free_paths(pd.DataFrame({"a": [1, 2, 1], "b": [3, 4, 3], "c": [5, 5, 6], "d": [7, 7, 7]}), ["a", "b", "c", "d"])
    ['a', 'c']
    """
    found: list[str] = []
    for path in paths:
        follows = any(len(order[[path, other]].drop_duplicates()) == order[other].nunique() for other in found)
        if order[path].nunique() > 1 and not follows:
            found.append(path)
    return found


def grid_of(order: pd.DataFrame, failures: pd.DataFrame, paths: list[str]) -> list[str]:
    """Return `PATH=VALUES` of each path where points are all combinations of values; else nothing.

    Examples
    --------
    >>> order, none = pd.DataFrame({"a": [1, 1, 2, 2], "b": ["x", "y", "x", "y"]}), pd.DataFrame({"a": [], "b": []})
    >>> grid_of(order, none, ["a", "b"]), grid_of(order.iloc[:3], none, ["a", "b"])
    (['a=1,2', 'b=x,y'], [])
    """
    if order.empty and failures.empty:
        return []
    points = pd.concat([each[paths].astype("string") for each in (order, failures) if len(each)])
    listed = {path: list(points[path].unique()) for path in paths}
    is_listable = not any("," in value for values in listed.values() for value in values)
    if len(points) != math.prod(map(len, listed.values())) or not is_listable:
        return []
    return [f"{path}={','.join(values)}" for path, values in listed.items()]


def _figures(points: pd.DataFrame, paths: list[str], arms: tuple[ArmInfo, ...], *, chosen: bool) -> Iterator[Section]:
    """Yield lines over one thing that varies, a heat map over two, and the front; of a search all is `chosen`."""
    order = order_of(points, paths)
    free = free_paths(order, paths)
    known = points[points["metric"] == "ttft_s.mean"]["value"].notna().any()
    if len(free) == 1:
        yield from _lines(points, order, free[0], arms)
    if len(free) == 2 and known and any(not arm.reference and arm.is_exact for arm in arms):
        yield _heat_map(points, *free)
    if known:
        within = [] if chosen else [path for path in free if path.partition(".")[0] in _GIVEN]
        yield page_figures.pareto(points, within, tuple(range(len(arms))))


def _heat_map(points: pd.DataFrame, x: str, y: str) -> Section:
    told = caption(points, x, y)
    drawn = inline(heat_map(points, x, y, width_in=_MAP_IN), "heat-map", told, own_paper=True)
    return Section("heat-map", "Who is best where", drawn, told)


def _lines(points: pd.DataFrame, order: pd.DataFrame, path: str, arms: tuple[ArmInfo, ...]) -> Iterator[Section]:
    axis = read_axis(points, path)
    order = order.assign(_place=order[path].map(axis.values.index)).sort_values("_place")
    for metric, (title, label) in METRICS.items():
        rows = points[points["metric"] == metric]
        if not rows["value"].notna().any() or not rows["value"].any():
            continue
        name = metric.replace(".", "-")
        with page_figures.panel() as (figure, axes):
            _draw(axes, points, metric, order, axis, arms)
            axes.set(xlabel=axis.title, ylabel=label)
        said = f"{title} against {path}, by arm; all values stand in the tables below."
        note = "Band: 95 % interval over replications." if rows["ci_low"].notna().any() else ""
        yield Section(name, title, inline(figure, name, said), note, arms=tuple(range(len(arms))))


def _draw(
    axes: Axes, points: pd.DataFrame, metric: str, order: pd.DataFrame, axis: Axis, arms: tuple[ArmInfo, ...]
) -> None:
    places = axis.places[order["_place"]]
    for place, (arm, style) in enumerate(arm_styles(arms)):
        found = estimates(points, metric, arm.name, order)
        value, low, high = ([_number(getattr(each, part)) for each in found] for part in ("value", "low", "high"))
        axes.plot(places, value, marker="o", markersize=3.5, gid=f"arm-{place}", **style)
        look: Any = {"color": style["color"], "alpha": 0.18, "linewidth": 0, "zorder": 1, "gid": f"arm-{place}"}
        axes.fill_between(places, low, high, **look)
    every = math.ceil(len(axis.labels) / _MOST_TICKS)
    labels = [literal(cut(label, _LONGEST_LABEL)) for label in axis.labels[::every]]
    slanted: Any = {"rotation": 30, "ha": "right"} if sum(map(len, labels)) > _LETTERS_ABREAST else {}
    axes.set_xticks(axis.places[::every], labels, **slanted)
    axes.set_ylim(bottom=0)
    if metric.endswith("bytes"):
        axes.yaxis.set_major_formatter(EngFormatter(unit="B"))


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
