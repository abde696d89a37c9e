"""How does a predictor come to see a dialogue? Items as moves (what simkv's sources remember) or by their names.

moves : as `simkv.history` has it. Chunks of a document by difference, everything else by recency ("what was used
    just before", "what was used before that", "something new"): what one dialogue teaches serves the next, though
    its document is another. A new thing has no name there, so nobody can name it.
names : the items themselves. For names that mean the same in every dialogue (tools, intents), a predictor of order
    n is then an n-gram over the names, and of order 0 their popularity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from simkv.history import Remembered
from simkv.kv.block import Run
from simkv.kv.prefix import Content, Conversation
from simkv.predictors import History, Item, Outcome
from simkv.predictors.question import LONGEST_CONTEXT
from simkv.request import Session, TraceHeader, Turn

Sees = Literal["moves", "names"]
_HEADER = TraceHeader(16, "independent", "global", has_sessions=True, provenance={})


@dataclass(frozen=True, slots=True)
class Asked:
    """What the queries of one dialogue asked for.

    Attributes
    ----------
    numbers : chunk indices, or numbers that stand for names.
    chunks : of its document; 0 = items are no chunks.
    group : dialogues of one group rest on the same thing.
    words : content words of each query; empty = not known.
    chunk_words : content words of each chunk; empty = not known.
    """

    numbers: tuple[int, ...]
    chunks: int
    group: str = ""
    words: tuple[tuple[str, ...], ...] = ()
    chunk_words: tuple[tuple[str, ...], ...] = ()


class Follower(Protocol):
    """One dialogue while it is played: what may be seen before a query, then what the query asked."""

    def view(self) -> History:
        """Return what is known before the next query."""
        ...

    def learn(self) -> tuple[Item, Outcome]:
        """Take in the next query; return what it asked for, as forecasts name it, and the outcome."""
        ...


class Named:
    """A dialogue whose items are seen by their numbers."""

    def __init__(self, numbers: Sequence[int], session: int) -> None:
        self._numbers = numbers
        self._session = session
        self._asked: list[Item] = []
        self._moves: list[int] = []

    def view(self) -> History:
        """Return the names so far; a move is a name."""
        return History(self._session, self._asked, self._moves, _itself, chunks=0)

    def learn(self) -> tuple[Item, Outcome]:
        """Take in the next name."""
        number = self._numbers[len(self._moves)]
        outcome = Outcome(self._session, tuple(self._moves[-LONGEST_CONTEXT:]), number)
        self._asked.append(number)
        self._moves.append(number)
        return number, outcome


class Moved:
    """A dialogue as the source of a simulation remembers it."""

    def __init__(self, asked: Asked, session: int) -> None:
        words = asked.words or ((),) * len(asked.numbers)
        if asked.chunks:
            turns = tuple(Turn(1, 1, chunks=(n,), words=said) for n, said in zip(asked.numbers, words, strict=True))
            sizes = (_HEADER.block_tokens,) * asked.chunks
            told = Session("dialogue", turns, "independent", chunk_tokens=sizes, chunk_words=asked.chunk_words)
        else:
            turns = tuple(Turn(1, 1, block_runs=(Run(number, 1),)) for number in asked.numbers)
            told = Session("dialogue", turns)
        self._conversation = Conversation(told, session, Content(_HEADER))
        self._memory = Remembered(self._conversation)
        self._at = 0

    def view(self) -> History:
        """Return what the source remembers."""
        return self._memory.view(None)

    def learn(self) -> tuple[Item, Outcome]:
        """Take in the next query."""
        outcome = self._memory.learn(self._conversation.prompt(self._at))
        if outcome is None:
            raise ValueError("a query without an item; want them left out before")
        self._at += 1
        return self._memory.asked[-1], outcome


def _itself(move: int) -> Item | None:
    return move


def follow(asked: Asked, session: int, sees: Sees) -> Follower:
    """Return the dialogue as a predictor shall see it.

    Parameters
    ----------
    session : tells dialogues apart.

    Examples
    --------
    >>> dialogue = follow(Asked((0, 2, 2), chunks=3), session=0, sees="moves")
    >>> [dialogue.learn()[1].move for _ in range(3)]
    [1, 2, 0]
    """
    return Named(asked.numbers, session) if sees == "names" else Moved(asked, session)
