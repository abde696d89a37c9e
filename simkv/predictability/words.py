"""How many content words of the next question were said already? A bound on what a predictor of topics could know."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from simkv.dialogues import Dialogue, Query
from simkv.predictability.estimates import Ratio, told, told_mean
from simkv.predictability.shuffling import mixed
from simkv.workload.readers.text import content_words


def words(dialogues: Sequence[Dialogue], seed: int, shuffles: int) -> dict[str, Any]:
    """Return the mean shares of the next question's content words that occur in the turn before, and in any before.

    The title counts as said before the first question. The shuffled value is that of the turn before, in a random
    order of the turns.
    """
    kept = [dialogue for dialogue in dialogues if sum(bool(query.heard) for query in dialogue.queries) > 1]
    previous, history = _measured([(dialogue.title, dialogue.queries) for dialogue in kept])
    if not any(below for _, below in previous.parts):
        return {"n/a": "the set has no words of consecutive questions"}
    lost = [
        _measured((one.title, mixed(one.queries, seed, draw, index)) for index, one in enumerate(kept))[0].value()
        for draw in range(shuffles)
    ]
    return {
        "questions": int(sum(below for _, below in previous.parts)),
        "in_previous_turn": told(previous.estimate(seed)) | {"shuffled": told_mean(lost)},
        "in_history": told(history.estimate(seed)),
    }


def _measured(orders: Iterable[tuple[str, Sequence[Query]]]) -> tuple[Ratio, Ratio]:
    previous, history = Ratio(), Ratio()
    for title, queries in orders:
        said, last = set(content_words(title)), set[str]()
        in_last = in_said = 0.0
        count = 0
        for place, query in enumerate(queries):
            asked = set(content_words(query.question))
            if place and asked:
                in_last += len(asked & last) / len(asked)
                in_said += len(asked & said) / len(asked)
                count += 1
            last = set(content_words(query.heard))
            said |= last
        previous.add(in_last, count)
        history.add(in_said, count)
    return previous, history
