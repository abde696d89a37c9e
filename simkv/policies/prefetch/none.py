"""Nothing ahead of time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from simkv.policies.prefetch.question import PREFETCH, Prefetch, PrefetchView


@PREFETCH.register("none")
@dataclass
class NoPrefetch:
    """Move nothing before it is asked for: the baseline ("compute on demand") of seed document 0.

    Source: seed document 0, Phase 2, policy 1; demand paging (Denning, 1970).
    """

    asks_predictor: ClassVar[bool] = False

    def decide(self, view: PrefetchView) -> list[Prefetch]:
        """Return nothing."""
        return []
