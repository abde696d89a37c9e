"""What a step costs, and how many steps of an unchanged batch end before a moment."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simkv.compute.profile import PROFILES
from simkv.compute.steptime import FixedStepTime, RooflineStepTime, StepTime
from simkv.model import ModelShape, get

law = settings(max_examples=200, deadline=None, derandomize=True)

TOY = ModelShape("toy", layers=2, hidden=8, heads=4, kv_heads=1, head_dim=2, intermediate=16, vocab=64)
#: Its steps move from memory to arithmetic as contexts grow: 256 flop a pair of tokens, 16 bytes of KV a token.
RIDGE = RooflineStepTime(TOY, flop_per_s=1e6, memory_bytes_per_s=8e5, overhead_s=1e-4)


def weights_read_s(rate: float) -> float:
    """Return [s] to stream the toy's 16-bit weights."""
    return TOY.streamed_weight_bytes(16) / rate


rooflines = st.builds(
    RooflineStepTime,
    st.just(TOY),
    st.floats(1e5, 1e9),
    st.floats(1e5, 1e9),
    st.sampled_from([0.0, 1e-5, 1e-3]),
    st.sampled_from([4, 8, 16]),
)
fixed = st.builds(FixedStepTime, st.floats(0.0, 1.0), st.sampled_from([0.0, 0.25, 1e-3, 1 / 3]))
step_times = st.one_of(rooflines, st.just(RIDGE), fixed)
batches = st.integers(1, 300)
contexts = st.integers(0, 200_000)


def one_by_one(step_time: StepTime, batch: int, context_tokens: int, steps: int) -> list[float]:
    """Return the durations [s] of single decode steps."""
    return [step_time.step([], batch, context_tokens + i * batch, batch) for i in range(steps)]


# -- span: as many steps, as long as they take one by one ---------------------------------------------------------


@law
@given(step_times, batches, contexts, st.integers(1, 120))
def test_a_span_lasts_as_long_as_its_steps(step_time: StepTime, batch: int, context: int, most: int) -> None:
    """Spans laid end to end cover all steps and last what the steps last, also across the ridge."""
    singles = one_by_one(step_time, batch, context, most)
    done = 0
    while done < most:
        steps, duration_s = step_time.span(batch, context + done * batch, most - done, math.inf)
        assert 1 <= steps <= most - done
        assert duration_s == pytest.approx(sum(singles[done : done + steps]), rel=1e-9, abs=1e-300)
        done += steps


@law
@given(step_times, batches, contexts, st.integers(1, 5_000), st.floats(-1.0, 1e5))
def test_a_span_ends_at_the_first_boundary_at_or_after(
    step_time: StepTime, batch: int, context: int, most: int, until_s: float
) -> None:
    """S(k) is at or after the moment and S(k - 1) is before it; where nothing reaches it, all steps are taken."""
    steps, duration_s = step_time.span(batch, context, most, until_s)
    lawful, lawful_s = step_time.span(batch, context, most, math.inf)
    assert duration_s == step_time.span(batch, context, steps, math.inf)[1]
    if lawful_s < until_s:
        assert (steps, duration_s) == (lawful, lawful_s)
    else:
        assert duration_s >= until_s
    if steps > 1:
        assert step_time.span(batch, context, steps - 1, math.inf)[1] < until_s


@law
@given(step_times.filter(lambda s: s != FixedStepTime(0.0, 0.0)), batches, contexts, st.integers(1, 5_000))
def test_a_boundary_at_the_very_moment_counts(step_time: StepTime, batch: int, context: int, k: int) -> None:
    """A tie goes to the boundary that falls on the moment; the next float asks for one step more."""
    k, boundary_s = step_time.span(batch, context, k, math.inf)
    if boundary_s == 0.0:
        return
    more = k + 5
    assert step_time.span(batch, context, more, boundary_s) == (k, boundary_s)
    lawful, _ = step_time.span(batch, context, more, math.inf)
    assert step_time.span(batch, context, more, math.nextafter(boundary_s, math.inf))[0] == min(k + 1, lawful)


@pytest.mark.parametrize(
    ("until_s", "steps"), [(-1.0, 1), (0.0, 1), (0.1, 1), (0.25, 1), (0.26, 2), (0.5, 2), (2.4, 10), (9.9, 10)]
)
def test_fixed_steps_until_a_moment(until_s: float, steps: int) -> None:
    """Steps of 250 ms, ten at most."""
    assert FixedStepTime(1.0, 0.25).span(3, 7, 10, until_s) == (steps, steps * 0.25)


