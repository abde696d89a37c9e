"""How much of what a query needs did the query before it need too, and is the next place further on?

Where an answer stands is taken as where attention, and with it the KV that matters, lies: the position overlap of KV
importance between consecutive queries, in chunks (what would be moved) and in characters (what would be attended).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

from simkv.dialogues import Dialogue, Query, Span
from simkv.predictability.estimates import Ratio, told, told_mean
from simkv.predictability.shuffling import mixed

#: Sizes of what both need, of what the first needs, of what the second needs.
Shared = tuple[float, float, float]


def overlap(dialogues: Sequence[Dialogue], seed: int, shuffles: int) -> dict[str, Any]:
    """Return overlap of consecutive queries in chunks and in characters, beside that of shuffled dialogues."""
    found: dict[str, Any] = {}
    for unit, needs, shared, want in (
        ("chunks", _pieces, shared_pieces, "no chunks or passages"),
        ("characters", _spans, shared_characters, "no places of answers"),
    ):
        kept = [[query for query in dialogue.queries if needs(query)] for dialogue in dialogues]
        if not any(len(queries) > 1 for queries in kept):
            found[unit] = {"n/a": f"the set has {want} of consecutive queries"}
            continue
        measured = _measured(kept, shared)
        lost = [_measured(order, shared) for order in _orders(kept, seed, shuffles)]
        found[unit] = {
            name: told(made.estimate(seed)) | {"shuffled": told_mean(one[name].value() for one in lost)}
            for name, made in measured.items()
        }
    return found


def order(dialogues: Sequence[Dialogue], seed: int, shuffles: int) -> dict[str, Any]:
    """Return how often the next answer starts at or after the previous one, in dialogues about one text."""
    kept = [[query for query in dialogue.queries if query.spans] for dialogue in dialogues if dialogue.chunks]
    if not any(len(queries) > 1 for queries in kept):
        return {"n/a": "no dialogue is about one text with places of answers"}
    lost = [_ahead(order).value() for order in _orders(kept, seed, shuffles)]
    return {"at_or_after": told(_ahead(kept).estimate(seed)) | {"shuffled": told_mean(lost)}}


def shared_pieces(before: Query, after: Query) -> Shared:
    """Return how many pieces both need, and each.

    Examples
    --------
    >>> shared_pieces(Query(pieces=(1, 2)), Query(pieces=(2, 3, 4)))
    (1, 2, 3)
    """
    first, second = set(before.pieces), set(after.pieces)
    return len(first & second), len(first), len(second)


def shared_characters(before: Query, after: Query) -> Shared:
    """Return how many characters of documents both rest on, and each.

    Examples
    --------
    >>> one, two = Span("d", 0, 10), Span("d", 6, 12)
    >>> shared_characters(Query(spans=(one, Span("d", 5, 8))), Query(spans=(two, Span("e", 0, 4))))
    (4, 10, 10)
    """
    first, second = _joined(before.spans), _joined(after.spans)
    both = sum(
        max(0, min(a.end, b.end) - max(a.start, b.start)) for a in first for b in second if a.document == b.document
    )
    return both, sum(span.end - span.start for span in first), sum(span.end - span.start for span in second)


def _joined(spans: Iterable[Span]) -> list[Span]:
    """Return the same characters, none twice."""
    made: list[Span] = []
    for span in sorted(spans):
        if made and made[-1].document == span.document and span.start <= made[-1].end:
            made[-1] = Span(span.document, made[-1].start, max(made[-1].end, span.end))
        else:
            made.append(span)
    return made


def _measured(kept: Sequence[Sequence[Query]], shared: Callable[[Query, Query], Shared]) -> dict[str, Ratio]:
    """Return means over pairs: Jaccard index, share of the next query's needs, share of pairs with any overlap."""
    found = {"jaccard": Ratio(), "of_next": Ratio(), "any": Ratio()}
    for queries in kept:
        pairs = [shared(before, after) for before, after in pairwise(queries)]
        found["jaccard"].add(sum(both / (one + two - both) for both, one, two in pairs), len(pairs))
        found["of_next"].add(sum(both / two for both, _, two in pairs), len(pairs))
        found["any"].add(sum(both > 0 for both, _, _ in pairs), len(pairs))
    return found


def _ahead(kept: Sequence[Sequence[Query]]) -> Ratio:
    found = Ratio()
    for queries in kept:
        steps = [(before.spans[0].start, after.spans[0].start) for before, after in pairwise(queries)]
        found.add(sum(there >= here for here, there in steps), len(steps))
    return found


def _orders(kept: Sequence[Sequence[Query]], seed: int, shuffles: int) -> Iterable[list[list[Query]]]:
    for draw in range(shuffles):
        yield [mixed(queries, seed, draw, index) for index, queries in enumerate(kept)]


def _pieces(query: Query) -> bool:
    return bool(query.pieces)


def _spans(query: Query) -> bool:
    return any(span.end > span.start for span in query.spans)
