"""Ranks that share experts: what each computes, what all wait for."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simkv.compute.lockstep import LockstepStepTime, Spread
from simkv.compute.steptime import RooflineStepTime
from simkv.compute.tables import Grid
from simkv.errors import InputError
from simkv.model import get

SHAPE = get("Qwen3-30B-A3B")
RANK = RooflineStepTime(get("Qwen2.5-0.5B"), 1e13, 1e12, 1e-4)
#: [s] 1 us a token and 10 us an expert, so that every cell is its own sum.
GRID = Grid(
    "moe",
    "tokens",
    "activated_experts",
    [(t, e, 1e-6 * t + 1e-5 * e) for t in (1, 64, 4096) for e in (1, 64, 128)],
)


def spread(ranks: int = 2, bandwidth: float = 1e9, latency_s: float = 1e-5) -> Spread:
    return Spread(ranks, GRID, SHAPE, bandwidth, latency_s)


def test_experts_see_the_tokens_of_all_ranks_and_wake_their_share() -> None:
    """4,096 tokens wake all 128 experts, 64 on each of two ranks; the ring carries the longest share both ways."""
    seconds, _ = spread().step_s(4096, 3000)
    hop_s = 1e-5 + 3000 * SHAPE.hidden * SHAPE.dtype_bytes / 1e9
    assert seconds == pytest.approx(SHAPE.layers * (4096e-6 + 64e-5 + 2 * hop_s), rel=1e-6)


def test_all_wait_for_the_rank_that_prefills() -> None:
    """Two ranks of 10 decodes each, and a chunk that one of them has."""
    price = LockstepStepTime(RANK, spread())
    experts_s = spread().step_s(20 + 500, 10 + 500)[0]
    assert price.step([(500, 0)], 20, 20_000, 21) == pytest.approx(RANK.step([(500, 0)], 10, 10_000, 11) + experts_s)


def test_chunks_go_to_the_rank_that_has_least() -> None:
    price = LockstepStepTime(RANK, spread())
    experts_s = spread().step_s(1000, 600)[0]
    assert price.step([(200, 0), (600, 0), (200, 0)], 0, 0, 3) == pytest.approx(
        max(RANK.step([(600, 0)], 0, 0, 1), RANK.step([(200, 0), (200, 0)], 0, 0, 2)) + experts_s
    )


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(1, 200), st.integers(0, 300_000), st.integers(1, 60), st.floats(0.0, 1.0))
def test_a_span_is_the_sum_of_its_steps(batch: int, context: int, steps: int, share: float) -> None:
    """And stops at the first boundary at or after a moment; what is rounded is a token of context a rank."""
    price = LockstepStepTime(RANK, spread())
    taken, duration_s = price.span(batch, context, steps, math.inf)
    singles = [price.step([], batch, context + i * batch, batch) for i in range(taken)]
    assert duration_s == pytest.approx(math.fsum(singles), rel=1e-6)
    until_s = share * duration_s
    found, found_s = price.span(batch, context, taken, until_s)
    assert found_s >= until_s * (1 - 1e-12)
    assert found == 1 or price.span(batch, context, found - 1, math.inf)[1] < until_s


def test_what_lies_outside_is_said() -> None:
    price: Any = LockstepStepTime(RANK, spread())
    price.step([(9000, 0)], 0, 0, 1)
    assert price.outside
    price.step([(900, 0)], 0, 0, 1)
    assert not price.outside
    price.span(9000, 9000, 1, math.inf)
    assert price.outside


def test_who_is_strict_refuses_what_the_experts_lack() -> None:
    strict = LockstepStepTime(RANK, spread(), strict=True)
    for ask in (lambda: strict.step([(9000, 0)], 0, 0, 1), lambda: strict.span(9000, 9000, 1, math.inf)):
        with pytest.raises(InputError, match=r"moe: .* and the profile is strict"):
            ask()
