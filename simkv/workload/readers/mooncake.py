"""Mooncake's production traces (FAST'25): one request a line with the ids of its 512-token blocks.

A line has no session: each request is a session of one turn, open loop. An id stands for its whole prefix, so
equal ids are equal content for every request of the trace.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from simkv.kv.block import Run
from simkv.kv.runmap import REGION_BLOCKS
from simkv.request import Session, TraceHeader, Turn
from simkv.workload.readers import fields
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
    last_timestamp : [ms] of the line before; none may be earlier.
    """

    last_timestamp: float = field(default=0.0, init=False)

    def recognises(self, first: dict[str, Any]) -> bool:
        """Return whether the line has Mooncake's fields."""
        return "hash_ids" in first and "timestamp" in first and "parent_chat_id" not in first

    def header(self, first: dict[str, Any]) -> TraceHeader:
        """Return what is true of every trace of this format."""
        provenance: dict[str, object] = {"format": "mooncake", "timestamp_quantum_s": TIMESTAMP_QUANTUM_S}
        return TraceHeader(BLOCK_TOKENS, None, "global", has_sessions=False, provenance=provenance)

    def session(self, record: dict[str, Any], line: int) -> Session:
        """Return one request as a session of one turn."""
        fields.check_keys(record, _KEYS, ())
        timestamp_ms = fields.seconds(record["timestamp"], "timestamp")
        if timestamp_ms < self.last_timestamp:
            raise ValueError(f"timestamp: must not decrease, got {timestamp_ms:g} after {self.last_timestamp:g}")
        self.last_timestamp = timestamp_ms
        input_tokens = fields.whole(record["input_length"], "input_length", 1)
        ids = fields.items(record["hash_ids"], "hash_ids", "block ids")
        full = input_tokens // BLOCK_TOKENS
        if len(ids) not in (full, -(-input_tokens // BLOCK_TOKENS)):
            raise ValueError(
                f"hash_ids: {input_tokens} tokens are {full} full blocks of {BLOCK_TOKENS} tokens, got {len(ids)} ids"
            )
        named = fields.distinct(runs_of(ids), "hash_ids")
        partial = len(ids) > full
        blocks = fields.drop_last_block(named) if partial else named
        new_tokens = input_tokens - full * BLOCK_TOKENS
        if not new_tokens:  # a prompt of full blocks still prefills one: something must yield the first token
            blocks, new_tokens, partial = fields.drop_last_block(blocks), BLOCK_TOKENS, True
        turn = Turn(
            new_tokens=new_tokens,
            answer_tokens=max(1, fields.whole(record["output_length"], "output_length")),
            block_runs=blocks,
            last_block=named[-1].end - 1 if partial else None,
        )
        return Session(f"request-{line}", (turn,), start_s=timedelta(milliseconds=timestamp_ms).total_seconds())


def runs_of(ids: Iterable[object], at: str = "hash_ids") -> tuple[Run, ...]:
    """Return block ids as runs of consecutive ones, in the same order; `at` names the list in messages.

    Examples
    --------
    >>> runs_of([0, 1, 2, 14, 15])
    (Run(start=0, count=3), Run(start=14, count=2))
    """
    found: list[Run] = []
    start = end = -1
    for index, value in enumerate(ids):
        block = fields.whole(value, f"{at}[{index}]")
        if block >= REGION_BLOCKS:
            raise ValueError(f"{at}[{index}]: want an id below {REGION_BLOCKS}, got {block}")
        if block != end:
            if end >= 0:
                found.append(Run(start, end - start))
            start = block
        end = block + 1
    if end >= 0:
        found.append(Run(start, end - start))
    return tuple(found)
