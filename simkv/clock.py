"""Callbacks at a simulated time, in a stated order where several fall on one instant.

Semantics D5: at one instant transfers end first, then GPU steps, then requests arrive, then decisions are
taken; within a kind, first scheduled first. SimPy orders its queue by (time, priority, number), so each
kind is a priority below SimPy's own NORMAL events, which carry the processes that wait.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from heapq import heappop, heappush
from typing import Any

from simpy import Environment


class Order(IntEnum):
    """Which of two callbacks at the same instant comes first (lower first)."""

    TRANSFER_END = 2
    STEP_END = 3
    ARRIVAL = 4
    DECISION = 5


class Clock(Environment):
    """SimPy's environment; its loop, where it runs until nothing is left, costs a function call less an event."""

    def run(self, until: Any = None) -> Any:
        """Let everything happen, or what happens until a moment; see `simpy.Environment.run`."""
        if until is not None:
            return super().run(until)
        queue: Any = self._queue
        while queue:
            self._now, _, _, event = heappop(queue)
            callbacks, event.callbacks = event.callbacks, None
            for callback in callbacks:
                callback(event)
            if not event._ok and not hasattr(event, "_defused"):
                raise event._value
        return None


class Event:
    """The least that SimPy's loop asks of an event: it happens, and somebody is called with it.

    For what happens millions of times; `call_at` is easier to use.
    """

    __slots__ = ("callbacks",)

    _ok = True

    def __init__(self, happens: Callable[[Any], None]) -> None:
        self.callbacks: tuple[Callable[[Any], None], ...] | None = (happens,)

    def at(self, env: Environment, time_s: float, order: Order) -> None:
        """Let it happen at an absolute simulated time; see `call_at`."""
        # Not `env.schedule`, which takes a delay: now + (time - now) is not always the time, and ties would break.
        queue: Any = env._queue
        now_s = env._now
        heappush(queue, (time_s if time_s > now_s else now_s, int(order), next(env._eid), self))


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
    Event(lambda _: action()).at(env, time_s, order)


def call_after(env: Environment, delay_s: float, order: Order, action: Callable[[], None]) -> None:
    """Call `action` after a delay in simulated seconds; see `call_at`."""
    call_at(env, env.now + delay_s, order, action)
