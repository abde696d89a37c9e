"""How deep does a block stand in its prompt? What it costs to compute it again grows with that."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from simkv.kv.block import Run
from simkv.kv.runmap import RunMap

#: [s] of a step: chunks as (new, cached) tokens, decodes, their context tokens, sequences that emit.
Step = Callable[[Sequence[tuple[int, int]], int, int, int], float]


class Depths:
    """The place of every block that some prompt has named, in blocks from the front of the first such prompt.

    Parameters
    ----------
    block_tokens : [tokens] a block.

    Examples
    --------
    >>> depths = Depths(16)
    >>> depths.note([Run(100, 4), Run(7, 2)])
    >>> depths.tokens_before(Run(102, 1)), depths.tokens_before(Run(7, 2))
    (32, 80)
    """

    def __init__(self, block_tokens: int) -> None:
        self._block_tokens = block_tokens
        self._depths: RunMap[int] = RunMap()

    def note(self, prompt: Iterable[Run]) -> None:
        """Learn where the blocks of a prompt stand, front to back, that no earlier prompt had."""
        depth = 0
        for run in prompt:
            for gap in self._depths.gaps(run):
                self._depths.put(gap, depth + gap.start - run.start)
            depth += run.count

    def tokens_before(self, run: Run) -> int:
        """Return how many tokens stand before the middle block of a run; 0 where no prompt has named it."""
        middle = run.start + run.count // 2
        found = self._depths.overlapping(Run(middle, 1))
        return (found[0][1] + middle - found[0][0].start) * self._block_tokens if found else 0

    def recompute_s(self, step: Step) -> Callable[[Run], float]:
        """Return what tells the time [s] of prefilling one block of a run alone, behind all that stands before it.

        Parameters
        ----------
        step : of the GPU that computes it.
        """
        return lambda run: step([(self._block_tokens, self.tokens_before(run))], 0, 0, 0)
