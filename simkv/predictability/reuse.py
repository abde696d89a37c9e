"""How much of what a query needs was needed earlier in its dialogue? What keeping KV can save, without prediction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from simkv.dialogues import Dialogue
from simkv.predictability.estimates import Ratio, told


def reuse(dialogues: Sequence[Dialogue], seed: int) -> dict[str, Any]:
    """Return the shares of needed pieces that an earlier query needed too, and whose document one used.

    Examples
    --------
    >>> from simkv.dialogues import Query
    >>> asked = Query(pieces=("a", "b"), documents=("A", "B")), Query(pieces=("a", "c"), documents=("A", "A"))
    >>> found = reuse([Dialogue("one", asked)], seed=1)
    >>> found["same_piece"]["value"], found["same_document"]["value"]
    (0.25, 0.5)
    """
    pieces, documents = Ratio(), Ratio()
    for dialogue in dialogues:
        seen: set[str | int] = set()
        used: set[str] = set()
        again = from_used = total = 0
        for query in dialogue.queries:
            again += sum(piece in seen for piece in query.pieces)
            from_used += sum(document in used for document in query.documents)
            total += len(query.pieces)
            seen.update(query.pieces)
            used.update(query.documents)
        pieces.add(again, total)
        documents.add(from_used, total)
    if not any(below for _, below in pieces.parts):
        return {"n/a": "the set names no chunks or passages"}
    needed = sum(below for _, below in pieces.parts)
    return {
        "pieces": int(needed),
        "same_piece": told(pieces.estimate(seed)),
        "same_document": told(documents.estimate(seed)),
    }
