"""Prices by measured times: exact at the points, linear between, summed in closed form, honest about the outside."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simkv import model
from simkv.compute.decode_curve import DecodeCurve
from simkv.compute.measured import SKEW_STEPS, AllReduce, MeasuredStepTime
from simkv.compute.op_table import layer_tables
from simkv.errors import InputError
from simkv.profiling import open_profile
from tests.unit.measured_tables import DECODES, KV, MOE, SHAPE, Naive, batches, ops

law = settings(max_examples=150, deadline=None, derandomize=True)


def priced(experts: bool = False, skewed: bool = False, strict: bool = False, seed: int = 1) -> MeasuredStepTime:
    """Return a price list of toy tables."""
    tables = layer_tables(ops(seed, experts, skewed), skewed)
    return MeasuredStepTime(tables, MOE if experts else SHAPE, strict=strict)


PLAIN, EXPERTS, SKEWED = priced(), priced(experts=True), priced(skewed=True)
price_lists = st.sampled_from([PLAIN, EXPERTS, SKEWED])
sizes = st.integers(1, 80)
contexts = st.integers(0, 300_000)


# -- the decode curve -----------------------------------------------------------------------------------------------

curves = st.builds(
    lambda batch, fixed_s, bends: DecodeCurve(batch, fixed_s, bends.items()),
    st.integers(1, 20),
    st.sampled_from([0.0, 1e-3, 1.0]),
    st.dictionaries(st.integers(0, 400), st.floats(-0.1, 1.0), min_size=1, max_size=8),
)


@law
@given(curves, st.integers(0, 600), st.integers(1, 120), st.sampled_from([0.5, 1.0, 1.3]))
def test_a_span_is_the_sum_of_its_steps(curve: DecodeCurve, context: int, steps: int, factor: float) -> None:
    """Across all bends, to 1e-12, and none is negative."""
    singles = [curve.step(context + i * curve.batch, factor) for i in range(steps)]
    assert min(singles) >= 0.0
    taken, duration_s = curve.span(context, steps, math.inf, factor)
    assert taken == steps
    assert duration_s == pytest.approx(math.fsum(singles), rel=1e-12, abs=1e-12)


@law
@given(curves, st.integers(0, 600), st.sampled_from([0.5, 1.0, 1.3]))
def test_one_step_is_a_span_of_one(curve: DecodeCurve, context: int, factor: float) -> None:
    """To the last bit."""
    assert curve.span(context, 1, math.inf, factor) == (1, curve.step(context, factor))


@law
@given(curves, st.integers(0, 600), st.integers(1, 300), st.floats(-1.0, 60.0))
def test_a_span_ends_at_the_first_boundary(curve: DecodeCurve, context: int, most: int, until_s: float) -> None:
    """The boundary before is too early; where none is late enough all steps are taken."""
    steps, duration_s = curve.span(context, most, until_s)
    assert duration_s == curve.span(context, steps, math.inf)[1]
    if steps < most:
        assert duration_s >= until_s
    if steps > 1 and curve.span(context, steps - 1, math.inf)[1] >= until_s:
        raise AssertionError("an earlier boundary was late enough")


def test_a_curve_that_would_fall_below_zero() -> None:
    """Where the extension would, it is zero: before the first point, between and behind the last."""
    curve = DecodeCurve(1, 0.0, [(10, 1.0), (20, 3.0), (30, 1.0)])
    assert [curve.step(context) for context in (0, 5, 10, 35, 40)] == [0.0, 0.0, 1.0, 0.0, 0.0]
    assert curve.step(7) == pytest.approx(0.4)
    assert curve.span(0, 41, math.inf)[1] == pytest.approx(sum(curve.step(context) for context in range(41)))


def test_a_search_among_a_billion_steps_is_not_a_walk() -> None:
    flat = DecodeCurve(1, 1.0, [(0, 0.0), (10, 1e-9)])
    steps, duration_s = flat.span(0, 10**9, 123_456.5)
    assert duration_s >= 123_456.5 > flat.span(0, steps - 1, math.inf)[1]


# -- the price list --------------------------------------------------------------------------------------------------


@law
@given(price_lists, sizes, contexts, st.integers(1, 200), st.sampled_from([0, 1, 3]))
def test_spans_cross_bends(prices: MeasuredStepTime, batch: int, context: int, steps: int, skewed: int) -> None:
    """One call covers all steps; with the longest context told, r stays what it is at the start, for a few of them."""
    longest = skewed * (context // batch + 1)
    taken, duration_s = prices.span(batch, context, steps, math.inf, longest)
    assert taken == (min(steps, SKEW_STEPS) if longest and prices is SKEWED else steps)
    if not longest or prices is not SKEWED or batch < 2:
        singles = [prices.step([], batch, context + i * batch, batch) for i in range(taken)]
        assert duration_s == pytest.approx(math.fsum(singles), rel=1e-12)
    assert prices.span(batch, context, 1, math.inf, longest)[1] == prices.step([], batch, context, batch, longest)


@pytest.mark.parametrize("prices", [PLAIN, EXPERTS, SKEWED])
def test_exact_at_the_points(prices: MeasuredStepTime) -> None:
    """A batch of decodes at a measured KV costs what the naive sum of the tables says."""
    naive = Naive(ops(1, prices is EXPERTS, prices is SKEWED), MOE if prices is EXPERTS else SHAPE)
    for decodes in DECODES[1:]:
        for kv in KV:
            exact_s = naive.step([], [kv - 1] * decodes, decodes)
            assert prices.step([], decodes, decodes * (kv - 1), decodes) == pytest.approx(exact_s, rel=1e-14)
            assert not prices.outside


@pytest.mark.parametrize("prices", [PLAIN, EXPERTS, SKEWED])
def test_random_batches_cost_what_a_second_pricing_says(prices: MeasuredStepTime) -> None:
    """The formulas of the class, written again with dictionaries and NumPy."""
    naive = Naive(ops(1, prices is EXPERTS, prices is SKEWED), MOE if prices is EXPERTS else SHAPE)
    for chunks, decoding, emitting in batches(7, 300, 9_000):
        told = prices.step(chunks, len(decoding), sum(decoding), emitting, max(decoding, default=0))
        assert told == pytest.approx(naive.step(chunks, decoding, emitting), rel=1e-12)


@law
@given(st.integers(1, 63), st.integers(0, 400_000))
def test_more_work_never_takes_less_time(batch: int, context: int) -> None:
    """On tables without noise."""
    prices = SMOOTH
    assert prices.step([], batch, context, batch) <= prices.step([], batch, context + batch, batch)
    assert prices.step([], batch, context, batch) <= prices.step([], batch + 1, context + context // batch, batch + 1)
    assert prices.step([(64, 0)], batch, context, batch) <= prices.step([(64, 0)], batch, context, batch + 1)
    assert prices.step([(64, 0)], 0, 0, 0) <= prices.step([(65, 0)], 0, 0, 0)


def _smooth() -> list:  # type: ignore[type-arg]
    """Return the toy's tables with the least time of each operation growing by its place in order."""
    return [
        op._replace(rows=[(*row[:-1], 1e-5 + 1e-8 * row[0] + 1e-9 * math.prod(row[-3:-1] or (1,))) for row in op.rows])
        for op in ops()
    ]


