"""The result tables' columns, and what one run hands over, in one place.

A run records facts; `metrics.py` turns them into numbers. Nothing here computes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

SCHEMA_VERSION = 1

#: Why a prefetchable unit that a query needed was not wholly resident when it was first asked for: exactly one of
#: these. Columns of `requests.parquet`, each with the suffix `_units`.
MISS_CAUSES = ("late", "evicted", "wrong", "cancelled", "refused", "uncreated", "unpredicted")

#: What a request needed and how it was found: needed = in time + one for each cause of a miss.
UNIT_COLUMNS = ("needed_units", "in_time_units", *(f"{cause}_units" for cause in MISS_CAUSES))

#: Columns of `requests.parquet` and their pandas types. `session` is the draw index (semantics G2).
#: `interference_s` [s] is by how much speculation lengthened the GPU steps that it was in (semantics D3), `preemptions`
#: how often it lost its memory. `needed_units` counts the prefetchable objects that the query needed and that demand
#: reuse had not already brought; `in_time_units` are those that speculation had brought by then, the rest are misses
#: by cause.
REQUEST_COLUMNS: dict[str, str] = {
    "arm": "category",
    "replication": "int32",
    "request_id": "int64",
    "session_id": "string",
    "session": "int32",
    "turn": "int32",
    "server": "string",
    "arrival_s": "float64",
    "scheduled_s": "float64",
    "first_token_s": "float64",
    "last_token_s": "float64",
    "input_tokens": "int64",
    "cached_tokens": "int64",
    "output_tokens": "int64",
    "status": "category",
    "ready_at_arrival": "bool",
    "stall_s": "float64",
    "interference_s": "float64",
    "preemptions": "int32",
    **dict.fromkeys(UNIT_COLUMNS, "int32"),
}

#: Columns of `transfers.parquet`: KV and text; control messages are in the totals alone.
#: A promoted transfer is two rows (semantics F1).
TRANSFER_COLUMNS: dict[str, str] = {
    "arm": "category",
    "replication": "int32",
    "link": "string",
    "class": "category",
    "start_s": "float64",
    "end_s": "float64",
    "payload_bytes": "int64",
    "wire_bytes": "int64",
    "outcome": "category",
}

#: Columns of `spans.parquet`: who did what when, as `simkv.recording` finds it by playing one replication again.
#: `object` is the server of a request, the link or the GPU. -1 = belongs to no request, session or turn; `wire_bytes`
#: and `tokens` are 0 where they say nothing.
SPAN_COLUMNS: dict[str, str] = {
    "arm": "category",
    "replication": "int32",
    "lane": "category",
    "object": "category",
    "start_s": "float64",
    "end_s": "float64",
    "request_id": "int64",
    "session": "int32",
    "turn": "int32",
    "kind": "category",
    "wire_bytes": "int64",
    "tokens": "int64",
}

#: Lanes of a request, which never overlap and fill the time from arrival to last token without a gap, and their kinds:
#: what it waits for (the causes of `simkv explain`), or what is done for it.
REQUEST_LANES: dict[str, tuple[str, ...]] = {
    "queue": ("memory", "source_queue", "link_queue", "local", "gpu_queue", "unfinished"),
    "lookup": ("question",),
    "transfer": ("coding", "transfer", "link_delay", "unpacking"),
    "prefill": ("source_compute", "prefill"),
    "decode": ("decode",),
}

#: Lanes of things. `link`: which class the link sends just now ("shared": all alike), without overlap; `wire`: one span
#: for each part of a transfer in one class, control messages left out; `gpu`: what it computes, without overlap.
OBJECT_LANES: dict[str, tuple[str, ...]] = {
    "link": ("demand", "speculative", "background", "shared"),
    "wire": ("demand", "demand_text", "speculative", "speculative_text", "background"),
    "gpu": ("prefill", "mixed", "decode", "kernel", "speculative_prefill", "speculative_kernel"),
}

#: Columns of `samples.parquet`, on a grid of time. The unit of a value is the suffix of its quantity; `*_bps` is the
#: mean since the instant before, everything else is as it is at the instant.
SAMPLE_COLUMNS: dict[str, str] = {
    "arm": "category",
    "replication": "int32",
    "time_s": "float64",
    "object": "category",
    "quantity": "category",
    "value": "float64",
}

#: What is sampled: of links; of buffers, which are named as their server; of GPUs (how many sequences).
LINK_QUANTITIES = ("demand_bps", "speculative_bps", "background_bps", "shared_bps", "backlog_bytes")
BUFFER_QUANTITIES = ("used_bytes", "speculative_bytes")
GPU_QUANTITIES = ("running", "waiting", "speculative_waiting")

#: How a request may end (semantics F5).
STATUSES = ("finished", "rejected", "timed_out", "unfinished")

#: Where a speculated unit, its bytes and its GPU-seconds may end (semantics F1): exactly one of these.
OUTCOMES = (
    "used_in_time",
    "used_late",
    "evicted",
    "never_used",
    "cancelled",
    "in_flight_at_end",
    "resident_at_end",
)

#: Outcomes whose bytes were wasted (semantics F1).
WASTED = ("cancelled", "evicted", "never_used")


def _zero_bytes() -> dict[str, int]:
    return dict.fromkeys(OUTCOMES, 0)


def _zero_seconds() -> dict[str, float]:
    return dict.fromkeys(OUTCOMES, 0.0)


@dataclass(slots=True)
class LinkTotals:
    """What one link carried; `payload_bytes + overhead_bytes` is all of it.

    Attributes
    ----------
    payload_bytes : [bytes] KV, text and control messages, headers excluded.
    overhead_bytes : [bytes] headers.
    control_bytes : [bytes] wire bytes of control messages (a part of the sum, not beside it).
    speculative_control_bytes : [bytes] those of them in the speculative class.
    wire_bytes_by_class : [bytes] by traffic class: demand, speculative, background.
    busy_s : [s] with something to send.
    """

    payload_bytes: int = 0
    overhead_bytes: int = 0
    control_bytes: int = 0
    speculative_control_bytes: int = 0
    wire_bytes_by_class: dict[str, int] = field(default_factory=dict)
    busy_s: float = 0.0


@dataclass(slots=True)
class GpuTotals:
    """[s] What one GPU did with its time; the three sum to the length of the run."""

    demand_s: float = 0.0
    speculative_s: float = 0.0
    idle_s: float = 0.0


@dataclass(slots=True)
class RunResult:
    """Everything that one run (one arm, one replication) found out.

    Attributes
    ----------
    requests, transfers : one list a column, keyed by `REQUEST_COLUMNS` / `TRANSFER_COLUMNS`
        without "arm" and "replication", which are the two fields below.
    speculative_units, speculative_bytes, speculative_gpu_s : by outcome.
    pollution_bytes : [bytes] demand refetch of what speculation displaced; outside the sums.
    links, gpus : by name.
    end_s : [s] when the last request ended.
    extrapolated_time_ratio : share of GPU time priced outside the measured range of a profile.
    notes : facts worth printing (sessions cut, blocks used, ...).
    """

    arm: str
    replication: int
    requests: dict[str, list[Any]]
    transfers: dict[str, list[Any]]
    speculative_units: dict[str, int] = field(default_factory=_zero_bytes)
    speculative_bytes: dict[str, int] = field(default_factory=_zero_bytes)
    speculative_gpu_s: dict[str, float] = field(default_factory=_zero_seconds)
    pollution_bytes: int = 0
    links: dict[str, LinkTotals] = field(default_factory=dict)
    gpus: dict[str, GpuTotals] = field(default_factory=dict)
    end_s: float = 0.0
    extrapolated_time_ratio: float = 0.0
    notes: dict[str, Any] = field(default_factory=dict)
