"""What is worth moving ahead of time? The form in which every prefetch policy answers.

Asked at the source of KV each time it learns of a query (semantics C2). The answer replaces the earlier
one for that session: speculation that is under way and no longer wanted is cancelled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from simkv.kv.prefix import Part
from simkv.predictors.question import Item
from simkv.registry import Registry

Kind = Literal["kv", "text"]


class Prefetch(NamedTuple):
    """One thing to move ahead of time.

    Attributes
    ----------
    item : chunk index, or the last run (start, count) of a chain; what it depends on comes with it.
    kind : "kv" = the source computes and sends KV; "text" = it sends text, the receiver prefills in idle time.
    """

    item: Item
    kind: Kind = "kv"


class Foresight(Protocol):
    """What only oracles may ask."""

    def next_parts(self, count: int) -> Mapping[Item, tuple[Part, ...]]:
        """Return the items of the next `count` turns of this session, soonest first, each with all that it needs.

        In recorded order of arrival where the trace has no session identity.
        """


@dataclass(slots=True)
class PrefetchView:
    """What a prefetch policy may know; live, valid during the call only.

    Attributes
    ----------
    now_s : [s] the time at the source.
    asked : the items asked so far in the session, newest last.
    chunks : number of chunks of the session's document; 0 when the session names block runs.
    probabilities : returns {item: P(the next query needs it | history)} from the scenario's predictor.
    held : whether the source believes that the receiver holds an item (its directory, semantics C2).
    item_bytes : [bytes] of KV that an item would carry.
    foresight : the future, for oracles; None for everyone else.
    """

    now_s: float
    asked: Sequence[Item]
    chunks: int
    probabilities: Callable[[], Mapping[Item, float]]
    held: Callable[[Item], bool]
    item_bytes: Callable[[Item], int]
    foresight: Foresight | None


class PrefetchPolicy(Protocol):
    """One method to write."""

    def decide(self, view: PrefetchView) -> list[Prefetch]:
        """Return what to move, most urgent first; what the receiver holds may be named and is skipped."""


PREFETCH: Registry[PrefetchPolicy] = Registry("prefetch policy", "simkv.prefetch")
