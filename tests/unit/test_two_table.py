"""Prices by a Dynamo timing profile: as its mocker composes a pass, and summed in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simkv.compute.tables import Line
from simkv.compute.two_table import DecodeTable, TwoTableStepTime
from simkv.errors import InputError

law = settings(max_examples=300, deadline=None, derandomize=True)

ISL, TTFT_S = [16, 100, 1_000, 4_000], [0.01, 0.012, 0.05, 0.31]
KV, CONTEXT = [64, 500, 3_000, 20_000, 90_000], [64, 300, 2_000, 9_000]
ITL_S = [[0.006 + 1e-7 * kv + 2e-6 * ctx + 3e-12 * kv * ctx + 1e-4 * ((kv + ctx) % 7) for ctx in CONTEXT] for kv in KV]


def priced(strict: bool = False, least_s: float = 0.0) -> TwoTableStepTime:
    """Return the toy's prices, of decode passes all less `least_s`."""
    times_s = [[time_s - least_s for time_s in row] for row in ITL_S]
    return TwoTableStepTime(
        Line("prefill_pass", "new_tokens", zip(ISL, TTFT_S, strict=True)), DecodeTable(KV, CONTEXT, times_s), strict
    )


PRICES, SHORT = priced(), priced(least_s=0.007)


def bilinear(total: int, mean: int, least_s: float = 0.0) -> float:
    """Return a decode pass [s] as `ndarray_interp` extends and floors it, written with NumPy."""
    i = int(np.clip(np.searchsorted(KV, total, "right") - 1, 0, len(KV) - 2))
    j = int(np.clip(np.searchsorted(CONTEXT, mean, "right") - 1, 0, len(CONTEXT) - 2))
    x, y = (total - KV[i]) / (KV[i + 1] - KV[i]), (mean - CONTEXT[j]) / (CONTEXT[j + 1] - CONTEXT[j])
    cell = np.array(ITL_S)[i : i + 2, j : j + 2] - least_s
    return max(float(np.array([1 - x, x]) @ cell @ np.array([1 - y, y])), 1e-3)


