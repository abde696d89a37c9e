"""GPU work that belongs to no step: coding and decoding KV. It has the GPU for itself, between two steps."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from simpy import Environment

from simkv.clock import Order, call_at


class Kernel:
    """One kernel.

    Parameters
    ----------
    duration_s : [s]
    speculative : nobody waits for it: it runs when no demand does.
    outside : its duration rests on an extension of the price list.
    on_spent : called with the [s] that it took as speculation.
    on_finished : called when it has run.
    """

    __slots__ = ("duration_s", "on_finished", "on_spent", "outside", "speculative")

    def __init__(
        self,
        duration_s: float,
        *,
        speculative: bool = False,
        outside: bool = False,
        on_spent: Callable[[float], None] | None = None,
        on_finished: Callable[[], None],
    ) -> None:
        self.duration_s = duration_s
        self.speculative = speculative
        self.outside = outside
        self.on_spent = on_spent
        self.on_finished = on_finished

    def spend(self, duration_s: float) -> None:
        """It took so long as speculation."""
        if self.on_spent is not None:
            self.on_spent(duration_s)


class Kernels:
    """Those of one GPU: demand before speculation, each in the order in which they came.

    Parameters
    ----------
    changed : called with whether it is demand when one waits anew.
    ended : called with each that has run.

    Attributes
    ----------
    demand, speculative : those that wait.
    running : the one that has the GPU.
    """

    def __init__(self, env: Environment, changed: Callable[[bool], None], ended: Callable[[Kernel], None]) -> None:
        self._env = env
        self._changed = changed
        self._ended = ended
        self.demand: deque[Kernel] = deque()
        self.speculative: deque[Kernel] = deque()
        self.running: Kernel | None = None

    @property
    def is_idle(self) -> bool:
        """Whether none runs or waits."""
        return not (self.demand or self.speculative or self.running)

    def launch(self, kernel: Kernel) -> None:
        """Queue a kernel; it runs at the next step boundary, or when no demand does."""
        (self.speculative if kernel.speculative else self.demand).append(kernel)
        self._changed(not kernel.speculative)

    def promote(self, kernel: Kernel) -> None:
        """Turn a kernel that waits as speculation into demand (semantics D3)."""
        if kernel in self.speculative:
            self.speculative.remove(kernel)
            kernel.speculative = False
            self.demand.append(kernel)
            self._changed(True)

    def begin(self, waiting: deque[Kernel]) -> None:
        """Give the GPU to the first of those that wait."""
        kernel = self.running = waiting.popleft()
        call_at(self._env, self._env.now + kernel.duration_s, Order.STEP_END, lambda: self._end(kernel))

    def _end(self, kernel: Kernel) -> None:
        self.running = None
        self._ended(kernel)