def test_steps_that_cost_nothing() -> None:
    """They never reach a later moment, so all are taken; one reaches the present."""
    free = FixedStepTime(0.0, 0.0)
    assert free.span(1, 0, 10, math.inf) == (10, 0.0)
    assert free.span(1, 0, 10, 1e-9) == (10, 0.0)
    assert free.span(1, 0, 10, 0.0) == (1, 0.0)
    assert free.step([(100, 0)], 4, 100, 5) == 0.0


def test_a_span_stops_at_the_ridge() -> None:
    """The last step of the first span is bound by memory, the first of the next by arithmetic."""

    def arithmetic_s(context: int) -> float:
        flop = TOY.linear_flop_per_token + TOY.lm_head_flop + TOY.attention_flop(1, context)
        return flop / 1e6 + 1e-4

    context = 0
    assert RIDGE.step([], 1, context, 1) > arithmetic_s(context)
    steps, _ = RIDGE.span(1, context, 10_000, math.inf)
    assert 1 < steps < 10_000
    assert RIDGE.step([], 1, steps - 1, 1) >= arithmetic_s(steps - 1)
    assert RIDGE.step([], 1, steps, 1) == pytest.approx(arithmetic_s(steps), rel=1e-12)
    assert RIDGE.span(1, steps, 10_000, math.inf)[0] == 10_000  # beyond it one law holds


def test_a_search_among_a_billion_steps_is_not_a_walk() -> None:
    """The closed form lands beside the answer even where a step's growth vanishes beside its length."""
    slow = RooflineStepTime(TOY, flop_per_s=1e30, memory_bytes_per_s=1e25, overhead_s=1.0)
    begin = time.process_time()
    steps, duration_s = slow.span(1, 0, 10**9, 123_456_789.5)
    assert steps == 123_456_790
    assert duration_s >= 123_456_789.5
    assert time.process_time() - begin < 0.1


@law
@given(step_times, batches, contexts, st.integers(1, 50), st.floats(0.0, 10.0))
def test_arithmetic_is_plain_python(step_time: StepTime, batch: int, context: int, most: int, until_s: float) -> None:
    """No NumPy scalar leaks into a simulated time."""
    steps, duration_s = step_time.span(batch, context, most, until_s)
    assert (type(steps), type(duration_s)) == (int, float)
    assert type(step_time.step([(5, 3)], batch, context, batch)) is float


# -- step: what is paid for ---------------------------------------------------------------------------------------


def test_a_fixed_step_pays_prefill_tokens_and_one_decode() -> None:
    price = FixedStepTime(prefill_per_token_s=0.5, decode_step_s=2.0)
    assert price.step([(3, 100), (4, 0)], 0, 0, 2) == 3.5
    assert price.step([], 7, 9_999, 7) == 2.0
    assert price.step([(3, 100)], 7, 9_999, 7) == 3.5


def test_lm_head_is_paid_by_emitters_alone() -> None:
    """Where arithmetic binds, each emitter adds one row of the output matrix (semantics D1)."""
    bound = RooflineStepTime(TOY, flop_per_s=1e3, memory_bytes_per_s=1e12, overhead_s=0.0)
    none, one, two = (bound.step([(10, 0), (10, 0)], 0, 0, emitting) for emitting in (0, 1, 2))
    assert one - none == pytest.approx(TOY.lm_head_flop / 1e3)
    assert two - one == pytest.approx(TOY.lm_head_flop / 1e3)


def test_chunks_add_up_to_the_whole_prompt() -> None:
    """Cut anywhere, a prompt costs the same arithmetic; each cut streams the weights once more."""
    bound = RooflineStepTime(TOY, flop_per_s=1e3, memory_bytes_per_s=1e12, overhead_s=0.0)
    whole = bound.step([(50, 10)], 0, 0, 1)
    assert bound.step([(20, 10)], 0, 0, 0) + bound.step([(30, 30)], 0, 0, 1) == pytest.approx(whole)
    memory = RooflineStepTime(TOY, flop_per_s=1e12, memory_bytes_per_s=1e3, overhead_s=0.0)
    parts = memory.step([(20, 10)], 0, 0, 0) + memory.step([(30, 30)], 0, 0, 1)
    again = weights_read_s(1e3) + 30 * TOY.kv_bytes_per_token / 1e3  # the weights, and the KV of the first part
    assert parts == pytest.approx(memory.step([(50, 10)], 0, 0, 1) + again)


