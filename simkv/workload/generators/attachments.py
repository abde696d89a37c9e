"""Who asks for much that can be foretold, and each time for something that cannot?

An agent works through a document, some sections a turn, always the next ones; and every turn adds an attachment (a
search result, a file, what a tool returned) that nothing in the history tells. So nearly all that a prefetcher of
sections moves is used, and no request is complete without a fetch. For the negative case that useful is not ready;
lengths are chosen, not measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from simkv.request import Session, TraceHeader, Turn
from simkv.rng import stream
from simkv.workload.generators.draws import think_s
from simkv.workload.generators.question import GENERATORS, provenance, want

NAME = "attachments"


@GENERATORS.register(NAME)
@dataclass
class Attachments:
    """Conversations whose every turn needs the next sections of a document, and one attachment that none foretells.

    Chunks are independent of their place: first all attachments, then all sections in order. No attachment is asked for
    twice, and the last turn uses the last sections.

    Parameters
    ----------
    conversations, turns : how many, and turns in each.
    sections : sections that each turn asks for.
    section_tokens, attachment_tokens, block_tokens : [tokens] a section, an attachment, a block.
    attachments : files that an attachment may be, at least one for each turn.
    new_tokens, answer_tokens : [tokens] of each question and answer.
    tool_think_median_s, tool_think_sigma : [s], of ln(think time): log-normal of an agent's gaps.

    Examples
    --------
    >>> first = next(Attachments(turns=3, sections=2, attachments=5).sessions(seed=1))
    >>> [turn.chunks[1:] for turn in first.turns], len(first.chunk_tokens)
    ([(5, 6), (7, 8), (9, 10)], 11)
    """

    conversations: int = 200
    turns: int = 10
    sections: int = 4
    section_tokens: int = 16  # chosen: four of them are 1.6 % of an attachment
    attachments: int = 40
    attachment_tokens: int = 4096  # chosen: a file or a search result
    block_tokens: int = 16  # vLLM's block (semantics D1)
    new_tokens: int = 32
    answer_tokens: int = 64
    # claude_code_traces, line through the deciles of 23,945 gaps after tool calls.
    tool_think_median_s: float = 11.1
    tool_think_sigma: float = 1.08

    def __post_init__(self) -> None:
        counts = ("conversations", "turns", "sections", "section_tokens", "attachments", "attachment_tokens")
        for name in (*counts, "block_tokens", "new_tokens", "answer_tokens"):
            want(getattr(self, name) >= 1, f"{name}: want at least 1, got {getattr(self, name)}")
        want(self.attachments >= self.turns, f"attachments: want one a turn, {self.turns}, got {self.attachments}")
        for name in ("tool_think_median_s", "tool_think_sigma"):
            want(0 <= getattr(self, name) < math.inf, f"{name}: want at least 0, got {getattr(self, name)}")

    def header(self) -> TraceHeader:
        """Return what is true of all sessions."""
        return TraceHeader(self.block_tokens, "independent", "session", True, provenance(NAME, self))

    def sessions(self, seed: int) -> Iterator[Session]:
        """Yield the conversations of one seed, each with files of its own and no recorded start."""
        chunks = (self.attachment_tokens,) * self.attachments + (self.section_tokens,) * (self.sections * self.turns)
        for conversation in range(self.conversations):
            turns = tuple(self._turns(seed, conversation))
            yield Session(f"attaching-{conversation}", turns, "independent", chunk_tokens=chunks)

    def _turns(self, seed: int, conversation: int) -> Iterator[Turn]:
        which, gap = (stream(seed, NAME, conversation, purpose) for purpose in ("attachment", "gap"))
        for index, attached in enumerate(which.sample(range(self.attachments), self.turns)):
            first = self.attachments + index * self.sections
            pause_s = think_s(gap.gauss(0.0, 1.0), self.tool_think_median_s, self.tool_think_sigma)
            yield Turn(
                self.new_tokens,
                self.answer_tokens,
                pause_s if index else 0.0,
                "tool" if index else "none",
                (attached, *range(first, first + self.sections)),
            )
