"""QuAC: a student asks about a section that only the teacher sees; answers are places in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from simkv.dialogues import values
from simkv.dialogues.passages import answered_at
from simkv.dialogues.question import DIALOGUES, About, Dialogue, Query
from simkv.dialogues.squad import checked_chunks, is_quac, paragraphs
from simkv.workload.readers import fields
from simkv.workload.readers.text import cut_in_chunks

_NO_ANSWER = "CANNOTANSWER"


@DIALOGUES.register("quac")
@dataclass
class Quac:
    """The publisher's one document; a question without an answer in the section needs nothing.

    Attributes
    ----------
    chunks : equal chunks of characters that each section is cut into.

    Source: Choi et al., "QuAC: question answering in context", EMNLP 2018.
    """

    about: ClassVar[About] = About("chunk", "the chunk of the section in which the answer starts")

    chunks: int = 5

    def __post_init__(self) -> None:
        checked_chunks(self.chunks)

    def recognises(self, first: dict[str, Any]) -> bool:
        """Return whether it is a document whose questions have an `orig_answer`."""
        return is_quac(first)

    def dialogues(self, records: Iterable[dict[str, Any]]) -> Iterator[Dialogue]:
        """Yield a dialogue a section."""
        for record in records:
            for at, section, title in paragraphs(record):
                name = values.name(section, "id", at)
                context = values.text(section, "context", at).removesuffix(_NO_ANSWER).rstrip()
                queries = tuple(
                    self._query(place, asked, name, context) for place, asked in values.objects(section, "qas", at)
                )
                yield Dialogue(name, queries, title, title, self.chunks, cut_in_chunks(context, self.chunks))

    def _query(self, at: str, asked: dict[str, Any], name: str, context: str) -> Query:
        question = values.text(asked, "question", at)
        place = values.under(at, "orig_answer")
        answer = fields.mapping(values.value(asked, "orig_answer", at), place)
        text = values.text(answer, "text", place)
        if text == _NO_ANSWER:
            return Query(question=question, heard=question)
        try:
            return answered_at(name, context, self.chunks, values.whole(answer, "answer_start", place), text, question)
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from error
