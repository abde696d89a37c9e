"""Which chunk is about what the last questions were about? Dirichlet-multinomial over content words."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from simkv.predictors.choice import Past, TopicChoice
from simkv.predictors.question import PREDICTORS, History, Item, Outcome

_MOST_DOCUMENTS = 64  # whose counted words are kept


@PREDICTORS.register("topic")
@dataclass
class Topic:
    """Predict the chunks whose words are those of the last questions, and of the chunk asked last.

    Each chunk is a Dirichlet-multinomial: its own words, and those of the whole document as prior. Evidence for a chunk
    is how much likelier it makes the words said so far than the document as a whole does, older questions counting
    less; and the same of the words of the chunk asked last. How far either is trusted, beside how readers move and what
    they have asked before, is learnt from every query, so that the probabilities are honest. All chunks share
    probability 1. Without words of questions or of the document it predicts nothing.

    Attributes
    ----------
    decay : weight of a question's words against those of the question after it, 0 to 1.
    prior_words : mass of the prior, in words; a chunk of as many words trusts both alike.
    rate : learning rate of the weights.

    Source: Zhai and Lafferty, "A study of smoothing methods for language models applied to information retrieval", ACM
    TOIS 22(2), 2004 (Dirichlet prior); seed document 0, "Prediction Model", item 2.
    """

    needs_words: ClassVar[bool] = True
    needs_chunks: ClassVar[bool] = True

    decay: float = 0.7
    prior_words: float = 50.0
    rate: float = 0.2
    _documents: dict[int, _Document] = field(default_factory=dict, init=False, repr=False)
    _choice: TopicChoice = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not 0 <= self.decay <= 1:
            raise ValueError(f"decay must be in [0, 1], got {self.decay}")
        if not 0 < self.prior_words < math.inf:
            raise ValueError(f"prior_words must be above 0, got {self.prior_words}")
        if not 0 <= self.rate < math.inf:
            raise ValueError(f"rate must not be negative, got {self.rate}")
        self._choice = TopicChoice(self._evidence, (0.3, 0.3), self.rate)

    def predict(self, view: History) -> Mapping[Item, float]:
        """Return the probability of each chunk; nothing where there are no words."""
        return self._choice.predict(view)

    def observe(self, outcome: Outcome) -> None:
        """Learn how far words can be trusted."""
        self._choice.observe(outcome)

    def _evidence(self, past: Past) -> list[tuple[float, float]]:
        document = self._document(past.chunk_words)
        said: dict[str, float] = {}
        for age, words in enumerate(reversed(past.words)):
            for word in words:
                said[word] = said.get(word, 0.0) + self.decay**age
        return list(zip(document.likelier(said), document.alike(past.asked[-1]), strict=True))

    def _document(self, chunk_words: Sequence[Sequence[str]]) -> _Document:
        """Return a document's counts; the same document comes as the same object, query after query."""
        known = self._documents.get(id(chunk_words))
        if known is None or known.chunk_words is not chunk_words:
            if len(self._documents) >= _MOST_DOCUMENTS:
                del self._documents[next(iter(self._documents))]
            known = self._documents[id(chunk_words)] = _Document(chunk_words, self.prior_words)
        return known


class _Document:
    """A document's words, counted."""

    def __init__(self, chunk_words: Sequence[Sequence[str]], prior_words: float) -> None:
        self.chunk_words = chunk_words
        self._prior_words = prior_words
        self._sizes = [len(words) for words in chunk_words]
        total = sum(self._sizes)
        everywhere = Counter(word for words in chunk_words for word in words)
        self._frequency = {word: count / total for word, count in everywhere.items()}
        self._places: dict[str, dict[int, int]] = {}
        for chunk, words in enumerate(chunk_words):
            for word in words:
                counts = self._places.setdefault(word, {})
                counts[chunk] = counts.get(chunk, 0) + 1
        self._alike: dict[int, list[float]] = {}

    def likelier(self, said: Mapping[str, float]) -> list[float]:
        """Return ln P(words | chunk) - ln P(words | document) of each chunk, for words with weights."""
        known = {word: weight for word, weight in said.items() if word in self._places}
        mass = math.fsum(known.values())
        found = [mass * math.log(self._prior_words / (size + self._prior_words)) for size in self._sizes]
        for word, weight in known.items():
            for chunk, count in self._places[word].items():
                found[chunk] += weight * math.log1p(count / (self._prior_words * self._frequency[word]))
        return found

    def alike(self, chunk: int) -> list[float]:
        """Return the same for the words of a chunk, all together one word; 0 for the chunk itself."""
        if chunk not in self._alike:
            words = self.chunk_words[chunk]
            weights = {word: count / len(words) for word, count in Counter(words).items()}
            self._alike[chunk] = self.likelier(weights)
            self._alike[chunk][chunk] = 0.0
        return self._alike[chunk]