@law
@given(rooflines, st.lists(st.tuples(st.integers(1, 500), st.integers(0, 5_000)), max_size=4), batches, contexts)
def test_more_work_never_takes_less_time(
    step_time: RooflineStepTime, chunks: list[tuple[int, int]], decodes: int, context: int
) -> None:
    least = step_time.step(chunks, decodes, context, decodes)
    assert step_time.step([*chunks, (1, 0)], decodes, context, decodes) >= least
    assert step_time.step(chunks, decodes + 1, context, decodes + 1) >= least
    assert step_time.step(chunks, decodes, context + 1, decodes) >= least
    assert step_time.step(chunks, decodes, context, decodes + 1) >= least


def test_experts_stream_as_they_wake() -> None:
    """A decode of Qwen3-30B-A3B reads 8 experts a layer, a batch of 16 the 82 that wake on average, a prefill all."""
    shape = get("Qwen3-30B-A3B")
    memory = RooflineStepTime(shape, flop_per_s=1e30, memory_bytes_per_s=1e9, overhead_s=0.0)
    for batch, woken in ((1, 8.0), (16, 82.422511), (1 << 14, 128.0)):
        weights_s = (shape.streamed_weight_bytes() + woken * shape.expert_weight_bytes()) / 1e9
        kv_s = batch * shape.kv_bytes_per_token / 1e9
        assert memory.step([], batch, 0, batch) == pytest.approx(weights_s + kv_s, rel=1e-7)
        assert memory.span(batch, 0, 1, math.inf)[1] == pytest.approx(weights_s + kv_s, rel=1e-7)


# -- sanity against devices ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in PROFILES if name.startswith("analytic-")])
@pytest.mark.parametrize("model", ["Qwen2.5-3B", "Llama-3.1-8B"])
def test_a_token_needs_all_weights(name: str, model: str) -> None:
    """Decode alone is bound by memory: never faster than streaming the weights at the data sheet's bandwidth."""
    shape, profile = get(model), PROFILES.create(name)
    streamed_s = shape.weight_bytes(profile.weight_bits) / profile.peak_memory_bytes_per_s  # type: ignore[attr-defined]
    tpot_s = profile.step_time(shape).step([], 1, 1_000, 1)
    assert streamed_s < tpot_s < 3 * streamed_s
    batch_of_8_s = profile.step_time(shape).step([], 8, 8_000, 8)
    assert batch_of_8_s < 4 * tpot_s  # the weights are read once for all of them; a phone is bound by arithmetic


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        # fitted to 102 tokens/s on Qwen1.5-1.8B, see the next test; by matrix weights, 1.21e9 to 2.77e9: 45
        ("analytic-phone-npu", 42, 47),
        # 10 TFLOP/s FP16 at 40 % over 2 x 2.77e9 weights without embeddings: 721, less attention
        ("analytic-jetson-orin-nano", 640, 715),
    ],
)
@pytest.mark.parametrize("prompt", [256, 1_022, 4_096])
def test_edge_devices_prefill_what_is_said_of_them(name: str, low: float, high: float, prompt: int) -> None:
    """Tokens/s of Qwen2.5-3B."""
    step_s = PROFILES.create(name).step_time(get("Qwen2.5-3B")).step([(prompt, 0)], 0, 0, 1)
    assert low < prompt / step_s < high


def test_the_phone_reproduces_the_run_that_it_was_fitted_to() -> None:
    """102.256 tokens/s, 1,022 tokens, Qwen1.5-1.8B INT8, Snapdragon 8 Gen 3 (UbiquitousLearning/mllm issue 206)."""
    # https://huggingface.co/Qwen/Qwen1.5-1.8B, config.json
    measured_on = ModelShape(
        *("Qwen1.5-1.8B", 24, 2048, 16, 16, 128),
        intermediate=5504,
        vocab=151_936,
        qkv_bias=True,
    )
    step_s = PROFILES.create("analytic-phone-npu").step_time(measured_on).step([(1022, 0)], 0, 0, 1)
    assert 1022 / step_s == pytest.approx(102.256, rel=0.005)
