"""Answers that take memory as they grow, over the buffer of a server (preset `vllm-0.19`, semantics D1).

Room for all of a prompt is taken before its KV is fetched into it, as by vLLM with a KV connector; the answer takes a
block when it fills the one before. Where a block is missing, the request that was admitted last loses its memory:
what it has computed stays where it is until somebody needs the room, and it is looked up again when it is its turn.
What is gone then, it computes itself; until then, those that wait with their memory pass it. A request
whose prompt is being computed keeps its memory: others may wait for
the blocks that it makes.
"""

from __future__ import annotations

from collections.abc import Callable

from simkv.claim import Claim
from simkv.compute.sequence import GpuSequence
from simkv.kv.block import Run
from simkv.kv.buffer import KvBuffer


class Paging:
    """The `Room` of a server's GPU; the content of a sequence is its request's claim.

    Parameters
    ----------
    unpin : lets go of the blocks of a prompt's parts.
    lost : called with a request that lost its memory.
    hold_again : takes memory for it again, and returns [tokens] of its prompt that are there; None = no room, or
        somebody else is bringing a part of it.
    """

    def __init__(
        self,
        buffer: KvBuffer,
        block_tokens: int,
        *,
        unpin: Callable[[Claim], None],
        lost: Callable[[Claim], None],
        hold_again: Callable[[Claim], int | None],
    ) -> None:
        self.block_tokens = block_tokens
        self.lets_pass = True
        self._buffer = buffer
        self._unpin = unpin
        self._lost = lost
        self._hold_again = hold_again

    @property
    def free_blocks(self) -> int:
        """Blocks that an answer may take; what is in them is evicted."""
        return self._buffer.capacity_blocks - self._buffer.pinned_blocks

    def holds(self, sequence: GpuSequence) -> bool:
        """Return whether it has not lost its memory; see `Room.holds`."""
        return not sequence.content.lost_tokens

    def may_lose(self, sequence: GpuSequence) -> bool:
        """Return False: others may wait for what it computes, and who has ended is let go; see `Room.may_lose`."""
        return False

    def admit(self, sequence: GpuSequence, budget_tokens: int) -> int:
        """Let a request run: it holds its prompt, or takes it again; see `Room.admit`."""
        claim: Claim = sequence.content
        if claim.lost_tokens:
            cached = self._hold_again(claim)
            if cached is None:
                return 0
            total = sequence.prefill_left_tokens
            sequence.context_tokens = min(cached, total - 1)
            sequence.prefill_left_tokens = total - sequence.context_tokens
            claim.lost_tokens = 0
        return min(sequence.prefill_left_tokens, budget_tokens)

    def extend(self, sequence: GpuSequence, tokens: int) -> bool:
        """Return True: it holds room for all of its prompt; see `Room.extend`."""
        return True

    def grow(self, blocks: int) -> None:
        """Take blocks for answers; see `Room.grow`."""
        self._buffer.occupy(blocks)

    def release(self, sequence: GpuSequence, kv_tokens: int) -> None:
        """Turn what an answer took into blocks of its conversation; where it is preempted, let go of all."""
        claim: Claim = sequence.content
        stored = kv_tokens + sequence.page_shift_tokens  # tokens of dialogue that have KV
        held = self._blocks(stored) - claim.own_blocks
        self._buffer.vacate(held)
        if held:
            self._buffer.reserve(Run(claim.prompt.own.start + claim.own_blocks, held), pin=True)
            claim.own_blocks += held
        if sequence.prefill_left_tokens:
            self._let_go(claim, stored)
            claim.own_tokens = claim.lost_tokens = sequence.prefill_left_tokens + sequence.page_shift_tokens
            self._lost(claim)

    def _let_go(self, claim: Claim, stored: int) -> None:
        """Leave what was computed for whoever finds it; the last block, if it is not full, is lost."""
        own, full = claim.prompt.own, stored // self.block_tokens
        if full < claim.own_blocks:
            self._buffer.release(Run(own.start + full, claim.own_blocks - full), drop=True)
        if full:
            self._buffer.release(Run(own.start, full))
        self._unpin(claim)
        claim.own_blocks = 0

    def _blocks(self, tokens: int) -> int:
        return -(-tokens // self.block_tokens)
