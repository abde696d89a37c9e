"""A dialogue about a document, typed by hand: plain text in which `document:`, `user:` and `assistant:` begin lines.

    document: The owner's manual ...
    system: Answer briefly.
    user: How do I set the clock?
    assistant: Hold both buttons.
    ---

Lines of dashes end a dialogue. A question needs the whole document, since nothing says which part; it stands in
front, in chunks. Texts are counted and forgotten; dialogues with equal documents share them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from secrets import token_bytes
from typing import Any

from simkv.request import Session, TraceHeader, Turn
from simkv.workload.readers.blocks import BLOCK_TOKENS, session_of
from simkv.workload.readers.question import ASSUMED, FORMATS, MISSING, THINK_TIMES
from simkv.workload.readers.records import END, ROLE, TEXT, Record
from simkv.workload.readers.sharegpt import requests_of
from simkv.workload.readers.text_tokens import TextTokens

_KINDS = {"system": "frames", "user": "asks", "assistant": "answers"}


@FORMATS.register("plain-dialogue")
@dataclass
class PlainDialogueFormat:
    """A dialogue and its document as plain text; lengths by a tokenizer or 4 characters a token; no think times.

    Attributes
    ----------
    tokenizer : path of a tokenizer.json; None = four characters a token.
    chunk_tokens : [tokens] a chunk of the document.
    block_tokens : [tokens] a block when the trace is played.

    Source: none; a form to type in.
    """

    tokenizer: Path | None = None
    chunk_tokens: int = 512
    block_tokens: int = BLOCK_TOKENS
    left_out: Counter[str] = field(default_factory=Counter, init=False)

    def __post_init__(self) -> None:
        for name in ("chunk_tokens", "block_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        self._tokens = TextTokens(self.tokenizer)
        self._key = token_bytes(32)
        self._documents: dict[bytes, str] = {}

    def recognises(self, first: dict[str, Any]) -> bool:
        """Return whether it is what somebody says."""
        return set(first) == {ROLE, TEXT}

    def header(self, first: dict[str, Any]) -> TraceHeader:
        """Return what is true of every trace of this format."""
        provenance: dict[str, object] = {
            "format": "plain-dialogue",
            "tokens": self._tokens.words,
            MISSING: [THINK_TIMES],
            ASSUMED: [
                "every question needs the whole document, which stands in front",
                f"chunks of {self.chunk_tokens} and blocks of {self.block_tokens} tokens",
            ],
        }
        return TraceHeader(self.block_tokens, "document_first", "session", has_sessions=True, provenance=provenance)

    def sessions(self, records: Iterable[Record]) -> Iterator[Session]:
        """Yield each dialogue that has an answer."""
        document, said, number = "", list[tuple[str, int]](), 0
        for _, record in records:
            role, text = record.get(ROLE), record.get(TEXT)
            if not isinstance(role, str) or not isinstance(text, str):
                raise ValueError(
                    "not a plain dialogue; want lines that begin with 'document:', 'user:' or 'assistant:'"
                )
            if role == "document":
                if said:
                    raise ValueError("a document after the first words; want it in front, or '---' between dialogues")
                document = f"{document}\n{text}" if document else text
            elif role != END:
                said.append((_KINDS[role], self._tokens.count(text)))
            elif said or document:
                if (session := self._session(number, document, said)) is not None:
                    yield session
                document, said, number = "", [], number + 1

    def _session(self, number: int, document: str, said: list[tuple[str, int]]) -> Session | None:
        requests = requests_of(said, self.left_out)
        name = f"dialogue-{number}"
        if not requests:
            self.left_out["dialogues_without_an_answer"] += 1
            return None
        if not document:
            session = session_of(name, requests, "excluded", self.block_tokens)
            has_blocks = any(turn.block_runs for turn in session.turns)
            return session if has_blocks else replace(session, layout="document_first")
        tokens = self._tokens.count(document)
        chunks = tuple(min(self.chunk_tokens, tokens - at) for at in range(0, tokens, self.chunk_tokens))
        asked = tuple(range(len(chunks)))
        turns = tuple(
            Turn(each.input_tokens, each.answer_tokens, gap_kind="human" if index else "none", chunks=asked)
            for index, each in enumerate(requests)
        )
        digest = blake2b(document.encode(errors="surrogatepass"), key=self._key).digest()
        document_id = self._documents.setdefault(digest, f"document-{len(self._documents)}")
        return Session(name, turns, "document_first", document_id, chunks)
