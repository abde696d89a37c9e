"""Two profiles operation by operation: the table and the figure of `simkv profile compare`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, PercentFormatter

from simkv.compute.calibration import MeasuredProfile
from simkv.compute.calibration_quality import REPEAT_ELSE, REPEAT_WANTED, anchor_ratio
from simkv.compute.op_table import OpTable
from simkv.report.figures import PALETTE, STYLE
from simkv.report.profile_view import aligned


class Pair(NamedTuple):
    """One operation in two profiles.

    Attributes
    ----------
    op : its name.
    times_s : in the first, at the points that both measured.
    ratios : of the second to the first, over the speed of the machine by their anchors.
    """

    op: str
    times_s: Sequence[float]
    ratios: Sequence[float]


def pairs(one: MeasuredProfile, other: MeasuredProfile) -> list[Pair]:
    """Return the operations that both hold, at the points that both measured."""
    speed = speed_ratio(one, other)
    waiting = _waiting(one) | _waiting(other)
    there = {op.name: op for op in other.ops}
    found = []
    for op in one.ops:
        if op.name in there:
            times = list(_shared(op, there[op.name]))
            factor = 1.0 if op.name in waiting else speed
            if times:
                found.append(Pair(op.name, [a for a, _ in times], [b / a / factor for a, b in times]))
    return found


def speed_ratio(one: MeasuredProfile, other: MeasuredProfile) -> float:
    """Return how much slower the machine was when the second was measured, by their anchors; 1 without."""
    if one.quality is None or other.quality is None:
        return 1.0
    return anchor_ratio(other.quality, one.quality)


def _waiting(profile: MeasuredProfile) -> set[str]:
    """Return the operations by the wall clock: anchors say nothing of them."""
    known = profile.quality["ops"] if profile.quality is not None else []
    return {op["name"] for op in known if op["clock"] == "wall"}


def _shared(one: OpTable, other: OpTable) -> Iterator[tuple[float, float]]:
    times_s = {row[:-1]: row[-1] for row in other.rows}
    for row in one.rows:
        if row[:-1] in times_s:
            yield row[-1], times_s[row[:-1]]


def rows(found: Sequence[Pair]) -> list[dict[str, Any]]:
    """Return one row an operation: points, median and P95 of the absolute difference, and the signed median."""
    told = []
    for pair in found:
        signed = np.array(pair.ratios) - 1
        size = np.abs(signed)
        told.append(
            {
                "op": pair.op,
                "points": len(signed),
                "median": round(float(np.median(size)), 6),
                "p95": round(float(np.quantile(size, 0.95)), 6),
                "max": round(float(size.max()), 6),
                "signed_median": round(float(np.median(signed)), 6),
            }
        )
    return told


def to_text(one: MeasuredProfile, other: MeasuredProfile, found: Sequence[Pair]) -> str:
    """Return the differences as text that ends in a newline."""
    lines = [f"{other.where} against {one.where}: {other.device}, {other.model_name}"]
    repeats = one.quality is not None and other.quality is not None and one.device == other.device
    if repeats:
        lines.append(f"the machine took {speed_ratio(one, other):.3f} times as long, by the anchors; taken out below")
    table = [["operation", "points", "median", "P95", "largest", "signed median", *(["repeats"] if repeats else [])]]
    for row in rows(found):
        shares = [f"{100 * row[key]:.1f} %" for key in ("median", "p95", "max")]
        verdict = [_verdict(row)] if repeats else []
        table.append([row["op"], f"{row['points']:,}", *shares, f"{100 * row['signed_median']:+.1f} %", *verdict])
    return "\n".join([*lines, "", *aligned(table, right=(1, 2, 3, 4, 5))]) + "\n"


def _verdict(row: Mapping[str, Any]) -> str:
    wanted = REPEAT_WANTED.get(row["op"], REPEAT_ELSE)
    return "met" if row["median"] <= wanted else f"median above {100 * wanted:g} %"


def figure(one: MeasuredProfile, other: MeasuredProfile, found: Sequence[Pair]) -> Figure:
    """Return the difference of every point over its time, a colour for each kind of operation."""
    with mpl.rc_context(STYLE):
        drawn = Figure(figsize=(7.0, 4.2), layout="constrained")
        axes = drawn.add_subplot()
        kinds = list(dict.fromkeys(pair.op.split("_")[0] for pair in found))
        for pair in found:
            kind = pair.op.split("_")[0]
            new = pair.op == next(of.op for of in found if of.op.split("_")[0] == kind)
            colour = PALETTE[kinds.index(kind) % len(PALETTE)]
            differences = [ratio - 1 for ratio in pair.ratios]
            axes.plot(pair.times_s, differences, ".", color=colour, label=kind if new else None)
        axes.axhline(0.0, color="0.6", linewidth=0.8)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(EngFormatter("s"))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set_xlabel(f"time in {one.where}")
        axes.set_ylabel(f"difference of {other.where}")
        axes.legend(frameon=False, fontsize="small", ncols=2)
    return drawn
