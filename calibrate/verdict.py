"""The quality table: what was wanted of each operation, what was reached, and whether that is enough."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .ops import OPS

_HEAD = ("operation", "points", "by", "held-out median", "P95", "halves", "half-width", "clock", "verdict")


def rows(quality: Mapping[str, Any], points: Mapping[str, int]) -> list[dict[str, Any]]:
    """Return one row an operation.

    Parameters
    ----------
    quality : of a profile.
    points : rows of each operation's table.
    """
    found = []
    for op in quality["ops"]:
        limit, holdout = OPS[op["name"]].limit, op["holdout"]
        misses = []
        if limit.median and holdout["median"] > limit.median:
            misses.append(f"median above {100 * limit.median:g} %")
        if limit.p95 and holdout["p95"] > limit.p95:
            misses.append(f"P95 above {100 * limit.p95:g} %")
        if op["status"] != "complete":
            misses.append("some points failed or were not reached")
        wanted = bool(limit.median) and holdout["n"] > 0
        verdict = "; ".join(misses) if misses else "met" if wanted else "told alone"
        found.append({**op, "points": points[op["name"]], "verdict": verdict})
    return found


def to_text(quality: Mapping[str, Any], points: Mapping[str, int]) -> str:
    """Return the table, and under it the run as a whole."""
    table = [_HEAD, *_cells(rows(quality, points))]
    widths = [max(len(line[column]) for line in table) for column in range(len(_HEAD))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in table]
    return "\n".join([*lines, "", *_whole(quality, points)]) + "\n"


def _cells(found: list[dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    for op in found:
        holdout, half = op["holdout"], op["half_width"]
        errors = [_share(holdout[key]) if holdout["n"] else "-" for key in ("median", "p95")]
        halves = _share(op["repeatability"]["median"]) if op["repeatability"]["n"] else "-"
        width = _share(half) if half < 1e9 else "-"
        points = f"{op['points']} + {holdout['n']}" if op["predict"] != "composed" else str(op["points"])
        yield (op["name"], points, op["predict"], *errors, halves, width, op["clock"], op["verdict"])


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"


def _whole(quality: Mapping[str, Any], points: Mapping[str, int]) -> Iterator[str]:
    run, load = quality["run"], quality["load"]
    stopped = "converged" if run["converged"] else f"not converged: {run['unmet']}"
    yield f"{run['plan']} plan, {run['rounds']} rounds, {run['seconds']:.0f} s; {stopped}"
    yield (
        f"load {load['before']:g} to {load['after']:g} on {load['cores']} cores, "
        f"{100 * load['preempted']:.0f} % of samples pre-empted, {load['threads']} thread"
    )
    asked = [row for row in rows(quality, points) if row["verdict"] != "told alone"]
    met = sum(row["verdict"] == "met" for row in asked)
    yield f"{met} of {len(asked)} operations as wanted"
