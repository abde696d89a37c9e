"""Callbacks at a simulated time, in a stated order where several fall on one instant.

Semantics D5: at one instant transfers end first, then GPU steps, then requests arrive, then decisions are
taken; within a kind, first scheduled first. SimPy orders its queue by (time, priority, number), so each
kind is a priority below SimPy's own NORMAL events, which carry the processes that wait.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from heapq import heappush
from typing import Any

from simpy import Environment


class Order(IntEnum):
    """Which of two callbacks at the same instant comes first (lower first)."""

    TRANSFER_END = 2
    STEP_END = 3
    ARRIVAL = 4
    DECISION = 5


def call_at(env: Environment, time_s: float, order: Order, action: Callable[[], None]) -> None:
    """Call `action` at an absolute simulated time.

    Parameters
    ----------
    time_s : [s] not before now; rounding that would put it before now is cut to now.
    order : its place among the callbacks of that instant.

    Examples
    --------
    >>> env = Environment()
    >>> seen: list[str] = []
    >>> call_at(env, 1.0, Order.ARRIVAL, lambda: seen.append("arrival"))
    >>> call_at(env, 1.0, Order.TRANSFER_END, lambda: seen.append("transfer end"))
    >>> env.run()
    >>> seen
    ['transfer end', 'arrival']
    """
    # Not `env.schedule`, which takes a delay: now + (time - now) is not always the time, and ties would break.
    queue: Any = env._queue
    heappush(queue, (max(time_s, env.now), order, next(env._eid), _Call(action)))


class _Call:
    """The least that SimPy's loop asks of an event: it happens, and calls."""

    __slots__ = ("_action", "_ok", "callbacks")

    def __init__(self, action: Callable[[], None]) -> None:
        self._action = action
        self._ok = True
        self.callbacks: tuple[Callable[[object], None], ...] | None = (self,)

    def __call__(self, _: object) -> None:
        self._action()


def call_after(env: Environment, delay_s: float, order: Order, action: Callable[[], None]) -> None:
    """Call `action` after a delay in simulated seconds; see `call_at`."""
    call_at(env, env.now + delay_s, order, action)
