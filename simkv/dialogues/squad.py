"""SQuAD: questions about a paragraph, each answered by a place in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from simkv.dialogues import values
from simkv.dialogues.passages import answered_at
from simkv.dialogues.question import DIALOGUES, About, Dialogue, Query
from simkv.workload.readers import fields
from simkv.workload.readers.text import cut_in_chunks


@DIALOGUES.register("squad")
@dataclass
class Squad:
    """Paragraphs, one a line or in the publisher's one document; unanswerable questions need nothing.

    Questions of one paragraph come from one annotator in one sitting; they are no dialogue.

    Attributes
    ----------
    chunks : equal chunks of characters that each paragraph is cut into.

    Source: Rajpurkar et al., "SQuAD: 100,000+ questions for machine comprehension of text", EMNLP 2016.
    """

    about: ClassVar[About] = About("chunk", "the chunk of the paragraph in which the first answer starts")

    chunks: int = 5

    def __post_init__(self) -> None:
        checked_chunks(self.chunks)

    def recognises(self, first: dict[str, Any]) -> bool:
        """Return whether it is a paragraph with questions, or a document of such."""
        entry = _first_paragraph(first)
        return "context" in entry and "qas" in entry and not _is_quac(entry)

    def dialogues(self, records: Iterable[dict[str, Any]]) -> Iterator[Dialogue]:
        """Yield a dialogue a paragraph."""
        number = 0
        for record in records:
            for at, paragraph, title in paragraphs(record):
                yield self._dialogue(at, paragraph, title, number)
                number += 1

    def _dialogue(self, at: str, paragraph: dict[str, Any], title: str, number: int) -> Dialogue:
        context = values.text(paragraph, "context", at)
        name = str(number)
        queries = tuple(
            self._query(place, asked, name, context) for place, asked in values.objects(paragraph, "qas", at)
        )
        group = str(paragraph.get("article", title))
        return Dialogue(name, queries, group, title, self.chunks, cut_in_chunks(context, self.chunks))

    def _query(self, at: str, asked: dict[str, Any], name: str, context: str) -> Query:
        question = values.text(asked, "question", at)
        answers = list(values.objects(asked, "answers", at))
        if not answers:
            return Query(question=question, heard=question)
        place, answer = answers[0]
        start, text = values.whole(answer, "answer_start", place), values.text(answer, "text", place)
        try:
            return answered_at(name, context, self.chunks, start, text, question)
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from error


def paragraphs(record: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield place, paragraph and title, of a line or of the publisher's document."""
    if "data" not in record:
        yield "", record, values.optional_text(record, "title")
        return
    for at, article in values.objects(record, "data"):
        title = values.optional_text(article, "title", at)
        for place, paragraph in values.objects(article, "paragraphs", at):
            yield place, paragraph, title


def _first_paragraph(record: dict[str, Any]) -> dict[str, Any]:
    """Return the first paragraph of a record, or nothing where there is none."""
    if "data" not in record:
        return record
    match record["data"]:
        case [{"paragraphs": [dict() as first, *_]}, *_]:
            return first
    return {}


def _is_quac(paragraph: dict[str, Any]) -> bool:
    match paragraph.get("qas"):
        case [{"orig_answer": _}, *_]:
            return True
    return False


def is_quac(record: dict[str, Any]) -> bool:
    """Return whether a document is QuAC's, which has the same outer form.

    Examples
    --------
    >>> is_quac({"data": [{"paragraphs": [{"qas": [{"orig_answer": {}}]}]}]}), is_quac({"data": []})
    (True, False)
    """
    return "data" in record and _is_quac(_first_paragraph(record))


def checked_chunks(chunks: int) -> None:
    """Refuse a number of chunks that cuts nothing."""
    fields.whole(chunks, "chunks", 1)
