"""How often each thing was asked for, whatever came before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from simkv.predictors.question import PREDICTORS, History, Item, Outcome


@PREDICTORS.register("popularity")
@dataclass
class Popularity:
    """Predict each thing by how often it was asked for, in all sessions so far.

    Of a document: its chunks, by index (the first pages are read more often than the last). Of chains of blocks:
    moves, that is, how recently the chain was used. Only what can be asked now shares the probability: the chunks of
    this document, or the chains used so far and a new one. One call costs as much as there are of these.

    Attributes
    ----------
    smoothing : count that everything starts with; 0 = what was never asked has probability 0.

    Source: Markatos and Chronaki, "A top-10 approach to prefetching on the Web", INET'98; smoothing: Laplace's rule
    of succession.
    """

    smoothing: float = 1.0
    _chunks: dict[int, int] = field(default_factory=dict, init=False, repr=False)
    _ranks: dict[int, int] = field(default_factory=dict, init=False, repr=False)
    _last: dict[int, int] = field(default_factory=dict, init=False, repr=False)  # session -> its last chunk

    def __post_init__(self) -> None:
        if self.smoothing < 0:
            raise ValueError(f"smoothing must not be negative, got {self.smoothing}")

    def predict(self, view: History) -> Mapping[Item, float]:
        """Return the smoothed relative frequencies of what can be asked now."""
        if view.chunks:
            return self._shares({chunk: self._chunks.get(chunk, 0) for chunk in range(view.chunks)}, 0.0)
        counts: dict[Item, float] = {}
        for rank in range(len(view.moves)):  # a session has used at most as many chains as it has made queries
            item = view.item_after(rank)
            if item is None:
                break
            counts[item] = counts.get(item, 0) + self._ranks.get(rank, 0)
        return self._shares(counts, self._ranks.get(-1, 0) + self.smoothing)

    def observe(self, outcome: Outcome) -> None:
        """Count the chunk or the move; moves add up to the chunk, from -1 before the first query."""
        if not outcome.before and outcome.move > 0:
            self._last[outcome.session] = -1  # only a document begins with a move ahead: a first chain is new (-1)
        elif not outcome.before:
            self._last.pop(outcome.session, None)
        last = self._last.get(outcome.session)
        if last is None:
            self._ranks[outcome.move] = self._ranks.get(outcome.move, 0) + 1
        else:
            chunk = self._last[outcome.session] = last + outcome.move
            self._chunks[chunk] = self._chunks.get(chunk, 0) + 1

    def _shares(self, counts: Mapping[Item, float], rest: float) -> dict[Item, float]:
        """Return each count by the sum of all; `rest` is the count of what cannot be named."""
        total = sum(counts.values()) + self.smoothing * len(counts) + rest
        return {item: (count + self.smoothing) / total for item, count in counts.items() if count + self.smoothing > 0}
