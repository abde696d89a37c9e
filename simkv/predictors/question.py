"""What will the next query need, and how surely? The form in which every predictor answers.

Predictors are scored prequentially: predict, then observe (design.md section 3, step 8).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from simkv.kv.block import Run
from simkv.registry import Registry

#: What a query may need: a chunk of the session's document, or the last run of a chain of blocks.
Item = int | Run

#: Most moves that an outcome carries along: a learner that wants a longer context would never find it again.
LONGEST_CONTEXT = 16


@dataclass(slots=True)
class History:
    """What the source knows of one session, from its queries; live, valid during the call only.

    Attributes
    ----------
    session : a key that tells sessions apart.
    asked : items asked so far, oldest first.
    moves : the same history in relative form, one entry a query. Chunks: this chunk minus the one before
        (the first counts from -1). Block runs: how many other chains were used since this one was (0 = the
        conversation just continued); -1 = a chain never seen before.
    item_after : turns a move into the item that it would reach now; None when it reaches nothing.
    chunks : number of chunks of the document; 0 for block runs.
    next_items : the items that the next query will need; for oracles only, None for everyone else.
    words : content words of each query in `asked`; empty where unknown.
    chunk_words : content words of each chunk of the document; empty where unknown.
    """

    session: int
    asked: Sequence[Item]
    moves: Sequence[int]
    item_after: Callable[[int], Item | None]
    chunks: int
    next_items: Callable[[], list[Item]] | None = None
    words: Sequence[Sequence[str]] = ()
    chunk_words: Sequence[Sequence[str]] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a query turned out to ask, and what was seen before it.

    Attributes
    ----------
    session : a key that tells sessions apart.
    before : the last moves before it (`LONGEST_CONTEXT`).
    move : the move that it made.
    item : what it asked for.
    last : what the query before it asked for; None for the first.
    words : its content words; empty where unknown.
    words_before : those of the last queries before it, one entry each as in `before`.
    chunk_words : those of each chunk of the document; empty where unknown.
    """

    session: int
    before: Sequence[int]
    move: int
    item: Item | None = None
    last: Item | None = None
    words: Sequence[str] = ()
    words_before: Sequence[Sequence[str]] = ()
    chunk_words: Sequence[Sequence[str]] = ()


class Predictor(Protocol):
    """Two methods to write."""

    def predict(self, view: History) -> Mapping[Item, float]:
        """Return {item: P(the next query needs it)}; pure, may be called often."""

    def observe(self, outcome: Outcome) -> None:
        """Learn one outcome; called once per query, in time order, never before it happened."""


PREDICTORS: Registry[Predictor] = Registry("predictor", "simkv.predictor")
