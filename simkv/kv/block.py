"""What a run of KV blocks is.

A block is a fixed number of tokens of KV of one model; its id stands for its content *and all that it
depends on*. Consecutive ids are kept as runs, so that a 100 k-token prompt is a few numbers.
"""

from __future__ import annotations

from typing import NamedTuple


class Run(NamedTuple):
    """Blocks `start`, `start + 1`, ..., `start + count - 1`, in prompt order.

    Examples
    --------
    >>> Run(10, 3).end
    13
    """

    start: int
    count: int

    @property
    def end(self) -> int:
        """First id after the run."""
        return self.start + self.count
