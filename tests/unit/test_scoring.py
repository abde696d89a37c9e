"""Scores of forecasts against numbers worked out by hand, and against their defining formulas."""

from __future__ import annotations

import math
from itertools import pairwise, product

import pytest

from simkv.crps import crps_quantiles, crps_sample
from simkv.errors import InputError
from simkv.rng import stream
from simkv.scoring import Bin, Scorer, Split

THIRD = 1 / 3
Pairs = list[tuple[dict[str, float], str]]


def scored(pairs: Pairs, candidates: int | None = None, floor: float = 1e-6) -> Scorer:
    """Return a scorer that was fed these forecasts and outcomes."""
    scorer = Scorer(floor)
    for forecast, asked in pairs:
        scorer.add(forecast, asked, candidates)
    return scorer


def drawn(count: int, key: str) -> Pairs:
    """Return forecasts over three items, in general position, and outcomes that follow them loosely."""
    draws = stream(1, "scoring", key)
    pairs: Pairs = []
    for _ in range(count):
        weights = [draws.random() for _ in "abcd"]  # the fourth is left open
        forecast = {item: weight / sum(weights) for item, weight in zip("abc", weights, strict=False)}
        pairs.append((forecast, draws.choices("abcd", weights)[0]))
    return pairs


HAND: Pairs = [({"a": 0.8, "b": 0.2}, "a"), ({"a": 0.8, "b": 0.2}, "b"), ({"a": 1.0}, "a"), ({"a": 0.5}, "c")]


def test_brier_by_hand() -> None:
    """0.04 + 0.04, 0.64 + 0.64, 0, and 0.25 + 1 for an item that was not named; over four queries."""
    assert scored(HAND).brier() == pytest.approx((0.08 + 1.28 + 0 + 1.25) / 4, abs=1e-15)


def test_log_score_by_hand() -> None:
    """-ln 0.8 - ln 0.2 - ln 1 - ln(floor), over four queries."""
    wanted = -(math.log(0.8) + math.log(0.2) + math.log(0.01)) / 4
    assert scored(HAND, floor=0.01).log_score() == pytest.approx(wanted, abs=1e-15)


def test_the_floor_of_the_log_score_is_one_in_a_million() -> None:
    """What was ruled out and happened costs 13.8 nats."""
    assert scored([({"a": 1.0}, "b")]).log_score() == pytest.approx(6 * math.log(10))


def test_top_by_hand() -> None:
    """First and third query have the most probable item, the second the next, the fourth none."""
    scorer = scored(HAND)
    assert [scorer.top(k) for k in (1, 2, 3)] == [0.5, 0.75, 0.75]


def test_equals_share_the_last_places() -> None:
    """One of four equally probable items is among the first k with probability k / 4, whatever their order."""
    scorer = scored([(dict.fromkeys("abcd", 0.25), "c")])
    assert [scorer.top(k) for k in (1, 3, 4, 5)] == [0.25, 0.75, 1.0, 1.0]
    behind = scored([({"a": 0.4, "b": 0.2, "c": 0.2}, "c")])
    assert [behind.top(k) for k in (1, 2, 3)] == [0.0, 0.5, 1.0]


def test_an_item_of_probability_0_is_not_among_the_first() -> None:
    """Naming something with 0 is not naming it."""
    assert scored([({"a": 1.0, "b": 0.0}, "b")]).top(3) == 0.0


def test_murphys_parts_by_hand() -> None:
    """Ten pairs at 0.8, six true; ten at 0.2, four true; mean frequency one half.

    Reliability: 2 x 10 x 0.2^2, resolution: 2 x 10 x 0.1^2, uncertainty: 20 x 0.25; over ten queries.
    """
    right, wrong = ({"a": 0.8, "b": 0.2}, "a"), ({"a": 0.8, "b": 0.2}, "b")
    scorer = scored([right] * 6 + [wrong] * 4)
    found = scorer.split()
    assert found == Split(*(pytest.approx(x, abs=1e-12) for x in (0.08, 0.02, 0.5, 0.0)))
    assert scorer.brier() == pytest.approx(0.6 * 0.08 + 0.4 * 1.28, abs=1e-15)
    assert scorer.reliability_curve() == [
        Bin(10, pytest.approx(0.2), pytest.approx(0.4)),
        Bin(10, pytest.approx(0.8), pytest.approx(0.6)),
    ]
    assert scorer.calibration_error() == pytest.approx(0.2)


