"""What bandwidth estimators make of transfers over a real link, constant, stepping and shared."""

from __future__ import annotations

import itertools
import math
import statistics

import pytest
from simpy import Environment

from simkv.errors import InputError
from simkv.network.capacity import Capacity, Constant, Replayed
from simkv.network.link import Link, Traffic
from simkv.network.transport import Ideal
from simkv.policies import ESTIMATORS
from simkv.policies.estimation import Estimator
from simkv.sensing import LinkSense

MB = 1_000_000
FAST, SLOW = 8e6, 2e6  # [bit/s] one MB takes 1 s, and 4 s
STEP_S = 100.0
CLOSE = {"rel": 1e-9, "abs": 0}
MEASURING = ("ewma", "harmonic-mean", "sliding-quantile")


def stepping() -> Capacity:
    """Return a link that is fast for 100 s and slow from then on."""
    return Replayed([0.0, STEP_S, 10_000.0], [FAST, SLOW, SLOW])


def estimates(
    name: str, capacity: Capacity, until_s: float, *, every_s: float = 5.0, sees_all: bool = True, **params: object
) -> list[tuple[float, float | None]]:
    """Send 1 MB every few seconds, two at once; return what is expected just before each, and at the end."""
    env = Environment()
    link = Link(env, "wan", capacity, 0.01, transport=Ideal())
    hears = ESTIMATORS.is_oracle(name) or getattr(ESTIMATORS.get(name), "hears_reports", False)
    sense = LinkSense(link, ESTIMATORS.create(name, params), hears_reports=hears, sees_all=sees_all)
    found: list[tuple[float, float | None]] = []

    def note() -> None:
        found.append((env.now, sense.view(0).rate_bps()))

    def sending():  # type: ignore[no-untyped-def]
        while env.now < until_s:
            note()
            link.send(MB // 2, Traffic.DEMAND, sense.arrived)
            link.send(MB // 2, Traffic.SPECULATIVE, sense.arrived)
            yield env.timeout(every_s)

    env.process(sending())
    env.run(until=until_s)
    note()
    return found


@pytest.mark.parametrize("name", [*MEASURING, "stale-report", "oracle"])
def test_a_constant_link_is_known_exactly(name: str) -> None:
    """A demand and a speculative transfer at once: who sends both knows that the link was full."""
    first, *rest = estimates(name, Constant(FAST), 60.0)
    assert first == (0.0, FAST if name == "oracle" else None)
    assert [rate for _, rate in rest] == pytest.approx([FAST] * len(rest), **CLOSE)


def test_who_sees_only_its_own_transfers_takes_its_share_for_the_link() -> None:
    """Demand takes half of the time of the speculative half megabyte: 1 s for 0.5 MB of it, 0.5 s for demand's."""
    *_, (_, rate) = estimates("harmonic-mean", Constant(FAST), 60.0, sees_all=False, window=2)
    assert rate == pytest.approx(2 / (1 / FAST + 2 / FAST), **CLOSE)


@pytest.mark.parametrize(
    ("name", "params", "measurements"),
    [("harmonic-mean", {"window": 4}, 4), ("sliding-quantile", {"window": 6, "quantile": 0.0}, 6)],
)
def test_a_step_is_forgotten_after_a_window(name: str, params: dict[str, object], measurements: int) -> None:
    """Two transfers each five seconds: fast before the step, slow when the window has passed, between meanwhile."""
    for at_s, rate in estimates(name, stepping(), 200.0, **params)[1:]:
        assert rate is not None
        if at_s <= STEP_S:
            assert rate == pytest.approx(FAST, **CLOSE)
        elif at_s >= STEP_S + 5.0 * measurements / 2:
            assert rate == pytest.approx(SLOW, **CLOSE)
        else:
            assert SLOW * (1 - 1e-9) <= rate < FAST


def test_ewma_halves_the_distance_every_half_life_of_measured_time() -> None:
    """A pair measures 0.5 + 1 s, after the step 2 + 4 s; the weights so far are 1 - 2^-5, then half-lives more."""
    found = dict(estimates("ewma", stepping(), 130.0, half_life_s=6.0))
    gaps = [(found[at_s] or 0.0) - SLOW for at_s in (100.0, 105.0, 110.0, 115.0)]
    weights = [1 - 0.5**half_lives for half_lives in (5, 6, 7, 8)]
    weighted = [gap * weight for gap, weight in zip(gaps, weights, strict=True)]
    assert [later / before for before, later in itertools.pairwise(weighted)] == pytest.approx([0.5] * 3, **CLOSE)


def test_the_harmonic_mean_is_bits_over_time_for_equal_sizes() -> None:
    estimator = ESTIMATORS.create("harmonic-mean", {"window": 3})
    for count, rate_bps in enumerate([1e6, 4e6, 9e6, 2e6, 5e6]):
        estimator.measured(rate_bps, 1.0, float(count))
    assert estimator.estimate_bps(5.0, None) == pytest.approx(statistics.harmonic_mean([9e6, 2e6, 5e6]), **CLOSE)


@pytest.mark.parametrize("quantile", [0.0, 0.25, 0.5, 0.9, 1.0])
def test_the_sliding_quantile_is_that_of_the_window(quantile: float) -> None:
    """Against definition 7 of Hyndman and Fan as the standard library has it; equal rates count each."""
    rates = [float(17 * number * number % 101) for number in range(60)]
    estimator = ESTIMATORS.create("sliding-quantile", {"window": 20, "quantile": quantile})
    for count, rate_bps in enumerate(rates):
        estimator.measured(rate_bps, 1.0, float(count))
        window = sorted(rates[max(0, count - 19) : count + 1])
        if len(window) > 1:
            cuts = [window[0], *statistics.quantiles(window, n=100, method="inclusive"), window[-1]]
            assert estimator.estimate_bps(0.0, None) == pytest.approx(cuts[round(100 * quantile)], rel=1e-9)


def test_a_report_is_as_old_as_its_period_and_delay_make_it() -> None:
    """Reports at 0, 10, 20, ... are heard 3 s later; the step at 100 s is reported at once and heard at 103 s."""
    found = estimates("stale-report", stepping(), 120.0, every_s=1.0, period_s=10.0, delay_s=3.0)
    known = dict(found)
    assert [known[at_s] for at_s in (0.0, 2.0)] == [None, None]
    assert {known[at_s] for at_s in range(3, 103)} == {FAST}
    assert {known[at_s] for at_s in range(103, 120)} == {SLOW}
    late = dict(
        estimates(
            "stale-report",
            Replayed([0.0, 101.0, 9e3], [FAST, SLOW, SLOW]),
            120.0,
            every_s=1.0,
            period_s=10.0,
            delay_s=3.0,
        )
    )
    assert {late[at_s] for at_s in range(103, 113)} == {FAST}  # the report of 100 s
    assert late[113.0] == SLOW


def test_reports_are_heard_on_time_whatever_their_period() -> None:
    """Rounding must not hide a report for a whole period."""
    for period_s in (0.1, 0.3, 0.7, 1 / 3):
        estimator: Estimator = ESTIMATORS.create("stale-report", {"period_s": period_s, "delay_s": 0.2})
        for number in range(500):
            asked: list[float] = []
            estimator.estimate_bps(number * period_s + 0.2, lambda at_s, asked=asked: asked.append(at_s) or 1.0)  # type: ignore[func-returns-value, misc]
            assert asked == [pytest.approx(number * period_s, abs=1e-9)]


def test_the_oracle_knows_this_moment_and_not_the_next() -> None:
    found = dict(estimates("oracle", stepping(), 110.0, every_s=1.0))
    assert (found[99.0], found[100.0], found[101.0]) == (FAST, SLOW, SLOW)


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("harmonic-mean", {"window": 0}, "window must be at least 1"),
        ("sliding-quantile", {"window": 0}, "window must be at least 1"),
        ("sliding-quantile", {"quantile": 1.1}, "quantile must be in"),
        ("stale-report", {"period_s": 0.0}, "period_s must be above 0"),
        ("stale-report", {"delay_s": math.inf}, "delay_s must be 0 or more"),
    ],
)
def test_bad_parameters_are_refused(name: str, params: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ESTIMATORS.create(name, params)
