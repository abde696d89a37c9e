"""What a request takes of a server's KV memory: all that it needs at once, or nothing.

Blocks that are here are pinned, so that they stay; for the others room is taken. Room for the answer is taken with the
prompt, or block by block as it grows (`paging.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from simkv.claim import Claim
from simkv.kv.block import Run, joined
from simkv.kv.buffer import KvBuffer
from simkv.kv.prefix import in_parts
from simkv.kv.survey import Survey, room_for

Answers = Literal["reserved", "paged"]


class Holding:
    """Takes and gives back the memory of requests.

    Parameters
    ----------
    answers : see `Server`.
    make_way : stops speculation that holds so many blocks, but for some that are needed, if it holds as many.
    """

    def __init__(
        self,
        buffer: KvBuffer,
        block_tokens: int,
        answers: Answers,
        make_way: Callable[[int, list[Run]], None],
    ) -> None:
        self._buffer = buffer
        self._block_tokens = block_tokens
        self._is_paged = answers == "paged"
        self._make_way = make_way
        self._held = 0  # requests that were given memory so far

    def looks(self, claim: Claim) -> list[Survey]:
        """Return what there is of a prompt's spans."""
        return [self._buffer.survey(span) for span in claim.prompt.spans]

    def take(self, claim: Claim, looks: list[Survey]) -> bool:
        """Pin what is resident and reserve what is not, all or nothing; `looks` are the parts' spans as they are."""
        prompt, buffer = claim.prompt, self._buffer
        if self._is_paged and sum(span.count for span in prompt.spans) + prompt.own.count > buffer.capacity_blocks:
            return False  # it would come to have no room for its answer
        claim.own_blocks = -(-claim.own_tokens // self._block_tokens) if self._is_paged else prompt.own.count
        own = self._own(claim)
        short = room_for([*looks, own]) - buffer.capacity_blocks + buffer.pinned_blocks
        if short > 0:
            self._make_way(short, [run for look in looks for run in look.arriving])
            looks, own = self.looks(claim), self._own(claim)
            if room_for([*looks, own]) > buffer.capacity_blocks - buffer.pinned_blocks:
                return False
        if known := max(prompt.own_known_tokens, claim.lost_tokens) // self._block_tokens:
            claim.own_cached_blocks = buffer.leading(Run(prompt.own.start, min(known, claim.own_blocks)))
        self._pin(claim, looks, own)
        return True

    def use(self, claim: Claim, run: Run) -> list[Run]:
        """Take blocks into use that a request has computed; return those that were not here before."""
        look = self._buffer.survey(run)
        for piece in look.resident:  # another request computed the same meanwhile
            self._buffer.pin(piece)
        for piece in look.arriving:
            self._buffer.arrive(piece, pin=True)
        claim.pinned += [*look.resident, *look.arriving]
        return look.arriving

    def let_go(self, claim: Claim) -> None:
        """Keep what may serve again when the answer is complete, drop the rest."""
        own, kept = claim.prompt.own, claim.prompt.kept_blocks
        if kept < claim.own_blocks:
            self._buffer.release(Run(own.start + kept, claim.own_blocks - kept), drop=True)
        if kept:
            self._buffer.release(Run(own.start, kept))
        self.unpin(claim)

    def unpin(self, claim: Claim) -> None:
        """Let go of the blocks of the prompt's parts, the end first: it is evicted first."""
        for run in reversed(joined(sorted(claim.pinned))):
            self._buffer.release(run)
        claim.pinned = []

    def _own(self, claim: Claim) -> Survey:
        own = Run(claim.prompt.own.start, claim.own_blocks)
        is_known = claim.prompt.own_known_tokens or claim.lost_tokens
        return self._buffer.survey(own) if is_known else Survey([own], [], [], 0, False)

    def _pin(self, claim: Claim, looks: list[Survey], own: Survey) -> None:
        buffer = self._buffer
        self._held += 1
        claim.order = self._held
        for piece in own.resident:
            buffer.pin(piece)
        for look in looks:
            for piece in joined(look.resident):
                buffer.pin(piece)
                claim.pinned.append(piece)
            claim.awaited += look.arriving
            claim.recomputed += in_parts(claim.prompt.parts, look.absent)
        for gap in own.absent:
            buffer.reserve(gap, pin=True)
        for _, gap in claim.recomputed:
            buffer.reserve(gap)
