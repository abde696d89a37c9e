"""What does each query of a dialogue need? The form into which every format brings its file.

A format says what it knows and leaves the rest empty: what a measure needs and does not find, it says.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

from simkv.kv.block import Run
from simkv.registry import Registry

#: What an item is. chunk = a place in the dialogue's document, 0, 1, ...; category = a name that means the same in
#: every dialogue (a tool, an intent); local = a name that means something in its own dialogue only (a passage).
Kind = Literal["chunk", "category", "local", "none"]


class Span(NamedTuple):
    """Characters `start` to `end` (excluded) of a document, on which an answer rests."""

    document: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Query:
    """One query, and what it turned out to need.

    Attributes
    ----------
    item : the one thing that a predictor would have to name; None = it needs nothing that has a name.
    pieces : everything it needs, in the units in which KV would be moved (chunks, passages).
    documents : the document of each piece, in the same order; empty = not known.
    spans : the characters on which the answer rests.
    question : in full, such that it can be read by itself, where the set has it.
    heard : what was typed and answered, as later turns can refer to it.
    gap_s, gap_kind : [s] time since the answer before, and who made it; None = not recorded.
    runs : all full KV blocks of the prompt, front to back.
    """

    item: str | int | None = None
    pieces: tuple[str | int, ...] = ()
    documents: tuple[str, ...] = ()
    spans: tuple[Span, ...] = ()
    question: str = ""
    heard: str = ""
    gap_s: float | None = None
    gap_kind: str = ""
    runs: tuple[Run, ...] = ()


@dataclass(frozen=True, slots=True)
class Dialogue:
    """Queries that follow each other.

    Attributes
    ----------
    name : in the set.
    queries : in order.
    group : dialogues of one group rest on the same task or document; empty = on its own.
    title : what is known before the first query.
    chunks : chunks of its document; 0 = items are no chunks.
    chunk_texts : the text of each chunk; empty = not known.
    stratum : a part of the set that is told apart where it matters (an agent, a year); empty = none.
    """

    name: str
    queries: tuple[Query, ...]
    group: str = ""
    title: str = ""
    chunks: int = 0
    chunk_texts: tuple[str, ...] = ()
    stratum: str = ""


@dataclass(frozen=True, slots=True)
class About:
    """What is true of every file of a format.

    Attributes
    ----------
    kind : what its items are.
    item : the same in words.
    block_scope : whether equal block ids mean equal content in all dialogues ("global") or in one ("session").
    """

    kind: Kind
    item: str
    block_scope: Literal["session", "global"] = "session"


class DialogueFormat(Protocol):
    """Turns the JSON objects of one file into dialogues.

    Any `ValueError` with one line that says what is wrong becomes an error with file and line.
    """

    about: ClassVar[About]

    def recognises(self, first: dict[str, Any]) -> bool:
        """Return whether the first object of a file is of this format."""
        ...

    def dialogues(self, records: Iterable[dict[str, Any]]) -> Iterator[Dialogue]:
        """Yield the dialogues of a file, whose objects are handed over in order."""
        ...


DIALOGUES: Registry[DialogueFormat] = Registry("dialogue format", "simkv.dialogue_format")
