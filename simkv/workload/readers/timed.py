"""Requests of an open loop that stand in a file in another order than they came."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from simkv.request import Session, Turn


class Timed(NamedTuple):
    """A request and [s], on any clock, when it came; of a lower priority it is more urgent."""

    at_s: float
    line: int
    turn: Turn
    priority: int = 0


def sessions_in_order(requests: Iterable[Timed]) -> Iterator[Session]:
    """Yield each request as a session of one turn in order of time, which counts from the first; holds all of them.

    Examples
    --------
    >>> late, early = Timed(107.0, 1, Turn(1, 1)), Timed(105.5, 2, Turn(1, 1))
    >>> [(session.session_id, session.start_s) for session in sessions_in_order([late, early])]
    [('request-2', 0.0), ('request-1', 1.5)]
    """
    ordered = sorted(requests, key=lambda request: request[:2])
    for at_s, line, turn, priority in ordered:
        yield Session(f"request-{line}", (turn,), start_s=at_s - ordered[0].at_s, priority=priority)
