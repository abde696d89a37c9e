"""Can the next item be named from what came before? Every predictor that fits, against order destroyed and popularity.

Two baselines are shown with each score. Popularity knows what is asked often and nothing of what came before. A
shuffled dialogue asks for the same things in a random order: what a predictor still gets right there is owed to
frequencies and to repetition inside a dialogue, and only the rest to order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from simkv.dialogues import Dialogue, DialogueSet
from simkv.errors import InputError
from simkv.predictability.estimates import of_scores, told, told_scores, told_shuffled
from simkv.predictability.follow import Asked, Sees
from simkv.predictability.prequential import Scores, prequential, two_fold
from simkv.predictability.shuffling import mixed
from simkv.predictors import PREDICTORS, Predictor
from simkv.scoring import Ranks, Scorer
from simkv.workload.readers.text import content_words

#: Queries that all shuffles of a set together may replay before their number is cut; a large set needs few.
_SHUFFLED_QUERIES = 40_000
_FEWEST_SHUFFLES = 4

#: By names, an n-gram over items: name of the row, predictor, parameters.
_BY_NAME: tuple[tuple[str, str, dict[str, int]], ...] = (
    ("popularity", "markov", {"order": 0}),
    ("markov-1", "markov", {"order": 1}),
    ("markov-2", "markov", {"order": 2}),
    ("ppm-c", "ppm-c", {}),
)


def asked_of(found: DialogueSet) -> list[Asked]:
    """Return what the queries of each dialogue asked for, those that need nothing left out."""
    numbers: dict[str | int, int] = {}
    return [_asked(dialogue, numbers) for dialogue in found.dialogues]


def _asked(dialogue: Dialogue, numbers: dict[str | int, int]) -> Asked:
    """Return one dialogue's items, names numbered in the order in which the set first asks for them."""
    needing = [(query.item, query.question) for query in dialogue.queries if query.item is not None]
    if not dialogue.chunks:
        return Asked(tuple(numbers.setdefault(item, len(numbers)) for item, _ in needing), 0, dialogue.group)
    return Asked(
        numbers=tuple(item for item, _ in needing if isinstance(item, int)),
        chunks=dialogue.chunks,
        group=dialogue.group,
        words=tuple(content_words(question) for _, question in needing),
        chunk_words=tuple(content_words(text) for text in dialogue.chunk_texts),
    )


