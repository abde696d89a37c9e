"""Data-parallel ranks whose experts are spread over them: every step waits for the slowest, layer by layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from simkv.compute.host import WithHost
from simkv.compute.steptime import StepTime
from simkv.compute.tables import Grid, Outside
from simkv.errors import InputError
from simkv.model import ModelShape


@dataclass(frozen=True)
class Spread:
    """Experts of one model, spread evenly over ranks, and the link over which tokens reach them.

    Attributes
    ----------
    ranks : each holds its share of the experts of every layer.
    experts : time [s] of one layer on one rank, over tokens and activated experts.
    bandwidth_bytes_per_s, latency_s : [bytes/s, s] between two ranks.
    """

    ranks: int
    experts: Grid
    shape: ModelShape
    bandwidth_bytes_per_s: float
    latency_s: float

    def step_s(self, tokens: int, most_tokens: int) -> tuple[float, Outside]:
        """Return [s] of the experts of all layers in a step, and what lay outside the table.

        Parameters
        ----------
        tokens, most_tokens : [tokens] of all ranks, and of the one that has most.

        Notes
        -----
        Each rank gets the tokens of all (an all-gather before the experts, a reduce-scatter behind them, rings of
        n - 1 hops each) and computes those of its experts that they wake: its share of E (1 - (1 - k/E)^tokens).
        """
        seen: Outside = []
        woken = self.shape.activated_experts(tokens) / self.ranks
        experts_s = max(self.experts.at(tokens, woken, seen), 0.0)
        hop_bytes = most_tokens * self.shape.hidden * self.shape.dtype_bytes
        hops = 2 * (self.ranks - 1)
        return self.shape.layers * (experts_s + hops * (self.latency_s + hop_bytes / self.bandwidth_bytes_per_s)), seen


class LockstepStepTime:
    """A step of several ranks as one: its decodes are shared out evenly, its chunks to the rank that has least.

    Each rank computes attention and matrices of its share, and all wait for the longest; then come the experts.

    Parameters
    ----------
    rank : prices of one rank, without its experts.
    spread : the experts.
    strict : refuse what lies outside the table of the experts; a rank refuses by itself.

    References
    ----------
    vLLM, "Expert parallel deployment": data-parallel ranks run their forward passes together, empty ones too.
    """

    def __init__(self, rank: StepTime, spread: Spread, strict: bool = False) -> None:
        self._rank = rank
        self._spread = spread
        self._strict = strict
        self._shared: dict[int, tuple[WithHost, Outside]] = {}
        self.outside = False

    @property
    def wants_longest(self) -> bool:
        """See `StepTime`."""
        return self._rank.wants_longest

    def step(
        self,
        chunks: Sequence[tuple[int, int]],
        decodes: int,
        context_tokens: int,
        emitting: int,
        longest_tokens: int = 0,
    ) -> float:
        """Return the longest of the ranks' times, and the experts'; see `StepTime`."""
        if not chunks:
            return self.span(decodes, context_tokens, 1, math.inf, longest_tokens)[1] if decodes else 0.0
        ranks, ends = self._spread.ranks, emitting - decodes
        decoding = [decodes // ranks + (place < decodes % ranks) for place in range(ranks)]
        loads, shares = list(decoding), [list[tuple[int, int]]() for _ in range(ranks)]
        for chunk in sorted(chunks, reverse=True):
            place = loads.index(min(loads))
            shares[place].append(chunk)
            loads[place] += chunk[0]
        longest_s, self.outside = 0.0, False
        for count, share in zip(decoding, shares, strict=True):
            told = (count, context_tokens * count // decodes if decodes else 0, count + min(ends, len(share)))
            if count or share:
                longest_s = max(longest_s, self._rank.step(share, *told, longest_tokens if count else 0))
                self.outside = self.outside or self._rank.outside
        experts_s, seen = self._spread.step_s(sum(loads), max(loads))
        self._note(seen, self.outside)
        return longest_s + experts_s

    def kernel_s(self, name: str, tokens: int, moved_bytes: int) -> float:
        """See `StepTime`."""
        kernel_s = self._rank.kernel_s(name, tokens, moved_bytes)
        self.outside = self._rank.outside
        return kernel_s

    def span(
        self, batch: int, context_tokens: int, max_steps: int, until_s: float, longest_tokens: int = 0
    ) -> tuple[int, float]:
        """Return the steps to the first boundary at or after `until_s`; see `StepTime`."""
        share = -(-batch // self._spread.ranks)
        if batch not in self._shared:
            experts_s, seen = self._spread.step_s(batch, share)
            self._shared[batch] = WithHost(self._rank, experts_s, hides=False), seen
        price, seen = self._shared[batch]
        found = price.span(share, context_tokens * share // batch, max_steps, until_s, longest_tokens)
        self._note(seen, self._rank.outside)
        return found

    def _note(self, seen: Outside, outside: bool) -> None:
        """Tell whether ranks or experts were priced outside what was measured."""
        if seen and self._strict:
            raise InputError(f"{seen[0]}, and the profile is strict")
        self.outside = outside or bool(seen)