SMOOTH = MeasuredStepTime(layer_tables(_smooth(), False), SHAPE)


def test_what_is_not_a_decode_alone() -> None:
    """No work costs nothing; chunks of no tokens are none; who emits pays for it."""
    assert PLAIN.step([], 0, 0, 0) == 0.0
    assert PLAIN.step([(0, 500)], 4, 4_000, 4) == PLAIN.step([], 4, 4_000, 4)
    naive = Naive(ops(), SHAPE)
    heads_s = sum(naive.line(name, 4) for name in ("lm_head", "sampler"))
    assert PLAIN.step([], 4, 4_000, 4) - PLAIN.step([], 4, 4_000, 0) == pytest.approx(heads_s)


def test_unequal_contexts_count_only_where_they_are_told() -> None:
    """Without the longest context, and for a single decode, the mean alone counts."""
    assert (PLAIN.wants_longest, SKEWED.wants_longest) == (False, True)
    assert SKEWED.step([], 16, 16_000, 16) == SKEWED.step([], 16, 16_000, 16, 1_000)
    assert SKEWED.step([], 16, 16_000, 16) < SKEWED.step([], 16, 16_000, 16, 2_000)
    assert SKEWED.step([], 1, 1_000, 1, 2_000) == SKEWED.step([], 1, 1_000, 1)
    assert SKEWED.step([(64, 0)], 16, 16_000, 16) < SKEWED.step([(64, 0)], 16, 16_000, 16, 2_000)
    assert PLAIN.step([], 16, 16_000, 16) == PLAIN.step([], 16, 16_000, 16, 2_000)


def test_tensor_parallelism_sums_twice_a_layer() -> None:
    """2 (n - 1) hops of 1/n of the bytes each: 4 tokens of 8 x 2 bytes among 2 GPUs are 32 bytes a hop."""
    link = AllReduce(2, bandwidth_bytes_per_s=1e6, latency_s=1e-4)
    two = MeasuredStepTime(layer_tables(ops(), False), SHAPE, link)
    added_s = two.step([], 4, 4_000, 4) - PLAIN.step([], 4, 4_000, 4)
    assert added_s == pytest.approx(SHAPE.layers * 2 * 2 * (1e-4 + 32 / 1e6))
    assert AllReduce(4, 1e9, 0.0).time_s(1e9) == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("chunks", "decodes", "kv", "says"),
    [
        ([], 4, 8_193, "attention: kv_decode 8193 is outside 16 to 8192"),
        ([], 4, 15, "attention: kv_decode 15 is outside 16 to 8192"),
        ([], 65, 100, "lm_head: sequences 65 is outside 1 to 64"),
        ([(3_000, 0)], 0, 0, "attention: prefill_chunk 3000 is outside 16 to 2048"),
        ([(15, 0)], 0, 0, "attention: prefill_chunk 15 is outside 16 to 2048"),
        ([(128, 5_000)], 0, 0, "attention: kv_prefill 5000 is outside 0 to 4096"),
        ([(128, 0)], 17, 100, "attention: n_decode 17 is outside 0 to 16"),
        ([(2_048, 0)], 1, 100, "tokens 2049 is outside 1 to 2048"),
    ],
)
def test_outside(chunks: list[tuple[int, int]], decodes: int, kv: int, says: str) -> None:
    """The answer is an extension, said so, and finite; a strict price list refuses and names the range."""
    context = decodes * (kv - 1)
    assert PLAIN.step(chunks, decodes, context, decodes) > 0
    assert PLAIN.outside
    PLAIN.step([(128, 64)], 4, 4 * 99, 4)
    assert not PLAIN.outside
    with pytest.raises(InputError, match=f"{says}, and the profile is strict$"):
        priced(strict=True).step(chunks, decodes, context, decodes)


