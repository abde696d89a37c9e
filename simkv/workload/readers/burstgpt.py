"""BurstGPT (CSV): requests to ChatGPT and GPT-4 at a university, in later files with the session that each belongs to.

Files without sessions are read as they come. Files with them are gathered whole, since nobody knows when a session has
ended, and their sessions come in order of their start. A request without response tokens failed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from simkv.request import Session, TraceHeader, Turn
from simkv.workload.readers import tables
from simkv.workload.readers.blocks import BLOCK_TOKENS, History, Request, check_form, session_of
from simkv.workload.readers.question import ASSUMED, FORMATS
from simkv.workload.readers.records import Record

_COLUMNS = ("Timestamp", "Model", "Request tokens", "Response tokens", "Total tokens", "Log Type")
_SESSION, _ELAPSED = "Session ID", "Elapsed time"
_HISTORIES = {
    "unknown": "every prompt has content of its own: the trace tells no prefixes",
    "included": "request tokens hold the dialogue so far, as history says",
    "excluded": "request tokens are new ones, to which the dialogue so far is added, as history says",
}


@FORMATS.register("burstgpt")
@dataclass
class BurstGptFormat:
    """BurstGPT: arrival, input and output length, in later files sessions and end-to-end times; failures left out.

    Attributes
    ----------
    history : of a session with several turns: whether its request tokens hold the dialogue so far. The publishers do
        not say; "unknown" shares nothing between prompts.
    block_tokens : [tokens] a block when the trace is played; it has none of its own.

    Source: Wang et al., "BurstGPT: a real-world workload dataset to optimize LLM serving systems", 2024.
    """

    history: History = "unknown"
    block_tokens: int = BLOCK_TOKENS
    left_out: Counter[str] = field(default_factory=Counter, init=False)

    def __post_init__(self) -> None:
        check_form(self.block_tokens, self.history)

    def recognises(self, first: dict[str, Any]) -> bool:
        """Return whether the table has BurstGPT's columns."""
        return all(column in first for column in ("Timestamp", "Request tokens", "Response tokens"))

    def header(self, first: dict[str, Any]) -> TraceHeader:
        """Return what is true of the trace; its columns tell whether it has sessions."""
        tables.check_columns(first, _COLUMNS, (_SESSION, _ELAPSED))
        has_sessions = _SESSION in first
        history = self.history if has_sessions else "unknown"
        assumed = [_HISTORIES[history], f"blocks of {self.block_tokens} tokens"]
        if has_sessions and _ELAPSED not in first:
            assumed.append("think times count from the request before, no answer's end being recorded")
        provenance: dict[str, object] = {
            "format": "burstgpt",
            "time_unit": "s; starts count from the first request",
            ASSUMED: assumed,
        }
        return TraceHeader(self.block_tokens, None, "session", has_sessions=has_sessions, provenance=provenance)

    def sessions(self, records: Iterable[Record]) -> Iterator[Session]:
        """Yield the sessions, or, where the trace tells none, each request as one of one turn."""
        gathered: dict[str, list[Request]] = {}
        first_s: float | None = None
        last_s = 0.0
        for line, row in records:
            at_s = tables.seconds(row, "Timestamp")
            if at_s < last_s:
                raise ValueError(f"Timestamp: must not decrease, got {at_s:g} after {last_s:g}")
            last_s = at_s
            first_s = at_s if first_s is None else first_s
            request = self._request(row, at_s - first_s)
            if request is None:
                continue
            if _SESSION not in row:
                turn = Turn(request.input_tokens, request.answer_tokens)
                yield Session(f"request-{line}", (turn,), start_s=request.start_s)
                continue
            key = tables.cell(row, _SESSION) or f"request-{line}"  # an API call has none
            gathered.setdefault(key, []).append(request)
        for number, requests in enumerate(gathered.values()):
            yield session_of(f"session-{number}", requests, self.history, self.block_tokens)

    def _request(self, row: dict[str, Any], start_s: float) -> Request | None:
        """Return the request of a row; None if it failed."""
        input_tokens = tables.whole(row, "Request tokens")
        answer_tokens = tables.whole(row, "Response tokens")
        elapsed_s = tables.seconds(row, _ELAPSED) if tables.has(row, _ELAPSED) else None
        if not answer_tokens or not input_tokens:
            self.left_out["failed_requests"] += 1
            return None
        return Request(input_tokens, answer_tokens, start_s, None if elapsed_s is None else start_s + elapsed_s)
