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


class Piece(NamedTuple):
    """Blocks of one chunk that came into being together.

    Attributes
    ----------
    run : the blocks.
    tokens : [tokens] in them; all but the last block are full.
    base : of the first block; None where nothing of it is old.
    """

    run: Run
    tokens: int
    base: Base | None = None


class Version(NamedTuple):
    """A document between two edits.

    Attributes
    ----------
    chunks : the pieces of each chunk, in order.
    end : the first block id that no version so far has used: what comes later is not there yet (semantics B1).
    """

    chunks: tuple[tuple[Piece, ...], ...]
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
    >>> [piece.run for piece in edited.chunks[0]], edited.chunks[0][1].base
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
        chunks = tuple((self._piece(tokens),) for tokens in chunk_tokens)
        return Version(chunks, self._next)

    def after(self, version: Version, edits: Sequence[Edit], chained: bool) -> Version:
        """Return the document after the edits of one turn."""
        by_chunk = {edit.chunk: edit for edit in edits}
        first = min(by_chunk)
        chunks: list[tuple[Piece, ...]] = []
        for index, pieces in enumerate(version.chunks):
            edit = by_chunk.get(index)
            if chained and index > first:  # all of it is new, whether it was edited itself or stands behind
                chunks.append((self._piece(edit.tokens if edit else sum(piece.tokens for piece in pieces)),))
            else:
                chunks.append(self._edited(pieces, edit) if edit else pieces)
        return Version(tuple(chunks), self._next)

    def _edited(self, pieces: tuple[Piece, ...], edit: Edit) -> tuple[Piece, ...]:
        """Return the full blocks of the chunk in front of an edit, and one new piece for what is left."""
        room = whole = edit.kept_tokens // self._block_tokens
        kept, base = [], None
        for piece in pieces:
            if piece.run.count <= room:
                kept.append(piece)
            else:
                if room:
                    kept.append(Piece(Run(piece.run.start, room), room * self._block_tokens, piece.base))
                base = Base(piece.run.start + room, edit.kept_tokens - whole * self._block_tokens)
                break
            room -= piece.run.count
        left_tokens = edit.tokens - whole * self._block_tokens
        if left_tokens:
            kept.append(self._piece(left_tokens, base if base and base.tokens else None))
        return tuple(kept)

    def _piece(self, tokens: int, base: Base | None = None) -> Piece:
        run = Run(self._next, -(-tokens // self._block_tokens))
        self._next = run.end
        return Piece(run, tokens, base)
