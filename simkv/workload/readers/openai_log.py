"""Logs of OpenAI-style chat requests: what was sent, what came back, or both; a line a request.

Three forms are one: messages and usage side by side; `request` and `response`; and the batch interface's files, where
a request is the `body` and an answer `response.body`. Prompts are hashed by ourselves, message by message, so that
equal fronts share blocks; texts, names and ids are forgotten. Clients send the whole dialogue with each request and
nothing tells whose it is: open loop, and the dialogue so far is a shared front. The log is gathered and sorted by time.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from simkv.request import Session, TraceHeader
from simkv.workload.readers import fields
from simkv.workload.readers.blocks import BLOCK_TOKENS, HashedBlocks, check_form, in_runs, turn_of
from simkv.workload.readers.question import ASSUMED, FORMATS
from simkv.workload.readers.records import Record
from simkv.workload.readers.text_tokens import TextTokens
from simkv.workload.readers.timed import Timed, sessions_in_order

_OK = 200


@FORMATS.register("openai-log")
@dataclass
class OpenAiLogFormat:
    """OpenAI-style logs and batch files: messages hashed into blocks, usage, time of each request; no sessions.

    Attributes
    ----------
    tokenizer : path of a tokenizer.json; None = four characters a token.
    answer_tokens : [tokens] of an answer that the log does not have, as in a batch that was not run; 0 = refuse it.
    block_tokens : [tokens] a block when the trace is played; it has none of its own.

    Source: OpenAI's API reference: chat completion object, batch input and output files.
    """

    tokenizer: Path | None = None
    answer_tokens: int = 0
    block_tokens: int = BLOCK_TOKENS
    left_out: Counter[str] = field(default_factory=Counter, init=False)

    def __post_init__(self) -> None:
        check_form(self.block_tokens)
        if not 0 <= self.answer_tokens <= fields.MAX_COUNT:
            raise ValueError(f"answer_tokens must not be negative, got {self.answer_tokens}")
        self._tokens = TextTokens(self.tokenizer)
        self._blocks = HashedBlocks()

    def recognises(self, first: dict[str, Any]) -> bool:
        """Return whether the line holds messages of a chat or what a chat used."""
        answered = _answered(first)
        has_usage = isinstance(answered.get("usage"), dict) and "choices" in answered
        return has_usage or isinstance(_asked(first).get("messages"), list)

    def header(self, first: dict[str, Any]) -> TraceHeader:
        """Return what is true of the trace; its first line tells what the log has."""
        has_text, has_usage = "messages" in _asked(first), isinstance(_answered(first).get("usage"), dict)
        content = "equal fronts of messages are equal content" if has_text else "every prompt has content of its own"
        assumed = [content, f"blocks of {self.block_tokens} tokens"]
        if has_text and has_usage:
            assumed.append("blocks that usage counts behind the messages' own (tools, templates) are shared by nobody")
        if _created(_answered(first)) is None:
            assumed.append("requests come all at once: the log has no times")
        if self.answer_tokens:
            assumed.append(f"{self.answer_tokens} tokens in an answer that is not in the log")
        provenance: dict[str, object] = {
            "format": "openai-log",
            "time_unit": "s; starts count from the first request",
            "tokens": f"usage where the log has it, else {self._tokens.words}",
            ASSUMED: assumed,
        }
        return TraceHeader(self.block_tokens, None, "global", has_sessions=False, provenance=provenance)

    def sessions(self, records: Iterable[Record]) -> Iterator[Session]:
        """Yield each request that was answered, in order of time."""
        found = []
        for line, record in records:
            if (request := self._request(record, line)) is not None:
                found.append(request)
        yield from sessions_in_order(found)

    def _request(self, record: dict[str, Any], line: int) -> Timed | None:
        asked, answered = _asked(record), _answered(record)
        if _failed(record):
            self.left_out["failed_requests"] += 1
            return None
        usage = fields.mapping(answered.get("usage") or {}, "usage")
        content = self._content(asked.get("messages"), must_count="prompt_tokens" not in usage)
        size = self._tokens.token_bytes
        if "prompt_tokens" in usage:
            tokens = fields.whole(usage["prompt_tokens"], "usage.prompt_tokens", 1)
        elif content:
            tokens = len(content) // size
        else:
            raise ValueError("want messages, or usage with prompt_tokens")
        answer_tokens = self._answer(usage, answered)
        full = tokens // self.block_tokens
        ids = self._blocks.ids(content[: full * self.block_tokens * size], self.block_tokens * size)
        ids += self._blocks.fresh(full - len(ids))
        turn = turn_of(in_runs(ids), tokens, answer_tokens, self.block_tokens)
        return Timed(_created(answered) or 0.0, line, turn)

    def _content(self, messages: object, must_count: bool) -> bytes:
        """Return the messages as bytes of tokens; roles count as text."""
        if messages is None:
            return b""
        found = []
        for index, value in enumerate(fields.items(messages, "messages", "messages")):
            message = fields.mapping(value, f"messages[{index}]")
            role = fields.name(message.get("role"), f"messages[{index}].role")
            text = f"{role}\n{_said(message, f'messages[{index}]', must_count)}"
            found.append(self._tokens.content(text))
        return b"".join(found)

    def _answer(self, usage: dict[str, Any], answered: dict[str, Any]) -> int:
        """Return [tokens] of the answer, at least 1."""
        if "completion_tokens" in usage:
            return max(1, fields.whole(usage["completion_tokens"], "usage.completion_tokens"))
        if "choices" in answered:
            said = fields.items(answered["choices"], "choices", "choices")
            if said:
                message = fields.mapping(fields.mapping(said[0], "choices[0]").get("message"), "choices[0].message")
                return max(1, self._tokens.count(_said(message, "choices[0].message", must_count=True)))
        if not self.answer_tokens:
            raise ValueError(
                "no usage.completion_tokens and no choices; want answer_tokens, the length of such answers"
            )
        return self.answer_tokens


def _asked(record: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a line that holds the request."""
    for key in ("body", "request"):
        if isinstance(record.get(key), dict):
            return record[key]  # type: ignore[no-any-return]
    return record


def _answered(record: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a line that holds the answer."""
    response = record.get("response")
    if not isinstance(response, dict):
        return record
    body = response.get("body")
    return body if isinstance(body, dict) else response


def _failed(record: dict[str, Any]) -> bool:
    response = record.get("response")
    status = response.get("status_code", _OK) if isinstance(response, dict) else _OK
    return bool(record.get("error")) or status != _OK or bool(_answered(record).get("error"))


def _created(answered: dict[str, Any]) -> float | None:
    created = answered.get("created")
    return None if created is None else fields.seconds(created, "created")


def _said(message: dict[str, Any], at: str, must_count: bool) -> str:
    """Return what a message says, as one text; what is no text stands as JSON, and has no known length."""
    content = message.get("content")
    said: list[str] = []
    if isinstance(content, str):
        said.append(content)
    elif content is not None:
        for index, value in enumerate(fields.items(content, f"{at}.content", "parts")):
            part = fields.mapping(value, f"{at}.content[{index}]")
            is_text = isinstance(part.get("text"), str)
            if must_count and not is_text:
                raise ValueError(
                    f"{at}.content[{index}]: no text, so its tokens are not known; want usage.prompt_tokens"
                )
            said.append(part["text"] if is_text else json.dumps(part, sort_keys=True))
    if message.get("tool_calls"):
        said.append(json.dumps(message["tool_calls"], sort_keys=True))
    return "\n".join(said)
