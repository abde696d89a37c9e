"""Timing predictors against sources whose truth is known: log-normal gaps, a tool's and a human's."""

from __future__ import annotations

import itertools
import math
import statistics
from pathlib import Path

import pytest

from simkv.crps import crps_gap, crps_sample
from simkv.errors import InputError
from simkv.predictors.gap import Gap
from simkv.predictors.timing import TIMING, TimingPredictor, TimingView
from simkv.predictors.timing.distributions import Binned, Certain, LogNormal, Memoryless, Sampled, bin_of, unknown
from simkv.predictors.timing.semi_markov import SemiMarkov
from simkv.request import GapKind
from simkv.rng import stream
from simkv.workload import open_trace

TOOL, HUMAN = (11.1, 1.08), (142.0, 1.82)  # median [s] and sigma, docs/data.md


def drawn(median_s: float, sigma: float, count: int, purpose: str) -> list[float]:
    """Return log-normal gaps [s]."""
    draws = stream(1, purpose)
    return [median_s * math.exp(sigma * draws.gauss(0, 1)) for _ in range(count)]


def learnt(name: str, kind: GapKind, gaps_s: list[float], move: int | None = None) -> TimingPredictor:
    predictor = TIMING.create(name)
    for gap_s in gaps_s:
        predictor.observe(TimingView(0, kind, move), gap_s)
    return predictor


def distance(one: Gap, other: Gap) -> float:
    """Return the greatest difference of two cdfs (Kolmogorov), on a fine grid."""
    times = [10 ** (step / 50) for step in range(-150, 300)]
    return max(abs(one.cdf(t_s) - other.cdf(t_s)) for t_s in times)


# -- the distributions -----------------------------------------------------------------------------

HISTOGRAM = [float((index * 7919) % 13) if 30 < index < 120 else 0.0 for index in range(201)]
SHAPES = [
    Memoryless(7.0),
    LogNormal(10.0, 1.2),
    LogNormal(10.0, 1.2, elapsed_s=25.0),
    Binned(HISTOGRAM),
    Binned(HISTOGRAM, elapsed_s=2.5),
    Sampled([0.5, 1.0, 4.0, 4.0, 90.0]),
    Sampled([0.5, 1.0, 4.0, 4.0, 90.0], elapsed_s=0.75),
    unknown(30.0),
]


@pytest.mark.parametrize("gap", SHAPES, ids=[f"{type(gap).__name__}-{i}" for i, gap in enumerate(SHAPES)])
def test_the_mean_is_the_mean_of_the_quantiles(gap: Gap) -> None:
    """E = integral over q of the quantile: by the midpoint rule in u, q = 1 - exp(-u), for the long tails."""
    steps, width = 40_000, 36 / 40_000
    total = 0.0
    for step in range(steps):
        u = (step + 0.5) * width
        total += gap.quantile(-math.expm1(-u)) * math.exp(-u) * width
    assert gap.mean_s == pytest.approx(total, rel=2e-3)


@pytest.mark.parametrize("make", [lambda t: LogNormal(9.0, 1.1, t), lambda t: Binned(HISTOGRAM, t), unknown])
@pytest.mark.parametrize("elapsed_s", [0.02, 3.0, 40.0])
def test_what_has_passed_conditions_what_is_left(make: type[Gap], elapsed_s: float) -> None:
    """P(T <= e + t | T > e) = (F(e + t) - F(e)) / (1 - F(e)), from the unconditional answer."""
    whole, rest = make(0.0), make(elapsed_s)  # type: ignore[call-arg]
    survived = 1 - whole.cdf(elapsed_s)
    for t_s in (0.001, 0.3, 2.0, 17.0, 300.0):
        expected = (whole.cdf(elapsed_s + t_s) - whole.cdf(elapsed_s)) / survived
        assert rest.cdf(t_s) == pytest.approx(expected, abs=1e-9)


def test_only_the_exponential_forgets_what_has_passed() -> None:
    assert learnt("exponential", "tool", [5.0, 15.0]).predict(TimingView(0, "tool", elapsed_s=99.0)).mean_s == 10.0
    heavy = LogNormal(10.0, 1.5)
    assert LogNormal(10.0, 1.5, elapsed_s=100.0).mean_s > heavy.mean_s  # the longer it lasts, the longer it will


def test_far_out_in_a_tail_numbers_stay_numbers() -> None:
    for elapsed_s in (1e6, 1e12, 1e200):
        rest = LogNormal(1.0, 0.1, elapsed_s)
        assert 0 < rest.mean_s < elapsed_s
        assert 0 <= rest.quantile(0.5) < math.inf
    assert Binned([1.0] * 201, 1e15).mean_s >= 0.0
    assert (bin_of(0.0), bin_of(0.0009), bin_of(0.001)) == (0, 0, 1)


# -- scores ----------------------------------------------------------------------------------------


