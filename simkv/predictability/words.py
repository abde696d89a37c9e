"""How many content words of the next question were said already? A bound on what a predictor of topics could know."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from simkv.dialogues import Dialogue, Query
from simkv.predictability.estimates import Ratio, told, told_mean
from simkv.predictability.shuffling import mixed

_WORD = re.compile(r"[a-z0-9]+")

#: English words that say how, not what: articles, pronouns, auxiliaries, prepositions, conjunctions, question words.
_FUNCTION_WORDS = """
    a an the this that these those
    i me my mine myself you your yours yourself he him his himself she her hers herself it its itself
    we us our ours ourselves they them their theirs themselves one
    am is are was were be been being do does did doing done have has had having
    will would shall should can could may might must
    of to in on at by for from with without about as into onto over under between among through during before after
    above below up down out off against until upon
    and or but nor so if because while than then though although whether
    what which who whom whose when where why how
    not no yes there here any some all each every both few more most other such only own same very too also just
    s t d ll re ve m
    """
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())


def content_words(text: str) -> set[str]:
    """Return the words of a text that say what it is about, in lower case.

    Examples
    --------
    >>> sorted(content_words("When did Zappa's band break up?"))
    ['band', 'break', 'zappa']
    """
    return set(_WORD.findall(text.lower())) - FUNCTION_WORDS


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
        said, last = content_words(title), set[str]()
        in_last = in_said = 0.0
        count = 0
        for place, query in enumerate(queries):
            asked = content_words(query.question)
            if place and asked:
                in_last += len(asked & last) / len(asked)
                in_said += len(asked & said) / len(asked)
                count += 1
            last = content_words(query.heard)
            said |= last
        previous.add(in_last, count)
        history.add(in_said, count)
    return previous, history
