"""MultiWOZ: which domains does the user speak of now?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from simkv.dialogues import values
from simkv.dialogues.question import DIALOGUES, About, Dialogue, Query
from simkv.workload.readers import fields


@DIALOGUES.register("multiwoz")
@dataclass
class Multiwoz:
    """One dialogue a line, user and system by turns; the item is the set of domains of the user's acts.

    Source: Eric et al., "MultiWOZ 2.1: a consolidated multi-domain dialogue dataset", LREC 2020.
    """

    about: ClassVar[About] = About("category", "the set of domains of the user's turn")

    def recognises(self, first: dict[str, Any]) -> bool:
        """Return whether it is a dialogue whose turns have acts, of two speakers by turns."""
        return "dialogue_id" in first and "turns" in first and "services" not in first

    def dialogues(self, records: Iterable[dict[str, Any]]) -> Iterator[Dialogue]:
        """Yield a dialogue a line, of the user's turns."""
        for record in records:
            turns = list(values.objects(record, "turns"))
            queries = []
            for index in range(0, len(turns), 2):
                at, turn = turns[index]
                acts = fields.mapping(values.value(turn, "acts", at), f"{at}.acts")
                domains = sorted({act.partition("-")[0] for act in acts})
                asked = values.text(turn, "text", at)
                answer = values.text(turns[index + 1][1], "text", turns[index + 1][0]) if turns[index + 1 :] else ""
                queries.append(Query(item=" + ".join(domains) or "nothing", question=asked, heard=f"{asked} {answer}"))
            yield Dialogue(values.name(record, "dialogue_id"), tuple(queries))
