"""How much of a prompt is cached at a place, as whoever routes the request can know?"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from simkv.kv.block import Run
from simkv.kv.prefix import Part, Prompt, tokens_in


class Reusable(NamedTuple):
    """What of a prompt may be cached somewhere: neither its answer nor what follows.

    Attributes
    ----------
    parts : front to back; equal ids are equal content.
    chained : a part is usable only if all before it are (exact prefix); False = each part alone.
    own_start : first of the blocks of dialogue behind the parts.
    own_tokens : [tokens] of dialogue whose KV an earlier turn may have left there.
    """

    parts: tuple[Part, ...]
    chained: bool = True
    own_start: int = 0
    own_tokens: int = 0

    @classmethod
    def of(cls, prompt: Prompt) -> Reusable:
        """Return what a router knows of a prompt."""
        return cls(prompt.parts, prompt.chained, prompt.own.start, prompt.own_known_tokens)

    def cached_tokens(self, leading: Callable[[Run], int], block_tokens: int) -> int:
        """Return [tokens] that need not be computed: up to the first hole, where chained (semantics B4).

        Parameters
        ----------
        leading : returns how many blocks from the front of a run are usable there.
        block_tokens : [tokens] a block.

        Examples
        --------
        >>> parts = (Part(Run(0, 3), 40, 0), Part(Run(3, 2), 32, 1))
        >>> here = {Run(0, 3): 2, Run(3, 2): 2}
        >>> Reusable(parts).cached_tokens(here.get, 16), Reusable(parts, chained=False).cached_tokens(here.get, 16)
        (32, 64)
        """
        cached = 0
        broken: int | Run | None = None  # the independent chunk whose front is missing
        for part in self.parts:
            if part.item == broken:
                continue
            count = leading(part.run)
            if count == part.run.count:
                cached += part.tokens
                continue
            cached += tokens_in(part, Run(part.run.start, count), block_tokens)
            if self.chained:
                return cached
            broken = part.item
        blocks = self.own_tokens // block_tokens
        return cached + (leading(Run(self.own_start, blocks)) * block_tokens if blocks else 0)
