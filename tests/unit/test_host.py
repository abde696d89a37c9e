"""The host's time a step, in closed form, is what a loop over steps makes of it."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from simkv.compute.host import WithHost
from simkv.compute.steptime import FixedStepTime, RooflineStepTime, StepTime
from simkv.model import get

SHAPE = get("Qwen2.5-3B")
ROOFLINE = RooflineStepTime(SHAPE, 3e13, 4e11, 0.001)
#: A card so slow that a step of decodes grows by a tenth in a hundred steps.
SLOW = RooflineStepTime(SHAPE, 1e10, 1e14, 0.0)
FIXED = FixedStepTime(0.001, 0.25)
PRICES: list[StepTime] = [ROOFLINE, SLOW, FIXED]

prices = st.sampled_from(PRICES)
batches = st.integers(1, 64)
contexts = st.integers(1, 4000)


def loop(price: StepTime, host_s: float, hides: bool, batch: int, context_tokens: int, steps: int) -> list[float]:
    """Return the end of each step [s]."""
    ends, now_s = [], 0.0
    for step in range(steps):
        gpu_s = price.step([], batch, context_tokens + batch * step, batch)
        now_s += max(gpu_s, host_s) if hides else gpu_s + host_s
        ends.append(now_s)
    return ends


def in_spans(price: StepTime, batch: int, context_tokens: int, most: int, until_s: float) -> list[tuple[int, float]]:
    """Return (steps so far, their time [s]) after each span, up to a moment or a number of steps."""
    steps, now_s, found = 0, 0.0, []
    while steps < most and now_s < until_s:
        more, took_s = price.span(batch, context_tokens + batch * steps, most - steps, until_s - now_s)
        assert 1 <= more <= most - steps
        steps, now_s = steps + more, now_s + took_s
        found.append((steps, now_s))
    return found


@given(prices, st.booleans(), batches, contexts, st.data())
@settings(max_examples=200, deadline=None)
def test_spans_end_where_the_loop_does(
    price: StepTime, hides: bool, batch: int, each: int, data: st.DataObject
) -> None:
    """The host takes about as long as the GPU, so that it is overtaken in the middle of many of them."""
    context, most = batch * each, data.draw(st.integers(1, 300), "most")
    host_s = data.draw(st.floats(0.5, 1.5), "host") * price.step([], batch, context + batch * most // 2, batch)
    ends = loop(price, host_s, hides, batch, context, most)
    until_s = data.draw(st.floats(0.0, 1.2), "until") * ends[-1]
    assume(all(abs(end_s - until_s) > 1e-9 * ends[-1] for end_s in ends))
    found = in_spans(WithHost(price, host_s, hides), batch, context, most, until_s)
    assert [s for _, s in found] == pytest.approx([ends[steps - 1] for steps, _ in found], rel=1e-9)
    boundary = next((i + 1 for i, end_s in enumerate(ends) if end_s >= until_s), most)
    assert (found[-1][0] if found else 0) == (boundary if until_s > 0 else 0)


@given(prices, st.booleans(), batches, contexts, st.floats(0.0, 3.0), st.integers(0, 900))
@settings(max_examples=100, deadline=None)
def test_a_step_is_a_span_of_one(
    price: StepTime, hides: bool, batch: int, each: int, host: float, new_tokens: int
) -> None:
    host_s, context = host * price.step([], batch, batch * each, batch), batch * each
    both = WithHost(price, host_s, hides)
    assert both.span(batch, context, 1, math.inf)[1] == pytest.approx(both.step([], batch, context, batch), rel=1e-12)
    chunks = [(new_tokens, 16)] if new_tokens else []
    gpu_s = price.step(chunks, batch, context, batch)
    assert both.step(chunks, batch, context, batch) == (max(gpu_s, host_s) if hides else gpu_s + host_s)


def test_what_the_gpu_says_of_itself_is_passed_on() -> None:
    both = WithHost(FIXED, 0.001, hides=True)
    assert (both.wants_longest, both.outside) == (False, False)


@pytest.mark.parametrize("hides", [True, False])
def test_no_host_is_no_change(hides: bool) -> None:
    for until_s in (0.5, math.inf):
        assert WithHost(ROOFLINE, 0.0, hides).span(4, 4_000, 90, until_s) == ROOFLINE.span(4, 4_000, 90, until_s)
