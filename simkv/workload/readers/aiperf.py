"""What `aiperf profile` writes of each request: `profile_export.jsonl`.

A metric is a value and its unit; times are nanoseconds of the client's clock. Lines stand in the order in which
answers ended, so the file is gathered and sorted. Warm-up, cancelled and failed requests are left out. Requests of one
conversation are a session; where no line says which turn it is, each request is one, open loop.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from simkv.request import Session, TraceHeader, Turn
from simkv.workload.readers import fields
from simkv.workload.readers.blocks import BLOCK_TOKENS, History, Request, check_form, session_of
from simkv.workload.readers.question import ASSUMED, FORMATS
from simkv.workload.readers.records import Record
from simkv.workload.readers.timed import Timed, sessions_in_order

_NS_PER_S = 1e9
_HISTORIES = {
    "unknown": "every prompt has content of its own: the export tells no prefixes",
    "included": "input lengths hold the dialogue so far, as history says",
    "excluded": "input lengths are new tokens, to which the dialogue so far is added, as history says",
}


class _Line(NamedTuple):
    start_ns: int
    line: int
    conversation: str
    turn_index: int
    request: Request


@FORMATS.register("aiperf")
@dataclass
class AiperfFormat:
    """aiperf's per-request export: start, end, input and output length, turns of conversations; failures left out.

    Attributes
    ----------
    history : of a conversation with several turns: whether input lengths hold the dialogue so far, which depends on the
        benchmark's settings; "unknown" shares nothing between prompts.
    block_tokens : [tokens] a block when the trace is played; it has none of its own.

    Source: github.com/ai-dynamo/aiperf, docs/tutorials/working-with-profile-exports.md.
    """

    history: History = "unknown"
    block_tokens: int = BLOCK_TOKENS
    left_out: Counter[str] = field(default_factory=Counter, init=False)

    def __post_init__(self) -> None:
        check_form(self.block_tokens, self.history)

    def recognises(self, first: dict[str, Any]) -> bool:
        """Return whether the line has metadata and metrics of a request."""
        metadata = first.get("metadata")
        return isinstance(metadata, dict) and "request_start_ns" in metadata and "metrics" in first

    def header(self, first: dict[str, Any]) -> TraceHeader:
        """Return what is true of the trace; its first line tells whether it has turns."""
        has_sessions = _has_turns(first)
        assumed = [_HISTORIES[self.history if has_sessions else "unknown"], f"blocks of {self.block_tokens} tokens"]
        provenance: dict[str, object] = {
            "format": "aiperf",
            "time_unit": "ns; starts count from the first request",
            ASSUMED: assumed,
        }
        return TraceHeader(self.block_tokens, None, "session", has_sessions=has_sessions, provenance=provenance)

    def sessions(self, records: Iterable[Record]) -> Iterator[Session]:
        """Yield the conversations, or each request, in order of their start."""
        lines: list[_Line] = []
        has_turns: bool | None = None
        for line, record in records:
            has_turns = _has_turns(record) if has_turns is None else has_turns
            if (found := self._line(record, line)) is not None:
                lines.append(found)
        lines.sort(key=lambda each: each[:2])
        if not lines:
            return
        if not has_turns:
            yield from sessions_in_order(
                Timed((each.start_ns - lines[0].start_ns) / _NS_PER_S, each.line, Turn(*each.request[:2]))
                for each in lines
            )
            return
        for number, turns in enumerate(_conversations(lines)):
            timed = [_from(each, lines[0].start_ns) for each in turns]
            yield session_of(f"conversation-{number}", timed, self.history, self.block_tokens)

    def _line(self, record: dict[str, Any], line: int) -> _Line | None:
        """Return the request of a line; None if it is not to be played."""
        metadata = fields.mapping(record.get("metadata"), "metadata")
        if reason := _left_out(record, metadata):  # its times and lengths may be anything
            self.left_out[reason] += 1
            return None
        metrics = fields.mapping(record.get("metrics") or {}, "metrics")
        input_tokens, answer_tokens = (_tokens(metrics, f"{which}_sequence_length") for which in ("input", "output"))
        if not input_tokens or not answer_tokens:
            self.left_out["requests_without_tokens"] += 1
            return None
        start_ns = _moment(metadata, "request_start_ns")
        end_ns = _moment(metadata, "request_end_ns")
        if end_ns < start_ns:
            raise ValueError(f"metadata.request_end_ns: want at least request_start_ns, got {end_ns}")
        request = Request(input_tokens, answer_tokens, float(start_ns), float(end_ns))
        turn = fields.whole(metadata.get("turn_index", 0), "metadata.turn_index")
        return _Line(start_ns, line, _conversation(metadata, line), turn, request)


def _has_turns(record: dict[str, Any]) -> bool:
    metadata = record.get("metadata")
    return isinstance(metadata, dict) and metadata.get("turn_index") is not None


def _left_out(record: dict[str, Any], metadata: dict[str, Any]) -> str:
    """Return why a request is not to be played; "" if it is."""
    if metadata.get("benchmark_phase") == "warmup":
        return "warm-up_requests"
    if metadata.get("was_cancelled"):
        return "cancelled_requests"
    return "failed_requests" if record.get("error") else ""


def _moment(metadata: dict[str, Any], name: str) -> int:
    value = metadata.get(name)
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError(f"metadata.{name}: want nanoseconds, a whole number, got {fields.shown(value)}")
    return value


def _tokens(metrics: dict[str, Any], name: str) -> int:
    """Return a metric in tokens; 0 where it is not there."""
    metric = metrics.get(name)
    if metric is None:
        return 0
    value = metric
    if isinstance(metric, dict):
        value = metric.get("value")
        if metric.get("unit", "tokens") != "tokens":
            raise ValueError(f"metrics.{name}.unit: want tokens, got {fields.shown(metric['unit'])}")
    if type(value) is float and value.is_integer():
        value = int(value)
    return fields.whole(value, f"metrics.{name}")


def _conversation(metadata: dict[str, Any], line: int) -> str:
    """Return which conversation a request belongs to; ids of a run of it before ids of what it says."""
    for name in ("x_correlation_id", "conversation_id", "session_num"):
        if metadata.get(name) is not None:
            return f"{name} {metadata[name]}"
    return f"line {line}"


def _conversations(lines: Iterable[_Line]) -> Iterator[list[_Line]]:
    """Yield the turns of each conversation, in order of first start; one that begins again is another."""
    open_now: dict[str, list[_Line]] = {}
    found: list[list[_Line]] = []
    for each in lines:
        turns = open_now.get(each.conversation)
        if turns is None or each.turn_index <= turns[-1].turn_index:
            turns = open_now[each.conversation] = []
            found.append(turns)
        turns.append(each)
    yield from found


def _from(each: _Line, origin_ns: int) -> Request:
    """Return a request with times [s] from the first of the trace."""
    tokens, answer, _, end_ns = each.request
    end = int(end_ns or 0)
    return Request(tokens, answer, (each.start_ns - origin_ns) / _NS_PER_S, (end - origin_ns) / _NS_PER_S)
