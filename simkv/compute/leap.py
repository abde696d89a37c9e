"""When do the steps of an unchanged batch of decodes end, and which of those moments comes first after another?

Boundary k is at start + S(k), with S the price list's closed form, however the loop gets there (semantics D4).
"""

from __future__ import annotations

import math

from simkv.compute.steptime import StepTime


class Leap:
    """The steps of one unchanged batch of decodes.

    Parameters
    ----------
    step_time : the price list.
    start_s : [s] when the first step starts.
    batch : sequences that decode, >= 1.
    context_tokens : [tokens] of KV that they read in the first step, summed over them.
    most_steps : steps after which one of them has its answer, >= 1.

    Attributes
    ----------
    most_steps : the same, or fewer where the price list's closed form ends before.
    most_s : [s] what they take.
    armed : the boundary at which the loop wakes.
    cut : it ends there: something changed.

    Examples
    --------
    >>> from simkv.compute.steptime import FixedStepTime
    >>> leap = Leap(FixedStepTime(0.0, 0.5), 10.0, 1, 0, 8)
    >>> leap.first_boundary(10.75)
    (2, 1.0)
    """

    __slots__ = ("_batch", "_context_tokens", "_step_time", "armed", "cut", "most_s", "most_steps", "start_s")

    def __init__(self, step_time: StepTime, start_s: float, batch: int, context_tokens: int, most_steps: int) -> None:
        self._step_time = step_time
        self._batch = batch
        self._context_tokens = context_tokens
        self.start_s = start_s
        self.most_steps, self.most_s = step_time.span(batch, context_tokens, most_steps, math.inf)
        self.armed = 0
        self.cut = False

    def duration_s(self, steps: int) -> float:
        """Return S(steps) [s]: what so many steps take."""
        return self._step_time.span(self._batch, self._context_tokens, steps, math.inf)[1]

    def first_boundary(self, now_s: float) -> tuple[int, float]:
        """Return the first step that ends at or after `now_s`, and S of it [s]; the last when none does.

        start + S(k) against `now_s` decides, as it does for the events; S(k) against now - start may round to the
        other side. So the search begins with the first boundary that is later than now but for rounding.
        """
        until_s = now_s - self.start_s - 2 * math.ulp(now_s)
        steps, duration_s = self._step_time.span(self._batch, self._context_tokens, self.most_steps, until_s)
        while self.start_s + duration_s < now_s and steps < self.most_steps:
            steps += 1
            duration_s = self.duration_s(steps)
        return steps, duration_s
