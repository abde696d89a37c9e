"""TREC CAsT and iKAT: which document answers the next turn of an information need?

Field names changed from year to year; each list below has all of them, the one that is there counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from simkv.dialogues import values
from simkv.dialogues.question import DIALOGUES, About, Dialogue, Query
from simkv.workload.readers import fields

_TURNS = ("turn", "turns", "responses")
_TYPED = ("raw_utterance", "utterance", "user_utterance")
_FULL = ("manual_rewritten_utterance", "resolved_utterance")
_SOURCES = ("manual_canonical_result_id", "canonical_result_id", "provenance", "response_provenance", "citations")


def _dialogue(record: dict[str, Any]) -> Dialogue:
    key = next((key for key in _TURNS if key in record), None)
    if key is None:
        raise ValueError(f"want the turns under one of {', '.join(_TURNS)}")
    queries = tuple(_query(at, turn) for at, turn in values.objects(record, key))
    title = values.optional_text(record, "title")
    return Dialogue(values.name(record, "uid"), queries, title=title, stratum=str(record.get("year", "")))


def _query(at: str, turn: dict[str, Any]) -> Query:
    typed = next((values.text(turn, key, at) for key in _TYPED if key in turn), None)
    if typed is None:
        raise ValueError(f"{at}: want what was typed under one of {', '.join(_TYPED)}")
    full = next((values.optional_text(turn, key, at) for key in _FULL if key in turn), "")
    pieces = tuple(dict.fromkeys(_sources(at, turn)))
    documents = tuple(_document_of(piece) for piece in pieces)
    return Query(
        item=documents[0] if documents else None,
        pieces=pieces,
        documents=documents,
        question=full,  # as typed, it leans on what came before, and its words say too little
        heard=f"{typed} {values.optional_text(turn, 'response', at)}",
    )


def _sources(at: str, turn: dict[str, Any]) -> list[str]:
    """Return the ids of the passages that the answer rests on; empty where the year has none."""
    key = next((key for key in _SOURCES if turn.get(key)), None)
    if key is None:
        return []
    found = turn[key]
    if isinstance(found, str) and turn.get("passage_id") is not None:
        return [f"{found}-{fields.whole(turn['passage_id'], f'{at}.passage_id')}"]
    return [found] if isinstance(found, str) else values.texts(turn, key, at)


def _document_of(passage: str) -> str:
    """Return the document of a passage: what stands before its number (after ":", or after the last "-").

    Examples
    --------
    >>> _document_of("clueweb22-en0022-52-08268:12"), _document_of("MARCO_02_1687136851-3"), _document_of("CAR_80051e")
    ('clueweb22-en0022-52-08268', 'MARCO_02_1687136851', 'CAR_80051e')
    """
    if ":" in passage:
        return passage.rpartition(":")[0]
    document, dash, number = passage.rpartition("-")
    return document if dash and number.isdigit() and not passage.startswith("clueweb") else passage


@DIALOGUES.register("trec-cast")
@dataclass
class Cast:
    """CAsT 2019 to 2022, one topic a line; 2019 has no passages.

    Source: Dalton, Xiong and Callan, "TREC CAsT 2019: the conversational assistance track overview", 2020.
    """

    about: ClassVar[About] = About("local", "the document of the passage that answers the turn")

    def recognises(self, first: dict[str, Any]) -> bool:
        """Return whether it is a topic with turns."""
        return "number" in first and "turn" in first

    def dialogues(self, records: Iterable[dict[str, Any]]) -> Iterator[Dialogue]:
        """Yield a dialogue a topic."""
        return map(_dialogue, records)


@DIALOGUES.register("trec-ikat")
@dataclass
class Ikat:
    """iKAT 2023 to 2025, one topic a line, with what is known of the user.

    Source: Aliannejadi et al., "TREC iKAT 2023: the interactive knowledge assistance track overview", 2024.
    """

    about: ClassVar[About] = About("local", "the document of the first passage that the answer cites")

    def recognises(self, first: dict[str, Any]) -> bool:
        """Return whether it is a topic with facts about the user."""
        return "number" in first and "ptkb" in first

    def dialogues(self, records: Iterable[dict[str, Any]]) -> Iterator[Dialogue]:
        """Yield a dialogue a topic."""
        return map(_dialogue, records)
