"""Order-k Markov chain over the moves of a conversation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from simkv.predictors.question import LONGEST_CONTEXT, PREDICTORS, History, Item, Outcome


@PREDICTORS.register("markov")
@dataclass
class Markov:
    """Predict the next move from the last `order` moves, by the counts seen in all sessions so far.

    Moves are relative (one chunk on, the same chunk again, two back), so that what one conversation
    teaches serves the next, on another document. A context never seen falls back to the next shorter one.

    Attributes
    ----------
    order : how many moves make the context, 0 to 16.

    Source: Joseph and Grunwald, "Prefetching using Markov predictors", ISCA'97; the fall-back to shorter contexts is
    that of Vitter and Krishnan, JACM 43(5), 1996.
    """

    order: int = 1
    _counts: dict[tuple[int, ...], dict[int, int]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if not 0 <= self.order <= LONGEST_CONTEXT:
            raise ValueError(f"order must be 0 to {LONGEST_CONTEXT}, got {self.order}")

    def predict(self, view: History) -> Mapping[Item, float]:
        """Return the relative frequencies after the longest known context."""
        counts = self._longest_known(view.moves)
        total = sum(counts.values())
        found: dict[Item, float] = {}
        for move, count in counts.items():
            item = view.item_after(move)
            if item is not None:
                found[item] = found.get(item, 0.0) + count / total
        return found

    def observe(self, outcome: Outcome) -> None:
        """Count the move under every context length up to `order`."""
        for length in range(min(self.order, len(outcome.before)) + 1):
            context = tuple(outcome.before[len(outcome.before) - length :])
            counts = self._counts.setdefault(context, {})
            counts[outcome.move] = counts.get(outcome.move, 0) + 1

    def _longest_known(self, moves: Sequence[int]) -> dict[int, int]:
        for length in range(min(self.order, len(moves)), -1, -1):
            counts = self._counts.get(tuple(moves[len(moves) - length :]))
            if counts:
                return counts
        return {}
