"""The figure of a data set's predictability: what each predictor names, and whether its probabilities come true."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simkv.errors import InputError
from simkv.report.figures import PALETTE, STYLE

_SUFFIXES = (".png", ".svg", ".pdf")
_HEIGHT = 0.34  # of a bar, two beside each other a row


def check_target(path: Path) -> None:
    """Refuse a file that cannot be drawn to, before any time is spent.

    Raises
    ------
    InputError : another suffix, or no such folder.
    """
    if path.suffix not in _SUFFIXES:
        raise InputError(f"want a figure called *{', *'.join(_SUFFIXES)}", str(path))
    if not path.absolute().parent.is_dir():
        raise InputError("want a file in a folder that exists", str(path))
    if path.is_dir():
        raise InputError("is a folder; want a file", str(path))


def draw(told: Mapping[str, Any]) -> Figure:
    """Return top-1 and top-3 with intervals beside shuffled and popularity, and the reliability of the best.

    Raises
    ------
    InputError : the set says nothing of the next item.
    """
    found = told["next_item"]
    if "n/a" in found:
        raise InputError(f"nothing to draw: next item: {found['n/a']}", told["file"])
    rows = [row for row in found["prequential"] if row["predictor"] != "popularity"]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(11.0, 1.9 + 0.5 * len(rows)), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(3, 2))
        _draw_tops(left, rows, _popularity(found))
        _draw_reliability(right, rows)
        figure.suptitle(f"{told['format']}: is the next item predictable?", x=0.01, ha="left")
        figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False)
    return figure


def save(told: Mapping[str, Any], path: Path) -> None:
    """Draw to a file; equal results draw equal bytes.

    Raises
    ------
    InputError : nothing to draw, or the file cannot be written.
    """
    check_target(path)
    figure = draw(told)
    metadata: dict[str, Any] = {".png": {"Software": "simkv"}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    try:
        with mpl.rc_context(STYLE):
            figure.savefig(path, dpi=150, metadata=metadata[path.suffix])
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", str(path)) from error


def _popularity(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row of popularity by name where there is one, else by move."""
    return next(row for row in found["prequential"] if row["predictor"] == "popularity")


def _draw_tops(axes: Axes, rows: list[dict[str, Any]], popular: Mapping[str, Any]) -> None:
    for place, (top, dash) in enumerate((("top1", "-"), ("top3", "--"))):
        at = [row + (place - 0.5) * _HEIGHT for row in range(len(rows))]
        values = [100 * row[top]["value"] for row in rows]
        axes.barh(at, values, height=_HEIGHT, color=PALETTE[place], label=f"top-{top[-1]}", xerr=_reach(rows, top))
        axes.scatter(
            [100 * row["shuffled"][top]["value"] for row in rows],
            at,
            color="black",
            marker="D" if place else "o",
            s=18,
            zorder=3,
            label=f"top-{top[-1]}, order shuffled",
        )
        axes.axvline(100 * popular[top]["value"], color=PALETTE[place], linestyle=dash, linewidth=1)
    axes.set_yticks(range(len(rows)), [f"{row['predictor']} ({row['sees']})" for row in rows])
    axes.invert_yaxis()
    axes.set(xlim=(0, 100), xlabel="% of steps; lines: popularity")


def _reach(rows: list[dict[str, Any]], top: str) -> list[list[float]]:
    """Return how far each interval reaches below and above, 0 where there is none."""
    ends = [(row[top]["value"], row[top]["ci95"] or [row[top]["value"]] * 2) for row in rows]
    return [[100 * (value - low) for value, (low, _) in ends], [100 * (high - value) for value, (_, high) in ends]]


def _draw_reliability(axes: Axes, rows: list[dict[str, Any]]) -> None:
    """Draw the curve of the best forecast by Brier score, and of the worst calibrated one."""
    best = min(rows, key=lambda row: row["brier"]["value"])
    worst = max(rows, key=lambda row: row["ece"] or 0.0)
    axes.plot([0, 1], [0, 1], color="#7A7A7A", linewidth=1)
    for row, colour in ((best, PALETTE[2]), (worst, PALETTE[1])):
        curve = row["reliability"]
        label = f"{row['predictor']} ({row['sees']}), ECE {row['ece']:.3f}"
        axes.plot([b["forecast"] for b in curve], [b["frequency"] for b in curve], "o-", color=colour, label=label)
        if best is worst:
            break
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="said probability", ylabel="share that came true")
    axes.legend(frameon=False, loc="upper left")
