"""What one request holds of a server's KV memory, what it still waits for, and what it must compute itself."""

from __future__ import annotations

import math
from collections.abc import Callable

from simkv.kv.block import Run, overlap
from simkv.kv.prefix import Conversation, Prompt, tokens_in
from simkv.policies.prefetch.question import Foresight
from simkv.results import UNIT_COLUMNS


class Claim:
    """One request's share in a server's KV.

    Parameters
    ----------
    foresight : the future, handed on to oracles alone.
    on_ready : called once, when all that it waits for is here, or when it is rejected.

    Attributes
    ----------
    pinned : blocks of the prompt's parts that it holds.
    awaited : blocks that somebody else brings.
    texts : blocks whose text is on its way.
    again : blocks that are here, and that it waits for all the same because they are sent again.
    recomputed : (part index, blocks) that its own prefill makes.
    own_cached_blocks : blocks of earlier dialogue that are resident.
    own_blocks : blocks of dialogue, question and answer that it holds.
    own_tokens : [tokens] of dialogue, question and answer whose KV it has or computes.
    is_computed : its prompt is.
    lost_tokens : the same when it lost its memory, and has to take it again; 0 = it has not.
    order : its number among the requests that were given memory here.
    in_time_units, late_units : see `results.REQUEST_COLUMNS`.
    misses : why each part is missing that was so at first look and that speculation was not bringing; by its index.
    ready_at_arrival : all movable blocks were resident at first look.
    rejected : it can never fit.
    """

    __slots__ = (
        "again",
        "awaited",
        "conversation",
        "foresight",
        "in_time_units",
        "is_computed",
        "late_units",
        "lost_tokens",
        "misses",
        "on_ready",
        "order",
        "own_blocks",
        "own_cached_blocks",
        "own_tokens",
        "pinned",
        "prompt",
        "ready_at_arrival",
        "recomputed",
        "rejected",
        "texts",
    )

    def __init__(
        self, conversation: Conversation, prompt: Prompt, foresight: Foresight, on_ready: Callable[[], object]
    ) -> None:
        self.conversation = conversation
        self.prompt = prompt
        self.foresight = foresight
        self.on_ready = on_ready
        self.pinned: list[Run] = []
        self.awaited: list[Run] = []
        self.texts: list[Run] = []
        self.again: list[Run] = []
        self.recomputed: list[tuple[int, Run]] = []
        self.own_cached_blocks = 0
        self.own_blocks = 0
        self.own_tokens = prompt.own_prompt_tokens
        self.is_computed = False
        self.lost_tokens = 0
        self.order = 0
        self.in_time_units = 0
        self.late_units = 0
        self.misses: dict[int, str] = {}
        self.ready_at_arrival = False
        self.rejected = False

    def was_late(self, *units: list[Run]) -> None:
        """Count speculated units that were still under way, by their blocks: what they bring is no other miss."""
        self.late_units += len(units)
        for run in (run for runs in units for run in runs):
            for index, part in enumerate(self.prompt.parts):
                if overlap(part.run, run):
                    self.misses.pop(index, None)

    def units(self) -> dict[str, int]:
        """Return its units by their column in `results.REQUEST_COLUMNS`: what was needed and how each was found."""
        counts = dict.fromkeys(UNIT_COLUMNS, 0)
        counts["needed_units"] = self.in_time_units + self.late_units + len(self.misses)
        counts["in_time_units"], counts["late_units"] = self.in_time_units, self.late_units
        for cause in self.misses.values():
            counts[f"{cause}_units"] += 1
        return counts

    @property
    def is_ready(self) -> bool:
        """Whether nothing has to arrive any more."""
        return not (self.awaited or self.texts or self.again)

    def cached_tokens(self, block_tokens: int) -> int:
        """Return [tokens] of the prompt whose KV need not be computed: up to the first hole, where chained (B4)."""
        prompt, cached = self.prompt, 0
        holes = self._first_holes()
        broken: int | Run | None = None  # the independent chunk whose front is missing
        for index, part in enumerate(prompt.parts):
            hole = holes.get(index)
            if hole is None:
                cached += part.tokens if part.item != broken else 0
                continue
            if part.item != broken:
                cached += tokens_in(part, Run(part.run.start, hole - part.run.start), block_tokens)
            broken = part.item
            if prompt.chained:
                return cached
        known = max(prompt.own_known_tokens, self.lost_tokens)
        return cached + min(self.own_cached_blocks * block_tokens, known)

    def blended_tokens(self, share: float) -> int:
        """Return [tokens] of reused independent chunks that are recomputed to fit their new place (B3)."""
        if self.prompt.chained or not share:
            return 0
        holes = self._first_holes()
        return sum(math.ceil(share * part.tokens) for index, part in enumerate(self.prompt.parts) if index not in holes)

    def _first_holes(self) -> dict[int, int]:
        """Return the first block to compute of each part that has a hole."""
        return {index: run.start for index, run in sorted(self.recomputed, reverse=True)}


def take_overlap(runs: list[Run], run: Run) -> list[Run]:
    """Remove from a list of runs what lies in `run`; return the pieces removed.

    Examples
    --------
    >>> waiting = [Run(0, 4), Run(8, 2)]
    >>> take_overlap(waiting, Run(2, 7)), waiting
    ([Run(start=2, count=2), Run(start=8, count=1)], [Run(start=0, count=2), Run(start=9, count=1)])
    """
    taken: list[Run] = []
    kept: list[Run] = []
    for each in runs:
        piece = overlap(each, run)
        if piece is None:
            kept.append(each)
            continue
        taken.append(piece)
        if each.start < piece.start:
            kept.append(Run(each.start, piece.start - each.start))
        if each.end > piece.end:
            kept.append(Run(piece.end, each.end - piece.end))
    if taken:
        runs[:] = kept
    return taken
