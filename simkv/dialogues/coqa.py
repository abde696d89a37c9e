"""CoQA: a conversation about a story; each answer rests on a place in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from simkv.dialogues import values
from simkv.dialogues.passages import answered_at
from simkv.dialogues.question import DIALOGUES, About, Dialogue, Query
from simkv.dialogues.squad import checked_chunks
from simkv.workload.readers.text import cut_in_chunks


@DIALOGUES.register("coqa")
@dataclass
class Coqa:
    """The publisher's one document; a question without a place in the story (span -1, or empty) needs nothing.

    What counts is the span that the answer rests on (`span_start`, `span_end`), not the free answer.

    Attributes
    ----------
    chunks : equal chunks of characters that each story is cut into.

    Source: Reddy, Chen and Manning, "CoQA: a conversational question answering challenge", TACL 7, 2019.
    """

    about: ClassVar[About] = About("chunk", "the chunk of the story in which the answer's span starts")

    chunks: int = 5

    def __post_init__(self) -> None:
        checked_chunks(self.chunks)

    def recognises(self, first: dict[str, Any]) -> bool:
        """Return whether it is a document of stories."""
        match first.get("data"):
            case [{"story": _}, *_]:
                return True
        return False

    def dialogues(self, records: Iterable[dict[str, Any]]) -> Iterator[Dialogue]:
        """Yield a dialogue a story."""
        for record in records:
            for at, told in values.objects(record, "data"):
                yield self._dialogue(at, told)

    def _dialogue(self, at: str, told: dict[str, Any]) -> Dialogue:
        story = values.text(told, "story", at)
        name = values.name(told, "id", at) if "id" in told else at
        asked = list(values.objects(told, "questions", at))
        answers = list(values.objects(told, "answers", at))
        if len(asked) != len(answers):
            raise ValueError(f"{at}: want an answer a question, got {len(asked)} questions and {len(answers)} answers")
        queries = []
        for (place, question), (where, answer) in zip(asked, answers, strict=True):
            if values.whole(question, "turn_id", place) != values.whole(answer, "turn_id", where):
                raise ValueError(f"{where}.turn_id: want that of the question, {question['turn_id']}")
            queries.append(self._query(place, question, where, answer, name, story))
        title = values.optional_text(told, "source", at)
        return Dialogue(name, tuple(queries), "", title, self.chunks, cut_in_chunks(story, self.chunks))

    def _query(
        self, at: str, asked: dict[str, Any], where: str, answer: dict[str, Any], name: str, story: str
    ) -> Query:
        question = values.text(asked, "input_text", at)
        heard = f"{question} {values.text(answer, 'input_text', where)}"
        if values.value(answer, "span_start", where) == -1:
            return Query(question=question, heard=heard)
        start, end = values.whole(answer, "span_start", where), values.whole(answer, "span_end", where)
        if start == end:
            return Query(question=question, heard=heard)
        try:
            found = answered_at(name, story, self.chunks, start, story[start:end], question)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
        return Query(found.item, found.pieces, found.documents, found.spans, question, heard)
