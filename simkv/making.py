"""Which blocks do requests compute here? Others wait for them instead of fetching them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from simkv.claim import Claim, take_overlap
from simkv.jobs import Pieces
from simkv.kv.block import Run
from simkv.kv.runmap import RunMap


class Making:
    """Blocks that requests compute, until their prompt is complete.

    Parameters
    ----------
    ahead : returns the parts of some blocks that are computed here ahead of time.
    """

    def __init__(self, ahead: Callable[[Run], Iterable[Run]]) -> None:
        self._ahead = ahead
        self._makers: RunMap[Claim] = RunMap()

    def __len__(self) -> int:
        return len(self._makers)

    def add(self, claim: Claim, pieces: Pieces) -> None:
        """Note what a request's own prefill makes, where nobody makes it yet."""
        for _, run in pieces:
            for gap in self._makers.gaps(run):
                self._makers.put(gap, claim)

    def remove(self, claim: Claim, run: Run) -> None:
        """A request has computed some blocks."""
        for piece, maker in self._makers.overlapping(run):
            if maker is claim:
                self._makers.remove(piece)

    def gaps(self, run: Run, before: Claim | None = None) -> list[Run]:
        """Return the parts of `run` that neither speculation computes here nor a request, or one before another.

        Requests wait only for those that were given memory before them, so no two wait for each other.
        """
        left = [run]
        for made, maker in self._makers.overlapping(run):
            if before is None or maker.order < before.order:
                take_overlap(left, made)
        for made in self._ahead(run):
            take_overlap(left, made)
        return left
