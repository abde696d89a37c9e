"""QuAC dialogues with every question rewritten in full (CANARD)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from simkv.dialogues import values
from simkv.dialogues.question import DIALOGUES, About, Dialogue, Query


@DIALOGUES.register("canard")
@dataclass
class Canard:
    """One dialogue a line: question as typed, rewritten, and answer; no positions and no passages.

    Source: Elgohary, Peskov and Boyd-Graber, "Can you unpack that? Learning to rewrite questions-in-context",
    EMNLP 2019.
    """

    about: ClassVar[About] = About("none", "not known: the set has neither passages nor answer positions")

    def recognises(self, first: dict[str, Any]) -> bool:
        """Return whether it is a dialogue with rewritten questions."""
        return "dialog_id" in first and "turns" in first

    def dialogues(self, records: Iterable[dict[str, Any]]) -> Iterator[Dialogue]:
        """Yield a dialogue a line."""
        for record in records:
            queries = tuple(
                Query(
                    question=values.text(turn, "rewrite", at),
                    heard=f"{values.text(turn, 'question', at)} {values.optional_text(turn, 'answer', at)}",
                )
                for at, turn in values.objects(record, "turns")
            )
            title = values.text(record, "title")
            yield Dialogue(values.name(record, "dialog_id"), queries, group=title, title=title)
