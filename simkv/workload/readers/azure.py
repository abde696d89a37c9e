"""Azure's LLM inference traces of 2023, 2024 and 2025 (CSV): when each request came, and its lengths.

Nothing tells sessions or prefixes: each request is a session of one turn with content of its own, open loop.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from simkv.request import Session, TraceHeader, Turn
from simkv.units import NS_PER_S
from simkv.workload.readers import tables
from simkv.workload.readers.blocks import BLOCK_TOKENS, check_form
from simkv.workload.readers.question import ASSUMED, FORMATS
from simkv.workload.readers.records import Record

_COLUMNS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
_IMAGES = "NumImages"


@FORMATS.register("azure-llm")
@dataclass
class AzureFormat:
    """Azure LLM inference traces: arrival to 100 ns, input and output length; no sessions, no prefixes.

    Attributes
    ----------
    block_tokens : [tokens] a block when the trace is played; it has none of its own.

    Source: github.com/Azure/AzurePublicDataset; Patel et al., "Splitwise", ISCA 2024.
    """

    block_tokens: int = BLOCK_TOKENS
    left_out: Counter[str] = field(default_factory=Counter, init=False)

    def __post_init__(self) -> None:
        check_form(self.block_tokens)

    def recognises(self, first: dict[str, Any]) -> bool:
        """Return whether the table has Azure's columns."""
        return all(column in first for column in _COLUMNS)

    def header(self, first: dict[str, Any]) -> TraceHeader:
        """Return what is true of every trace of this format."""
        tables.check_columns(first, _COLUMNS, (_IMAGES,))
        assumed = [
            "every prompt has content of its own: the trace tells no prefixes",
            f"blocks of {self.block_tokens} tokens",
        ]
        if _IMAGES in first:
            assumed.append("images are tokens like others, as far as ContextTokens counts them")
        provenance: dict[str, object] = {
            "format": "azure-llm",
            "time_unit": "date and time; starts count from the first request",
            ASSUMED: assumed,
        }
        return TraceHeader(self.block_tokens, None, "global", has_sessions=False, provenance=provenance)

    def sessions(self, records: Iterable[Record]) -> Iterator[Session]:
        """Yield each request as a session of one turn; requests without an answer are left out."""
        first_ns = last_ns = None
        for line, row in records:
            at_ns = tables.moment_ns(row, "TIMESTAMP")
            if last_ns is not None and at_ns < last_ns:
                raise ValueError(f"TIMESTAMP: must not decrease, got {tables.cell(row, 'TIMESTAMP')}")
            first_ns, last_ns = at_ns if first_ns is None else first_ns, at_ns
            input_tokens = tables.whole(row, "ContextTokens")
            answer_tokens = tables.whole(row, "GeneratedTokens")
            if not input_tokens or not answer_tokens:
                self.left_out["requests_without_tokens"] += 1
                continue
            start_s = (at_ns - first_ns) / NS_PER_S
            yield Session(f"request-{line}", (Turn(input_tokens, answer_tokens),), start_s=start_s)
