"""The figure of a sweep over two paths: the best arm of each cell, how sure that is, and where moving KV starts to pay.

Matplotlib's object interface only, as in `figures.py`; equal tables draw equal bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.colors import to_rgb
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.path import Path
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from simkv.errors import InputError
from simkv.metrics import MB_BYTES
from simkv.report.figures import STYLE, literal
from simkv.report.grid_axis import Axis
from simkv.report.layout import cut
from simkv.report.winners import Cell, Winners, winners
from simkv.units import SECONDS, format_seconds

#: [inch] widths of a column and of a page of the usual two-column proceedings.
COLUMN_IN, PAGE_IN = 3.3, 7.0

#: Okabe and Ito's colours (Color Universal Design, 2008): cool ones move KV, warm ones send text, so that the side of
#: the contour is seen without the legend.
_COOL = ("#0072B2", "#56B4E9", "#009E73", "#CC79A7")
_WARM = ("#E69F00", "#D55E00", "#F0E442")
_PALE = 0.72  # of a colour in a cell, the rest is white: black digits are then read on each
_PALER = 0.4  # the same when colours come round again
_SMALLEST_PT = 4.5  # a smaller digit is not worth its ink
_DIGIT_EM, _POINT_EM = 0.64, 0.32  # widths of a digit and of a point in Matplotlib's sans serif
_WORDS = {"ttft_s": "TTFT", "tpot_s": "TPOT", "e2e_s": "end-to-end time", "stall_s": "stall"}


def heat_map(
    points: pd.DataFrame,
    x: str | None = None,
    y: str | None = None,
    *,
    metric: str = "ttft_s.mean",
    arms: Sequence[str] | None = None,
    maximise: bool = False,
    width_in: float = PAGE_IN,
    x_label: str | None = None,
    y_label: str | None = None,
) -> Figure:
    """Return the best arm of each cell as a colour, its mean as a number, and the line where moving KV breaks even.

    Parameters
    ----------
    points : tidy table, as `simkv.sweep` returns it.
    x, y : paths; None = the first and the second of the table.
    metric, arms, maximise : see `simkv.report.winners.winners`.
    width_in : [inch] of the figure; `COLUMN_IN` and `PAGE_IN` are those of the usual proceedings.
    x_label, y_label : instead of the paths; the unit is added.

    Notes
    -----
    A hatched cell is open: its best is not told from every other arm (Holm's correction over all cells, 5 %). The line
    is where the best arm that moves KV and the best that sends text alone are equal, interpolated between the cells'
    middles on the axes as drawn. A dot says that requests of the best never finished: its mean is of the others.

    Examples
    --------
    >>> heat_map(simkv.sweep(...), "links.slice.capacity", "policies.prefetch.threshold")  # doctest: +SKIP
    """
    if width_in <= 0:
        raise InputError(f"want a width above 0 inches, got {width_in}", "width_in")
    found = winners(points, x, y, metric=metric, arms=arms, maximise=maximise)
    size_pt = float(np.interp(width_in, (COLUMN_IN, PAGE_IN), (6.5, 9.0)))
    with mpl.rc_context(STYLE | {"font.size": size_pt, "axes.grid": False, "axes.linewidth": 0.6}):
        rows, columns = len(found.y.values), len(found.x.values)
        tall_in = width_in * float(np.clip(0.75 * rows / columns, 0.36, 0.7))
        figure = Figure(figsize=(width_in, tall_in + 5 * size_pt / 72), layout="constrained")
        axes = figure.add_subplot()
        _frame(axes, found, (x_label, y_label))
        handles = [*_colour(axes, found), *_hatch(axes, found), *_line(axes, found), *_lost(axes, found)]
        abreast = 2 if width_in < 5 else 4
        near: dict[str, Any] = {"handlelength": 1.6, "handletextpad": 0.5, "columnspacing": 1.2}
        figure.legend(handles=handles, loc="outside lower center", ncols=abreast, frameon=False, **near)
        figure.draw_without_rendering()  # the layout is now known, and with it how large a cell is
        _thin_ticks(axes, found, size_pt)
        _numbers(axes, found, size_pt)
    return figure


def caption(points: pd.DataFrame, x: str | None = None, y: str | None = None, **chosen: Any) -> str:
    """Return what the figure of the same arguments shows, in sentences: for a caption, or for who does not see it.

    Examples
    --------
    >>> caption(simkv.sweep(...))  # doctest: +SKIP
    'Best arm by mean TTFT over links.slice.capacity and seed. ...'
    """
    found = winners(points, x, y, **chosen)
    cells = [cell for row in found.cells for cell in row if cell is not None]
    wins = {name: sum(cell.best == name for cell in cells) for name in found.arms}
    told = [f"Best arm by {_named(found.metric)} over {found.x.path} and {found.y.path}, {len(cells)} cells:"]
    told.append(", ".join(f"{name} {count}" for name, count in wins.items() if count) + ".")
    if found.compared:
        opened = sum(cell.is_open for cell in cells)
        told.append(f"Hatched, {opened}: not told from every other arm at 5 % by Holm's correction over the cells.")
    else:
        told.append("The table tells no replications of it, so nothing is said of certainty.")
    if found.margin is not None:
        told.append("Line: the best arm that moves KV equals the best that sends text alone.")
    if any(cell.lost for cell in cells):
        told.append("Dot: requests of the best never finished, and are not in its mean.")
    if found.left_out:
        told.append("Left out: " + ", ".join(f"{name} ({why})" for name, why in found.left_out.items()) + ".")
    return " ".join(told)


def _frame(axes: Axes, found: Winners, labels: tuple[str | None, str | None]) -> None:
    x, y = found.x, found.y
    axes.set_xlim(x.edges[0], x.edges[-1])
    axes.set_ylim(y.edges[0], y.edges[-1])
    axes.set_xticks(x.places, list(map(literal, x.labels)))
    axes.set_yticks(y.places, list(map(literal, y.labels)))
    axes.tick_params(length=2, width=0.6)
    axes.set_xlabel(_title(x, labels[0]))
    axes.set_ylabel(_title(y, labels[1]))
    unit, _ = _unit(found)
    name = _named(found.metric) + (f" [{unit}]" if unit else "")
    axes.set_title(f"{name} of the best arm", loc="left", fontsize="medium")


def _colour(axes: Axes, found: Winners) -> Iterator[Patch]:
    """Colour the cells; yield what the legend says of them."""
    colours = dict(_colours(found.arms))
    for name, colour in colours.items():
        boxes = [box for box, cell in _boxes(found) if cell is not None and cell.best == name]
        if boxes:
            axes.add_collection(PatchCollection(boxes, facecolor=colour, edgecolor="white", linewidth=0.4))
            yield Patch(facecolor=colour, label=literal(cut(name, 24)))
    missing = [box for box, cell in _boxes(found) if cell is None]
    if missing:
        axes.add_collection(PatchCollection(missing, facecolor="#EEEEEE", edgecolor="white", linewidth=0.4))
        yield Patch(facecolor="#EEEEEE", label="no point finished")


def _hatch(axes: Axes, found: Winners) -> Iterator[Patch]:
    """Hatch the open cells."""
    boxes = [box for box, cell in _boxes(found) if cell is not None and cell.is_open]
    style: dict[str, Any] = {"facecolor": "none", "edgecolor": "#222222", "hatch": "/////", "linewidth": 0.0}
    if boxes:
        axes.add_collection(PatchCollection(boxes, **style))
        yield Patch(**style, label="best not certain (Holm, 5 %)")


def _line(axes: Axes, found: Winners) -> Iterator[Line2D]:
    """Draw where moving KV and sending text are equal."""
    if found.margin is None or min(found.margin.shape) < 2:
        return
    known = found.margin[np.isfinite(found.margin)]
    if not known.size or known.min() >= 0 or known.max() <= 0:
        return
    margin = np.ma.masked_invalid(np.pad(found.margin, 1, mode="edge"))  # to the frame, as a cell is its middle
    drawn = axes.contour(*(_to_frame(axis) for axis in (found.x, found.y)), margin, levels=[0.0], zorder=3)
    cased = [withStroke(linewidth=2.7, foreground="black")]
    drawn.set(edgecolor="white", linewidth=1.3, path_effects=cased)
    yield Line2D([], [], color="white", linewidth=1.3, path_effects=cased, label="moving KV = sending text")


def _to_frame(axis: Axis) -> NDArray[np.float64]:
    return np.concatenate([axis.edges[:1], axis.places, axis.edges[-1:]])


def _lost(axes: Axes, found: Winners) -> Iterator[Line2D]:
    """Put a dot into the upper right corner of cells whose mean is of survivors (semantics F5)."""
    boxes = [box for box, cell in _boxes(found) if cell is not None and cell.lost]
    style: dict[str, Any] = {"marker": "o", "markersize": 2.2, "color": "black", "linestyle": "none"}
    if boxes:
        across = [box.get_x() + 0.86 * box.get_width() for box in boxes]
        axes.plot(across, [box.get_y() + 0.8 * box.get_height() for box in boxes], **style)
        yield Line2D([], [], **style, label="requests lost")


def _numbers(axes: Axes, found: Winners, size_pt: float) -> None:
    """Print the means where they can be read; hatching leaves room for them, and they step aside for the line."""
    _, factor = _unit(found)
    colours = dict(_colours(found.arms))
    lines = [path for drawn in axes.collections if isinstance(drawn, ContourSet) for path in drawn.get_paths()]
    for box, cell in _boxes(found):
        if cell is None:
            continue
        text = _digits(cell.value / factor)
        wide_pt, tall_pt = _size_pt(axes, box.get_width(), box.get_height())
        wide_em = _DIGIT_EM * len(text.replace(".", "")) + _POINT_EM * text.count(".")
        fitting_pt = min(size_pt - 1, 0.86 * wide_pt / wide_em, 0.6 * tall_pt)
        if fitting_pt < _SMALLEST_PT:
            continue
        share = (wide_em + 0.2) * fitting_pt / wide_pt, 1.2 * fitting_pt / tall_pt
        room = _room(box, share, lines)
        middle = (room.get_x() + room.get_width() / 2, room.get_y() + room.get_height() / 2)
        axes.text(*middle, text, fontsize=fitting_pt, ha="center", va="center_baseline", zorder=4)
        if cell.is_open:
            room.set(facecolor=colours[cell.best], linewidth=0, zorder=2.5)
            axes.add_patch(room)


def _room(box: Rectangle, share: tuple[float, float], lines: Sequence[Path]) -> Rectangle:
    """Return the part of a cell that its number takes: the middle, or where no line passes.

    Parameters
    ----------
    share : of the cell's width and height.
    """
    wide, tall = share[0] * box.get_width(), share[1] * box.get_height()
    across, up = box.get_width() - wide, box.get_height() - tall  # what is left beside it
    tried = [
        Rectangle((box.get_x() + right * across, box.get_y() + high * up), wide, tall)
        for right, high in ((0.5, 0.5), (0.05, 0.5), (0.95, 0.5), (0.5, 0.05), (0.5, 0.95))
    ]
    free = (room for room in tried if not any(line.intersects_bbox(room.get_bbox(), filled=False) for line in lines))
    return next(free, tried[0])


def _thin_ticks(axes: Axes, found: Winners, size_pt: float) -> None:
    """Leave out labels that would run into each other."""
    wide_pt = np.array([_size_pt(axes, width, 0.0)[0] for width in np.diff(found.x.edges)])
    longest_pt = max(map(len, found.x.labels)) * _DIGIT_EM * size_pt + 3
    every = int(np.ceil(longest_pt / wide_pt.min()))
    axes.set_xticks(found.x.places, [literal(text) if n % every == 0 else "" for n, text in enumerate(found.x.labels)])
    tall_pt = np.array([_size_pt(axes, 0.0, height)[1] for height in np.diff(found.y.edges)])
    every = int(np.ceil(1.1 * size_pt / tall_pt.min()))
    axes.set_yticks(found.y.places, [literal(text) if n % every == 0 else "" for n, text in enumerate(found.y.labels)])


def _size_pt(axes: Axes, width: float, height: float) -> tuple[float, float]:
    """Return a size in data as [pt] on paper."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    low, high = axes.transData.transform([(0.0, 0.0), (width, height)])
    wide, tall = (high - low) * 72 / figure.dpi
    return abs(float(wide)), abs(float(tall))


def _boxes(found: Winners) -> Iterator[tuple[Rectangle, Cell | None]]:
    across, up = found.x.edges, found.y.edges
    for row, cells in enumerate(found.cells):
        for column, cell in enumerate(cells):
            corner = (across[column], up[row])
            yield Rectangle(corner, across[column + 1] - across[column], up[row + 1] - up[row]), cell


def _colours(arms: dict[str, bool]) -> Iterator[tuple[str, tuple[float, float, float]]]:
    used = {True: 0, False: 0}
    for name, moves in arms.items():
        palette = _COOL if moves else _WARM
        turn, place = divmod(used[moves], len(palette))
        used[moves] += 1
        share = _PALER if turn else _PALE
        red, green, blue = (1 - share * (1 - part) for part in to_rgb(palette[place]))
        yield name, (red, green, blue)


def _title(axis: Axis, label: str | None) -> str:
    return axis.title if label is None else f"{label} [{axis.unit}]" if axis.unit else label


def _named(metric: str) -> str:
    """Return a metric's name for people: "mean TTFT"."""
    base, _, kind = metric.partition(".")
    return f"{kind} {_WORDS[base]}" if base in _WORDS and kind else metric


def _unit(found: Winners) -> tuple[str, float]:
    """Return the unit of the printed numbers and how much of the inside unit it is."""
    if "_s." not in found.metric and not found.metric.endswith("_s"):
        return ("MB", MB_BYTES) if "bytes" in found.metric else ("", 1.0)
    values = [abs(cell.value) for row in found.cells for cell in row if cell is not None]
    unit = format_seconds(float(np.median(values))).rpartition(" ")[2]
    return unit, float(SECONDS.factors[unit])


def _digits(value: float) -> str:
    """Return two digits, or all of a larger whole number."""
    size = abs(value)
    if size >= 9.95 or size < 1e-9:
        return f"{value:.0f}"
    return f"{value:.{max(1, 1 - math.floor(math.log10(size)))}f}"
