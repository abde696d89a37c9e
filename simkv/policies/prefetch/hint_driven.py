"""What the client says that it will ask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from simkv.policies.prefetch.question import PREFETCH, Kind, Moment, Prefetch, PrefetchView


@PREFETCH.register("hint-driven")
@dataclass
class HintDriven:
    """Move what a hint names, when it comes; predict nothing, and move nothing without a hint.

    Attributes
    ----------
    kind : "kv", "text" or "compute".

    Source: SYMPHONY, arXiv:2412.16434, NSDI'26 (advisory requests ahead of turns).
    """

    asks_predictor: ClassVar[bool] = False
    moments: ClassVar[frozenset[Moment]] = frozenset({"hint"})

    kind: Kind = "kv"

    def decide(self, view: PrefetchView) -> list[Prefetch]:
        """Return what was hinted, in the order of the hint."""
        return [Prefetch(item, self.kind) for item in view.hinted]
