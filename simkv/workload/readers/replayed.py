"""A request as a measured vLLM run records it: `requests.jsonl` of LLMServingSim's benchmark, or as simkv renames it.

LLMServingSim's own rows have two clocks, the client's and the engine's; only the engine's is read. Rows without block
ids have content of their own. Nothing tells sessions: open loop, requests in the order in which the engine got them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from simkv.kv.block import Run
from simkv.request import Session, TraceHeader
from simkv.workload.readers import fields
from simkv.workload.readers.blocks import BLOCK_TOKENS, check_form, in_runs, turn_of, whole_ids
from simkv.workload.readers.question import ASSUMED, FORMATS
from simkv.workload.readers.records import Record
from simkv.workload.readers.timed import Timed, sessions_in_order

TIMES = ("queued_s", "scheduled_s", "first_token_s", "last_token_s")
OPTIONAL = ("id", "arrival_s", "block_ids", "priority")
#: LLMServingSim's own names and ours; its clock has any zero.
_NAMES = {
    "request_id": "id",
    "arrival_time": "arrival_s",
    "input_toks": "input_tokens",
    "output_toks": "output_tokens",
    "queued_ts": "queued_s",
    "scheduled_ts": "scheduled_s",
    "first_token_ts": "first_token_s",
    "last_token_ts": "last_token_s",
}


class Measured(NamedTuple):
    """[s] When the run's engine got a request, scheduled it, and emitted its first and last token."""

    queued_s: float
    scheduled_s: float
    first_token_s: float
    last_token_s: float


class Replayed(NamedTuple):
    """A row.

    Attributes
    ----------
    input_tokens, output_tokens : [tokens] of prompt and answer, >= 1.
    blocks : the full blocks of the prompt; empty = not recorded.
    priority : lower is more urgent.
    """

    input_tokens: int
    output_tokens: int
    measured: Measured
    blocks: tuple[Run, ...]
    priority: int


def replayed(record: dict[str, Any], block_tokens: int) -> Replayed:
    """Return a request, refusing times that are in no order and blocks that are not the prompt's.

    Examples
    --------
    >>> row = {"input_tokens": 20, "output_tokens": 1, "block_ids": [4]}
    >>> replayed(row | dict(zip(TIMES, (0, 0.5, 1, 1))), 16).blocks
    (Run(start=4, count=1),)
    """
    fields.check_keys(record, ("input_tokens", "output_tokens", *TIMES), OPTIONAL)
    tokens = fields.whole(record["input_tokens"], "input_tokens", 1)
    output_tokens = fields.whole(record["output_tokens"], "output_tokens", 1)
    measured = Measured(*(fields.seconds(record[name], name) for name in TIMES))
    queued_s, scheduled_s, first_s, last_s = measured
    if not queued_s <= scheduled_s < first_s <= last_s or (first_s < last_s) != (output_tokens > 1):
        wanted = "queued_s <= scheduled_s < first_token_s < last_token_s, the last two equal for one token alone"
        raise ValueError(f"want {wanted}, got {', '.join(f'{value:g}' for value in measured)} of {output_tokens}")
    ids = whole_ids(record.get("block_ids", []), "block_ids")
    if ids and len(ids) != tokens // block_tokens:
        full = tokens // block_tokens
        raise ValueError(f"block_ids: {tokens} tokens are {full} full blocks of {block_tokens}, got {len(ids)} ids")
    priority = record.get("priority", 0)
    if type(priority) is not int or abs(priority) > fields.MAX_COUNT:
        raise ValueError(f"priority: want a whole number, got {fields.shown(priority)}")
    blocks = fields.distinct(in_runs(ids), "block_ids")
    return Replayed(tokens, output_tokens, measured, blocks, priority)


@FORMATS.register("llmservingsim")
@dataclass
class ReplayedFormat:
    """Requests of a measured vLLM run as LLMServingSim records them: when the engine got each, lengths, blocks if told.

    Attributes
    ----------
    block_tokens : [tokens] a block of the engine.

    Source: github.com/casys-kaist/LLMServingSim, bench.
    """

    block_tokens: int = BLOCK_TOKENS
    left_out: Counter[str] = field(default_factory=Counter, init=False)

    def __post_init__(self) -> None:
        check_form(self.block_tokens)

    def recognises(self, first: dict[str, Any]) -> bool:
        """Return whether the line has lengths and the engine's times, under either names."""
        return ("input_tokens" in first and "queued_s" in first) or ("input_toks" in first and "queued_ts" in first)

    def header(self, first: dict[str, Any]) -> TraceHeader:
        """Return what is true of the trace; its first line tells whether it has blocks."""
        content = "equal block ids are equal content" if "block_ids" in first else "every prompt has content of its own"
        provenance: dict[str, object] = {
            "format": "llmservingsim",
            "time_unit": "s, on the engine's clock; starts count from the first request that it got",
            ASSUMED: [content, f"blocks of {self.block_tokens} tokens"],
        }
        return TraceHeader(self.block_tokens, None, "global", has_sessions=False, provenance=provenance)

    def sessions(self, records: Iterable[Record]) -> Iterator[Session]:
        """Yield each request in the order in which the engine got it."""
        found = []
        for line, record in records:
            row = replayed({_NAMES.get(key, key): value for key, value in record.items()}, self.block_tokens)
            turn = turn_of(row.blocks, row.input_tokens, row.output_tokens, self.block_tokens)
            priority = fields.whole(row.priority, "priority")
            found.append(Timed(row.measured.queued_s, line, turn, priority))
        yield from sessions_in_order(found)
