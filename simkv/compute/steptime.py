"""How long does a GPU step take for a batch, and how many steps of an unchanged batch fit before a moment?

Arithmetic only: no events, no YAML. A batch of decodes that nobody joins or leaves is priced in closed form
(semantics D4), so that a thousand steps cost one sum.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from simkv.errors import InputError
from simkv.model import ModelShape


class StepTime(Protocol):
    """The price list of one GPU for one model."""

    @property
    def wants_longest(self) -> bool:
        """Whether it asks for the longest context among the decodes."""

    @property
    def outside(self) -> bool:
        """Whether the last answer was priced, wholly or in part, outside what was measured."""

    def step(
        self,
        chunks: Sequence[tuple[int, int]],
        decodes: int,
        context_tokens: int,
        emitting: int,
        longest_tokens: int = 0,
    ) -> float:
        """Return the duration [s] of one step.

        Parameters
        ----------
        chunks : (new, cached) [tokens] of each prefill chunk.
        decodes : sequences that decode one token.
        context_tokens : [tokens] of KV that the decodes read, summed over them.
        emitting : sequences that emit a token (decodes, and prefills that end): they pay lm_head.
        longest_tokens : [tokens] of KV that one of the decodes reads at most; 0 = all read alike.
        """

    def span(
        self, batch: int, context_tokens: int, max_steps: int, until_s: float, longest_tokens: int = 0
    ) -> tuple[int, float]:
        """Return how many decode steps of an unchanged batch to take, and their summed duration [s].

        Takes at least one and at most `max_steps` steps, stops at the first boundary at or after `until_s`
        (counted from the start of the first step), and may stop earlier where its cost law changes.
        """

    def kernel_s(self, name: str, tokens: int, moved_bytes: int) -> float:
        """Return the duration [s] of a kernel over the KV of so many tokens, all layers, that is no part of a step.

        Parameters
        ----------
        name : of the operation, as calibrations name it: `quantise_int8_token`.
        moved_bytes : [bytes] that it reads and writes; it does little else.

        Raises
        ------
        InputError : it was not measured.
        """


@dataclass(frozen=True)
class FixedStepTime:
    """A step costs a fixed time per prefill token plus a fixed time if anything decodes: for theory.

    Examples
    --------
    >>> FixedStepTime(prefill_per_token_s=0.1, decode_step_s=1.0).span(1, 100, 10, until_s=3.5)
    (4, 4.0)
    """

    prefill_per_token_s: float
    decode_step_s: float

    wants_longest: ClassVar[bool] = False
    outside: ClassVar[bool] = False

    def step(
        self,
        chunks: Sequence[tuple[int, int]],
        decodes: int,
        context_tokens: int,
        emitting: int,
        longest_tokens: int = 0,
    ) -> float:
        """Return prefill tokens x price, plus one decode step when there are decodes; see `StepTime`."""
        decode_s = self.decode_step_s if decodes else 0.0
        return self.prefill_per_token_s * sum(new for new, _ in chunks) + decode_s

    def span(
        self, batch: int, context_tokens: int, max_steps: int, until_s: float, longest_tokens: int = 0
    ) -> tuple[int, float]:
        """Return the steps to the first boundary at or after `until_s`; see `StepTime`."""
        steps = _first_at_or_after(until_s, max_steps, self.decode_step_s, 0.0)
        return steps, steps * self.decode_step_s

    def kernel_s(self, name: str, tokens: int, moved_bytes: int) -> float:
        """Return 0: only prefills and decodes take time; see `StepTime`."""
        return 0.0


class RooflineStepTime:
    """A step costs what the slower of arithmetic and memory needs, plus a fixed overhead.

    Both are linear in the summed context of an unchanged batch of decodes, so each side of the ridge is one
    arithmetic series.

    Parameters
    ----------
    shape : the model.
    flop_per_s : [flop/s] reached on large matrices.
    memory_bytes_per_s : [bytes/s] reached when streaming weights and KV.
    overhead_s : [s] per step: launches, scheduling.
    weight_bits : [bits] a weight takes in memory.

    References
    ----------
    Williams, Waterman, Patterson, "Roofline: an insightful visual performance model", CACM 52(4), 2009.

    Examples
    --------
    >>> from simkv.model import get
    >>> phone = RooflineStepTime(get("Qwen2.5-3B"), 3.7e11, 3.9e10, 0.0, weight_bits=8)
    >>> round(1000 / phone.step([(1000, 0)], 0, 0, 1))  # tokens/s of a 1,000-token prefill
    65
    """

    wants_longest = False
    outside = False

    def __init__(
        self, shape: ModelShape, flop_per_s: float, memory_bytes_per_s: float, overhead_s: float, weight_bits: int = 16
    ) -> None:
        self._shape = shape
        self._memory_bytes_per_s = memory_bytes_per_s
        self._overhead_s = overhead_s
        self._linear_s = shape.linear_flop_per_token / flop_per_s
        self._head_s = shape.lm_head_flop / flop_per_s
        self._pair_s = shape.attention_flop(1, 0) / flop_per_s  # one query against one key
        self._weights_s = shape.streamed_weight_bytes(weight_bits) / memory_bytes_per_s
        self._expert_s = shape.expert_weight_bytes(weight_bits) / memory_bytes_per_s  # one expert in every layer
        self._activated_experts = shape.activated_experts
        self._kv_token_s = shape.kv_bytes_per_token / memory_bytes_per_s

    def step(
        self,
        chunks: Sequence[tuple[int, int]],
        decodes: int,
        context_tokens: int,
        emitting: int,
        longest_tokens: int = 0,
    ) -> float:
        """Return max(arithmetic, memory) + overhead; see `StepTime`."""
        tokens, pairs, read = decodes, context_tokens + decodes, context_tokens + decodes
        for new, cached in chunks:
            tokens += new
            pairs += new * cached + new * (new + 1) // 2
            read += new + cached
        arithmetic_s = self._linear_s * tokens + self._head_s * emitting + self._pair_s * pairs
        memory_s = self._streamed_s(tokens) + self._kv_token_s * read
        return max(arithmetic_s, memory_s) + self._overhead_s

    def span(
        self, batch: int, context_tokens: int, max_steps: int, until_s: float, longest_tokens: int = 0
    ) -> tuple[int, float]:
        """Return the steps to the first boundary at or after `until_s`, or to the ridge; see `StepTime`."""
        read = context_tokens + batch  # KV pairs of the first step; every step adds `batch`
        arithmetic = (self._linear_s + self._head_s) * batch + self._pair_s * read
        memory = self._streamed_s(batch) + self._kv_token_s * read
        growth_arithmetic, growth_memory = self._pair_s * batch, self._kv_token_s * batch
        if arithmetic > memory:
            ahead, growth, behind = arithmetic, growth_arithmetic, growth_memory - growth_arithmetic
        else:
            ahead, growth, behind = memory, growth_memory, growth_arithmetic - growth_memory
        if behind > 0:  # the other side grows faster: it takes over after this many steps
            max_steps = min(max_steps, max(1, math.ceil(abs(arithmetic - memory) / behind)))
        first_s = ahead + self._overhead_s
        steps = _first_at_or_after(until_s, max_steps, first_s, growth)
        return steps, _series(steps, first_s, growth)

    def kernel_s(self, name: str, tokens: int, moved_bytes: int) -> float:
        """Return bytes over the memory rate reached, plus the overhead of a step; see `StepTime`."""
        return moved_bytes / self._memory_bytes_per_s + self._overhead_s

    def _streamed_s(self, tokens: int) -> float:
        """Return [s] to stream the weights that a step of so many tokens reads: of experts only those it wakes."""
        return self._weights_s + self._expert_s * self._activated_experts(tokens) if self._expert_s else self._weights_s


def _series(steps: int, first_s: float, growth_s: float) -> float:
    """Return the sum [s] of `steps` terms that start at `first_s` and grow by `growth_s`."""
    return steps * first_s + growth_s * (steps * (steps - 1) / 2)


def _first_at_or_after(until_s: float, max_steps: int, first_s: float, growth_s: float) -> int:
    """Return the least number of steps, in 1..max_steps, whose sum reaches `until_s`; max_steps if none does."""
    if max_steps <= 1 or until_s == math.inf or _series(max_steps, first_s, growth_s) < until_s:
        return max_steps
    if until_s <= first_s:
        return 1
    # growth/2 n^2 + (first - growth/2) n = until, solved without a difference of near equals
    linear_s = first_s - growth_s / 2
    guess = 2 * until_s / (linear_s + math.sqrt(linear_s * linear_s + 2 * growth_s * until_s))
    steps = min(math.ceil(guess), max_steps)
    while steps > 1 and _series(steps - 1, first_s, growth_s) >= until_s:  # the closed form may be off by rounding
        steps -= 1
    while steps < max_steps and _series(steps, first_s, growth_s) < until_s:
        steps += 1
    return steps


def no_kernel(name: str) -> InputError:
    """Return the complaint that a profile does not say how long a kernel takes."""
    return InputError(f"this profile has no times of {name}; want codec: identity, or a profile that has them")