def test_a_span_that_leaves_the_range_is_outside() -> None:
    """Its first step was inside."""
    assert PLAIN.span(4, 4 * 8_180, 3, math.inf)[0] == 3
    assert not PLAIN.outside
    PLAIN.span(4, 4 * 8_180, 30, math.inf)
    assert PLAIN.outside
    with pytest.raises(InputError, match="kv_decode 8210 is outside 16 to 8192"):
        priced(strict=True).span(4, 4 * 8_180, 30, math.inf)


def test_what_cannot_be_priced() -> None:
    """Operations without times, and experts of a model that has none."""
    with pytest.raises(InputError, match=r"^no times of o_proj, sampler$"):
        MeasuredStepTime(layer_tables([op for op in ops() if op.name not in ("o_proj", "sampler")], False), SHAPE)
    with pytest.raises(InputError, match=r"^no times of gate_up_proj, act_fn, down_proj$"):
        MeasuredStepTime(layer_tables([op for op in ops(experts=True) if op.name != "moe"], False), MOE)
    with pytest.raises(InputError, match="it has times of experts, and the model toy has none"):
        MeasuredStepTime(layer_tables(ops(experts=True), False), SHAPE)
    with pytest.raises(InputError, match=r"^no times of attention_equal, attention_unequal$"):
        layer_tables(ops(), True)


def test_experts_of_few_tokens_are_inside() -> None:
    """Three tokens wake more experts than the row of two was measured with, fewer than that of eight: inside."""
    EXPERTS.step([], 3, 3 * 99, 3)
    assert not EXPERTS.outside


# -- real tables -----------------------------------------------------------------------------------------------------

BUNDLES = [("rtx4090_llama-3.1-8b", 1), ("rtxpro6000_qwen3-32b", 1), ("rtxpro6000_qwen3-32b", 2)]


@pytest.mark.parametrize(("bundle", "tp"), BUNDLES)
def test_real_tables_price_random_batches_as_a_second_pricing_does(data: Path, bundle: str, tp: int) -> None:
    """LLMServingSim's tables of an RTX 4090 and of RTX PRO 6000s; the second pricing knows nothing of the first."""
    profile = open_profile(data / "gpu_profiles" / "llmservingsim" / bundle, tp)
    shape = model.get(profile.model_name)
    link = (16e9, 2e-5) if tp > 1 else (None, None)
    prices = profile.step_time(shape, *link)
    naive = Naive(profile.ops, shape)
    for chunks, contexts, emitting in batches(3, 60, 9_000):
        tokens = sum(new for new, _ in chunks) + len(contexts)
        summing_s = 0.0 if tp == 1 else 2 * 2 * (2e-5 + tokens * shape.hidden * 2 / 2 / 16e9)
        expected_s = naive.step(chunks, contexts, emitting) + shape.layers * summing_s
        told_s = prices.step(chunks, len(contexts), sum(contexts), emitting, max(contexts, default=0))
        assert told_s == pytest.approx(expected_s, rel=1e-12)


@pytest.mark.parametrize(("bundle", "tp"), BUNDLES)
def test_real_spans_are_sums_of_steps(data: Path, bundle: str, tp: int) -> None:
    profile = open_profile(data / "gpu_profiles" / "llmservingsim" / bundle, tp)
    prices = profile.step_time(model.get(profile.model_name), *((16e9, 2e-5) if tp > 1 else ()))
    for batch, context in ((1, 10), (7, 9_000), (100, 90_000), (256, 256 * 1_500)):
        singles = [prices.step([], batch, context + i * batch, batch) for i in range(900)]
        steps, duration_s = prices.span(batch, context, 900, math.inf)
        assert (steps, duration_s) == (900, pytest.approx(math.fsum(singles), rel=1e-12))
        until_s = duration_s / 3
        steps, duration_s = prices.span(batch, context, 900, until_s)
        assert math.fsum(singles[: steps - 1]) < until_s <= duration_s
