"""A profile's operations and prices: the table and the figure of `simkv profile show`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from simkv.compute.calibration import MeasuredProfile
from simkv.compute.steptime import StepTime
from simkv.report.figures import PALETTE, STYLE

#: What is drawn: new tokens of one prefill, and contexts of decodes, both up to this where nothing was measured.
_MOST_NEW, _MOST_CONTEXT = 2048, 16384  # tokens: vLLM's default budget of a step; the longest KV of the imported tables
_CACHED = (0, 2048, 8192)  # tokens before the prefill
_BATCHES = (1, 8, 32, 128)  # decodes
_POINTS = 80  # of a curve


def op_rows(profile: MeasuredProfile) -> list[dict[str, Any]]:
    """Return one row an operation: name, points, source, and the range of each axis."""
    return [
        {
            "op": op.name,
            "points": len(op.rows),
            "source": op.source,
            "range": {axis: [op.grid(axis)[0], op.grid(axis)[-1]] for axis in op.axes},
            "shortest_s": min(row[-1] for row in op.rows),
            "longest_s": max(row[-1] for row in op.rows),
            "warnings": list(op.warnings),
        }
        for op in profile.ops
    ]


def to_text(profile: MeasuredProfile) -> str:
    """Return what a profile is and what was measured, as text that ends in a newline."""
    facts = profile.facts()
    notes = facts.pop("notes")
    lines = [f"{key.replace('_', ' ')}: {_plain(value)}" for key, value in facts.items()]
    lines += [f"{key}: {note}" for key, note in notes.items()]
    rows = [["operation", "points", "source", "shortest", "longest", "range"]]
    for row in op_rows(profile):
        reach = "; ".join(f"{axis} {low:g} to {high:g}" for axis, (low, high) in row["range"].items())
        times = [f"{row[key] * 1e6:.4g} us" for key in ("shortest_s", "longest_s")]
        rows.append([row["op"], f"{row['points']:,}", row["source"], *times, reach])
    lines += ["", *aligned(rows)]
    lines += [f"{row['op']}: {warning}" for row in op_rows(profile) for warning in row["warnings"]]
    return "\n".join(lines) + "\n"


def _plain(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {item}" for key, item in value.items()) or "not stated"
    return str(value)


def aligned(rows: Sequence[Sequence[str]], right: Sequence[int] = (1, 3, 4)) -> Iterable[str]:
    """Return rows as lines whose columns stand below each other, some of them flush right.

    Examples
    --------
    >>> list(aligned([["a", "bc"], ["abc", "d"]]))
    ['a    bc', 'abc   d']
    """
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def figure(step_time: StepTime, title: str, profile: MeasuredProfile | None = None) -> Figure:
    """Return the time of a prefill over its new tokens, and of a decode step over context.

    Parameters
    ----------
    step_time : the prices.
    title : what they are of.
    profile : measured times among which the points lie that are marked; None = nothing is marked.
    """
    with mpl.rc_context(STYLE):
        drawn = Figure(figsize=(9.6, 4.4), layout="constrained")
        prefill, decode = drawn.subplots(1, 2)
        drawn.suptitle(title)
        _draw_prefill(prefill, step_time, _places(profile, "prefill_chunk", "new_tokens"))
        _draw_decode(decode, step_time, _places(profile, "kv_decode", "context_tokens"))
        for axes in (prefill, decode):
            axes.set_ylim(bottom=0)
            axes.yaxis.set_major_formatter(EngFormatter("s"))
            axes.legend(frameon=False)
    return drawn


def _places(profile: MeasuredProfile | None, *axes: str) -> list[int]:
    """Return the whole places above 0 at which an axis of these names was measured."""
    found: set[float] = set()
    for op in profile.ops if profile else ():
        for axis in axes:
            if axis in op.axes and "kv_longest" not in op.axes:
                found.update(op.grid(axis))
    return sorted(int(place) for place in found if place > 0)


def _curve(most: int) -> list[int]:
    return sorted({max(1, round(most * index / _POINTS)) for index in range(_POINTS + 1)})


def _draw_prefill(axes: Axes, step_time: StepTime, measured: list[int]) -> None:
    most = min(max(measured, default=_MOST_NEW), 4 * _MOST_NEW)
    for cached, colour in zip(_CACHED, PALETTE, strict=False):

        def price(new: int, cached: int = cached) -> float:
            return step_time.step([(new, cached)], 0, 0, 1)

        places = _curve(most)
        axes.plot(places, [price(new) for new in places], color=colour, label=f"{cached:,} tokens cached")
        marked = [new for new in measured if new <= most]
        axes.plot(marked, [price(new) for new in marked], ".", color=colour)
    axes.set_xlabel("new tokens of one prefill")
    axes.set_ylabel("time of the step")


def _draw_decode(axes: Axes, step_time: StepTime, measured: list[int]) -> None:
    most = max(measured, default=_MOST_CONTEXT)
    for batch, colour in zip(_BATCHES, PALETTE, strict=False):

        def price(kv: int, batch: int = batch) -> float:
            return step_time.step([], batch, batch * (kv - 1), batch)

        places = _curve(most)
        axes.plot(places, [price(kv) for kv in places], color=colour, label=f"{batch:,} decodes")
        axes.plot(measured, [price(kv) for kv in measured], ".", color=colour)
    axes.set_xlabel("KV that each decode reads [tokens]")
    axes.set_ylabel("time of the step")
