"""Contexts of all lengths at once: prediction by partial matching."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from simkv.predictors.question import LONGEST_CONTEXT, PREDICTORS, History, Item, Outcome


@PREDICTORS.register("ppm-c")
@dataclass
class PpmC:
    """Predict the next move from the longest known context, and from shorter ones by what that leaves open.

    In a context that was seen n times, followed by t different moves, a move seen c times gets c / (n + t), and
    the escape to the next shorter context t / (n + t) (method C). Moves that a longer context names are left out of
    n in shorter ones (exclusion). Counts are kept in contexts of all lengths at each query. What even the empty
    context leaves open is the probability of a move never seen, and is not given to anything.

    Attributes
    ----------
    order : how many moves the longest context has, 0 to 16.

    Source: Cleary and Witten, "Data compression using adaptive coding and partial string matching", IEEE Trans.
    Commun. 32(4), 1984; method C: Moffat, IEEE Trans. Commun. 38(11), 1990 (without his update exclusion).
    """

    order: int = 3
    _counts: dict[tuple[int, ...], dict[int, int]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if not 0 <= self.order <= LONGEST_CONTEXT:
            raise ValueError(f"order must be 0 to {LONGEST_CONTEXT}, got {self.order}")

    def predict(self, view: History) -> Mapping[Item, float]:
        """Return the probabilities of the items that moves seen so far would reach."""
        found: dict[Item, float] = {}
        for move, probability in self._moves(view).items():
            item = view.item_after(move)
            if item is not None:
                found[item] = found.get(item, 0.0) + probability
        return found

    def observe(self, outcome: Outcome) -> None:
        """Count the move under every context length up to `order`."""
        for length in range(min(self.order, len(outcome.before)) + 1):
            context = tuple(outcome.before[len(outcome.before) - length :])
            counts = self._counts.setdefault(context, {})
            counts[outcome.move] = counts.get(outcome.move, 0) + 1

    def _moves(self, view: History) -> dict[int, float]:
        """Return the probability of each move seen so far."""
        found: dict[int, float] = {}
        left = 1.0
        for length in range(min(self.order, len(view.moves)), -1, -1):
            counts = self._counts.get(tuple(view.moves[len(view.moves) - length :]), {})
            if not counts:
                continue  # never seen: nothing to escape from
            fresh = {move: count for move, count in counts.items() if move not in found}
            total = sum(fresh.values()) + len(counts)
            found |= {move: left * count / total for move, count in fresh.items()}
            left *= len(counts) / total
        return found
