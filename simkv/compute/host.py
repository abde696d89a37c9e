"""What the host does for each step: it hides behind the GPU's work, or adds to it (semantics D1)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from simkv.compute.steptime import StepTime


class WithHost:
    """A price list with the host's time a step.

    Parameters
    ----------
    step_time : of the GPU.
    host_s : [s] a step.
    hides : the host works on the next step while the GPU works on this one (`async_scheduling`): a step takes the
        longer of both; else their sum.

    Examples
    --------
    >>> from simkv.compute.steptime import FixedStepTime
    >>> WithHost(FixedStepTime(0.0, 0.25), 0.125, hides=False).span(1, 100, 4, until_s=1.0)
    (3, 1.125)
    >>> WithHost(FixedStepTime(0.0, 0.25), 0.5, hides=True).span(1, 100, 4, until_s=9.0)
    (4, 2.0)
    """

    def __init__(self, step_time: StepTime, host_s: float, hides: bool) -> None:
        self._step_time = step_time
        self._host_s = host_s
        self._hides = hides

    @property
    def wants_longest(self) -> bool:
        """See `StepTime`."""
        return self._step_time.wants_longest

    @property
    def outside(self) -> bool:
        """See `StepTime`."""
        return self._step_time.outside

    def step(
        self,
        chunks: Sequence[tuple[int, int]],
        decodes: int,
        context_tokens: int,
        emitting: int,
        longest_tokens: int = 0,
    ) -> float:
        """See `StepTime`."""
        gpu_s = self._step_time.step(chunks, decodes, context_tokens, emitting, longest_tokens)
        return max(gpu_s, self._host_s) if self._hides else gpu_s + self._host_s

    def span(
        self, batch: int, context_tokens: int, max_steps: int, until_s: float, longest_tokens: int = 0
    ) -> tuple[int, float]:
        """See `StepTime`."""
        told = (batch, context_tokens, longest_tokens)
        if not self._hides:
            return self._with_host(told, max_steps, until_s)
        if self._gpu_s(told, 0) >= self._host_s:  # contexts grow, and steps with them: the host stays hidden
            return self._step_time.span(batch, context_tokens, max_steps, until_s, longest_tokens)
        low, high = 1, max_steps  # the host is the slower one for this many steps
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self._gpu_s(told, middle - 1) < self._host_s else (low, middle - 1)
        steps = low if until_s == math.inf else max(1, min(low, math.ceil(until_s / self._host_s)))
        return steps, steps * self._host_s

    def kernel_s(self, name: str, tokens: int, moved_bytes: int) -> float:
        """See `StepTime`."""
        return self._step_time.kernel_s(name, tokens, moved_bytes)

    def _gpu_s(self, told: tuple[int, int, int], after_steps: int) -> float:
        batch, context_tokens, longest_tokens = told
        longest_tokens += after_steps if longest_tokens else 0
        return self._step_time.span(batch, context_tokens + batch * after_steps, 1, math.inf, longest_tokens)[1]

    def _with_host(self, told: tuple[int, int, int], max_steps: int, until_s: float) -> tuple[int, float]:
        """Return the first boundary at or after a moment where every step is longer by the host's time."""
        batch, context_tokens, longest_tokens = told
        steps, gpu_s = self._step_time.span(batch, context_tokens, max_steps, math.inf, longest_tokens)
        low, high, most_s = 1, steps, gpu_s + steps * self._host_s
        if most_s < until_s or until_s == math.inf:
            return steps, most_s
        while low < high:
            middle = (low + high) // 2
            gpu_s = self._step_time.span(batch, context_tokens, middle, math.inf, longest_tokens)[1]
            low, high = (low, middle) if gpu_s + middle * self._host_s >= until_s else (middle + 1, high)
        gpu_s = self._step_time.span(batch, context_tokens, low, math.inf, longest_tokens)[1]
        return low, gpu_s + low * self._host_s
