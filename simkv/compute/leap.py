"""When do the steps of an unchanged batch of decodes end, and which of those moments comes first after another?

Boundary k is at start + S(k), with S the price list's closed form, however the loop gets there (semantics D4).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from simkv.clock import Event
from simkv.compute.batch import Batch
from simkv.compute.steptime import StepTime


class Leap:
    """The steps of one unchanged batch of decodes.

    Parameters
    ----------
    step_time : the price list.
    start_s : [s] when the first step starts.
    batch : of the first step.
    most_steps : steps after which it changes, >= 1.

    Attributes
    ----------
    most_steps : the same, or fewer where the price list's closed form ends before.
    most_s : [s] what they take.
    armed : the boundary at which the loop wakes.
    cut : it ends there: something changed.
    outside : the price list was last asked about what it has no measurement of.

    Examples
    --------
    >>> from simkv.compute.steptime import FixedStepTime
    >>> leap = Leap(FixedStepTime(0.0, 0.5), 10.0, Batch(1, 0, 0, False), 8)
    >>> leap.first_boundary(10.75)
    (2, 1.0)
    """

    __slots__ = ("_batch", "_step_time", "armed", "cut", "most_s", "most_steps", "outside", "start_s")

    def __init__(self, step_time: StepTime, start_s: float, batch: Batch, most_steps: int) -> None:
        self._step_time = step_time
        self._batch = batch
        self.start_s = start_s
        self.armed = 0
        self.cut = False
        self.most_steps, self.most_s = step_time.span(
            batch.decodes, batch.context_tokens, most_steps, math.inf, batch.longest_tokens
        )
        self.outside = step_time.outside

    def _span(self, most_steps: int, until_s: float) -> tuple[int, float]:
        batch, step_time = self._batch, self._step_time
        found = step_time.span(batch.decodes, batch.context_tokens, most_steps, until_s, batch.longest_tokens)
        self.outside = step_time.outside
        return found

    def duration_s(self, steps: int) -> float:
        """Return S(steps) [s]: what so many steps take."""
        return self._span(steps, math.inf)[1]

    def first_boundary(self, now_s: float) -> tuple[int, float]:
        """Return the first step that ends at or after `now_s`, and S of it [s]; the last when none does.

        start + S(k) against `now_s` decides, as it does for the events; S(k) against now - start may round to the
        other side. So the search begins with the first boundary that is later than now but for rounding.
        """
        until_s = now_s - self.start_s - 2 * math.ulp(now_s)
        steps, duration_s = self._span(self.most_steps, until_s)
        while self.start_s + duration_s < now_s and steps < self.most_steps:
            steps += 1
            duration_s = self.duration_s(steps)
        return steps, duration_s


class StepEnd(Event):
    """The end of a step, or of steps of a leap."""

    __slots__ = ("duration_s", "leap", "outside", "steps")

    def __init__(
        self, happens: Callable[[Any], None], leap: Leap | None, steps: int, duration_s: float, outside: bool
    ) -> None:
        self.callbacks = (happens,)
        self.leap = leap
        self.steps = steps
        self.duration_s = duration_s
        self.outside = outside
