"""SQuAD paragraphs, one a line, with their questions in the order in which they were written.

Each paragraph is a session: its text in equal chunks of characters, as many as the median paragraph has questions; a
turn asks for the chunk in which its first answer starts. Questions of a paragraph come from one annotator, not from a
reader in a dialogue, and nobody recorded how long he thought.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from simkv.request import Session, TraceHeader, Turn
from simkv.workload.readers import fields
from simkv.workload.readers.question import FORMATS, MISSING, THINK_TIMES, OneARecord
from simkv.workload.readers.text import TOKENS_PER_WORD, content_words, cut_in_chunks, tokens_of

#: Chunks of a paragraph: the median paragraph of XQuAD has 5 questions, so that reader and document advance together.
CHUNKS = 5
#: [tokens] a block (vLLM's); a chunk has some 35 tokens.
BLOCK_TOKENS = 16
_KEYS = ("article", "paragraph", "context", "qas")


@FORMATS.register("squad")
@dataclass
class SquadFormat(OneARecord):
    """SQuAD paragraphs: text in five chunks, questions in order, the chunk of each answer, words; no think times."""

    def recognises(self, first: dict[str, Any]) -> bool:
        """Return whether the line has a paragraph's fields."""
        return "context" in first and "qas" in first

    def header(self, first: dict[str, Any]) -> TraceHeader:
        """Return what is true of every trace of this format."""
        provenance: dict[str, object] = {
            "format": "squad",
            "chunks": f"{CHUNKS} equal parts of each paragraph's characters",
            "tokens": f"{TOKENS_PER_WORD:.3f} a word",
            MISSING: [THINK_TIMES],
        }
        return TraceHeader(BLOCK_TOKENS, "document_first", "session", has_sessions=True, provenance=provenance)

    def session(self, record: dict[str, Any], line: int) -> Session:
        """Return a paragraph and its questions as a session."""
        fields.check_keys(record, _KEYS, ("uid", "title"))
        article = fields.whole(record["article"], "article")
        paragraph = fields.whole(record["paragraph"], "paragraph")
        context = fields.text(record["context"], "context")
        chunks = cut_in_chunks(context, CHUNKS)
        turns = tuple(
            _turn(entry, f"qas[{index}]", len(context))
            for index, entry in enumerate(fields.items(record["qas"], "qas", "questions"))
        )
        if not turns:
            raise ValueError("qas: want at least one question")
        return Session(
            session_id=f"article-{article}-paragraph-{paragraph}",
            turns=turns,
            layout="document_first",
            chunk_tokens=tuple(tokens_of(chunk) for chunk in chunks),
            chunk_words=tuple(content_words(chunk) for chunk in chunks),
        )


def _turn(value: object, at: str, length: int) -> Turn:
    question = fields.mapping(value, at)
    fields.check_keys(question, ("question", "answers"), ("id",), at)
    answers = fields.items(question["answers"], f"{at}.answers", "answers")
    if not answers:
        raise ValueError(f"{at}.answers: want at least one answer; who asks what the text does not tell needs no chunk")
    answer = fields.mapping(answers[0], f"{at}.answers[0]")
    fields.check_keys(answer, ("text", "answer_start"), (), f"{at}.answers[0]")
    start = fields.whole(answer["answer_start"], f"{at}.answers[0].answer_start")
    if start >= length:
        raise ValueError(
            f"{at}.answers[0].answer_start: want a place in the {length} characters of the text, got {start}"
        )
    text = fields.text(question["question"], f"{at}.question")
    return Turn(
        new_tokens=tokens_of(text),
        answer_tokens=tokens_of(fields.text(answer["text"], f"{at}.answers[0].text")),
        chunks=(start * CHUNKS // length,),
        words=content_words(text),
    )
