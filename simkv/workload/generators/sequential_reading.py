"""How does somebody, or some agent, read a document by asking about it, chunk after chunk?

Each turn asks about one chunk: the same as before (a follow-up), the next one, or, by a jump, any other. The order
of questions, their lengths and the think times are each measured from a public data set; that they belong together
in one conversation is this generator's assumption. Left out: answers that depend on earlier ones, questions about
several chunks, and readers who differ from one another (every conversation has the same probabilities).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from simkv.request import Layout, Session, TraceHeader, Turn
from simkv.rng import stream
from simkv.workload.generators.draws import ANSWER_WORDS, QUESTION_WORDS, length, pick, think_s
from simkv.workload.generators.question import GENERATORS, provenance, want

NAME = "sequential-reading"


@GENERATORS.register(NAME)
@dataclass
class SequentialReading:
    """Conversations that read a document of their own in order, with follow-ups and jumps.

    Parameters
    ----------
    conversations, turns : how many, and turns in each.
    chunks : chunks of each document.
    chunk_tokens, block_tokens : [tokens] a chunk, a block.
    layout : where chunks stand in the prompt (semantics B2).
    stay_ratio, next_ratio : probability that a turn asks the chunk of the turn before, or the one behind it; else
        it jumps. At the last chunk, where nothing is next, the other two keep their proportion.
    jump_forward_ratio : probability that a jump goes past the next chunk, not back, where both ways are open. Back,
        all chunks are equally likely.
    skip_ratio : probability that a jump ahead, having passed a chunk, passes another, and so on to the last chunk.
    first_chunk_ratio : probability that the first turn asks chunk 0; else all others are equally likely.
    question_tokens_mean, answer_tokens_mean : [tokens] mean lengths, above 1.
    gap_kind : whose think times: an agent's between tool calls, or a human's. Never a mixture.
    tool_think_median_s, tool_think_sigma : [s], of ln(think time): log-normal of an agent's gaps.
    human_think_median_s, human_think_sigma : [s], of ln(think time): log-normal of a human's gaps.

    Examples
    --------
    >>> first = next(SequentialReading(turns=3, chunks=4).sessions(seed=1))
    >>> len(first.turns), first.chunk_tokens
    (3, (512, 512, 512, 512))
    """

    conversations: int = 200  # enough to draw 60 a replication with little repetition
    turns: int = 10
    # As many chunks as turns: the shares below were measured with as many chunks as questions.
    chunks: int = 10
    chunk_tokens: int = 512  # a common retrieval chunk; also one block of Mooncake's traces
    block_tokens: int = 16  # vLLM's block (semantics D1)
    layout: Layout = "document_first"
    # squad_xquad_en, 120 paragraphs in 5 equal chunks of characters: 444 steps from any chunk but the last.
    stay_ratio: float = 0.273
    next_ratio: float = 0.369
    jump_forward_ratio: float = 0.827  # the same: 75 jumps from where both ways are open
    skip_ratio: float = 0.353  # the same: 119 chunks that a jump ahead reached and could have passed
    first_chunk_ratio: float = 0.817  # the same: first questions of the 120 paragraphs
    # quac_canard: 6.44 words a question and 13.28 an answer, at 100 tokens for 75 words.
    question_tokens_mean: float = 8.58
    answer_tokens_mean: float = 17.7
    gap_kind: Literal["tool", "human"] = "tool"  # the reader of the shipped scenario is an agent
    # claude_code_traces, lines through the deciles of 23,945 gaps after tool calls and 4,228 others.
    tool_think_median_s: float = 11.1
    tool_think_sigma: float = 1.08
    human_think_median_s: float = 142.0
    human_think_sigma: float = 1.82

    def __post_init__(self) -> None:
        for name in ("conversations", "turns", "chunks", "chunk_tokens", "block_tokens"):
            want(getattr(self, name) >= 1, f"{name}: want at least 1, got {getattr(self, name)}")
        want(self.layout in ("document_first", "interleaved", "independent"), f"layout: unknown {self.layout!r}")
        want(self.gap_kind in ("tool", "human"), f"gap_kind: want tool or human, got {self.gap_kind!r}")
        for name in ("stay_ratio", "next_ratio", "jump_forward_ratio", "skip_ratio", "first_chunk_ratio"):
            want(0 <= getattr(self, name) <= 1, f"{name}: want 0 to 1, got {getattr(self, name)}")
        want(self.stay_ratio + self.next_ratio <= 1, "stay_ratio + next_ratio: want at most 1")
        for name in ("question_tokens_mean", "answer_tokens_mean"):
            want(1 <= getattr(self, name) < math.inf, f"{name}: want at least 1, got {getattr(self, name)}")
        for name in ("tool_think_median_s", "human_think_median_s", "tool_think_sigma", "human_think_sigma"):
            want(0 <= getattr(self, name) < math.inf, f"{name}: want at least 0, got {getattr(self, name)}")

    def header(self) -> TraceHeader:
        """Return what is true of all sessions."""
        return TraceHeader(self.block_tokens, self.layout, "session", True, provenance(NAME, self))

    def sessions(self, seed: int) -> Iterator[Session]:
        """Yield the conversations of one seed, each with a document of its own and no recorded start."""
        for conversation in range(self.conversations):
            turns = tuple(self._turns(seed, conversation))
            yield Session(
                f"reading-{conversation}", turns, self.layout, chunk_tokens=(self.chunk_tokens,) * self.chunks
            )

    def _turns(self, seed: int, conversation: int) -> Iterator[Turn]:
        """Yield the turns of one conversation; each draw has a stream of its own purpose."""
        where, question, answer, think = (
            stream(seed, NAME, conversation, purpose) for purpose in ("chunk", "question", "answer", "think")
        )
        chunk = 0
        for index in range(self.turns):
            # Two draws a turn whatever happens, so that another probability leaves later turns their draws.
            choice, place = where.random(), where.random()
            chunk = self.chunk_after(chunk, choice, place) if index else self.first_chunk(choice, place)
            yield Turn(
                new_tokens=length(question.random(), QUESTION_WORDS, self.question_tokens_mean),
                answer_tokens=length(answer.random(), ANSWER_WORDS, self.answer_tokens_mean),
                think_s=self.think_s(think.gauss(0, 1)) if index else 0.0,
                gap_kind=self.gap_kind if index else "none",
                chunks=(chunk,),
            )

    def first_chunk(self, choice: float, place: float) -> int:
        """Return the chunk of the first turn for two uniform draws."""
        return 0 if choice < self.first_chunk_ratio or self.chunks == 1 else 1 + pick(place, self.chunks - 1)

    def chunk_after(self, chunk: int, choice: float, place: float) -> int:
        """Return the chunk asked after `chunk` for two uniform draws in [0, 1).

        Examples
        --------
        >>> reader = SequentialReading(chunks=5, stay_ratio=0.3, next_ratio=0.4, jump_forward_ratio=0.5)
        >>> [reader.chunk_after(1, choice, 0.9) for choice in (0.2, 0.6, 0.75, 0.95)]
        [1, 2, 3, 0]
        """
        jump_ratio = 1 - self.stay_ratio - self.next_ratio
        if chunk == self.chunks - 1:
            choice *= self.stay_ratio + jump_ratio  # below stay_ratio: stay; above: jump, as if next had failed
            return chunk if choice <= self.stay_ratio or not chunk else pick(place, chunk)
        if choice < self.stay_ratio:
            return chunk
        choice -= self.stay_ratio
        if choice < self.next_ratio:
            return chunk + 1
        ahead, behind = self.chunks - chunk - 2, chunk
        is_forward = choice - self.next_ratio < jump_ratio * self.jump_forward_ratio
        if ahead and (is_forward or not behind):
            return chunk + 2 + _passed(place, self.skip_ratio, ahead - 1)
        return pick(place, behind) if behind else chunk + 1  # two chunks: from the first, the next is all there is

    def think_s(self, normal: float) -> float:
        """Return [s] the think time for a standard normal draw."""
        if self.gap_kind == "tool":
            return think_s(normal, self.tool_think_median_s, self.tool_think_sigma)
        return think_s(normal, self.human_think_median_s, self.human_think_sigma)


def _passed(place: float, skip_ratio: float, most: int) -> int:
    """Return how many further chunks a jump passes: each with probability `skip_ratio`, for one uniform draw."""
    count = 0
    while count < most and place < skip_ratio:
        place /= skip_ratio  # given that it lay below, it is uniform again
        count += 1
    return count
