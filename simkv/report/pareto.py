"""Time against bytes moved, and what is beaten by no other in both: `pareto(points)` is the figure.

`front(points, minimise=["ttft_s.p99", "link_bytes"])` is the same as a table. Both take the table of a sweep
(`simkv.sweep`, `points.parquet`) or of one comparison (`rows.points_of`, `SavedRun.points`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter

from simkv.report.comparison import ArmInfo
from simkv.report.figures import STYLE, arm_styles, literal
from simkv.report.front import MARKS, by_point, front
from simkv.report.layout import cut
from simkv.units import format_seconds

__all__ = ["axis_label", "front", "pareto"]

_MARKERS = "osD^vPX*<>hp"
_MOST_NAMED = 16  # markers that have their arm's name beside them; more would hide each other
_LONGEST_NAME = 24  # letters of an arm's name beside its marker
_LOG_SPREAD = 20  # largest / smallest from which a linear axis hides the small ones
_IN_WORDS = {"ttft_s": "time to first token", "tpot_s": "time per output token", "e2e_s": "end-to-end time"}


def pareto(
    points: pd.DataFrame,
    times: Sequence[str] = ("ttft_s.mean", "ttft_s.p99"),
    against: str = "link_bytes",
    *,
    within: Sequence[str] = (),
    title: str = "",
) -> Figure:
    """Return one panel a time: what each point and arm takes, with both intervals, and the front of all of them.

    Parameters
    ----------
    points : table of a sweep, or `rows.points_of` a comparison.
    times : metrics on the vertical axes, one panel each.
    against : metric on the horizontal axes.
    within : as in `front`: one front for each combination of values of these paths.

    Raises
    ------
    InputError : a metric that the table does not have.

    Examples
    --------
    >>> pareto(simkv.sweep("scenarios/ten_turns.yaml")).savefig("pareto.png")  # doctest: +SKIP
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.6 * len(times) + 0.8, 4.8), layout="constrained")
        for place, metric in enumerate(times):
            draw(figure.add_subplot(1, len(times), place + 1), points, metric, against, within)
        if title:
            figure.suptitle(literal(title), x=0.01, ha="left")
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(5, len(labels)), frameon=False)
    return figure


def draw(
    axes: Axes, points: pd.DataFrame, metric: str, against: str = "link_bytes", within: Sequence[str] = ()
) -> None:
    """Draw one time against bytes, and its front; each arm is in the group (SVG) of its place, `arm-0` and up.

    Raises
    ------
    InputError : a metric that the table does not have.
    """
    best = front(points, (against, metric), within)
    for _, group in best.groupby(list(within), sort=False) if within else [("", best)]:
        _staircase(axes, group, against, metric)
    table = by_point(points, (against, metric))
    styles = dict(_styles(table))
    table = table.dropna(subset=[against, metric])
    on_front = table.set_index(["point_id", "arm"]).index.isin(best.set_index(["point_id", "arm"]).index)
    for arm, style in styles.items():
        for mine, strong in (((table["arm"] == arm) & ~on_front, False), ((table["arm"] == arm) & on_front, True)):
            _draw(axes, table[mine], against, metric, style, strong=strong)
    if table["lost"].any():
        look: dict[str, Any] = {"marker": "x", "color": "black", "ms": 5, "linestyle": "none", "zorder": 5}
        axes.plot(
            table[against][table["lost"]], table[metric][table["lost"]], label="lost requests: on no front", **look
        )
    _scale(axes, table, against, metric)
    if len(table) <= _MOST_NAMED:
        groups = {arm: style["gid"] for arm, style in styles.items()}
        _name(axes, pd.concat([table[on_front], table[~on_front]]), against, metric, groups)


def _staircase(axes: Axes, best: pd.DataFrame, against: str, metric: str) -> None:
    """Draw the front: what is right of and above it is beaten."""
    label = "_nolegend_" if axes.lines else "front: beaten by no other"
    look: dict[str, Any] = {"color": "#222222", "linewidth": 1.4, "label": label, "zorder": 1}
    axes.plot(best[against], best[metric], drawstyle="steps-post", **look)


def _styles(table: pd.DataFrame) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each arm's marker, in the colour that it has in other figures; references are hollow."""
    marks = table.groupby("arm", sort=False)[list(MARKS)].all()
    arms = tuple(ArmInfo(str(name), reference="yes" if row["is_reference"] else "") for name, row in marks.iterrows())
    for place, (arm, line) in enumerate(arm_styles(arms)):
        said = " (reference)" if arm.reference else " (lossy)" if marks["is_lossy"].iloc[place] else ""
        face = "white" if arm.reference else line["color"]
        look = {"color": line["color"], "mfc": face, "marker": _MARKERS[place % len(_MARKERS)]}
        yield arm.name, {**look, "label": literal(f"{arm.name}{said}"), "gid": f"arm-{place}"}


