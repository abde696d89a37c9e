"""Every metric on a run that is small enough to work out by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simkv.errors import InvariantError
from simkv.metrics import (
    Observed,
    mean_ttft_of_common,
    net_efficiency,
    paired,
    replication_metrics,
    request_counts,
    spread,
    wasted_bytes,
)
from simkv.results import OUTCOMES
from tests.unit.synthetic_runs import request, run_of

#: Two sessions of two turns; the last never got its first token.
ROWS = [
    request(0, 0, 4.0, needed_units=1),
    request(0, 1, 1.0, needed_units=2, in_time_units=2, ready_at_arrival=True),
    request(1, 0, 2.0, needed_units=4, in_time_units=1, late_units=2, stall_s=1.5),
    request(1, 1, None),
]
UNITS = dict(zip(OUTCOMES, (3, 2, 1, 2, 1, 1, 0), strict=True))
BYTES = dict(zip(OUTCOMES, (30, 20, 10, 20, 5, 7, 0), strict=True))
GPU_S = dict(zip(OUTCOMES, (3.0, 2.0, 1.0, 2.0, 0.5, 0.25, 0.0), strict=True))


@pytest.fixture
def found() -> dict[str, float | None]:
    return replication_metrics(run_of(ROWS, speculative_units=UNITS, speculative_bytes=BYTES, speculative_gpu_s=GPU_S))


def test_times_are_those_of_finished_requests(found: dict[str, float | None]) -> None:
    """TTFT 4, 1 and 2 s; 2 s more to the last of 5 tokens, so 0.5 s a token."""
    assert found["ttft_s.mean"] == pytest.approx(7 / 3)
    assert found["ttft_s.p50"] == 2.0
    assert found["ttft_s.p90"] == pytest.approx(3.6)  # index 2 x 0.9 = 1.8: between 2 and 4
    assert found["ttft_s.p99"] == pytest.approx(3.96)
    assert found["ttft_s.sum"] == pytest.approx(7.0)
    assert found["tpot_s.mean"] == pytest.approx(0.5)
    assert found["e2e_s.mean"] == pytest.approx(7 / 3 + 2)
    assert found["stall_s.mean"] == pytest.approx(0.5)


def test_hit_ratios_count_queries(found: dict[str, float | None]) -> None:
    """Three queries needed units, two found some in time, one found all; a fourth needed none."""
    assert found["any_hit_ratio"] == pytest.approx(2 / 3)
    assert found["any_hit_ratio_all_queries"] == pytest.approx(2 / 4)
    assert found["complete_hit_ratio"] == pytest.approx(1 / 3)
    assert found["readiness"] == pytest.approx(1 / 4)


def test_first_turns_stand_apart(found: dict[str, float | None]) -> None:
    assert found["any_hit_ratio_first_turns"] == pytest.approx(1 / 2)
    assert found["any_hit_ratio_later_turns"] == 1.0
    assert found["ttft_s.first_turns"] == pytest.approx(3.0)
    assert found["ttft_s.later_turns"] == pytest.approx(1.0)


def test_coverage_accuracy_and_timeliness_are_three_numbers(found: dict[str, float | None]) -> None:
    """Seven units needed, three brought in time and two late; ten speculated, five of them used."""
    assert found["coverage"] == pytest.approx(5 / 7)
    assert found["accuracy"] == pytest.approx(5 / 10)
    assert found["timeliness"] == pytest.approx(3 / 5)


def test_waste_is_cancelled_evicted_and_never_used(found: dict[str, float | None]) -> None:
    assert found["wasted_bytes"] == 10 + 20 + 5
    assert found["wasted_gpu_s"] == pytest.approx(3.5)
    assert wasted_bytes(run_of(ROWS, speculative_bytes=BYTES)) == 35


def test_a_run_without_requests_has_no_number_but_zero_waste() -> None:
    found = replication_metrics(run_of([]))
    zeros = ("wasted_bytes", "link_bytes", "wasted_gpu_s", "extrapolated_time_ratio")
    assert {name for name, value in found.items() if value is not None} == set(zeros)


def test_an_answer_of_one_token_has_no_time_per_token() -> None:
    rows = [request(0, 0, 1.0, output_tokens=1), request(0, 1, 1.0, output_tokens=3)]
    assert replication_metrics(run_of(rows))["tpot_s.mean"] == pytest.approx(1.0)
    assert replication_metrics(run_of(rows[:1]))["tpot_s.mean"] is None


def test_times_may_be_absent_as_none_or_nan() -> None:
    row = request(1, 1, None)
    nan = row | {"scheduled_s": math.nan, "first_token_s": math.nan, "last_token_s": math.nan}
    assert replication_metrics(run_of([ROWS[0], row])) == replication_metrics(run_of([ROWS[0], nan]))


def test_every_request_is_counted() -> None:
    rows = [*ROWS, request(2, 0, None, status="rejected"), request(3, 0, None, status="timed_out")]
    wanted = {"finished": 6, "rejected": 2, "timed_out": 2, "unfinished": 2}
    assert request_counts([run_of(rows), run_of(rows)]) == wanted


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (request(0, 0), "a (session, turn) occurs twice"),
        (request(5, 0, status="lost"), "unknown request status 'lost'"),
        (request(5, 0, None, status="finished"), "a finished request has no first or last token time"),
    ],
)
def test_broken_records_are_refused(row: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvariantError, match="arm 'none', replication 0: ") as caught:
        Observed.of(run_of([*ROWS, row]))
    assert str(caught.value).endswith(problem)


@given(st.lists(st.floats(0.0, 1e6), min_size=1, max_size=50))
@settings(max_examples=100, deadline=None)
def test_percentiles_follow_the_stated_rule(values: list[float]) -> None:
    """Linear interpolation at index (n - 1) p / 100 of the sorted values, written out."""
    found = spread("x", np.array([*values, math.nan]))
    ordered = sorted(values)
    for p in (50, 90, 95, 99):
        index = (len(values) - 1) * p / 100
        below = math.floor(index)
        above = min(below + 1, len(values) - 1)
        wanted = ordered[below] + (index - below) * (ordered[above] - ordered[below])
        assert found[f"x.p{p}"] == pytest.approx(wanted, abs=1e-9)


def test_pairs_are_turns_that_finished_in_both() -> None:
    """Order of records does not matter; (1, 1) never finished in the baseline, (2, 0) never came there."""
    arm = [request(1, 1, 1.0), request(2, 0, 9.0), request(0, 1, 3.0), request(0, 0, 1.0)]
    baseline = [ROWS[3], ROWS[0], ROWS[1]]
    found = paired(Observed.of(run_of(arm)), Observed.of(run_of(baseline)))
    assert (found.pairs, found.unpaired) == (2, 2)
    assert found.saved_s == pytest.approx((4.0 - 1.0) + (1.0 - 3.0))
    assert found.arm["ttft_s.mean"] == pytest.approx(2.0)
    assert found.baseline["ttft_s.mean"] == pytest.approx(2.5)


def test_time_lost_stays_negative() -> None:
    slow, fast = Observed.of(run_of([request(0, 0, 5.0)])), Observed.of(run_of([request(0, 0, 2.0)]))
    assert paired(slow, fast).saved_s == pytest.approx(-3.0)
    assert paired(fast, fast).saved_s == 0.0


def test_no_pairs_no_difference() -> None:
    found = paired(Observed.of(run_of([request(0, 0)])), Observed.of(run_of([request(1, 0)])))
    assert (found.saved_s, found.pairs, found.unpaired) == (None, 0, 2)
    assert found.arm["ttft_s.mean"] is None


def test_arms_are_ranked_over_the_turns_they_share() -> None:
    """The first arm lost its slow turn and so looks fast; over the shared turn it is the slower one."""
    survivor = Observed.of(run_of([request(0, 0, 2.0), request(0, 1, None)]))
    complete = Observed.of(run_of([request(0, 0, 1.0), request(0, 1, 8.0)]))
    assert mean_ttft_of_common([survivor, complete]) == [2.0, 1.0]


def test_net_efficiency_needs_waste() -> None:
    assert net_efficiency(-12.0, 0.5, 3e6) == pytest.approx(-2.0)
    assert net_efficiency(12.0, 0.5, 0.0) is None
    assert net_efficiency(12.0, None, 3e6) is None
    assert net_efficiency(None, 0.5, 3e6) is None
