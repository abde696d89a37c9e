"""How long from an answer to the next question, where a trace does not say? A study names its source (semantics H4).

A source is a distribution and a name. Each think time is drawn by (seed, replication, draw of the session, turn) alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Protocol

from simkv.registry import Registry
from simkv.request import GapKind
from simkv.rng import uniform
from simkv.workload.arrival import Draw

_LEAST = 2.0**-53  # the least number above 0 that `uniform` tells apart


class ThinkTimes(Protocol):
    """A dataclass with two properties and a method; its fields are its parameters."""

    @property
    def kind(self) -> GapKind:
        """Who makes the gaps: a tool or a human."""
        ...

    @property
    def words(self) -> str:
        """What the run's notes say of it: the distribution and where it comes from."""
        ...

    def think_s(self, share: float) -> float:
        """Return [s] the quantile of a share strictly between 0 and 1."""
        ...


THINK: Registry[ThinkTimes] = Registry("think-time source", "simkv.think")


def with_think_times(draws: Iterable[Draw], source: ThinkTimes, seed: int, replication: int) -> list[Draw]:
    """Return the drawn sessions with think times from a source; the first turn of each has none.

    Examples
    --------
    >>> from simkv.request import Session, Turn
    >>> from simkv.workload.thinking.log_normal import LogNormalThink
    >>> source = LogNormalThink(median_s=10.0, sigma=0.0, source="an example")
    >>> (draw,) = with_think_times([Draw(Session("s", (Turn(1, 1), Turn(1, 1))), 0.0)], source, 1, 0)
    >>> [(turn.think_s, turn.gap_kind) for turn in draw.session.turns]
    [(0.0, 'none'), (10.0, 'human')]
    """
    found = []
    for index, draw in enumerate(draws):
        first, *rest = draw.session.turns
        turns = [dataclasses.replace(first, think_s=0.0, gap_kind="none")]
        for number, turn in enumerate(rest, start=1):
            share = max(_LEAST, uniform(seed, replication, index, number, "think"))
            turns.append(dataclasses.replace(turn, think_s=source.think_s(share), gap_kind=source.kind))
        found.append(Draw(dataclasses.replace(draw.session, turns=tuple(turns)), draw.start_s))
    return found