def as_one(found: Split | None) -> float:
    """Return what the parts add up to."""
    assert found is not None
    return found.reliability - found.resolution + found.uncertainty + found.within_bins


@pytest.mark.parametrize("candidates", [None, 4, 50])
def test_murphys_identity_of_binned_forecasts(candidates: int | None) -> None:
    """Probabilities that are multiples of 1/10: three parts are the Brier score to 1e-12, nothing is lost in bins."""
    pairs = [({item: math.floor(10 * p) / 10 for item, p in f.items()}, asked) for f, asked in drawn(2000, "binned")]
    scorer = scored(pairs, candidates)
    found = scorer.split()
    assert found is not None
    assert found.within_bins == pytest.approx(0.0, abs=1e-12)
    assert found.reliability - found.resolution + found.uncertainty == pytest.approx(scorer.brier(), abs=1e-12)


@pytest.mark.parametrize("bins", [None, 1, 7, 10])
def test_murphys_identity_of_any_forecasts(bins: int | None) -> None:
    """With what is lost within bins, which is computed by itself, the parts are the Brier score to 1e-12."""
    scorer = scored(drawn(2000, "any"))
    assert as_one(scorer.split(bins)) == pytest.approx(scorer.brier(), abs=1e-12)


def test_the_whole_in_one_bin() -> None:
    """Then nothing is resolved, and reliability is the squared distance of two means, by the formula."""
    pairs = [({"d": 0.4} | {item: p / 2 for item, p in forecast.items()}, asked) for forecast, asked in drawn(500, "1")]
    found = scored(pairs).split(1)
    assert found is not None
    said = sum(p for forecast, _ in pairs for p in forecast.values()) / 2000
    assert found.reliability == pytest.approx(4 * (said - 0.25) ** 2, abs=1e-12)
    assert found.resolution == pytest.approx(0.0, abs=1e-12)
    assert found.uncertainty == pytest.approx(4 * 0.25 * 0.75)


def test_probability_0_is_a_bin_of_its_own() -> None:
    """However many candidates nobody spoke of, they do not dilute the bins of what was named."""
    pairs: Pairs = [({"a": 0.9}, "a")] * 9 + [({"a": 0.9}, "b")] + [({"a": 0.1}, "a")] + [({"a": 0.1}, "b")] * 9
    for bins in (None, 2):
        found = scored(pairs, candidates=1000).split(bins)
        assert found is not None
        assert found.within_bins == pytest.approx(0.0, abs=1e-12)
        assert found.reliability == pytest.approx((10 / 19_980) ** 2 * 19_980 / 20, abs=1e-12)


def test_candidates_add_to_uncertainty_and_resolution_alike() -> None:
    """Reliability, Brier score, log score and calibration do not depend on what nobody spoke of."""
    few, many = scored(HAND), scored(HAND, candidates=100)
    parts = few.split(), many.split()
    assert parts[0] is not None
    assert parts[1] is not None
    assert many.brier() == few.brier()
    assert many.log_score() == few.log_score()
    assert many.calibration_error() == few.calibration_error()
    gain = parts[1].uncertainty - parts[0].uncertainty
    rest = (parts[1].resolution - parts[0].resolution) - (parts[1].reliability - parts[0].reliability)
    assert gain > 0.1
    assert rest == pytest.approx(gain, abs=1e-12)


def test_bins_have_equal_mass_and_keep_equals_together() -> None:
    """1,000 different forecasts in ten bins of 100; a probability that half of all share is one bin."""
    draws = stream(1, "mass")
    scorer = scored([({"a": draws.random()}, "a") for _ in range(1000)])
    assert [found.count for found in scorer.reliability_curve(10)] == [100] * 10
    lumps = scored([({"a": 0.5}, "a")] * 50 + [({"a": 0.6 + n / 1000}, "a") for n in range(50)])
    assert [found.count for found in lumps.reliability_curve(4)] == [50, 25, 25]


