"""How does evidence for each chunk of a document become one honest probability? Shared by predictors that read words.

The conditional logit: P(chunk) is proportional to exp(sum of weight x evidence). The weights are learnt from every
query by the gradient of the log score, so they say how far each kind of evidence can be trusted: a weight is an inverse
temperature, and evidence that does not help ends with weight 0.

References
----------
McFadden, "Conditional logit analysis of qualitative choice behavior", in Zarembka (ed.), Frontiers in Econometrics,
1974; the step sizes: Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning", JMLR 12, 2011.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from simkv.predictors.question import LONGEST_CONTEXT, History, Item, Outcome

_SMOOTHING = 1.0  # count that every move starts with: Laplace's rule of succession
_TINY = 1e-12  # keeps the first step finite


class Past(NamedTuple):
    """The last queries of a session, at most `LONGEST_CONTEXT`.

    Attributes
    ----------
    asked : chunks, oldest first.
    words : content words of each of these queries.
    chunk_words : content words of each chunk of the document.
    """

    asked: Sequence[int]
    words: Sequence[Sequence[str]]
    chunk_words: Sequence[Sequence[str]]

    @property
    def has_words(self) -> bool:
        """Whether there is anything to read: words of the document, and of some query."""
        return any(self.words) and any(self.chunk_words)


#: Returns for each chunk its evidence, one number a kind.
Evidence = Callable[[Past], Sequence[Sequence[float]]]


class TopicChoice:
    """Which chunk comes next, from evidence in words, from how readers move, and from what was asked before.

    Parameters
    ----------
    evidence : see `Evidence`.
    start : weight of each kind of evidence before anything was learnt.
    rate : learning rate, at least 0; 0 = the weights stay.

    Attributes
    ----------
    weights : of the evidence, then of the logarithm of the move's frequency, and of having been asked before.
    """

    def __init__(self, evidence: Evidence, start: Sequence[float], rate: float) -> None:
        self._evidence = evidence
        self._rate = rate
        self.weights = [*start, 1.0, 0.0]
        self._squares = [_TINY] * len(self.weights)
        self._moves: dict[int, int] = {}

    def predict(self, view: History) -> Mapping[Item, float]:
        """Return P(chunk) of all chunks; nothing where there are no words."""
        past = past_of(view)
        if not past.has_words:
            return {}
        return dict(enumerate(self._shares(self._features(past))))

    def observe(self, outcome: Outcome) -> None:
        """Move the weights towards what would have made the outcome likelier; count its move."""
        past = past_before(outcome)
        if past.has_words and isinstance(outcome.item, int) and outcome.item < len(past.chunk_words):
            features = self._features(past)
            shares = self._shares(features)
            for kind, value in enumerate(features[outcome.item]):
                mean = math.fsum(p * row[kind] for p, row in zip(shares, features, strict=True))
                slope = value - mean
                self._squares[kind] += slope * slope
                self.weights[kind] += self._rate * slope / math.sqrt(self._squares[kind])
        self._moves[outcome.move] = self._moves.get(outcome.move, 0) + 1

    def _features(self, past: Past) -> list[tuple[float, ...]]:
        chunks, last = len(past.chunk_words), past.asked[-1]
        counts = [self._moves.get(chunk - last, 0) + _SMOOTHING for chunk in range(chunks)]
        total, known = math.fsum(counts), set(past.asked)
        return [
            (*evidence, math.log(count / total), float(chunk in known))
            for chunk, (evidence, count) in enumerate(zip(self._evidence(past), counts, strict=True))
        ]

    def _shares(self, features: Sequence[Sequence[float]]) -> list[float]:
        scores = [math.fsum(w * value for w, value in zip(self.weights, row, strict=True)) for row in features]
        most = max(scores)
        powers = [math.exp(score - most) for score in scores]
        total = math.fsum(powers)
        return [power / total for power in powers]


def past_of(view: History) -> Past:
    """Return what a session's history holds for a reader of words.

    Examples
    --------
    >>> past_of(History(0, [3, 4], [4, 1], lambda move: None, 5, words=[("one",), ("two",)])).asked
    [3, 4]
    """
    asked = [item for item in view.asked[-LONGEST_CONTEXT:] if isinstance(item, int)]
    words = view.words[-LONGEST_CONTEXT:]
    return Past(asked, words, view.chunk_words if asked and len(view.chunk_words) == view.chunks else ())


def past_before(outcome: Outcome) -> Past:
    """Return the same, as it was before an outcome; the chunks before the last are told by the moves.

    Examples
    --------
    >>> past_before(Outcome(0, (4, 1), 2, item=6, last=4, words_before=[("one",), ("two",)])).asked
    [3, 4]
    """
    asked: list[int] = []
    if isinstance(outcome.last, int):
        chunk = outcome.last
        for move in reversed(outcome.before):
            asked.insert(0, chunk)
            chunk -= move
    return Past(asked, outcome.words_before, outcome.chunk_words if asked else ())
