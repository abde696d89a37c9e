"""How does the KV that a request lacks get here? The acquisition policy says; here its plan becomes what is wanted.

What comes as KV the request waits for instead of making it itself. What the source is told to send, and in which
form, goes into the query.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from simkv.claim import Claim, take_overlap
from simkv.jobs import NewPositions, Pieces
from simkv.kv.block import Run
from simkv.kv.buffer import KvBuffer
from simkv.kv.prefix import Prompt, in_parts, tokens_in
from simkv.kv_ahead import KvAhead
from simkv.ledger import Ledger
from simkv.policies.acquisition.question import Acquisition, AcquisitionView, Delta, Plan
from simkv.text_ahead import TextAhead


class Wanted(NamedTuple):
    """What the source must send.

    Attributes
    ----------
    kv, texts : (part index, blocks), in prompt order.
    form : how KV is sent; None = in whole blocks.
    """

    kv: Pieces
    texts: Pieces
    form: NewPositions | None = None


class Acquirer:
    """Turns plans of one server's acquisition policy into wants.

    Parameters
    ----------
    arrived : called with blocks that are simply there, for reference arms.
    block_tokens : [tokens] a block.
    text_bytes_per_token : [bytes] of text a token.
    """

    def __init__(
        self,
        acquisition: Acquisition,
        buffer: KvBuffer,
        ledger: Ledger,
        kv: KvAhead,
        texts: TextAhead,
        *,
        arrived: Callable[[Run], None],
        wire_block_bytes: int,
        block_tokens: int,
        text_bytes_per_token: int,
    ) -> None:
        self._acquisition = acquisition
        self._buffer = buffer
        self._ledger = ledger
        self._kv = kv
        self._texts = texts
        self._arrived = arrived
        self._wire_block_bytes = wire_block_bytes
        self._block_tokens = block_tokens
        self._text_bytes_per_token = text_bytes_per_token

    def want(self, claim: Claim, movable: Pieces, coming: Pieces, now_s: float) -> Wanted:
        """Return what to ask for; what comes as KV is awaited by the claim instead of recomputed.

        Parameters
        ----------
        movable : what is missing and could be sent.
        coming : what is on its way already, and not made here.
        """
        plan = self._acquisition.decide(self._view(claim, movable, now_s))
        refetched_blocks = self._kv.refetched(run for _, run in movable)
        if plan is Plan.ASSUME:
            self._assume(claim, movable, coming)
            return Wanted([], [])
        if plan is Plan.TEXT:
            texts = [(index, gap) for index, run in movable for gap in self._texts.known.gaps(run)]
            claim.texts = [run for _, run in texts]
            return Wanted(coming, texts)
        self._ledger.pollution_bytes += refetched_blocks * self._wire_block_bytes
        for index, run in movable:
            claim.recomputed.remove((index, run))
            claim.awaited.append(run)
        again: Pieces = []
        if plan is Plan.RESEND:
            parts = claim.prompt.parts
            again = [(index, run) for index, run in in_parts(parts, claim.pinned) if not parts[index].fresh]
            claim.again = [run for _, run in again]
        form = self._new_positions(claim.prompt, plan) if isinstance(plan, Delta) else None
        return Wanted(sorted(movable + coming + again), [], form)

    def _new_positions(self, prompt: Prompt, delta: Delta) -> NewPositions:
        """Return the form of a delta; old positions are copied into the room of the new block now."""
        known = {
            part.run.start: part.base.tokens
            for part in prompt.parts
            if part.base is not None and self._buffer.resident(Run(part.base.block, 1))
        }
        return NewPositions(known, delta.version_bytes, delta.importance_bytes)

    def _assume(self, claim: Claim, movable: Pieces, coming: Pieces) -> None:
        """Let what is missing, or still on its way, be here at once."""
        for index, run in movable:
            self._buffer.arrive(run, pin=True)
            claim.pinned.append(run)
            claim.recomputed.remove((index, run))
        for _, run in coming:
            self._buffer.arrive(run)
            for taken in take_overlap(claim.awaited, run):
                self._buffer.pin(taken)
                claim.pinned.append(taken)
            self._arrived(run)

    def _view(self, claim: Claim, movable: Pieces, now_s: float) -> AcquisitionView:
        tokens = sum(tokens_in(claim.prompt.parts[index], run, self._block_tokens) for index, run in movable)
        return AcquisitionView(
            now_s=now_s,
            missing_tokens=tokens,
            kv_bytes=sum(run.count for _, run in movable) * self._wire_block_bytes,
            text_bytes=tokens * self._text_bytes_per_token,
        )
