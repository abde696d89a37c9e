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
    armed : the boundary at which the loop wakes.
    cut : it ends at the next boundary: something changed.

    Examples
    --------
    >>> from simkv.compute.steptime import FixedStepTime
    >>> leap = Leap(FixedStepTime(0.0, 0.5), 10.0, 1, 0, 8)
    >>> leap.first_boundary(10.75), leap.boundary_s(2)
    (2, 11.0)
    """

    __slots__ = ("_batch", "_context_tokens", "_most_s", "_step_time", "armed", "cut", "most_steps", "start_s")

    def __init__(
        self, step_time: StepTime, start_s: float, batch: int, context_tokens: int, most_steps: int
    ) -> None:
        self._step_time = step_time
        self._batch = batch
        self._context_tokens = context_tokens
        self.start_s = start_s
        self.most_steps, self._most_s = step_time.span(batch, context_tokens, most_steps, math.inf)
        self.armed = 0
        self.cut = False

    def duration_s(self, steps: int) -> float:
        """Return S(steps) [s]: what so many steps take."""
        if steps == self.most_steps:
            return self._most_s
        return self._step_time.span(self._batch, self._context_tokens, steps, math.inf)[1]

    def boundary_s(self, steps: int) -> float:
        """Return when [s] so many steps are done."""
        return self.start_s + self.duration_s(steps)

    def first_boundary(self, now_s: float) -> int:
        """Return the first step that ends at or after `now_s`; the last when none does."""
        elapsed_s = now_s - self.start_s
        steps, _ = self._step_time.span(self._batch, self._context_tokens, self.most_steps, elapsed_s)
        # start + S(k) decides, as it does for the events; S(k) against now - start may round to the other side.
        while steps < self.most_steps and self.boundary_s(steps) < now_s:
            steps += 1
        return self.boundary_before(steps, now_s)

    def boundary_before(self, steps: int, now_s: float) -> int:
        """Return the first of the boundaries up to `steps` that is at or after `now_s`; at least `steps` itself."""
        while steps > 1 and self.boundary_s(steps - 1) >= now_s:
            steps -= 1
        return steps
