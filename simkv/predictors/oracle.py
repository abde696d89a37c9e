"""What really comes next: an oracle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from simkv.predictors.question import PREDICTORS, History, Item, Outcome


@PREDICTORS.register("oracle", oracle=True)
@dataclass
class Oracle:
    """Predict what the next query will need with probability 1.

    Source: perfect prediction, the reference of every prefetching study (semantics G5).
    """

    def predict(self, view: History) -> Mapping[Item, float]:
        """Return the next query's items."""
        if view.next_items is None:
            raise ValueError("the oracle was asked without the future")
        return dict.fromkeys(view.next_items(), 1.0)

    def observe(self, outcome: Outcome) -> None:
        """Learn nothing: it knows."""
