"""MTRAG conversations (IBM), one a line, with the passages that each question needs.

The document of a session is all passages that its questions need, in the order of their ids, so that the order tells
nothing of when they are needed. It is not the corpus that a retriever searches: a predictor chooses among some 17
passages, not thousands, which flatters it. Passages are known by id and length; their text is not there, nor are
answers or think times. Questions that nobody judged are left out, because nobody knows what they need.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from simkv.request import Session, TraceHeader, Turn
from simkv.workload.readers import fields
from simkv.workload.readers.question import FORMATS, MISSING, THINK_TIMES, OneARecord
from simkv.workload.readers.text import content_words, tokens_of

#: [tokens] a block (vLLM's).
BLOCK_TOKENS = 16
#: English text has about 4 characters a token (semantics A1).
CHARACTERS_PER_TOKEN = 4
#: [tokens] of every answer: the mean of 1,086 reference answers of MTRAG-UN (traces/measure.py), none being recorded.
ANSWER_TOKENS = 99
_PASSAGE = re.compile(r".+-(?P<start>[0-9]+)-(?P<end>[0-9]+)")


@FORMATS.register("mtrag")
@dataclass
class MtragFormat(OneARecord):
    """MTRAG conversations: the passages that each question needs, as independent chunks; words; no think times."""

    def recognises(self, first: dict[str, Any]) -> bool:
        """Return whether the line has a conversation's fields."""
        return "user_questions" in first and "turns" in first

    def header(self, first: dict[str, Any]) -> TraceHeader:
        """Return what is true of every trace of this format."""
        provenance: dict[str, object] = {
            "format": "mtrag",
            "chunks": "the passages that the conversation needs, by id; a retriever would choose from a whole corpus",
            "tokens": f"one in {CHARACTERS_PER_TOKEN} characters of a passage; {ANSWER_TOKENS} in every answer, a mean",
            MISSING: [THINK_TIMES],
        }
        return TraceHeader(BLOCK_TOKENS, "independent", "session", has_sessions=True, provenance=provenance)

    def session(self, record: dict[str, Any], line: int) -> Session:
        """Return a conversation as a session."""
        fields.check_keys(record, ("conversation_id", "turns", "user_questions"), ("domain",))
        asked = [
            _question(entry, f"turns[{index}]")
            for index, entry in enumerate(fields.items(record["turns"], "turns", "turns"))
        ]
        if not asked:
            raise ValueError("turns: want at least one turn")
        tokens = dict(sorted({name: count for _, needed in asked for name, count in needed.items()}.items()))
        place = {name: index for index, name in enumerate(tokens)}
        turns = tuple(
            Turn(
                new_tokens=tokens_of(text),
                answer_tokens=ANSWER_TOKENS,
                chunks=tuple(place[name] for name in needed),
                words=content_words(text),
            )
            for text, needed in asked
        )
        name = fields.name(record["conversation_id"], "conversation_id")
        return Session(name, turns, "independent", chunk_tokens=tuple(tokens.values()))


def _question(value: object, at: str) -> tuple[str, dict[str, int]]:
    """Return a question and [tokens] of each passage that it needs."""
    turn = fields.mapping(value, at)
    fields.check_keys(turn, ("question", "passages"), ("n", "rewrite"), at)
    needed = {}
    for index, entry in enumerate(fields.items(turn["passages"], f"{at}.passages", "passages")):
        name = fields.name(entry, f"{at}.passages[{index}]")
        found = _PASSAGE.fullmatch(name)
        characters = int(found["end"]) - int(found["start"]) if found else 0
        if characters <= 0:
            raise ValueError(f"{at}.passages[{index}]: want an id that ends in -START-END, got {fields.shown(name)}")
        needed[name] = fields.whole(-(-characters // CHARACTERS_PER_TOKEN), f"{at}.passages[{index}]", 1)
    return fields.text(turn["question"], f"{at}.question"), needed
