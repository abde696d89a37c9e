"""Mooncake's production traces (FAST'25): one request a line with the ids of its 512-token blocks.

A line has no session: each request is a session of one turn, open loop. An id stands for its whole prefix, so
equal ids are equal content for every request of the trace.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from simkv.request import Session, TraceHeader, Turn
from simkv.workload.readers import fields
from simkv.workload.readers.blocks import check_form, in_runs, whole_ids
from simkv.workload.readers.question import FORMATS, OneARecord

#: [tokens] a block (README of the FAST'25 release).
BLOCK_TOKENS = 512
#: [s] Timestamps come in steps of this; arrivals are spread inside a step when the trace is played (semantics H2).
TIMESTAMP_QUANTUM_S = 3.0
_KEYS = ("timestamp", "input_length", "output_length", "hash_ids")


@FORMATS.register("mooncake")
@dataclass
class MooncakeFormat(OneARecord):
    """Mooncake's JSONL traces: timestamp, input and output length, global block ids; no sessions.

    Attributes
    ----------
    block_tokens : [tokens] a block; others than Mooncake write the same form with smaller ones.
    time_unit : of timestamps.
    tick_s : [s] timestamps come in steps of this.
    last_timestamp : of the line before; none may be earlier.
    """

    block_tokens: int = BLOCK_TOKENS
    time_unit: Literal["ms", "s"] = "ms"
    tick_s: float = TIMESTAMP_QUANTUM_S
    last_timestamp: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        check_form(self.block_tokens)
        if self.time_unit not in ("ms", "s"):
            raise ValueError(f"time_unit must be ms or s, got {self.time_unit!r}")
        if not 0 <= self.tick_s <= fields.MAX_COUNT:
            raise ValueError(f"tick_s must not be negative, got {self.tick_s}")

    def recognises(self, first: dict[str, Any]) -> bool:
        """Return whether the line has Mooncake's fields."""
        return "hash_ids" in first and "timestamp" in first and "parent_chat_id" not in first

    def header(self, first: dict[str, Any]) -> TraceHeader:
        """Return what is true of every trace of this format."""
        provenance: dict[str, object] = {
            "format": "mooncake",
            "time_unit": self.time_unit,
            "timestamp_quantum_s": self.tick_s,
        }
        return TraceHeader(self.block_tokens, None, "global", has_sessions=False, provenance=provenance)

    def session(self, record: dict[str, Any], line: int) -> Session:
        """Return one request as a session of one turn."""
        fields.check_keys(record, _KEYS, ())
        timestamp, size = fields.seconds(record["timestamp"], "timestamp"), self.block_tokens
        if timestamp < self.last_timestamp:
            raise ValueError(f"timestamp: must not decrease, got {timestamp:g} after {self.last_timestamp:g}")
        self.last_timestamp = timestamp
        input_tokens = fields.whole(record["input_length"], "input_length", 1)
        ids = whole_ids(record["hash_ids"], "hash_ids")
        full = input_tokens // size
        if len(ids) not in (full, -(-input_tokens // size)):
            raise ValueError(
                f"hash_ids: {input_tokens} tokens are {full} full blocks of {size} tokens, got {len(ids)} ids"
            )
        named = fields.distinct(in_runs(ids), "hash_ids")
        partial = len(ids) > full
        blocks = fields.drop_last_block(named) if partial else named
        new_tokens = input_tokens - full * size
        if not new_tokens:  # a prompt of full blocks still prefills one: something must yield the first token
            blocks, new_tokens, partial = fields.drop_last_block(blocks), size, True
        turn = Turn(
            new_tokens=new_tokens,
            answer_tokens=max(1, fields.whole(record["output_length"], "output_length")),
            block_runs=blocks,
            last_block=named[-1].end - 1 if partial else None,
        )
        start_s = timedelta(milliseconds=timestamp).total_seconds() if self.time_unit == "ms" else timestamp
        return Session(f"request-{line}", (turn,), start_s=start_s)
