"""Farthest from its next use in steps of a workflow, as far as somebody tells."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from simkv.kv.block import Run
from simkv.kv.runmap import RunMap
from simkv.policies.eviction.question import EVICTION, Coming
from simkv.policies.eviction.ranks import Ranks


@EVICTION.register("workflow-aware")
@dataclass
class WorkflowAware:
    """Evict what is the most steps from its next use; among equals, and where nobody tells, what was used longest ago.

    Whoever predicts tells the steps (of shared blocks: the fewest of all that share them); what is told holds until
    something else is.

    Source: Pan et al., "KVFlow: efficient prefix caching for accelerating LLM-based multi-agent workflows", NeurIPS
    2025 (arXiv 2507.07400).
    """

    _here: Ranks = field(default_factory=Ranks, init=False, repr=False)  # by steps, the most first
    _told: RunMap[float] = field(default_factory=RunMap, init=False, repr=False)

    def told(self, run: Run, steps: float) -> None:
        """Note in how many steps `run` is used; what is here moves to its place."""
        if not steps >= 0:
            raise ValueError(f"steps must be at least 0, got {steps}")
        self._told.take(run)
        if steps < math.inf:
            self._told.put(run, steps)
        for piece, _, _ in reversed(self._here.books.take(run)):
            self._here.append(piece, -steps)

    def inserted(self, run: Run, now_s: float) -> None:
        """File each piece under what was told of it."""
        for piece, steps in reversed(self._foretold(run)):
            self._here.append(piece, -steps)

    def used(self, run: Run, now_s: float) -> None:
        """Move each piece behind its equals."""
        for node in reversed(self._here.books.isolate(run)):
            assert node.line is not None
            self._here.move(node, node.line.rank)

    def removed(self, run: Run) -> None:
        """Forget that it is here; what was told stays known."""
        self._here.books.cut(run)

    def victim(self, need_bytes: int) -> Run | None:
        """Return the run that is the most steps away."""
        line = self._here.lowest()
        return None if line is None else line.first()

    def coming(self, run: Run) -> Coming:
        """Return as many as are the most steps away if what comes in is no farther, else all that share its fate."""
        line = self._here.lowest()
        piece, steps = self._foretold(run)[-1]
        if line is None:
            return Coming(1)
        if steps <= -line.rank:
            return Coming(min(piece.count, line.blocks))
        return Coming(piece.count - 1, stays=False) if piece.count > 1 else Coming(1)

    def passed(self, run: Run, now_s: float) -> None:
        """Do nothing: what was told stays known."""

    def _foretold(self, run: Run) -> list[tuple[Run, float]]:
        """Return the pieces of `run` in order of id, with their steps."""
        pieces = [(gap, math.inf) for gap in self._told.gaps(run)]
        for part, steps in self._told.overlapping(run):
            start, end = max(part.start, run.start), min(part.end, run.end)
            pieces.append((Run(start, end - start), steps))
        pieces.sort()
        return pieces
