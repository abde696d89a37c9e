"""Recorded coding-agent sessions (Claude Code) with the block runs of every request.

One session of each group of forks is kept, the first. Requests of sub-agents are nested in the recording, with
times of their own; here they become turns of the same session, in order of their start:

- a turn that follows one of the same agent keeps its recorded think time (absent = 0);
- a turn that follows another agent's waits the recorded gap between the two, at least 0. The parent's recorded
  think time would hold the sub-agent's whole stay, which is now simulated, a second time;
- sub-agents that ran side by side take turns instead: simkv's closed loop has one request open per session.

The gap before a turn is a tool's when the same agent's previous request stopped with a tool call, or when the turn
is a sub-agent's first; else it is a human's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from simkv.kv.block import Run
from simkv.request import GapKind, Session, TraceHeader, Turn
from simkv.workload.readers import fields
from simkv.workload.readers.question import FORMATS, OneARecord

#: [tokens] a block (block_size of every session).
BLOCK_TOKENS = 64
_SESSION_KEYS = ("id", "block_size", "hash_id_scope", "tool_tokens", "system_tokens", "requests")
_SESSION_REST = ("models", "totals", "dup_group")
_REQUEST_KEYS = ("t", "type", "in", "out", "stop", "hash_runs")
_REQUEST_REST = ("model", "input_types", "output_types", "api_time", "ttft", "think_time")
_AGENT_KEYS = ("t", "type", "agent_id", "requests")
_AGENT_REST = (
    "subagent_type",
    "duration_ms",
    "total_tokens",
    "tool_use_count",
    "status",
    "models",
    "tool_tokens",
    "system_tokens",
)


@dataclass(frozen=True, slots=True)
class _Request:
    """One request; `start_s` counts from the start of the session, `agent` is empty for the parent."""

    start_s: float
    end_s: float
    think_s: float
    agent: str
    gap_kind: GapKind
    input_tokens: int
    answer_tokens: int
    blocks: tuple[Run, ...]


@FORMATS.register("claude-code")
@dataclass
class ClaudeCodeFormat(OneARecord):
    """Claude Code sessions: requests with block runs, API and think times; forks are read once."""

    _seen_groups: set[str] = field(default_factory=set, init=False)  # the one thing that grows: a name a group

    def recognises(self, first: dict[str, Any]) -> bool:
        """Return whether the line has the fields of a recorded session."""
        return "hash_id_scope" in first and "requests" in first

    def header(self, first: dict[str, Any]) -> TraceHeader:
        """Return what is true of every trace of this format."""
        provenance: dict[str, object] = {"format": "claude-code"}
        return TraceHeader(BLOCK_TOKENS, None, "session", has_sessions=True, provenance=provenance)

    def session(self, record: dict[str, Any], line: int) -> Session | None:
        """Return one session; None for a fork of one that was read before."""
        fields.check_keys(record, _SESSION_KEYS, _SESSION_REST)
        if record["block_size"] != BLOCK_TOKENS or record["hash_id_scope"] != "local":
            raise ValueError(f"want block_size {BLOCK_TOKENS} and hash_id_scope 'local'")
        if "dup_group" in record:
            group = fields.name(record["dup_group"], "dup_group")
            if group in self._seen_groups:
                return None
            self._seen_groups.add(group)
        tool_tokens = fields.whole(record["tool_tokens"], "tool_tokens")
        system_tokens = fields.whole(record["system_tokens"], "system_tokens")
        turns = tuple(_turns(list(_requests(record["requests"]))))
        if not turns:
            raise ValueError("requests: want at least one request")
        leading = turns[0].block_runs[0].count if turns[0].block_runs else 0
        shared_blocks = min((tool_tokens + system_tokens) // BLOCK_TOKENS, leading)
        return Session(
            session_id=fields.name(record["id"], "id"),
            turns=turns,
            shared_key=f"{tool_tokens}/{system_tokens}" if shared_blocks else "",
            shared_blocks=shared_blocks,
        )


def _requests(value: object) -> Iterator[_Request]:
    """Yield the requests of a session, those of sub-agents in the place of the agent that made them."""
    last_s, last_stop = 0.0, ""
    for index, entry in enumerate(fields.items(value, "requests", "requests")):
        at = f"requests[{index}]"
        record = fields.mapping(entry, at)
        start_s = _start(record, at, last_s)
        last_s = start_s
        if record.get("type") == "subagent":
            yield from _agent_requests(record, at, start_s)
            continue
        gap: GapKind = "tool" if last_stop == "tool_use" else "human"
        yield _request(record, at, start_s, "", gap)
        last_stop = record["stop"]


def _agent_requests(record: dict[str, Any], at: str, agent_start_s: float) -> Iterator[_Request]:
    """Yield the requests of a sub-agent; their times count from its start."""
    fields.check_keys(record, _AGENT_KEYS, _AGENT_REST, at)
    agent = fields.name(record["agent_id"], f"{at}.agent_id")
    last_s, last_stop = 0.0, "tool_use"  # a tool call of the parent starts it
    for index, entry in enumerate(fields.items(record["requests"], f"{at}.requests", "requests")):
        inner = f"{at}.requests[{index}]"
        request = fields.mapping(entry, inner)
        last_s = _start(request, inner, last_s)
        gap: GapKind = "tool" if last_stop == "tool_use" else "human"
        yield _request(request, inner, agent_start_s + last_s, agent, gap)
        last_stop = request["stop"]


def _start(record: dict[str, Any], at: str, last_s: float) -> float:
    """Return [s] when an entry starts, which may not be before the entry in front of it."""
    start_s = fields.seconds(record.get("t"), f"{at}.t")
    if start_s < last_s:
        raise ValueError(f"{at}.t: must not decrease, got {start_s:g} after {last_s:g}")
    return start_s


def _request(record: dict[str, Any], at: str, start_s: float, agent: str, gap_kind: GapKind) -> _Request:
    fields.check_keys(record, _REQUEST_KEYS, _REQUEST_REST, at)
    if record["type"] not in ("n", "s"):
        raise ValueError(f"{at}.type: want 'n', 's' or 'subagent', got {fields.shown(record['type'])}")
    return _Request(
        start_s=start_s,
        end_s=start_s + fields.seconds(record.get("api_time", 0.0), f"{at}.api_time"),
        think_s=fields.seconds(record.get("think_time", 0.0), f"{at}.think_time"),
        agent=agent,
        gap_kind=gap_kind,
        input_tokens=fields.whole(record["in"], f"{at}.in", 1),
        answer_tokens=max(1, fields.whole(record["out"], f"{at}.out")),
        blocks=fields.runs(record["hash_runs"], f"{at}.hash_runs"),
    )


def _turns(requests: list[_Request]) -> Iterator[Turn]:
    """Yield requests as the turns of one closed loop, in order of their start."""
    before: _Request | None = None
    for request in sorted(requests, key=attrgetter("start_s")):  # stable: equal starts stay as recorded
        think_s = 0.0
        if before is not None:
            same_agent = request.agent == before.agent
            think_s = request.think_s if same_agent else max(0.0, request.start_s - before.end_s)
        gap_kind: GapKind = "none" if before is None else request.gap_kind
        before = request
        full = request.input_tokens // BLOCK_TOKENS
        blocks, new_tokens = request.blocks, request.input_tokens - full * BLOCK_TOKENS
        count = sum(run.count for run in blocks)
        if count != full:
            raise ValueError(
                f"hash_runs: {request.input_tokens} tokens are {full} full blocks of {BLOCK_TOKENS} tokens, got {count}"
            )
        last_block = None
        if not new_tokens:  # a prompt of full blocks still prefills one: something must yield the first token
            last_block = blocks[-1].end - 1
            blocks, new_tokens = fields.drop_last_block(blocks), BLOCK_TOKENS
        yield Turn(new_tokens, request.answer_tokens, think_s, gap_kind, block_runs=blocks, last_block=last_block)
