"""MTRAG: conversations over a retrieved corpus, with the passages that each turn needs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from simkv.dialogues import values
from simkv.dialogues.passages import span_of
from simkv.dialogues.question import DIALOGUES, About, Dialogue, Query
from simkv.workload.readers import fields


@DIALOGUES.register("mtrag")
@dataclass
class Mtrag:
    """One conversation a line with its judged turns; the item is the document with most relevant passages.

    Source: Katsis et al., "MTRAG: a multi-turn conversational benchmark for evaluating retrieval-augmented generation
    systems", TACL 13, 2025.
    """

    about: ClassVar[About] = About("local", "the document that holds most of the relevant passages")

    def recognises(self, first: dict[str, Any]) -> bool:
        """Return whether it is a conversation whose turns have passages."""
        return "conversation_id" in first and "turns" in first

    def dialogues(self, records: Iterable[dict[str, Any]]) -> Iterator[Dialogue]:
        """Yield a dialogue a conversation."""
        for record in records:
            queries = tuple(_query(at, turn) for at, turn in values.objects(record, "turns"))
            yield Dialogue(values.name(record, "conversation_id"), queries, stratum=values.name(record, "domain"))


def _query(at: str, turn: dict[str, Any]) -> Query:
    passages = values.texts(turn, "passages", at)
    try:
        spans = tuple(span_of(passage) for passage in passages)
    except ValueError as error:
        raise ValueError(f"{at}.passages: {error}") from error
    documents = tuple(span.document for span in spans)
    return Query(
        item=Counter(documents).most_common(1)[0][0] if documents else None,
        pieces=tuple(passages),
        documents=documents,
        spans=spans,
        question=values.text(turn, "rewrite", at),
        heard=values.text(turn, "question", at),
    )


@DIALOGUES.register("mtrag-un")
@dataclass
class MtragUn:
    """MTRAG-UN tasks: the conversation up to one turn; passages are known of that last turn alone.

    Source: the same authors' MTRAG-UN tasks (github.com/IBM/mt-rag-benchmark).
    """

    about: ClassVar[About] = About("none", "not known: a task has the passages of its last turn alone")

    def recognises(self, first: dict[str, Any]) -> bool:
        """Return whether it is a task with contexts and the messages so far."""
        return "task_id" in first and "contexts" in first and "input" in first

    def dialogues(self, records: Iterable[dict[str, Any]]) -> Iterator[Dialogue]:
        """Yield a dialogue a task: the questions of the user, each with the answer that followed."""
        for record in records:
            said: list[list[str]] = []
            for at, message in values.objects(record, "input"):
                speaker = fields.one_of(values.value(message, "speaker", at), ("user", "agent"), f"{at}.speaker")
                text = values.text(message, "text", at)
                if speaker == "user":
                    said.append([text])
                elif said:
                    said[-1].append(text)
            queries = tuple(Query(question=texts[0], heard=" ".join(texts)) for texts in said)
            yield Dialogue(values.name(record, "task_id"), queries, group=values.name(record, "conversation_id"))
