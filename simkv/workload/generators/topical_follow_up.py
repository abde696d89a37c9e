"""How does somebody ask who follows a topic, and in which words?

The document's chunks belong to topics. Each turn stays on its topic or moves to another; within the topic it asks
again about a chunk asked before, or about a new one. Words are planted: each topic has a distribution over one
vocabulary, each chunk draws its words from a Dirichlet around it, and a question takes words of its chunk, words of
other chunks of the topic, words that stand in no chunk, and words of the question before. Left out: grammar, answers,
topics that are near one another, and readers who differ. That numbers measured from five data sets belong together in
one conversation is this generator's assumption.
"""

from __future__ import annotations

import bisect
import itertools
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from simkv.request import Layout, Session, TraceHeader, Turn
from simkv.rng import stream
from simkv.workload.generators.draws import ANSWER_WORDS, QUESTION_WORDS, length, pick, think_s
from simkv.workload.generators.question import GENERATORS, provenance, want

NAME = "topical-follow-up"


class _Asked(NamedTuple):
    """The turn before: its topic, and its words."""

    topic: int
    words: tuple[str, ...]


@GENERATORS.register(NAME)
@dataclass
class TopicalFollowUp:
    """Conversations that stay on a topic or move to another, with the words of questions and chunks.

    Parameters
    ----------
    conversations, turns : how many, and turns in each.
    topics, chunks_per_topic : of each document; chunk i belongs to topic i // chunks_per_topic.
    chunk_tokens, block_tokens : [tokens] a chunk, a block.
    layout : where chunks stand in the prompt (semantics B2).
    stay_ratio : probability that a turn is about the topic of the turn before; else all others are equally likely.
    repeat_ratio : probability that a turn, its topic chosen, asks again about a chunk of it that was asked before,
        where there are both such and others; all of a kind are equally likely.
    question_words_mean : mean number of content words of a question (Poisson; some have none).
    echo_ratio : probability that a word repeats one of the question before, on the same topic.
    chunk_word_ratio, topic_word_ratio : probability that another word stands in the chunk, or in another chunk of the
        topic and not in this one; the rest stand in no chunk.
    chunk_words : content words of each chunk, with repetitions.
    vocabulary, common_vocabulary : how many words chunks, and questions outside them, choose from.
    topic_concentration : of the symmetric Dirichlet that topics come from, a word; small = topics share few words.
    chunk_concentration : total mass of the Dirichlet around its topic that a chunk comes from; large = alike chunks.
    question_tokens_mean, answer_tokens_mean : [tokens] mean lengths, at least 1.
    gap_kind : whose think times: an agent's between tool calls, or a human's. Never a mixture.
    tool_think_median_s, tool_think_sigma : [s], of ln(think time): log-normal of an agent's gaps.
    human_think_median_s, human_think_sigma : [s], of ln(think time): log-normal of a human's gaps.

    Examples
    --------
    >>> first = next(TopicalFollowUp(turns=3).sessions(seed=1))
    >>> len(first.turns), len(first.chunk_tokens), len(first.chunk_words[0])
    (3, 18, 100)
    """

    conversations: int = 200  # enough to draw 60 a replication with little repetition
    turns: int = 10
    # 18 chunks: as many as distinct passages an MTRAG conversation needs (17.4, 61 conversations); three topics.
    topics: int = 3
    chunks_per_topic: int = 6
    chunk_tokens: int = 512  # a common retrieval chunk; also one block of Mooncake's traces
    block_tokens: int = 16  # vLLM's block (semantics D1)
    layout: Layout = "independent"  # retrieved passages have no order
    stay_ratio: float = 0.893  # sgd_dev_test: 19,673 user turns; the service is that of the user turn before
    repeat_ratio: float = 0.117  # mtrag: 1,041 passages; those that an earlier turn needed
    question_words_mean: float = 2.41  # quac_canard: content words of 1,469 questions as typed
    echo_ratio: float = 0.217  # quac_canard: 3,537 of those words; said in the question before or its answer
    # squad_xquad_en, 3,170 content words of questions: in the fifth of the paragraph that answers, elsewhere in it.
    chunk_word_ratio: float = 0.47
    topic_word_ratio: float = 0.238
    # Chosen, not measured: half of a chunk's 384 words; a vocabulary ten times that; sparse topics.
    chunk_words: int = 100
    vocabulary: int = 1000
    common_vocabulary: int = 500
    topic_concentration: float = 0.1
    chunk_concentration: float = 50.0
    # quac_canard: 6.44 words a question and 13.28 an answer, at 100 tokens for 75 words.
    question_tokens_mean: float = 8.58
    answer_tokens_mean: float = 17.7
    gap_kind: Literal["tool", "human"] = "human"
    # claude_code_traces, lines through the deciles of 23,945 gaps after tool calls and 4,228 others.
    tool_think_median_s: float = 11.1
    tool_think_sigma: float = 1.08
    human_think_median_s: float = 142.0
    human_think_sigma: float = 1.82

    def __post_init__(self) -> None:
        counts = ("conversations", "turns", "topics", "chunks_per_topic", "chunk_tokens", "block_tokens")
        for name in (*counts, "chunk_words", "vocabulary", "common_vocabulary"):
            want(getattr(self, name) >= 1, f"{name}: want at least 1, got {getattr(self, name)}")
        want(self.layout in ("document_first", "interleaved", "independent"), f"layout: unknown {self.layout!r}")
        want(self.gap_kind in ("tool", "human"), f"gap_kind: want tool or human, got {self.gap_kind!r}")
        for name in ("stay_ratio", "repeat_ratio", "echo_ratio", "chunk_word_ratio", "topic_word_ratio"):
            want(0 <= getattr(self, name) <= 1, f"{name}: want 0 to 1, got {getattr(self, name)}")
        want(self.chunk_word_ratio + self.topic_word_ratio <= 1, "chunk_word_ratio + topic_word_ratio: want at most 1")
        want(
            0 <= self.question_words_mean < math.inf,
            f"question_words_mean: want at least 0, got {self.question_words_mean}",
        )
        for name in ("question_tokens_mean", "answer_tokens_mean"):
            want(1 <= getattr(self, name) < math.inf, f"{name}: want at least 1, got {getattr(self, name)}")
        for name in ("topic_concentration", "chunk_concentration"):
            want(0 < getattr(self, name) < math.inf, f"{name}: want above 0, got {getattr(self, name)}")
        for name in ("tool_think_median_s", "human_think_median_s", "tool_think_sigma", "human_think_sigma"):
            want(0 <= getattr(self, name) < math.inf, f"{name}: want at least 0, got {getattr(self, name)}")

    def header(self) -> TraceHeader:
        """Return what is true of all sessions."""
        return TraceHeader(self.block_tokens, self.layout, "session", True, provenance(NAME, self))

    def sessions(self, seed: int) -> Iterator[Session]:
        """Yield the conversations of one seed, each with a document of its own on the same topics, and no start."""
        topics = [list(itertools.accumulate(weights)) for weights in self.topic_weights(seed)]
        for conversation in range(self.conversations):
            draws = stream(seed, NAME, conversation, "document")
            words = tuple(self._chunk(topic, draws) for topic in topics for _ in range(self.chunks_per_topic))
            yield Session(
                f"topical-{conversation}",
                tuple(self._turns(seed, conversation, words)),
                self.layout,
                chunk_tokens=(self.chunk_tokens,) * len(words),
                chunk_words=words,
            )

    def topic_weights(self, seed: int) -> list[list[float]]:
        """Return P(word | topic) of each topic over the vocabulary `w0`, `w1`, ...; drawn from the Dirichlet."""
        found = []
        for topic in range(self.topics):
            draws = stream(seed, NAME, "topic", topic)
            weights = [draws.gammavariate(self.topic_concentration, 1.0) for _ in range(self.vocabulary)]
            total = math.fsum(weights)
            found.append([weight / total for weight in weights])
        return found

    def _chunk(self, cumulated: list[float], draws: random.Random) -> tuple[str, ...]:
        """Return the words of a chunk: a Polya urn, whose draws are Dirichlet-multinomial."""
        words: list[str] = []
        for count in range(self.chunk_words):
            place = draws.random() * (self.chunk_concentration + count)
            if place < self.chunk_concentration:
                share = place / self.chunk_concentration * cumulated[-1]
                words.append(f"w{min(bisect.bisect(cumulated, share), self.vocabulary - 1)}")
            else:
                words.append(words[min(count - 1, int(place - self.chunk_concentration))])
        return tuple(words)

    def _turns(self, seed: int, conversation: int, words: tuple[tuple[str, ...], ...]) -> Iterator[Turn]:
        """Yield the turns of one conversation; each draw has a stream of its own purpose."""
        where, question, answer, think = (
            stream(seed, NAME, conversation, purpose) for purpose in ("chunk", "question", "answer", "think")
        )
        before: _Asked | None = None
        asked: set[int] = set()
        for index in range(self.turns):
            topic = self._topic(before, where.random(), where.random())
            chunk = self._chunk_of(topic, asked, where.random(), where.random())
            echoed = before.words if before is not None and before.topic == topic else ()
            spoken = self._question(words, chunk, echoed, stream(seed, NAME, conversation, "words", index))
            before = _Asked(topic, spoken)
            asked.add(chunk)
            yield Turn(
                new_tokens=length(question.random(), QUESTION_WORDS, self.question_tokens_mean),
                answer_tokens=length(answer.random(), ANSWER_WORDS, self.answer_tokens_mean),
                think_s=self._think_s(think.gauss(0, 1)) if index else 0.0,
                gap_kind=self.gap_kind if index else "none",
                chunks=(chunk,),
                words=spoken,
            )

    def _topic(self, before: _Asked | None, choice: float, place: float) -> int:
        if before is None:
            return pick(place, self.topics)
        if choice < self.stay_ratio or self.topics == 1:
            return before.topic
        other = pick(place, self.topics - 1)
        return other + (other >= before.topic)

    def _chunk_of(self, topic: int, asked: set[int], choice: float, place: float) -> int:
        chunks = range(topic * self.chunks_per_topic, (topic + 1) * self.chunks_per_topic)
        old, new = ([chunk for chunk in chunks if (chunk in asked) == is_old] for is_old in (True, False))
        kind = old if not new or (old and choice < self.repeat_ratio) else new
        return kind[pick(place, len(kind))]

    def _question(
        self, words: tuple[tuple[str, ...], ...], chunk: int, echoed: tuple[str, ...], draws: random.Random
    ) -> tuple[str, ...]:
        """Return the content words of a question about a chunk."""
        own = set(words[chunk])
        first = chunk - chunk % self.chunks_per_topic
        others = [word for other in words[first : first + self.chunks_per_topic] for word in other if word not in own]
        spoken = []
        for _ in range(_poisson(draws, self.question_words_mean)):
            is_echo, choice, place = draws.random() < self.echo_ratio, draws.random(), draws.random()
            if is_echo and echoed:
                spoken.append(echoed[pick(place, len(echoed))])
            elif choice < self.chunk_word_ratio:
                spoken.append(words[chunk][pick(place, len(words[chunk]))])
            elif others and choice < self.chunk_word_ratio + self.topic_word_ratio:
                spoken.append(others[pick(place, len(others))])
            else:
                spoken.append(f"c{pick(place, self.common_vocabulary)}")
        return tuple(spoken)

    def _think_s(self, normal: float) -> float:
        if self.gap_kind == "tool":
            return think_s(normal, self.tool_think_median_s, self.tool_think_sigma)
        return think_s(normal, self.human_think_median_s, self.human_think_sigma)


def _poisson(draws: random.Random, mean: float) -> int:
    """Return a Poisson number: how many exponential gaps fit into `mean`."""
    count, at = 0, draws.expovariate(1.0)
    while at < mean:
        count += 1
        at += draws.expovariate(1.0)
    return count
