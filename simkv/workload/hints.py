"""Clients that say ahead of time what they will ask: when, and how reliably.

A user who starts to type, an agent framework that knows its next step: the advisory requests of SYMPHONY (Agarwal et
al., NSDI'26, "advisory requests"), which there come 11.3 s ahead on average and may be wrong.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from simkv.kv.prefix import Conversation, Part
from simkv.predictors.question import Item
from simkv.rng import stream


class Hint(NamedTuple):
    """What a client says, and how long before it asks."""

    lead_s: float
    items: Mapping[Item, tuple[Part, ...]]


class Hints:
    """The hints of one replication; each is drawn by session and turn alone.

    Parameters
    ----------
    lead_s : [s] median time from a hint to the query.
    lead_sigma : of ln(lead); 0 = always the same.
    accuracy : probability that a hint names what will be asked. A wrong one names another chunk of the document; of
        chains of blocks a wrong hint is a missing one.

    Examples
    --------
    >>> Hints(10.0, 0.0, 1.0, seed=1, replication=0).lead_s
    10.0
    """

    def __init__(self, lead_s: float, lead_sigma: float, accuracy: float, *, seed: int, replication: int) -> None:
        self.lead_s = lead_s
        self._lead_sigma = lead_sigma
        self._accuracy = accuracy
        self._key = (seed, replication)

    def of(self, conversation: Conversation, turn: int) -> Hint | None:
        """Return the hint of a turn to come; None when the client says nothing."""
        asked = conversation.session.turns[turn].chunks
        items: dict[Item, tuple[Part, ...]] = {chunk: conversation.chain(chunk) for chunk in asked}
        if not conversation.chunks:
            items = conversation.future_parts(turn)  # a document is told of as it is now: nobody foretells edits
        draws = stream(*self._key, conversation.draw, turn, "hint")
        error, is_right = draws.gauss(0, 1), draws.random() < self._accuracy
        lead_s = self.lead_s * math.exp(self._lead_sigma * error)
        if not is_right:
            others = [chunk for chunk in range(conversation.chunks) if chunk not in items]
            if not others or not items:
                return None
            wrong = draws.sample(others, min(len(items), len(others)))
            items = {chunk: conversation.chain(chunk) for chunk in wrong}
        return Hint(lead_s, items) if items else None
