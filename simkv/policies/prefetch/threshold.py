"""Whatever is probable enough."""

from __future__ import annotations

from dataclasses import dataclass

from simkv.policies.prefetch.question import PREFETCH, Kind, Prefetch, PrefetchView


@PREFETCH.register("threshold")
@dataclass
class Threshold:
    """Move every item whose probability is strictly above the threshold, most probable first.

    Attributes
    ----------
    threshold : probability in [0, 1]; 0 moves all that is possible, 1 nothing.
    kind : "kv" or "text".

    Source: seed document 0, "Prefetch Policy"; Jiang and Kleinrock, "An adaptive network prefetch scheme", IEEE
    JSAC 16(3), 1998.
    """

    threshold: float = 0.5
    kind: Kind = "kv"

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold must be in [0, 1], got {self.threshold}")

    def decide(self, view: PrefetchView) -> list[Prefetch]:
        """Return the items above the threshold; ties in probability go by item."""
        likely = [(-p, item) for item, p in view.probabilities().items() if p > self.threshold]
        return [Prefetch(item, self.kind) for _, item in sorted(likely)]