def test_nobody_scores_better_than_the_truth() -> None:
    """CRPS is proper: on 1,500 log-normal gaps every other log-normal loses, by a paired 99.9 % interval."""
    gaps = drawn(*TOOL, 1500, "proper")
    truth = [crps_gap(LogNormal(*TOOL), gap_s, levels=50) for gap_s in gaps]
    for median, sigma in ((1.4, 1.0), (0.7, 1.0), (1.0, 1.6), (1.0, 0.5)):
        other = LogNormal(TOOL[0] * median, TOOL[1] * sigma)
        worse = [crps_gap(other, gap_s, levels=50) - score for gap_s, score in zip(gaps, truth, strict=True)]
        assert statistics.fmean(worse) > 3.3 * statistics.stdev(worse) / math.sqrt(len(worse)), (median, sigma)


@pytest.mark.parametrize("observed_s", [0.5, 7.0, 30.0])
def test_the_score_of_an_exponential_is_its_closed_form(observed_s: float) -> None:
    """y - 2 m (1 - exp(-y / m)) + m / 2, to 1 % of the mean."""
    mean_s = 7.0
    expected = observed_s + 2 * mean_s * math.expm1(-observed_s / mean_s) + mean_s / 2
    assert crps_gap(Memoryless(mean_s), observed_s) == pytest.approx(expected, abs=0.01 * mean_s)


def test_the_score_of_a_sample_is_that_of_its_distribution() -> None:
    sample = sorted(drawn(*TOOL, 50, "sample"))
    for observed_s in (0.5, 12.0, 400.0):
        assert crps_gap(Sampled(sample), observed_s, levels=50) == pytest.approx(crps_sample(sample, observed_s))
    assert crps_gap(Certain(4.0), 1.5) == 2.5
    with pytest.raises(InputError, match="levels: want at least 1, got 0"):
        crps_gap(Certain(4.0), 1.5, levels=0)


# -- what is learnt --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["semi-markov", "empirical"])
@pytest.mark.parametrize(("kind", "source"), [("tool", TOOL), ("human", HUMAN)])
def test_gaps_of_a_kind_are_learnt_whatever_the_other_does(
    name: str, kind: GapKind, source: tuple[float, float]
) -> None:
    """After 2,000 gaps of each kind: nearer to the truth than the 99.9 % bound of Kolmogorov, 1.95 / sqrt(n).

    And a bin's width more, in which nothing is told apart: 12 % of the gap, at the density of its mode.
    """
    predictor, count = TIMING.create(name), 2000
    gaps = zip(drawn(*TOOL, count, "tool"), drawn(*HUMAN, count, "human"), strict=True)
    for tool_s, human_s in gaps:
        predictor.observe(TimingView(0, "tool"), tool_s)
        predictor.observe(TimingView(1, "human"), human_s)
    bound = 1.95 / math.sqrt(count) + 0.115 / source[1] / math.sqrt(2 * math.pi) / 2
    assert distance(predictor.predict(TimingView(2, kind)), LogNormal(*source)) < bound
    rest = predictor.predict(TimingView(2, kind, elapsed_s=source[0]))
    assert rest.quantile(0.5) == pytest.approx(LogNormal(*source, elapsed_s=source[0]).quantile(0.5), rel=0.15)


@pytest.mark.parametrize("name", ["semi-markov", "empirical", "exponential"])
def test_tool_and_human_are_never_pooled(name: str) -> None:
    """What humans do changes nothing that is said of tools, to the last digit."""
    alone = learnt(name, "tool", [3.0, 5.0, 8.0], move=1)
    both = learnt(name, "tool", [3.0, 5.0, 8.0], move=1)
    for gap_s in (100.0, 2000.0, 0.1):
        both.observe(TimingView(7, "human", 1), gap_s)
    for move in (None, 1, 3):
        view = TimingView(1, "tool", move)
        said = [
            (gap.mean_s, *map(gap.quantile, (0.1, 0.5, 0.9)), *map(gap.cdf, (1.0, 10.0)))
            for gap in (alone.predict(view), both.predict(view))
        ]
        assert said[0] == said[1]


def test_states_are_told_apart_and_helped_by_their_kind() -> None:
    """A step on is followed by short gaps, a step back by long ones; a state never seen is its kind."""
    predictor = SemiMarkov(back_off=10.0)
    for short_s, long_s in zip(drawn(2.0, 0.5, 400, "short"), drawn(200.0, 0.5, 400, "long"), strict=True):
        predictor.observe(TimingView(0, "tool", 1), short_s)
        predictor.observe(TimingView(0, "tool", -3), long_s)
    on, back, never, unknown_move = (predictor.predict(TimingView(0, "tool", move)) for move in (1, -1, 5, None))
    assert on.quantile(0.5) == pytest.approx(2.0, rel=0.15)
    assert back.quantile(0.5) == pytest.approx(200.0, rel=0.15)
    assert never.cdf(20.0) == unknown_move.cdf(20.0) == pytest.approx(0.5, abs=0.01)
    # 10 gaps' worth of the kind beside 400 of the state: half of 10 / 410 lies with the others
    assert 1 - on.cdf(20.0) == pytest.approx(0.5 * 10 / 410, rel=0.1)


