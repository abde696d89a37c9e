"""Qwen-Bailian usage traces (Alibaba): requests with salted 16-token blocks, and the request that each goes on from.

The requests of one tree of parents are the turns of one session, in order of time; where a reader went on twice from
one answer, the two take turns. The file is gathered whole, since nobody knows when a tree has ended. Blocks are hashed
one by one or with all before them, the publishers do not say; here an id stands for its whole prefix in either case.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from simkv.kv.block import Run
from simkv.request import Session, TraceHeader, Turn
from simkv.workload.readers import fields
from simkv.workload.readers.blocks import ChainedBlocks, check_form, turn_of, whole_ids
from simkv.workload.readers.question import ASSUMED, FORMATS
from simkv.workload.readers.records import Record

#: [tokens] a block (in the files' names).
BLOCK_TOKENS = 16
_KEYS = ("chat_id", "parent_chat_id", "timestamp", "input_length", "output_length", "hash_ids")
_ROOT = -1


@FORMATS.register("qwen-bailian")
@dataclass
class BailianFormat:
    """Qwen-Bailian traces: arrival, lengths, global blocks, sessions by links to the request before.

    Attributes
    ----------
    block_tokens : [tokens] a block of the trace.

    Source: Wang et al., "KVCache cache in the wild", USENIX ATC 2025; alibaba-edu/qwen-bailian-usagetraces-anon.
    """

    block_tokens: int = BLOCK_TOKENS
    left_out: Counter[str] = field(default_factory=Counter, init=False)

    def __post_init__(self) -> None:
        check_form(self.block_tokens)
        self._blocks = ChainedBlocks()

    def recognises(self, first: dict[str, Any]) -> bool:
        """Return whether the line is a request with a parent."""
        return "parent_chat_id" in first and "hash_ids" in first

    def header(self, first: dict[str, Any]) -> TraceHeader:
        """Return what is true of every trace of this format."""
        provenance: dict[str, object] = {
            "format": "qwen-bailian",
            "time_unit": "s",
            ASSUMED: [
                "think times count from the request before, no answer's end being recorded",
                "requests that go on from one answer take turns",
                "searches, images and files are tokens like others",
                f"blocks of {self.block_tokens} tokens",
            ],
        }
        return TraceHeader(self.block_tokens, None, "global", has_sessions=True, provenance=provenance)

    def sessions(self, records: Iterable[Record]) -> Iterator[Session]:
        """Yield one session for each tree of requests, in order of their first."""
        tree_of: dict[int, int] = {}  # chat -> its tree
        trees: list[tuple[array[float], list[Turn]]] = []
        last_s = 0.0
        for _, record in records:
            chat, parent, at_s = self._place(record, last_s)
            last_s = at_s
            turn = self._turn(record)
            if chat in tree_of:
                raise ValueError(f"chat_id: {chat} is given twice")
            tree = tree_of.get(parent)
            if tree is None:
                self.left_out["parents_before_the_trace"] += parent != _ROOT
                tree = len(trees)
                trees.append((array("d"), []))
            tree_of[chat] = tree
            trees[tree][0].append(at_s)
            trees[tree][1].append(turn)
        del tree_of
        for number, (starts, turns) in enumerate(trees):
            yield Session(f"chat-{number}", tuple(_timed(starts, turns)), start_s=starts[0])

    def _place(self, record: dict[str, Any], last_s: float) -> tuple[int, int, float]:
        fields.check_keys(record, _KEYS, ("type", "turn"))
        at_s = fields.seconds(record["timestamp"], "timestamp")
        if at_s < last_s:
            raise ValueError(f"timestamp: must not decrease, got {at_s:g} after {last_s:g}")
        parent = record["parent_chat_id"]
        if parent != _ROOT or type(parent) is not int:
            parent = fields.whole(parent, "parent_chat_id")
        return fields.whole(record["chat_id"], "chat_id"), parent, at_s

    def _turn(self, record: dict[str, Any]) -> Turn:
        tokens = fields.whole(record["input_length"], "input_length", 1)
        ids = whole_ids(record["hash_ids"], "hash_ids")
        full = tokens // self.block_tokens
        if len(ids) not in (full, -(-tokens // self.block_tokens)):
            size = f"full blocks of {self.block_tokens} tokens"
            raise ValueError(f"hash_ids: {tokens} tokens are {full} {size}, got {len(ids)} ids")
        answer_tokens = max(1, fields.whole(record["output_length"], "output_length"))
        blocks: tuple[Run, ...] = self._blocks.runs(ids[:full])
        return turn_of(blocks, tokens, answer_tokens, self.block_tokens)


def _timed(starts: array[float], turns: list[Turn]) -> Iterator[Turn]:
    """Yield the turns of a session with the time since the one before."""
    yield turns[0]
    for index, turn in enumerate(turns[1:], start=1):
        yield Turn(
            turn.new_tokens,
            turn.answer_tokens,
            starts[index] - starts[index - 1],
            "human",
            block_runs=turn.block_runs,
            last_block=turn.last_block,
        )