def mocker(chunks: list[tuple[int, int]], contexts: list[int]) -> float:
    """Return the time [s] of a step as the mocker's scheduler adds it up, contexts told one by one."""
    prefill_s = 0.0
    if chunks:
        count = len(chunks)
        isl, prefix = sum(new + cached for new, cached in chunks) // count, sum(cached for _, cached in chunks) // count
        tokens = count * (isl - prefix)
        prefill_s = float(np.interp(tokens, ISL, TTFT_S)) if tokens else 0.0
        if tokens > ISL[-1] or 0 < tokens < ISL[0]:
            k = 0 if tokens < ISL[0] else len(ISL) - 2
            prefill_s = TTFT_S[k] + (tokens - ISL[k]) * (TTFT_S[k + 1] - TTFT_S[k]) / (ISL[k + 1] - ISL[k])
    lengths = [context + 1 for context in contexts]
    return prefill_s + (bilinear(sum(lengths), sum(lengths) // len(lengths)) if lengths else 0.0)


@law
@given(
    st.lists(st.tuples(st.integers(1, 900), st.integers(0, 3_000)), max_size=4),
    st.lists(st.integers(1, 4_000), max_size=30),
)
def test_a_step_costs_what_the_mocker_says(chunks: list[tuple[int, int]], contexts: list[int]) -> None:
    """Prefill pass plus decode pass, with its whole-number means; who emits besides pays nothing."""
    told = PRICES.step(chunks, len(contexts), sum(contexts), len(contexts) + len(chunks))
    assert told == pytest.approx(max(mocker(chunks, contexts), 0.0), rel=1e-12)
    assert told == PRICES.step(chunks, len(contexts), sum(contexts), len(contexts))


def test_a_recorded_replay() -> None:
    """Step ends [ms] that ai-dynamo-runtime 1.6.1 wrote for this profile, a budget of 2,048 tokens and four requests.

    Prompts of 1,000 and 700 tokens at 0 s, 12 tokens each; of 3,000 and 501 from 90 ms on, 6 tokens each: a prefill
    of two, a chunk beside two decodes, the rest of it and a prompt beside them, decodes of four, and of two again.
    """
    contexts = [1_000, 700]
    now_s = PRICES.step([(1_000, 0), (700, 0)], 0, 0, 2)
    ends = [now_s]
    for chunks in ([(2_046, 0)], [(954, 2_046), (501, 0)]):
        now_s += PRICES.step(chunks, 2, sum(contexts), 2)
        contexts = [context + 1 for context in contexts]
        ends.append(now_s)
    contexts += [3_000, 501]
    now_s += PRICES.span(4, sum(contexts), 5, math.inf)[1]
    ends.append(now_s)
    contexts = [context + 5 for context in contexts[:2]]
    now_s += PRICES.span(2, sum(contexts), 4, math.inf)[1]
    ends.append(now_s)
    recorded_ms = [110.666667, 259.412213, 356.853325, 403.882527, 436.327249]
    assert [1e3 * end_s for end_s in ends] == pytest.approx(recorded_ms, abs=12 * 1e-6)  # each pass ends on a whole ns


def test_exact_at_the_points() -> None:
    """One sequence of 300 tokens among tables: no grid has it in both, so a batch of 10 whose mean is 300."""
    assert PRICES.step([], 10, 3_000 - 10, 10) == ITL_S[2][1]
    assert PRICES.step([(1_000, 5_000)], 0, 0, 0) == TTFT_S[2]
    assert not PRICES.outside
    assert PRICES.step([], 0, 0, 0) == 0.0


@law
@given(st.integers(1, 60), st.integers(0, 120_000), st.integers(1, 500), st.sampled_from([0.0, 0.007]))
def test_a_span_is_the_sum_of_its_steps(batch: int, context: int, most: int, least_s: float) -> None:
    """Across all cells; where the floor is near it may stop early, and spans laid end to end cover the rest."""
    prices = SHORT if least_s else PRICES
    singles = [prices.step([], batch, context + i * batch, batch) for i in range(most)]
    assert singles == pytest.approx(
        [bilinear(context + (i + 1) * batch, (context + (i + 1) * batch) // batch, least_s) for i in range(most)]
    )
    done = 0
    while done < most:
        taken, duration_s = prices.span(batch, context + done * batch, most - done, math.inf)
        assert 1 <= taken <= most - done
        assert duration_s == pytest.approx(math.fsum(singles[done : done + taken]), rel=1e-12)
        if not least_s and context + most * batch <= 90_000 and context > 500:
            assert taken == most
        done += taken
    assert prices.span(batch, context, 1, math.inf) == (1, singles[0])


@law
@given(st.integers(1, 60), st.integers(0, 90_000), st.integers(1, 3_000), st.floats(-1.0, 60.0))
def test_a_span_ends_at_the_first_boundary(batch: int, context: int, most: int, until_s: float) -> None:
    """As every price list: at or after the moment, and the boundary before is too early."""
    lawful, lawful_s = PRICES.span(batch, context, most, math.inf)
    taken, duration_s = PRICES.span(batch, context, most, until_s)
    assert duration_s == PRICES.span(batch, context, taken, math.inf)[1]
    if lawful_s < until_s:
        assert (taken, duration_s) == (lawful, lawful_s)
    else:
        assert duration_s >= until_s
    if taken > 1:
        assert PRICES.span(batch, context, taken - 1, math.inf)[1] < until_s


def test_outside() -> None:
    """Each table's range is noted, in steps and in spans; strict prices refuse."""
    for step in (
        ([(15, 0)], 0, 0, 0),
        ([(5_000, 0)], 0, 0, 0),
        ([], 1, 9_000, 1),
        ([], 20, 90_000, 20),
        ([], 1, 62, 1),
    ):
        PRICES.step(*step)
        assert PRICES.outside, step
        with pytest.raises(InputError, match="is outside"):
            priced(strict=True).step(*step)
    PRICES.step([(500, 0)], 10, 2_990, 10)
    assert not PRICES.outside
    PRICES.span(10, 80_000, 900, math.inf)
    assert not PRICES.outside
    PRICES.span(10, 80_000, 1_001, math.inf)
    assert PRICES.outside
    with pytest.raises(InputError, match="decode_pass: kv_tokens 90010 is outside 640 to 90000"):
        priced(strict=True).span(10, 80_000, 1_001, math.inf)


def test_a_table_too_small() -> None:
    with pytest.raises(InputError, match="want at least two summed and two mean contexts"):
        DecodeTable([1], [1, 2], [[0.1, 0.2]])
