"""Schema-Guided Dialogue: what does the user want the assistant to do now?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from simkv.dialogues import values
from simkv.dialogues.question import DIALOGUES, About, Dialogue, Query
from simkv.workload.readers import fields


@DIALOGUES.register("sgd")
@dataclass
class Sgd:
    """One dialogue a line; the item is the first active intent of each user turn.

    Dialogues of one source file are about the same services, and are one group.

    Source: Rastogi et al., "Towards scalable multi-domain conversational agents: the Schema-Guided Dialogue dataset",
    AAAI 2020.
    """

    about: ClassVar[About] = About("category", "the active intent of the user's turn (the first, where there are two)")

    def recognises(self, first: dict[str, Any]) -> bool:
        """Return whether it is a dialogue over services."""
        return "dialogue_id" in first and "services" in first

    def dialogues(self, records: Iterable[dict[str, Any]]) -> Iterator[Dialogue]:
        """Yield a dialogue a line, of the user's turns."""
        for record in records:
            queries: list[Query] = []
            for at, turn in values.objects(record, "turns"):
                text = values.text(turn, "text", at)
                if fields.one_of(values.value(turn, "s", at), ("U", "S"), f"{at}.s") == "U":
                    intents = values.texts(turn, "intent", at)
                    queries.append(Query(item=intents[0] if intents else None, question=text, heard=text))
                elif queries:
                    asked = queries[-1]
                    queries[-1] = Query(item=asked.item, question=asked.question, heard=f"{asked.heard} {text}")
            name = values.name(record, "dialogue_id")
            yield Dialogue(name, tuple(queries), group=name.rpartition("_")[0])
