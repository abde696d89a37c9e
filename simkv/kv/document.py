"""Which blocks hold which version of a document, when turns edit it?

KV of a position depends on all before it, so an edit makes a new version of everything behind it (semantics B5):
of the rest of its chunk, and in a chain of all later chunks too. Whole blocks in front of the edit stay what they
are. The block that the edit falls into is a new one; its first positions are those of the old one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from simkv.kv.block import Run
from simkv.request import Edit, Session


class Base(NamedTuple):
    """The older block whose first positions are also the first of a new one.

    Attributes
    ----------
    block : its id.
    tokens : [tokens] at its front that are the same.
    """

    block: int
    tokens: int


class Part(NamedTuple):
    """A piece of a prompt that other prompts may share.

    Attributes
    ----------
    run : its blocks.
    tokens : [tokens] in it.
    item : what predictors and prefetch policies call it.
    fresh : its content comes into being with this turn: nobody can have it yet.
    base : the older block, and [tokens] of it, that its first block begins with; None where all of it is new.
    """

    run: Run
    tokens: int
    item: int | Run
    fresh: bool = False
    base: Base | None = None


class Version(NamedTuple):
    """A document between two edits.

    Attributes
    ----------
    chunks : the parts of each chunk, in order.
    end : the first block id that no version so far has used: what comes later is not there yet (semantics B1).
    """

    chunks: tuple[tuple[Part, ...], ...]
    end: int


def versions(session: Session, first_block: int, block_tokens: int) -> list[Version]:
    """Return the version before the first turn, then that of each turn.

    Parameters
    ----------
    session : its chunks and the edits of its turns.
    first_block : where the document's block ids begin.
    block_tokens : [tokens] a block.

    Examples
    --------
    >>> from simkv.request import Turn
    >>> turns = (Turn(1, 1, chunks=(1,)), Turn(1, 1, chunks=(1,), edits=(Edit(0, 20, 32),)))
    >>> before, _, edited = versions(Session("s", turns, "document_first", chunk_tokens=(32, 8)), 100, 16)
    >>> [part.run for part in edited.chunks[0]], edited.chunks[0][1].base
    ([Run(start=100, count=1), Run(start=103, count=1)], Base(block=101, tokens=4))
    >>> before.chunks[1][0].run, edited.chunks[1][0].run
    (Run(start=102, count=1), Run(start=104, count=1))
    """
    maker = _Maker(first_block, block_tokens)
    found = [maker.first(session.chunk_tokens)]
    for turn in session.turns:
        found.append(maker.after(found[-1], turn.edits, session.layout != "independent") if turn.edits else found[-1])
    return found


class _Maker:
    """Gives out block ids, version after version."""

    def __init__(self, first_block: int, block_tokens: int) -> None:
        self._next = first_block
        self._block_tokens = block_tokens

    def first(self, chunk_tokens: Sequence[int]) -> Version:
        """Return the document as it is before any edit."""
        chunks = tuple((self._part(chunk, tokens),) for chunk, tokens in enumerate(chunk_tokens))
        return Version(chunks, self._next)

    def after(self, version: Version, edits: Sequence[Edit], chained: bool) -> Version:
        """Return the document after the edits of one turn."""
        by_chunk = {edit.chunk: edit for edit in edits}
        first = min(by_chunk)
        chunks: list[tuple[Part, ...]] = []
        for index, parts in enumerate(version.chunks):
            edit = by_chunk.get(index)
            if chained and index > first:  # all of it is new, whether it was edited itself or stands behind
                chunks.append((self._part(index, edit.tokens if edit else sum(part.tokens for part in parts)),))
            else:
                chunks.append(self._edited(parts, edit) if edit else parts)
        return Version(tuple(chunks), self._next)

    def _edited(self, parts: tuple[Part, ...], edit: Edit) -> tuple[Part, ...]:
        """Return the full blocks of the chunk in front of an edit, and one new part for what is left."""
        room = whole = edit.kept_tokens // self._block_tokens
        kept, base = [], None
        for part in parts:
            if part.run.count <= room:
                kept.append(part)
            else:
                if room:
                    front = Run(part.run.start, room)
                    kept.append(part._replace(run=front, tokens=room * self._block_tokens))
                base = Base(part.run.start + room, edit.kept_tokens - whole * self._block_tokens)
                break
            room -= part.run.count
        left_tokens = edit.tokens - whole * self._block_tokens
        if left_tokens:
            kept.append(self._part(edit.chunk, left_tokens, base if base and base.tokens else None))
        return tuple(kept)

    def _part(self, chunk: int, tokens: int, base: Base | None = None) -> Part:
        run = Run(self._next, -(-tokens // self._block_tokens))
        self._next = run.end
        return Part(run, tokens, chunk, base=base)
