"""What a run of KV blocks is.

A block is a fixed number of tokens of KV of one model; its id stands for its content *and all that it
depends on*. Consecutive ids are kept as runs, so that a 100 k-token prompt is a few numbers.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Run(NamedTuple):
    """Blocks `start`, `start + 1`, ..., `start + count - 1`, in prompt order.

    Examples
    --------
    >>> Run(10, 3).end
    13
    """

    start: int
    count: int  # type: ignore[assignment]  # tuple.count counts members; a run has none that matter

    @property
    def end(self) -> int:
        """First id after the run."""
        return self.start + self.count


def joined(runs: Iterable[Run]) -> tuple[Run, ...]:
    """Return the same blocks in the same order, with neighbours that follow each other joined.

    Examples
    --------
    >>> joined([Run(0, 4), Run(4, 2), Run(9, 1)])
    (Run(start=0, count=6), Run(start=9, count=1))
    """
    found: list[Run] = []
    for run in runs:
        if found and found[-1].end == run.start:
            found[-1] = Run(found[-1].start, found[-1].count + run.count)
        else:
            found.append(run)
    return tuple(found)


def overlap(a: Run, b: Run) -> Run | None:
    """Return the blocks that lie in both; None when there are none.

    Examples
    --------
    >>> overlap(Run(0, 4), Run(2, 9))
    Run(start=2, count=2)
    """
    start, end = max(a.start, b.start), min(a.start + a.count, b.start + b.count)
    return Run(start, end - start) if start < end else None
