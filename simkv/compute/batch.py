"""What one GPU step computes."""

from __future__ import annotations

from collections.abc import Sequence

from simkv.compute.sequence import GpuSequence


class Batch:
    """What one step computes.

    Attributes
    ----------
    chunks : (new, cached) [tokens] of each prefill chunk.
    decodes : sequences that decode one token.
    context_tokens, longest_tokens : [tokens] of KV that the decodes read: summed, and the most of one.
    emitting : sequences that emit a token.
    emits, ends : sequences whose prefill ends here with a token; those that end here with their prefill.
    preempted : somebody lost its memory for this step: it admitted nobody, and the next may differ.
    """

    __slots__ = ("chunks", "context_tokens", "decodes", "emits", "emitting", "ends", "longest_tokens", "preempted")

    def __init__(self, decodes: int, context_tokens: int, longest_tokens: int = 0, preempted: bool = False) -> None:
        self.decodes = self.emitting = decodes
        self.context_tokens = context_tokens
        self.longest_tokens = longest_tokens
        self.preempted = preempted
        self.chunks: Sequence[tuple[int, int]] = ()
        self.emits: Sequence[GpuSequence] = ()
        self.ends: Sequence[GpuSequence] = ()

    def add(self, new_tokens: int, cached_tokens: int) -> None:
        """Add a prefill chunk."""
        self.chunks = (*self.chunks, (new_tokens, cached_tokens))

    @property
    def tokens(self) -> int:
        """How many it computes."""
        return self.decodes + sum([new for new, _ in self.chunks])
