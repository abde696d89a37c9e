"""What the words of a report mean: docs/glossary.md's own words, of which a copy is shipped (a test compares them)."""

from __future__ import annotations

import json
from pathlib import Path

FILE = Path(__file__).with_name("definitions.json")

_TIMES = ("ttft_s", "tpot_s", "e2e_s", "stall_s", "exposed stall removed", "latency saved")
_HITS = (
    *("any_hit_ratio", "any_hit_ratio_all_queries", "complete_hit_ratio", "readiness", "coverage", "accuracy"),
    *("timeliness", "miss_causes"),
)
_CAUSES = tuple(
    f"{cause}_units" for cause in ("late", "evicted", "cancelled", "refused", "uncreated", "wrong", "unpredicted")
)
_OUTCOMES = (
    *("used_in_time", "used_late", "cancelled", "evicted", "never_used", "in_flight_at_end", "resident_at_end"),
    *("wasted_bytes", "link_bytes", "pollution_bytes", "net_efficiency", "quality_f1", "extrapolated_time_ratio"),
)
_COMPARISONS = ("difference", "difference_ci95", "ratio", "ratio_ci95", "regret_prefetch", "regret_eviction")
_ENDS = ("finished", "rejected", "timed_out", "unfinished")

#: Title -> names in the order in which they are shown.
SHOWN: dict[str, tuple[str, ...]] = {
    "Times of a request": _TIMES,
    "Hits": _HITS,
    "Why a needed unit was missing": _CAUSES,
    "Where speculation ends": _OUTCOMES,
    "Comparisons": _COMPARISONS,
    "How a request ends": _ENDS,
}


def texts() -> dict[str, str]:
    """Return name -> definition, its unit last in brackets; words in backquotes are names.

    Examples
    --------
    >>> texts()["ttft_s"]
    '`first_token_s` - `arrival_s` (time to first token) [s]'
    """
    return dict(json.loads(FILE.read_text(encoding="utf-8")))
