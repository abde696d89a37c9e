"""The next chunk, for sure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from simkv.predictors.question import PREDICTORS, History, Item, Outcome


@PREDICTORS.register("sequential")
@dataclass
class Sequential:
    """Predict the chunk after the last one with probability 1.

    Source: seed document 0, "Prediction Model", item 1 ("trivial but effective").
    """

    needs_chunks: ClassVar[bool] = True

    def predict(self, view: History) -> Mapping[Item, float]:
        """Return the next chunk, or nothing at the end of the document."""
        item = view.item_after(1)
        return {} if item is None else {item: 1.0}

    def observe(self, outcome: Outcome) -> None:
        """Learn nothing."""
