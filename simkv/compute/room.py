"""What a batch asks of the memory that its KV lies in.

Two things are a `Room`: the paged pool of one engine (`kv/radix.py`), and nothing at all (None), where whoever
submits a sequence holds its memory already.
"""

from __future__ import annotations

from typing import Protocol

from simkv.compute.sequence import GpuSequence


class Room(Protocol):
    """Paged KV memory of one GPU.

    Attributes
    ----------
    block_tokens : [tokens] a block.
    lets_pass : some may wait with their memory; see `holds`.
    free_blocks : blocks that nobody uses; what is cached in them is lost when they are taken.
    """

    block_tokens: int
    lets_pass: bool

    @property
    def free_blocks(self) -> int:
        """See above."""

    def may_lose(self, sequence: GpuSequence) -> bool:
        """Return whether a sequence's memory may be taken before it decodes, or after, when its end is under way."""

    def holds(self, sequence: GpuSequence) -> bool:
        """Return whether a waiting sequence has its memory already: it may pass one that waits for memory."""

    def admit(self, sequence: GpuSequence, budget_tokens: int) -> int:
        """Look a waiting sequence up, take room for its first chunk, and return [tokens] of the chunk; 0 = no room.

        Sets what the sequence has cached and what is left to prefill.
        """

    def extend(self, sequence: GpuSequence, tokens: int) -> bool:
        """Take room for the next chunk of a prefill; return False, and take nothing, where there is none."""

    def grow(self, blocks: int) -> None:
        """Take free blocks for tokens that are decoded."""

    def release(self, sequence: GpuSequence, kv_tokens: int) -> None:
        """Give back the blocks of a sequence that has so many tokens of KV: it ended, or is preempted."""
