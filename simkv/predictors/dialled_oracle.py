"""What really comes next, as often as was dialled: an oracle that errs to order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from simkv.kv.block import Run
from simkv.predictors.question import PREDICTORS, History, Item, Outcome
from simkv.rng import stream


@PREDICTORS.register("dialled-oracle", oracle=True)
@dataclass
class DialledOracle:
    """Name what the next query will need with probability `accuracy`, something else otherwise.

    What it names gets the probability `confidence`, right or wrong: equal to `accuracy` it is calibrated, above it
    is too sure, below it too shy. Whether it errs is drawn anew for each query of each session, the same whatever
    was asked of it before or elsewhere; with a higher accuracy it errs on some of the same queries and no others.
    Wrong are other chunks of the document, or other chains used so far, each as likely; where there are none it
    names nothing.

    Attributes
    ----------
    accuracy : probability of naming what comes, 0 to 1.
    confidence : probability that it gives to what it names, 0 to 1.
    seed : of its errors.

    Source: perfect prediction (semantics G5) with errors at a stated rate; calibration in the sense of Murphy, "A new
    vector partition of the probability score", J. Appl. Meteorology 12(4), 1973.
    """

    accuracy: float = 0.8
    confidence: float = 0.8
    seed: int = 0
    _queries: dict[int, int] = field(default_factory=dict, init=False, repr=False)  # of each session, so far

    def __post_init__(self) -> None:
        for name in ("accuracy", "confidence"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {getattr(self, name)}")

    def predict(self, view: History) -> Mapping[Item, float]:
        """Return the next query's items, or as many others."""
        if view.next_items is None:
            raise ValueError("the oracle was asked without the future")
        named = view.next_items()
        draws = stream(self.seed, "dialled-oracle", view.session, self._queries.get(view.session, 0))
        if draws.random() >= self.accuracy:
            others = _others(view, named)
            named = draws.sample(others, min(len(named), len(others)))
        return dict.fromkeys(named, self.confidence)

    def observe(self, outcome: Outcome) -> None:
        """Count the query; the number is the only thing that it learns."""
        before = self._queries.get(outcome.session, 0) if outcome.before else 0
        self._queries[outcome.session] = before + 1


def _others(view: History, right: list[Item]) -> list[Item]:
    """Return what could be asked and will not be."""
    if view.chunks:
        return [chunk for chunk in range(view.chunks) if chunk not in right]
    found: dict[Item, None] = {}
    for rank in range(len(view.moves)):  # a session has used at most as many chains as it has made queries
        item = view.item_after(rank)
        if item is None:
            break
        if not any(_continues(chosen, item) for chosen in right):
            found[item] = None
    return list(found)


def _continues(run: Item, earlier: Item) -> bool:
    """Return whether a chain that ends in `run` is the one that ended in `earlier`: it holds its last block."""
    return isinstance(run, Run) and isinstance(earlier, Run) and run.start <= earlier.end - 1 < run.end
