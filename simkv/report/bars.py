"""Bars of an HTML page: where the bytes and the GPU time of each arm went, part by part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from simkv.report.comparison import Comparison
from simkv.report.figures import Bar, bars_of_bytes, bars_of_gpu_s
from simkv.units import format_bytes, format_seconds


def of_bytes(comparison: Comparison) -> dict[str, Any]:
    """Return the wire bytes of each arm, a replication: demand, and speculation by how it ended."""
    found = list(bars_of_bytes(comparison.summary.arms))
    return {
        "name": "bytes",
        "title": "Where the bytes went",
        "caption": "Wire bytes a replication, summed over all links. Hatched: wasted.",
        **_drawn(comparison, found, lambda value: format_bytes(float(f"{value:.3g}"))),
        "busy": {},
    }


def of_gpu_s(comparison: Comparison) -> dict[str, Any]:
    """Return the busy GPU time of each arm, a replication, and how busy the GPUs of each server were."""
    found = list(bars_of_gpu_s(comparison))
    return {
        "name": "gpu",
        "title": "Where GPU time went",
        "caption": "Busy GPU time a replication, summed over all GPUs; idle time is left out. Hatched: wasted.",
        **_drawn(comparison, found, lambda value: format_seconds(float(f"{value:.3g}"))),
        "busy": _busy(comparison),
    }


def _drawn(comparison: Comparison, found: Sequence[Bar], told: Callable[[float], str]) -> dict[str, Any]:
    """Return the legend of the parts that occur, and of each arm its parts in percent of the longest bar."""
    seen = [bar for bar in found if any(bar.totals)]
    sums = [sum(bar.totals[place] for bar in seen) for place in range(len(comparison.arms))]
    longest = max(sums, default=0) or 1
    rows = []
    for place, total in enumerate(sums):
        left, parts = 0.0, []
        for bar in seen:
            width = 100 * bar.totals[place] / longest
            if width:
                value = told(bar.totals[place] / comparison.replications)
                parts.append({"bar": bar, "x": f"{left:.3f}", "width": f"{width:.3f}", "told": f"{bar.label} {value}"})
            left += width
        rows.append({"total": told(total / comparison.replications), "parts": parts})
    return {"legend": seen, "rows": rows}


def _busy(comparison: Comparison) -> dict[str, list[str]]:
    """Return of each server and arm the share of GPU time that it was busy, speculation in it apart."""
    found = {}
    for server in comparison.scenario.servers:
        cells = []
        for arm in comparison.arms:
            gpus = [
                gpu
                for run in comparison.runs(arm.name)
                for name, gpu in run.gpus.items()
                if name == server or name.rpartition("-")[0] == server
            ]
            speculative_s = sum(gpu.speculative_s for gpu in gpus)
            busy_s = speculative_s + sum(gpu.demand_s for gpu in gpus)
            whole_s = busy_s + sum(gpu.idle_s for gpu in gpus)
            cells.append(f"{busy_s / whole_s:.1%} ({speculative_s / whole_s:.1%})" if whole_s else "-")
        if any(cell != "-" for cell in cells):
            found[server] = cells
    return found
