"""Chats of which only texts or lengths are known: ShareGPT's JSON, and the same as counts.

A turn is what a human said, with all before it, and the answer behind it. Nothing tells when: the scenario names the
source of think times and the rate at which sessions come. Texts are counted and forgotten.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from simkv.request import Session, TraceHeader
from simkv.workload.readers import fields
from simkv.workload.readers.blocks import BLOCK_TOKENS, Request, check_form, session_of
from simkv.workload.readers.question import ASSUMED, FORMATS, MISSING, THINK_TIMES
from simkv.workload.readers.records import Record
from simkv.workload.readers.text_tokens import TextTokens

#: Who says what. A system's message is read with the question that follows it.
_ASKS, _ANSWERS, _FRAMES = "asks", "answers", "frames"
_ROLES = {
    **dict.fromkeys(("human", "user", "u"), _ASKS),
    **dict.fromkeys(("gpt", "assistant", "chatgpt", "bing", "bard", "model", "a"), _ANSWERS),
    **dict.fromkeys(("system", "s"), _FRAMES),
}


def requests_of(messages: Iterable[tuple[str, int]], left_out: Counter[str]) -> list[Request]:
    """Return the turns of a conversation from the kind and the [tokens] of each message.

    What is said before the first question belongs to its prompt; a question without answer is left out.

    Examples
    --------
    >>> requests_of([("frames", 10), ("asks", 5), ("answers", 7), ("asks", 3)], Counter())
    [Request(input_tokens=15, answer_tokens=7, start_s=None, end_s=None)]
    """
    found: list[Request] = []
    waiting, is_asked = 0, False
    for kind, tokens in messages:
        if kind != _ANSWERS:
            waiting, is_asked = waiting + tokens, is_asked or kind == _ASKS
        elif not is_asked and found:  # one answer in two messages
            found[-1] = found[-1]._replace(answer_tokens=found[-1].answer_tokens + tokens)
        elif is_asked and tokens and waiting:
            found.append(Request(waiting, tokens))
            waiting, is_asked = 0, False
        else:
            waiting += tokens
    left_out["unanswered_questions"] += is_asked
    return found


class _Chats:
    """What both forms share."""

    block_tokens: int
    left_out: Counter[str]

    def _header(self, name: str, tokens: str) -> TraceHeader:
        provenance: dict[str, object] = {
            "format": name,
            "tokens": tokens,
            MISSING: [THINK_TIMES],
            ASSUMED: [
                "a prompt holds the whole dialogue so far; conversations share nothing",
                f"blocks of {self.block_tokens} tokens",
            ],
        }
        return TraceHeader(self.block_tokens, None, "session", has_sessions=True, provenance=provenance)

    def _session(self, number: int, messages: Iterable[tuple[str, int]]) -> Session | None:
        requests = requests_of(messages, self.left_out)
        if not requests:
            self.left_out["conversations_without_an_answer"] += 1
            return None
        return session_of(f"conversation-{number}", requests, "excluded", self.block_tokens)

    def _check(self) -> None:
        check_form(self.block_tokens)


@FORMATS.register("sharegpt")
@dataclass
class ShareGptFormat(_Chats):
    """ShareGPT's conversations as text: turns of human and model; lengths by a tokenizer or 4 characters a token.

    Attributes
    ----------
    tokenizer : path of a tokenizer.json; None = four characters a token.
    block_tokens : [tokens] a block when the trace is played; it has none of its own.

    Source: the form of ShareGPT_V3_unfiltered_cleaned_split.json, which benchmarks of serving systems read.
    """

    tokenizer: Path | None = None
    block_tokens: int = BLOCK_TOKENS
    left_out: Counter[str] = field(default_factory=Counter, init=False)

    def __post_init__(self) -> None:
        self._check()
        self._tokens = TextTokens(self.tokenizer)

    def recognises(self, first: dict[str, Any]) -> bool:
        """Return whether it is a conversation."""
        return isinstance(first.get("conversations"), list)

    def header(self, first: dict[str, Any]) -> TraceHeader:
        """Return what is true of every trace of this format."""
        return self._header("sharegpt", self._tokens.words)

    def sessions(self, records: Iterable[Record]) -> Iterator[Session]:
        """Yield each conversation that has an answer."""
        for number, (_, record) in enumerate(records):
            said = fields.items(record.get("conversations"), "conversations", "messages")
            messages = [self._message(message, f"conversations[{index}]") for index, message in enumerate(said)]
            if (session := self._session(number, messages)) is not None:
                yield session

    def _message(self, value: object, at: str) -> tuple[str, int]:
        message = fields.mapping(value, at)
        role = fields.one_of(message.get("from"), tuple(_ROLES), f"{at}.from")
        text = message.get("value")
        if not isinstance(text, str):
            raise ValueError(f"{at}.value: want text, got {fields.shown(text)}")
        return _ROLES[role], self._tokens.count(text)


@FORMATS.register("sharegpt-lengths")
@dataclass
class ShareGptLengthsFormat(_Chats):
    """Chats as counts, one a line: role and tokens of each message, no text.

    Attributes
    ----------
    block_tokens : [tokens] a block when the trace is played; it has none of its own.

    Source: counts of ShareGPT_V3_unfiltered_cleaned_split.json.
    """

    block_tokens: int = BLOCK_TOKENS
    left_out: Counter[str] = field(default_factory=Counter, init=False)

    def __post_init__(self) -> None:
        self._check()

    def recognises(self, first: dict[str, Any]) -> bool:
        """Return whether it is a list of role and length."""
        match first.get("turns"):
            case [[str(), int()], *_]:
                return True
        return False

    def header(self, first: dict[str, Any]) -> TraceHeader:
        """Return what is true of every trace of this format."""
        return self._header("sharegpt-lengths", "as counted in the trace")

    def sessions(self, records: Iterable[Record]) -> Iterator[Session]:
        """Yield each conversation that has an answer."""
        for number, (_, record) in enumerate(records):
            fields.check_keys(record, ("turns",), ("id",))
            messages = []
            for index, pair in enumerate(fields.items(record["turns"], "turns", "[role, tokens] pairs")):
                match pair:
                    case ["u" | "a" | "s" as role, int(tokens)]:
                        messages.append((_ROLES[role], fields.whole(tokens, f"turns[{index}][1]")))
                    case _:
                        raise ValueError(f"turns[{index}]: want [u, a or s, tokens], got {fields.shown(pair)}")
            if (session := self._session(number, messages)) is not None:
                yield session