def next_item(found: DialogueSet, seed: int, shuffles: int) -> dict[str, Any]:
    """Return every predictor's scores as plain data, or why there are none.

    Parameters
    ----------
    seed : of the shuffles and of the bootstrap.
    shuffles : orders drawn at random for each dialogue; fewer for sets of more than 2,000 queries.
    """
    sequences = asked_of(found)
    steps = sum(max(0, len(sequence.numbers) - 1) for sequence in sequences)
    if found.about.kind == "none":
        return {"n/a": f"item {found.about.item}"}
    if not steps:
        return {"n/a": "no dialogue has two queries that need something"}
    count = min(shuffles, max(_FEWEST_SHUFFLES, _SHUFFLED_QUERIES // steps))
    orders = [shuffled(sequences, seed, draw) for draw in range(count)]
    seen: list[Sees] = ["moves"] if found.about.kind == "local" else ["names", "moves"]
    rows = [row for sees in seen for row in _prequential_rows(sequences, orders, sees, found, seed)]
    folded = _two_fold_rows(sequences, orders, seen[0], [index % 2 for index in range(len(sequences))], seed)
    groups = {sequence.group for sequence in sequences}
    return {
        "steps": steps,
        "distinct_items": len({number for sequence in sequences for number in sequence.numbers}),
        "new_items": told_new(sequences),
        "two_fold": folded,
        "two_fold_by_group": (
            _two_fold_rows(sequences, [], seen[0], _group_folds(sequences), seed)
            if 1 < len(groups) < len(sequences)
            else {"n/a": "no two dialogues share a task or document"}
        ),
        "prequential": [row for row in rows if row["reliability"]],
        "silent": [row["predictor"] for row in rows if not row["reliability"]],
    }


def shuffled(sequences: Sequence[Asked], seed: int, draw: int) -> list[Asked]:
    """Return every dialogue in a random order of its own: the same items, the order destroyed.

    Examples
    --------
    >>> line = Asked((1, 2, 2, 5), chunks=6)
    >>> sorted(shuffled([line], seed=1, draw=0)[0].numbers)
    [1, 2, 2, 5]
    """
    return [_reordered(sequence, seed, draw, index) for index, sequence in enumerate(sequences)]


def _reordered(sequence: Asked, seed: int, draw: int, index: int) -> Asked:
    places = mixed(range(len(sequence.numbers)), seed, draw, index)
    words = tuple(sequence.words[place] for place in places) if sequence.words else ()
    return replace(sequence, numbers=tuple(sequence.numbers[place] for place in places), words=words)


def told_new(sequences: Sequence[Asked]) -> float:
    """Return the share of later queries for an item that the dialogue had not asked for before.

    Examples
    --------
    >>> told_new([Asked((1, 1, 2, 1), chunks=0)])
    0.333333
    """
    later = [
        len(set(sequence.numbers[:i])) < len(set(sequence.numbers[: i + 1]))
        for sequence in sequences
        for i in range(1, len(sequence.numbers))
    ]
    return round(sum(later) / len(later), 6)


def _prequential_rows(
    sequences: Sequence[Asked], orders: Sequence[Sequence[Asked]], sees: Sees, found: DialogueSet, seed: int
) -> list[dict[str, Any]]:
    has_chunks = found.about.kind == "chunk"
    scores = prequential(sequences, fitting(has_chunks, sees), sees, Scorer)
    lost = [prequential(order, fitting(has_chunks, sees), sees, Ranks) for order in orders]
    return [
        {"predictor": name, "sees": sees}
        | told_scores(made, seed)
        | {"shuffled": told_shuffled(order[name].whole() for order in lost)}
        for name, made in scores.items()
    ]


def _two_fold_rows(
    sequences: Sequence[Asked], orders: Sequence[Sequence[Asked]], sees: Sees, folds: Sequence[int], seed: int
) -> dict[str, Any]:
    """Return most-frequent item and bigram; learnt on one half, scored on the other."""
    scores = two_fold(sequences, folds, _grams(), sees, Ranks)
    lost = [two_fold(order, folds, _grams(), sees, Ranks) for order in orders]
    return {"sees": sees} | {
        name: _told_fold(made, [order[name] for order in lost], seed) for name, made in scores.items()
    }


def _told_fold(made: Scores[Ranks], lost: Sequence[Scores[Ranks]], seed: int) -> dict[str, Any]:
    found = {f"top{k}": told(of_scores(made, seed, top=k)) for k in (1, 3)}
    return found | ({"shuffled": told_shuffled(one.whole() for one in lost)} if lost else {})


def _grams() -> dict[str, Predictor]:
    return {"most_frequent": PREDICTORS.create("markov", {"order": 0}), "bigram": PREDICTORS.create("markov")}


def _group_folds(sequences: Sequence[Asked]) -> list[int]:
    """Return a fold for each dialogue such that a group is never on both sides."""
    places: dict[str, int] = {}
    return [places.setdefault(sequence.group, len(places)) % 2 for sequence in sequences]


def fitting(has_chunks: bool, sees: Sees) -> Mapping[str, Predictor]:
    """Return fresh predictors that can be asked: by name n-grams, by moves all that simkv has, no oracles.

    Examples
    --------
    >>> sorted(fitting(False, "names"))
    ['markov-1', 'markov-2', 'popularity', 'ppm-c']
    >>> "sequential" in fitting(True, "moves"), "sequential" in fitting(False, "moves")
    (True, False)
    """
    if sees == "names":
        return {row: PREDICTORS.create(name, params) for row, name, params in _BY_NAME}
    made: dict[str, Predictor] = {}
    for name in PREDICTORS:
        if PREDICTORS.is_oracle(name) or (getattr(PREDICTORS.get(name), "needs_chunks", False) and not has_chunks):
            continue
        try:
            predictor = PREDICTORS.create(name)
        except InputError:
            continue  # it wants parameters that no data set can give
        if name == "markov":
            made |= {"markov-1": predictor, "markov-2": PREDICTORS.create(name, {"order": 2})}
        else:
            made[name] = predictor
    return made