def _draw(axes: Axes, rows: pd.DataFrame, x: str, y: str, style: dict[str, Any], *, strong: bool) -> None:
    """Draw some points of one arm; those on the front are large and ringed, the others fade where there are many."""
    if not len(rows):
        return
    known = set(axes.get_legend_handles_labels()[1])
    look = style | ({"label": "_nolegend_"} if style["label"] in known else {})
    ring = {"mec": "black", "ms": 8, "zorder": 4} if strong else {"mec": style["color"], "ms": 5.5, "zorder": 3}
    many = len(rows) > _MOST_NAMED
    ends = [np.nan_to_num(np.stack([rows[m] - rows[f"{m}_low"], rows[f"{m}_high"] - rows[m]])) for m in (x, y)]
    alpha = 0.45 if many and not strong else 1.0
    drawn = axes.errorbar(
        rows[x], rows[y], xerr=ends[0], yerr=ends[1], linestyle="none", elinewidth=0.9, alpha=alpha, **look, **ring
    )
    for artist in drawn.get_children():
        artist.set_gid(look["gid"])
    for bars in drawn.lines[2]:
        bars.set_alpha(0.35 if many else 1.0)


def _name(axes: Axes, table: pd.DataFrame, x: str, y: str, groups: Mapping[str, str]) -> None:
    """Write the arm's name beside its marker, where no other name is; the legend has them all."""
    height, width = axes.bbox.height, axes.bbox.width
    taken: list[tuple[float, float]] = []
    for row in table.to_dict("records"):
        right, up = axes.transAxes.inverted().transform(axes.transData.transform((row[x], row[y])))
        if all(abs(right - r) * width > 90 or abs(up - u) * height > 18 for r, u in taken):
            side, ha = ((7, 5), "left") if right < 0.8 else ((-7, 5), "right")
            near: dict[str, Any] = {"textcoords": "offset points", "ha": ha, "fontsize": 8, "zorder": 5}
            told = literal(cut(row["arm"], _LONGEST_NAME))
            axes.annotate(told, (row[x], row[y]), side, gid=groups[row["arm"]], **near).set_in_layout(False)
            taken.append((right, up))


def _scale(axes: Axes, table: pd.DataFrame, x: str, y: str) -> None:
    """Choose linear or logarithmic axes, and label them with units."""
    for metric, axis in ((x, axes.xaxis), (y, axes.yaxis)):
        name = metric.partition(".")[0]
        axis.set_label_text(axis_label(metric))
        _logarithmic(axes, "x" if axis is axes.xaxis else "y", table[metric])
        if name.endswith("_bytes"):
            axis.set_major_formatter(EngFormatter(unit="B"))
        elif name.endswith("_s"):
            axis.set_major_formatter(FuncFormatter(lambda value_s, _: format_seconds(value_s)))


def _logarithmic(axes: Axes, which: str, values: pd.Series[float]) -> None:
    """Make an axis logarithmic where a linear one would hide small values; zero stays on it."""
    above = values[values > 0]
    if len(above) and (values >= 0).all() and above.max() > _LOG_SPREAD * above.min():
        low, high = 0.6 * above.min(), 1.7 * above.max()  # the ends of wide intervals may lie outside
        if len(above) == len(values):
            axes.set(**{f"{which}scale": "log", f"{which}lim": (low, high)})
        else:
            getattr(axes, f"set_{which}scale")("symlog", linthresh=low)
            axes.set(**{f"{which}lim": (-0.3 * low, high)})


def axis_label(metric: str) -> str:
    """Return a metric in words; times and bytes have their unit at each tick.

    Examples
    --------
    >>> axis_label("ttft_s.p99"), axis_label("link_bytes"), axis_label("coverage")
    ('p99 time to first token', 'bytes moved over links, a replication', 'coverage')
    """
    name, _, part = metric.partition(".")
    if metric == "link_bytes":
        return "bytes moved over links, a replication"
    if name.endswith("_s"):
        return f"{part} {_IN_WORDS.get(name, name.removesuffix('_s').replace('_', ' '))}".strip()
    if name.endswith("_bytes"):
        return f"{name.removesuffix('_bytes').replace('_', ' ')} bytes, a replication"
    return metric.replace("_", " ")