def test_a_calibrated_source_has_a_small_error() -> None:
    """Outcomes drawn with the forecast probabilities: bins of 2,000 are off by their standard error, 0.01."""
    scorer = scored(drawn(20_000, "calibrated"))
    error = scorer.calibration_error()
    assert error is not None
    assert error < 0.02
    for found in scorer.reliability_curve():
        spread = math.sqrt(found.forecast * (1 - found.forecast) / found.count)
        assert found.frequency == pytest.approx(found.forecast, abs=4 * spread)


def test_calibration_error_by_the_formula() -> None:
    """Forecasts sorted and cut into ten parts, as the definition says."""
    pairs = drawn(400, "formula")
    flat = sorted((p, item == asked) for forecast, asked in pairs for item, p in forecast.items())
    parts = [flat[120 * n : 120 * (n + 1)] for n in range(10)]
    wanted = sum(abs(sum(p for p, _ in part) - sum(y for _, y in part)) for part in parts) / len(flat)
    assert scored(pairs).calibration_error(10) == pytest.approx(wanted, abs=1e-12)


# -- properness: nobody gains by saying anything but the truth --------------------------------------

GRID = [(a / 10, b / 10, (10 - a - b) / 10) for a, b in product(range(11), repeat=2) if a + b <= 10]


def expected(truth: tuple[float, ...], said: tuple[float, ...], score: str) -> float:
    """Return the mean score of a forecast over all outcomes, exactly."""
    forecast = dict(zip("abc", said, strict=True))
    values = [getattr(scored([(forecast, item)]), score)() for item in "abc"]
    return math.fsum(p * value for p, value in zip(truth, values, strict=True))


@pytest.mark.parametrize("score", ["brier", "log_score"])
@pytest.mark.parametrize("truth", [(0.7, 0.2, 0.1), (THIRD, THIRD, THIRD), (0.5, 0.5, 0.0), (1.0, 0.0, 0.0)])
def test_no_forecast_beats_the_truth(score: str, truth: tuple[float, ...]) -> None:
    """Over all forecasts of a grid, the expected score is least for the true probabilities, and for them alone."""
    best = expected(truth, truth, score)
    others = {said: expected(truth, said, score) for said in GRID if said != truth}
    assert min(others.values()) > best + 1e-6


def test_leaving_something_open_does_not_pay() -> None:
    """Naming less than one believes costs: an item that is not named counts as one of probability 0."""
    truth = (0.7, 0.2, 0.1)
    assert expected(truth, (0.7, 0.2, 0.0), "brier") > expected(truth, truth, "brier")
    assert expected(truth, (0.0, 0.0, 0.0), "brier") == pytest.approx(1.0)


def test_crps_is_proper() -> None:
    """Of forecasts of three times with weights in quarters, none beats the true one in expectation."""
    times = (1.0, 2.0, 5.0)
    forecasts = [
        [time for time, count in zip(times, counts, strict=True) for _ in range(count)]
        for counts in product(range(5), repeat=3)
        if sum(counts) == 4
    ]
    for truth in forecasts:
        own = sum(crps_sample(truth, time) for time in truth) / 4
        others = [sum(crps_sample(said, time) for time in truth) / 4 for said in forecasts if said != truth]
        assert min(others) > own + 1e-9


# -- forecasts of time -----------------------------------------------------------------------------


def crps_by_definition(sample: list[float], observed: float) -> float:
    """Return E|X - y| - E|X - X'| / 2, over all pairs."""
    n = len(sample)
    return sum(abs(x - observed) for x in sample) / n - sum(abs(x - z) for x in sample for z in sample) / (2 * n * n)


def test_crps_of_a_sample_by_hand() -> None:
    """Of {0, 2}: at 1 the integral is 2 x 0.25; at 3 it is 0.25 x 2 + 1."""
    assert crps_sample([0.0, 2.0], 1.0) == 0.5
    assert crps_sample([2.0, 0.0], 3.0) == 1.5
    assert crps_sample([4.0], 1.5) == 2.5


