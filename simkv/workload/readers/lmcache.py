"""LMCache's agent request logs: as published, with the text of each prompt, or as runs of hashed blocks.

The requests of a session are its turns, one after another. Equal blocks are equal content across the whole trace. A
text is hashed and forgotten.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from simkv.kv.block import Run
from simkv.request import GapKind, Session, TraceHeader, Turn
from simkv.workload.readers import fields
from simkv.workload.readers.blocks import BLOCK_TOKENS, HashedBlocks, check_form, in_runs, turn_of
from simkv.workload.readers.question import ASSUMED, FORMATS
from simkv.workload.readers.records import Record
from simkv.workload.readers.text_tokens import TextTokens

_US_PER_S = 1e6
_BLOCK_KEYS = ("session_id", "t_s", "input_length", "output_length", "hash_runs")
_TEXT_KEYS = ("session_id", "timestamp_us", "input", "output")
_REST = ("agent", "turn")


@FORMATS.register("lmcache-agents")
@dataclass
class LmcacheFormat:
    """LMCache's agent logs: sessions of requests, their prompts as text or as block runs; gaps are machine time.

    Attributes
    ----------
    tokenizer : path of a tokenizer.json for logs with text; None = four characters a token.
    block_tokens : [tokens] a block; that of the trace where it has blocks.

    Source: github.com/LMCache/lmcache-agent-trace.
    """

    tokenizer: Path | None = None
    block_tokens: int = BLOCK_TOKENS
    left_out: Counter[str] = field(default_factory=Counter, init=False)

    def __post_init__(self) -> None:
        check_form(self.block_tokens)
        self._tokens = TextTokens(self.tokenizer)
        self._blocks = HashedBlocks()

    def recognises(self, first: dict[str, Any]) -> bool:
        """Return whether it is a request of an agent's session, in either form."""
        return "session_id" in first and ("hash_runs" in first or ("timestamp_us" in first and "input" in first))

    def header(self, first: dict[str, Any]) -> TraceHeader:
        """Return what is true of the trace; its first line tells whether it has text."""
        has_text = "hash_runs" not in first
        if self.tokenizer and not has_text:
            raise ValueError("tokenizer: this trace has block runs and no text; want no tokenizer")
        provenance: dict[str, object] = {
            "format": "lmcache-agents",
            "time_unit": "us" if has_text else "s",
            "tokens": self._tokens.words if has_text else "as counted in the trace",
            ASSUMED: [
                "think times are a tool's and count from the request before, no answer's end being recorded",
                "starts are not read; sessions begin as the scenario says",
                f"blocks of {self.block_tokens} tokens",
            ],
        }
        return TraceHeader(self.block_tokens, None, "global", has_sessions=True, provenance=provenance)

    def sessions(self, records: Iterable[Record]) -> Iterator[Session]:
        """Yield the requests of each session, which stand together."""
        seen: set[str] = set()
        for name, group in groupby((record for _, record in records), key=_session_id):
            if name in seen:
                raise ValueError(f"session_id: want the requests of a session together, got {fields.shown(name)} again")
            seen.add(name)
            if turns := tuple(self._turns(group)):
                yield Session(f"session-{len(seen)}", turns)

    def _turns(self, records: Iterable[dict[str, Any]]) -> Iterator[Turn]:
        before_s: float | None = None
        for record in records:
            at_s, blocks, tokens, answer_tokens = self._texts(record) if "input" in record else self._counts(record)
            if before_s is not None and at_s < before_s:
                raise ValueError(f"times must not decrease in a session, got {at_s:g} s after {before_s:g} s")
            if not tokens:
                self.left_out["requests_without_a_prompt"] += 1
                continue
            gap: tuple[float, GapKind] = (0.0, "none") if before_s is None else (at_s - before_s, "tool")
            before_s = at_s
            yield turn_of(blocks, tokens, max(1, answer_tokens), self.block_tokens, *gap)

    def _counts(self, record: dict[str, Any]) -> tuple[float, tuple[Run, ...], int, int]:
        fields.check_keys(record, _BLOCK_KEYS, _REST)
        tokens = fields.whole(record["input_length"], "input_length")
        blocks, full = fields.runs(record["hash_runs"], "hash_runs"), tokens // self.block_tokens
        if (count := sum(run.count for run in blocks)) != full:
            size = f"full blocks of {self.block_tokens} tokens"
            raise ValueError(f"hash_runs: {tokens} tokens are {full} {size}, got {count}")
        answer_tokens = fields.whole(record["output_length"], "output_length")
        return fields.seconds(record["t_s"], "t_s"), blocks, tokens, answer_tokens

    def _texts(self, record: dict[str, Any]) -> tuple[float, tuple[Run, ...], int, int]:
        fields.check_keys(record, _TEXT_KEYS, _REST)
        prompt, answer = record["input"], record["output"]
        for name in ("input", "output"):
            if not isinstance(record[name], str):
                raise ValueError(f"{name}: want text, got {fields.shown(record[name])}")
        content = self._tokens.content(prompt)
        tokens = len(content) // self._tokens.token_bytes
        whole = tokens // self.block_tokens * self.block_tokens * self._tokens.token_bytes
        ids = self._blocks.ids(content[:whole], self.block_tokens * self._tokens.token_bytes)
        return _scaled(record["timestamp_us"]), in_runs(ids), tokens, self._tokens.count(answer)


def _session_id(record: dict[str, Any]) -> str:
    return fields.name(record.get("session_id"), "session_id")


def _scaled(value: object) -> float:
    """Return [s] of a time in microseconds since 1970."""
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError(f"timestamp_us: want microseconds, a whole number, got {fields.shown(value)}")
    return value / _US_PER_S
