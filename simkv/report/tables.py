"""The table that `simkv run` prints: plain text, at most 120 columns, no mean without its uncertainty.

Five blocks (time, prefetching, misses, stalls and regrets, bytes), then the footnotes without which nobody should
quote them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from simkv.metrics import MB_BYTES
from simkv.report.footnotes import footnotes, marks
from simkv.report.layout import UNDEFINED, cut, decimals, fitted, number, numbers, plus_minus, with_interval
from simkv.results import MISS_CAUSES, WASTED
from simkv.statistics import LEVEL

if TYPE_CHECKING:
    from simkv.report.comparison import Comparison
    from simkv.report.summary import ArmSummary, Summary

#: Head of a column -> its cells, one an arm.
Columns = dict[str, list[str]]

_LONGEST_NAME = 17  # characters of an arm's name that the widest block can spare
_LONGEST_HEAD = 14  # of one in the head of a column
_MOST_RATIO_DECIMALS = 2  # an "N x" has no use for more

#: Head -> outcomes whose bytes it adds up.
_LEDGER = {
    "in time": ("used_in_time",),
    "late": ("used_late",),
    "cancelled": ("cancelled",),
    "evicted": ("evicted",),
    "unused": ("never_used",),
    "open": ("in_flight_at_end", "resident_at_end"),
    "wasted": WASTED,
}

#: Head -> ratio in [0, 1].
_SHARES = {
    "any hit": "any_hit_ratio",
    "turn 1": "any_hit_ratio_first_turns",
    "complete": "complete_hit_ratio",
    "of all": "any_hit_ratio_all_queries",
    "ready": "readiness",
    "coverage": "coverage",
    "accuracy": "accuracy",
    "timely": "timeliness",
}


def to_text(comparison: Comparison) -> str:
    """Return the comparison as text for a terminal, a log or an appendix.

    Returns
    -------
    Lines of at most 120 characters, ending in a newline.
    """
    texts = [[heading(comparison)], *map(fitted, blocks(comparison).values()), footnotes(comparison)]
    return "\n\n".join("\n".join(text) for text in texts) + "\n"


def blocks(comparison: Comparison) -> dict[str, Callable[[int], Columns]]:
    """Return the tables by title; each is called with the most decimals that there is room for."""
    summary = comparison.summary
    return {
        "Waiting": partial(_time_columns, summary),
        "Prefetching": partial(_prefetch_columns, summary),
        "How needed units were found": partial(_miss_columns, summary),
        "Stalls and regrets": partial(_gain_columns, summary),
        "Bytes": partial(_byte_columns, summary, comparison.replications),
    }


def heading(comparison: Comparison) -> str:
    """Return what was run, in one line."""
    name, seed = comparison.scenario.name, comparison.seed
    if comparison.replications == 1:
        return f"{name}: 1 replication, seed {seed}"
    return f"{name}: {comparison.replications} replications, seed {seed}; means and 95 % intervals over replications"


def _names(summary: Summary) -> list[str]:
    """Return the first cell of each row; a reference carries a mark, [1] and up, that a footnote explains."""
    numbered = marks(summary)
    return [
        cut(arm.info.name, _LONGEST_NAME) + (f" [{numbered[arm.info.reference]}]" if arm.info.reference else "")
        for arm in summary.arms
    ]


def _time_columns(summary: Summary, most: int) -> Columns:
    arms = summary.arms
    ttft = [arm.metrics["ttft_s.mean"] for arm in arms]
    digits = decimals((estimate.value for estimate in ttft), most)
    best = f" vs {cut(summary.best, _LONGEST_HEAD)}" if summary.best else ""
    return {
        "arm": _names(summary),
        "TTFT s": [plus_minus(estimate, digits) for estimate in ttft],
        "p50 s": numbers([arm.metrics["ttft_s.p50"].value for arm in arms], most),
        "p99 s": numbers([arm.metrics["ttft_s.p99"].value for arm in arms], most),
        f"difference to {cut(summary.baseline, _LONGEST_HEAD)}": [_difference(summary, arm, digits) for arm in arms],
        f"N x{best}": [_ratio(summary, arm, most) for arm in arms],
        "E2E s": numbers([arm.metrics["e2e_s.mean"].value for arm in arms], most),
        "lost": [str(sum(arm.requests.values()) - arm.requests["finished"]) for arm in arms],
    }


def _difference(summary: Summary, arm: ArmSummary, digits: int) -> str:
    contrast = summary.contrast(arm.info.name, summary.baseline)
    if contrast is None:
        return f"{UNDEFINED} "
    p = summary.p_holm[arm.info.name]
    star = "*" if p is not None and p < 1 - LEVEL else " "
    return f"{with_interval(contrast.difference, digits, '+')}{star}"


def _ratio(summary: Summary, arm: ArmSummary, most: int) -> str:
    contrast = summary.contrast(arm.info.name, summary.best)
    if contrast is None:
        return "1 (the best)" if arm.info.name == summary.best else UNDEFINED
    return with_interval(contrast.ratio, min(_MOST_RATIO_DECIMALS, most))


def _prefetch_columns(summary: Summary, most: int) -> Columns:
    arms = summary.arms
    columns = {"arm": _names(summary)}
    columns |= {head: [number(arm.metrics[name].value, 3) for arm in arms] for head, name in _SHARES.items()}
    columns["stall s"] = numbers([arm.metrics["stall_s.mean"].value for arm in arms], most)
    columns["saved s"] = numbers([arm.saved_s.value for arm in arms], most)
    columns["net eff."] = numbers([arm.net_efficiency for arm in arms], most)
    return columns


def _miss_columns(summary: Summary, most: int) -> Columns:
    """Return how the needed units were found: the shares of a row sum to 1."""
    shares = {"in time": "in_time"} | {cause: f"missed.{cause}" for cause in MISS_CAUSES}
    columns = {"share of needed units": _names(summary)}
    columns |= {
        head: [number(arm.metrics[name].value, min(3, most)) for arm in summary.arms] for head, name in shares.items()
    }
    return columns


def _gain_columns(summary: Summary, most: int) -> Columns:
    """Return the stall that an arm removes, and its regrets where any arm has one."""
    arms = summary.arms
    digits = decimals([arm.stall_removed.value for arm in arms], most)
    columns = {
        "arm": _names(summary),
        "stall removed s": [with_interval(arm.stall_removed, digits, "+") for arm in arms],
        "share": [with_interval(arm.stall_removed_ratio, min(2, most)) for arm in arms],
    }
    for question in ("prefetch", "eviction"):
        found = [arm.regrets[question] for arm in arms]
        if any(regret.reference for regret in found):
            digits = decimals([regret.seconds.value for regret in found], most)
            columns[f"regret of {question} s"] = [with_interval(regret.seconds, digits, "+") for regret in found]
    return columns


def _byte_columns(summary: Summary, replications: int, most: int) -> Columns:
    arms = summary.arms
    totals = {"demand": [arm.link_bytes.get("demand", 0) for arm in arms]}
    totals |= {
        head: [sum(arm.speculative_bytes[outcome] for outcome in outcomes) for arm in arms]
        for head, outcomes in _LEDGER.items()
    }
    totals["pollution"] = [arm.pollution_bytes for arm in arms]
    megabytes = {head: [total / MB_BYTES / replications for total in column] for head, column in totals.items()}
    digits = decimals((value for column in megabytes.values() for value in column), min(2, most))
    columns = {"MB a replication": _names(summary)}
    columns |= {head: [number(value, digits) for value in column] for head, column in megabytes.items()}
    columns["GPU s"] = numbers([sum(arm.speculative_gpu_s.values()) / replications for arm in arms], most)
    return columns