def test_crps_of_a_sample_by_definition() -> None:
    """Quadratic formula and sorted one agree, with values that occur more than once."""
    draws = stream(1, "crps")
    sample = [round(draws.expovariate(0.1), 0) for _ in range(60)]
    for observed in (-1.0, 0.0, 5.5, 9.0, 100.0):
        assert crps_sample(sample, observed) == pytest.approx(crps_by_definition(sample, observed), abs=1e-12)


def test_crps_of_an_exponential() -> None:
    """Of the exponential distribution with mean 1: y + 2 e^-y - 3/2; its quantiles come close."""
    n = 4000
    quantiles = {(i + 0.5) / n: -math.log1p(-(i + 0.5) / n) for i in range(n)}
    for observed in (0.0, 0.5, 3.0):
        wanted = observed + 2 * math.exp(-observed) - 1.5
        assert crps_quantiles(quantiles, observed) == pytest.approx(wanted, abs=1e-3)


def test_quantiles_are_twice_the_mean_pinball_loss() -> None:
    """At levels (i - 1/2) / n they are a sample, and both are 2 / n x the sum of pinball losses."""
    draws = stream(1, "pinball")
    values = sorted(draws.expovariate(1.0) for _ in range(20))
    quantiles = {(i + 0.5) / 20: value for i, value in enumerate(values)}
    for observed in (0.0, 0.7, 4.0):
        losses = [(observed - q) * (level - (observed < q)) for level, q in quantiles.items()]
        assert crps_quantiles(quantiles, observed) == pytest.approx(2 * sum(losses) / 20, abs=1e-12)
        assert crps_quantiles(quantiles, observed) == pytest.approx(crps_sample(values, observed), abs=1e-12)


def test_quantiles_stand_for_the_levels_nearest_to_them() -> None:
    """Levels 0.1, 0.5, 0.9 weigh 0.3, 0.4, 0.3."""
    steps = [1.0] * 3 + [2.0] * 4 + [6.0] * 3
    assert crps_quantiles({0.9: 6.0, 0.1: 1.0, 0.5: 2.0}, 2.5) == pytest.approx(crps_sample(steps, 2.5), abs=1e-12)


# -- input ------------------------------------------------------------------------------------------


def test_before_the_first_query_there_is_no_score() -> None:
    """Not 0, which would be the best."""
    scorer = Scorer()
    assert (scorer.brier(), scorer.log_score(), scorer.top(1), scorer.split()) == (None, None, None, None)
    assert (scorer.calibration_error(), scorer.reliability_curve()) == (None, [])


def test_order_does_not_matter() -> None:
    """Scores are means."""
    pairs = drawn(100, "order")
    there, back = scored(pairs), scored(pairs[::-1])
    for value in (Scorer.brier, Scorer.log_score, Scorer.calibration_error):
        assert value(there) == pytest.approx(value(back), abs=1e-12)
    assert all(low >= high for high, low in pairwise([there.top(k) or 0.0 for k in range(4)]))


@pytest.mark.parametrize("forecast", [{"a": 1.1}, {"a": -0.1}, {"a": math.nan}, {"a": 0.6, "b": 0.6}])
def test_what_are_no_probabilities(forecast: dict[str, float]) -> None:
    """The message shows the forecast."""
    with pytest.raises(InputError, match=r"want probabilities with a sum of at most 1, got \{'a'"):
        Scorer().add(forecast, "a")


def test_what_cannot_be() -> None:
    """Too few candidates, no floor, no bins, no sample, crossing quantiles."""
    with pytest.raises(InputError, match="want at least the 2 items named and asked for, got 1"):
        Scorer().add({"a": 1.0}, "b", candidates=1)
    with pytest.raises(InputError, match="floor of the log score"):
        Scorer(0.0)
    with pytest.raises(InputError, match="bins: want at least 1, got 0"):
        scored(HAND).split(0)
    with pytest.raises(InputError, match="at least one value"):
        crps_sample([], 1.0)
    with pytest.raises(InputError, match="levels between 0 and 1"):
        crps_quantiles({1.0: 1.0}, 1.0)
    with pytest.raises(InputError, match="do not fall"):
        crps_quantiles({0.1: 2.0, 0.9: 1.0}, 1.0)
