"""Always the next chunk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from simkv.policies.prefetch.question import PREFETCH, Kind, Prefetch, PrefetchView


@PREFETCH.register("sequential")
@dataclass
class Sequential:
    """Move the chunks that follow the one just asked for, whatever their probability.

    Attributes
    ----------
    ahead : how many chunks ahead.
    kind : "kv", "text" or "compute".

    Source: one-block lookahead, Smith, "Sequentiality and prefetching in database systems", ACM TODS 3(3), 1978;
    seed document 0, Phase 2, policy 2.
    """

    asks_predictor: ClassVar[bool] = False
    needs_chunks: ClassVar[bool] = True  # "next" has a meaning only inside a document

    ahead: int = 1
    kind: Kind = "kv"

    def __post_init__(self) -> None:
        if self.ahead < 1:
            raise ValueError(f"ahead must be at least 1 chunk, got {self.ahead}")

    def decide(self, view: PrefetchView) -> list[Prefetch]:
        """Return the next `ahead` chunks; the first ones of the document when nothing was asked yet."""
        last = view.asked[-1] if view.asked else -1
        if not isinstance(last, int):
            return []
        return [Prefetch(chunk, self.kind) for chunk in range(last + 1, min(last + 1 + self.ahead, view.chunks))]
