"""Which chunk means what the last questions meant? Similarity of sentence embeddings."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, cast

from simkv.predictors.choice import Past, TopicChoice
from simkv.predictors.question import PREDICTORS, History, Item, Outcome

HASHED_WORDS = "hashed-words"
_MOST_TEXTS = 20_000  # whose vectors are kept

Vector = tuple[float, ...]


class Encoder(Protocol):
    """What makes vectors of texts; sentence-transformers' models are such."""

    def encode(self, texts: list[str]) -> Iterable[Iterable[float]]:
        """Return one vector a text, all of one length."""
        ...


@PREDICTORS.register("topic-embedding")
@dataclass
class TopicEmbedding:
    """Predict the chunks that are near the last questions, and near the chunk asked last, in an embedding.

    Evidence for a chunk is the cosine between it and the mean of the last questions, older ones counting less, and
    between it and the chunk asked last; how far either is trusted is learnt as in `topic`. Texts are their content
    words. Without words it predicts nothing.

    Attributes
    ----------
    model : name of a sentence-transformers model (the extra `embed` installs the package; the model is loaded when
        first needed); or `package.module:name` of an object with encode(texts); or `hashed-words`, no language
        model but feature hashing, which needs nothing.
    decay : weight of a question against the one after it, 0 to 1.
    rate : learning rate of the weights.

    Source: Reimers and Gurevych, "Sentence-BERT: sentence embeddings using Siamese BERT-networks", EMNLP 2019; feature
    hashing: Weinberger et al., "Feature hashing for large scale multitask learning", ICML 2009.
    """

    needs_words: ClassVar[bool] = True
    needs_chunks: ClassVar[bool] = True

    model: str = HASHED_WORDS
    decay: float = 0.7
    rate: float = 0.2
    _encoder: Encoder | None = field(default=None, init=False, repr=False)
    _vectors: dict[str, Vector] = field(default_factory=dict, init=False, repr=False)
    _choice: TopicChoice = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not 0 <= self.decay <= 1:
            raise ValueError(f"decay must be in [0, 1], got {self.decay}")
        if not 0 <= self.rate < math.inf:
            raise ValueError(f"rate must not be negative, got {self.rate}")
        if self.model == HASHED_WORDS:
            self._encoder = HashedWords()
        elif ":" in self.model:
            self._encoder = _imported(self.model)
        elif importlib.util.find_spec("sentence_transformers") is None:
            wanted = f"pip install 'simkv[embed]', or take {HASHED_WORDS!r}"
            raise ValueError(f"model {self.model!r} needs sentence-transformers: {wanted}")
        self._choice = TopicChoice(self._evidence, (2.0, 2.0), self.rate)

    def predict(self, view: History) -> Mapping[Item, float]:
        """Return the probability of each chunk; nothing where there are no words."""
        return self._choice.predict(view)

    def observe(self, outcome: Outcome) -> None:
        """Learn how far similarity can be trusted."""
        self._choice.observe(outcome)

    def _evidence(self, past: Past) -> list[tuple[float, float]]:
        self._encode([*past.words, *past.chunk_words])
        chunks = [self._vectors.get(_text(words), ()) for words in past.chunk_words]
        asked: Vector = ()
        for words in past.words:
            vector = self._vectors.get(_text(words), ())
            older = asked or (0.0,) * len(vector)
            asked = tuple(x + self.decay * y for x, y in zip(vector, older, strict=True)) if vector else asked
        asked, last = _unit(asked), past.asked[-1]
        near = [0.0 if chunk == last else _dot(chunks[last], vector) for chunk, vector in enumerate(chunks)]
        return [(_dot(asked, vector), similarity) for vector, similarity in zip(chunks, near, strict=True)]

    def _encode(self, texts: Sequence[Sequence[str]]) -> None:
        """Make the vectors of texts that have none yet, all in one call."""
        new = list(dict.fromkeys(text for text in map(_text, texts) if text and text not in self._vectors))
        if not new:
            return
        if len(self._vectors) + len(new) > _MOST_TEXTS:
            self._vectors.clear()
            new = list(dict.fromkeys(text for text in map(_text, texts) if text))
        if self._encoder is None:
            package: Any = importlib.import_module("sentence_transformers")
            self._encoder = cast("Encoder", package.SentenceTransformer(self.model))
        for text, vector in zip(new, self._encoder.encode(new), strict=True):
            self._vectors[text] = _unit(tuple(float(value) for value in vector))


class HashedWords:
    """Texts as sums of their words' hashed signs: texts of equal words are near, whatever the words mean.

    Examples
    --------
    >>> one, same, other = HashedWords().encode(["red apple", "apple red", "tax law"])
    >>> one == same, one == other
    (True, False)
    """

    LENGTH = 256

    def encode(self, texts: list[str]) -> list[Vector]:
        """Return one vector a text."""
        return [self._vector(text.split()) for text in texts]

    def _vector(self, words: Sequence[str]) -> Vector:
        found = [0.0] * self.LENGTH
        for word in words:
            digest = hashlib.blake2b(word.encode(), digest_size=4).digest()
            found[int.from_bytes(digest[:3], "big") % self.LENGTH] += 1.0 if digest[3] & 1 else -1.0
        return tuple(found)


def _text(words: Sequence[str]) -> str:
    return " ".join(words)


def _unit(vector: Vector) -> Vector:
    """Return the vector with length 1; a null vector as it is."""
    size = math.sqrt(math.fsum(value * value for value in vector))
    return tuple(value / size for value in vector) if size else vector


def _dot(one: Vector, other: Vector) -> float:
    """Return the cosine between two vectors of length 1; 0 where one is missing."""
    return math.fsum(map(operator.mul, one, other))


def _imported(path: str) -> Encoder:
    """Return the object at `package.module:name`."""
    module, _, name = path.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"model {path!r} cannot be imported: {error}") from error
    if not callable(getattr(found, "encode", None)):
        raise ValueError(f"model {path!r} has no method encode(texts)")
    return cast("Encoder", found)
