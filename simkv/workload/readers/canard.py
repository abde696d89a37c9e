"""QuAC dialogues as regrouped from CANARD, one a line: questions and answers, and neither the passage nor its place.

What a turn needs cannot be known from them, so they are read for lengths and words alone (`simkv trace info`,
`simkv trace convert`), and no scenario can be played on them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from simkv.request import Session, TraceHeader, Turn
from simkv.workload.readers import fields
from simkv.workload.readers.question import CHUNKS, FORMATS, MISSING, THINK_TIMES, OneARecord
from simkv.workload.readers.text import TOKENS_PER_WORD, content_words, tokens_of

BLOCK_TOKENS = 16


@FORMATS.register("canard")
@dataclass
class CanardFormat(OneARecord):
    """QuAC dialogues of CANARD: lengths and words of questions as typed; no passages, so no scenario can play them."""

    def recognises(self, first: dict[str, Any]) -> bool:
        """Return whether the line has a dialogue's fields."""
        return "dialog_id" in first and "section" in first

    def header(self, first: dict[str, Any]) -> TraceHeader:
        """Return what is true of every trace of this format."""
        provenance: dict[str, object] = {
            "format": "canard",
            "tokens": f"{TOKENS_PER_WORD:.3f} a word",
            MISSING: [THINK_TIMES, CHUNKS],
        }
        return TraceHeader(BLOCK_TOKENS, "document_first", "session", has_sessions=True, provenance=provenance)

    def session(self, record: dict[str, Any], line: int) -> Session:
        """Return a dialogue as a session that needs nothing; an answer that was left out counts as one token."""
        fields.check_keys(record, ("dialog_id", "turns"), ("title", "section"))
        turns = []
        for index, entry in enumerate(fields.items(record["turns"], "turns", "turns")):
            at = f"turns[{index}]"
            turn = fields.mapping(entry, at)
            fields.check_keys(turn, ("question", "answer"), ("n", "rewrite"), at)
            question, answer = fields.text(turn["question"], f"{at}.question"), turn["answer"]
            tokens = 1 if answer is None else tokens_of(fields.text(answer, f"{at}.answer"))
            turns.append(Turn(tokens_of(question), tokens, words=content_words(question)))
        if not turns:
            raise ValueError("turns: want at least one turn")
        return Session(fields.name(record["dialog_id"], "dialog_id"), tuple(turns), "document_first")
