"""Predict, compare, learn: how good is each predictor on a set of dialogues?

The first query of a dialogue is learnt and not scored: nothing came before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Generic, TypeVar

from simkv.predictability.follow import Asked, Sees, follow
from simkv.predictors import Predictor
from simkv.scoring import Ranks, Scorer

T = TypeVar("T", Scorer, Ranks)

#: Dialogues are put into so many batches at most, by turns; the bootstrap resamples batches. That keeps it quick for
#: thousands of dialogues, and changes nothing where there are fewer.
MOST_BATCHES = 200


@dataclass(frozen=True, slots=True)
class Scores(Generic[T]):
    """Scores of one predictor: one scorer a batch of dialogues, or only ranks, which are quicker."""

    batches: tuple[T, ...]

    def whole(self) -> T:
        """Return all batches in one."""
        total = type(self.batches[0])()
        for batch in self.batches:
            total.absorb(batch)
        return total


def prequential(
    sequences: Sequence[Asked], predictors: Mapping[str, Predictor], sees: Sees, tally: type[T]
) -> dict[str, Scores[T]]:
    """Return each predictor's scores, learning as it goes through the dialogues in order.

    Parameters
    ----------
    tally : `Scorer`, or `Ranks` where only top-k is asked for.

    Examples
    --------
    >>> from simkv.predictors import PREDICTORS
    >>> line = Asked((0, 1, 2, 3), chunks=4)
    >>> scores = prequential([line], {"sequential": PREDICTORS.create("sequential")}, "moves", Scorer)
    >>> scores["sequential"].whole().top(1)
    1.0
    """
    batches = {name: _batches(len(sequences), tally) for name in predictors}
    for index, sequence in enumerate(sequences):
        scorers = {name: made[index % len(made)] for name, made in batches.items()}
        play(sequence, index, predictors, sees, scorers, learn=True)
    return {name: Scores(made) for name, made in batches.items()}


def two_fold(
    sequences: Sequence[Asked], folds: Sequence[int], makers: Mapping[str, Predictor], sees: Sees, tally: type[T]
) -> dict[str, Scores[T]]:
    """Return scores on each fold after learning the other, nothing being learnt while scoring.

    Parameters
    ----------
    folds : 0 or 1 for each dialogue.
    makers : for each name a fresh predictor; it is copied.
    """
    batches = {name: _batches(len(sequences), tally) for name in makers}
    for fold in (0, 1):
        learners = deepcopy(dict(makers))
        for index, sequence in enumerate(sequences):
            if folds[index] != fold:
                play(sequence, index, learners, sees, {}, learn=True)
        for index, sequence in enumerate(sequences):
            if folds[index] == fold:
                scorers = {name: made[index % len(made)] for name, made in batches.items()}
                play(sequence, index, learners, sees, scorers, learn=False)
    return {name: Scores(made) for name, made in batches.items()}


def play(
    sequence: Asked,
    session: int,
    predictors: Mapping[str, Predictor],
    sees: Sees,
    scorers: Mapping[str, T],
    learn: bool,
) -> None:
    """Take predictors through one dialogue."""
    dialogue = follow(sequence, session, sees)
    for place in range(len(sequence.numbers)):
        said = {}
        if place and scorers:
            view = dialogue.view()
            said = {name: dict(predictor.predict(view)) for name, predictor in predictors.items()}
        asked, outcome = dialogue.learn()
        for name, forecast in said.items():
            scorers[name].add(forecast, asked)
        if learn:
            for predictor in predictors.values():
                predictor.observe(outcome)


def _batches(dialogues: int, tally: type[T]) -> tuple[T, ...]:
    return tuple(tally() for _ in range(min(dialogues, MOST_BATCHES)))