def test_the_exponential_learns_its_mean() -> None:
    predictor = learnt("exponential", "tool", [4.0, 8.0, 12.0])
    gap = predictor.predict(TimingView(0, "tool"))
    assert gap.mean_s == 8.0
    assert gap.cdf(8.0) == pytest.approx(1 - math.exp(-1))
    assert gap.quantile(0.5) == pytest.approx(8.0 * math.log(2))


def test_the_empirical_forgets_the_oldest() -> None:
    predictor = TIMING.create("empirical", {"most": 3})
    for gap_s in (50.0, 1.0, 1.0, 2.0):
        predictor.observe(TimingView(0, "tool"), gap_s)
    gap = predictor.predict(TimingView(0, "tool"))
    assert (gap.quantile(1.0), gap.cdf(1.0), gap.mean_s) == (2.0, pytest.approx(2 / 3), pytest.approx(4 / 3))


@pytest.mark.parametrize("name", ["semi-markov", "empirical", "exponential"])
def test_who_has_seen_nothing_says_so(name: str) -> None:
    said = TIMING.create(name).predict(TimingView(0, "tool"))
    assert distance(said, unknown(0.0)) < 1e-12
    assert said.quantile(0.9) / said.quantile(0.1) > 1e6


# -- oracles ---------------------------------------------------------------------------------------


def test_the_oracle_knows_what_is_left() -> None:
    said = TIMING.create("oracle").predict(TimingView(0, "tool", elapsed_s=3.0, true_gap_s=10.0))
    assert (said.mean_s, said.quantile(0.01), said.cdf(6.999), said.cdf(7.0)) == (7.0, 7.0, 0.0, 1.0)
    with pytest.raises(ValueError, match="the oracle was asked without the future"):
        TIMING.create("oracle").predict(TimingView(0, "tool"))


@pytest.mark.parametrize("sigma", [0.1, 0.5, 1.5])
def test_lead_times_err_as_dialled_and_are_honest(sigma: float) -> None:
    """The error's sigma within the 99.9 % interval; true gaps fall evenly over the quantiles."""
    predictor, count = TIMING.create("lead-time", {"sigma": sigma}), 3000
    errors, places = [], [0] * 10
    for number, gap_s in enumerate(drawn(*HUMAN, count, "lead")):
        view = TimingView(number % 50, "human", true_gap_s=gap_s)
        said = predictor.predict(view)
        errors.append(math.log(said.quantile(0.5) / gap_s))
        places[min(9, int(said.cdf(gap_s) * 10))] += 1
        predictor.observe(view, gap_s)
    assert statistics.stdev(errors) == pytest.approx(sigma, rel=3.3 / math.sqrt(2 * count))
    assert statistics.fmean(errors) == pytest.approx(0, abs=3.3 * sigma / math.sqrt(count))
    surprise = sum((found - count / 10) ** 2 / (count / 10) for found in places)
    assert surprise < 27.9  # chi-squared, 9 degrees of freedom, 99.9 %


def test_a_larger_sigma_stretches_the_same_errors() -> None:
    view = TimingView(4, "tool", true_gap_s=20.0)
    small, large = (
        math.log(TIMING.create("lead-time", {"sigma": sigma}).predict(view).quantile(0.5) / 20) for sigma in (0.1, 0.4)
    )
    assert large == pytest.approx(4 * small)
    assert TIMING.create("lead-time", {"sigma": 0.0}).predict(view).mean_s == 20.0


# -- recorded gaps ---------------------------------------------------------------------------------


def test_on_recorded_gaps_who_keeps_the_shape_scores_better(data: Path) -> None:
    """Claude Code, 120 sessions, prequentially: a histogram foretells gaps better than an exponential does."""
    scores: dict[str, list[float]] = {name: [] for name in ("semi-markov", "empirical", "exponential")}
    predictors = {name: TIMING.create(name) for name in scores}
    trace = open_trace(data / "claude_code_traces" / "sessions_shared.jsonl.xz", max_input_tokens=200_000)
    for number, session in enumerate(itertools.islice(trace.sessions(), 120)):
        for turn in session.turns[1:]:
            view = TimingView(number, turn.gap_kind)
            for name, predictor in predictors.items():
                if number >= 60:
                    scores[name].append(crps_gap(predictor.predict(view), turn.think_s, levels=20))
                predictor.observe(view, turn.think_s)
    mean_s = {name: statistics.fmean(values) for name, values in scores.items()}
    assert mean_s["semi-markov"] < 0.9 * mean_s["exponential"]
    assert mean_s["semi-markov"] == pytest.approx(mean_s["empirical"], rel=0.05)
