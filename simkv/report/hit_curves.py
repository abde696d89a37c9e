"""Hits by buffer size: the table and the figure of `simkv trace mrc`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from simkv.report.figures import PALETTE, STYLE

if TYPE_CHECKING:
    from simkv.mrc import HitCounts

_DASHES = ("-", "--", "-.", ":")


def to_text(counts: HitCounts) -> str:
    """Return hits by policy (down) and size (across), in percent of the accesses, as text that ends in a newline."""
    sizes = list(dict.fromkeys(point.blocks for point in counts.results))
    policies = list(dict.fromkeys(point.policy for point in counts.results))
    hits = {(point.policy, point.blocks): point.hits for point in counts.results}
    heads = ["unlimited" if size is None else f"{size:,}" for size in sizes]
    rows = [[policy, *(f"{100 * hits[policy, size] / counts.accesses:.2f}" for size in sizes)] for policy in policies]
    share = 100 * counts.infinite_hits / counts.accesses
    lines = [
        f"{counts.accesses:,} accesses count, {counts.unique:,} different blocks; with unlimited room"
        f" {counts.infinite_hits:,} hits ({share:.2f} %)",
        "",
        "hits in % of the accesses, by policy and blocks of room",
        *_aligned([["policy", *heads], *rows]),
    ]
    return "\n".join(lines) + "\n"


def _aligned(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) if column == 0 else cell.rjust(width) for column, (cell, width) in enumerate(pairs))
        for pairs in (list(zip(row, widths, strict=True)) for row in rows)
    ]


def figure(counts: HitCounts) -> Figure:
    """Return the share of accesses that hit, by size, one curve a policy; the top is unlimited room."""
    policies = list(dict.fromkeys(point.policy for point in counts.results))
    with mpl.rc_context(STYLE):
        drawn = Figure(figsize=(7.2, 4.8), layout="constrained")
        axes = drawn.add_subplot()
        for index, policy in enumerate(policies):
            hits = {p.blocks: p.hits for p in counts.results if p.policy == policy and p.blocks is not None}
            axes.plot(
                list(hits),
                [count / counts.accesses for count in hits.values()],
                color=PALETTE[index % len(PALETTE)],
                linestyle=_DASHES[index // len(PALETTE) % len(_DASHES)],
                marker=".",
                label=policy,
            )
        axes.axhline(counts.infinite_hits / counts.accesses, color="#000000", linewidth=0.8, label="unlimited room")
        axes.set_xscale("log")
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set_xlabel("room [blocks]")
        axes.set_ylabel("block accesses that hit")
        axes.legend(frameon=False)
    return drawn
