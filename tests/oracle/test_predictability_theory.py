"""What a source of known probabilities yields, the analysis finds: accuracy, Brier score, entropy, CRPS."""

from __future__ import annotations

import math
import random
from collections import Counter
from pathlib import Path
from statistics import NormalDist

import pytest

from simkv.dialogues import About, Dialogue, DialogueSet, Query
from simkv.predictability.follow import Asked
from simkv.predictability.gaps import gaps
from simkv.predictability.next_item import fitting, next_item, shuffled
from simkv.predictability.prequential import prequential, two_fold
from simkv.predictors.markov import Markov
from simkv.rng import stream
from simkv.scoring import Scorer
from simkv.statistics import Estimate, mean_interval

CERTAIN = 0.999
REPLICATIONS = 10
DIALOGUES, TURNS = 150, 20

#: Doubly stochastic, so that every state is as frequent as any other, and popularity knows nothing.
CHAIN = ((0.6, 0.3, 0.1, 0.0), (0.0, 0.6, 0.3, 0.1), (0.1, 0.0, 0.6, 0.3), (0.3, 0.1, 0.0, 0.6))


def walks(draws: random.Random) -> list[Asked]:
    """Return dialogues from the chain, each begun in its stationary distribution."""
    made = []
    for _ in range(DIALOGUES):
        states = [draws.randrange(4)]
        while len(states) < TURNS:
            states.append(draws.choices(range(4), CHAIN[states[-1]])[0])
        made.append(Asked(tuple(states), chunks=0))
    return made


def halves(sequences: list[Asked]) -> list[int]:
    return [index % 2 for index in range(len(sequences))]


def replicated(measure: str) -> Estimate:
    """Return one score of the two-fold bigram over replications of the chain."""
    values = []
    for replication in range(REPLICATIONS):
        sequences = walks(stream(11, replication))
        scorer = two_fold(sequences, halves(sequences), {"bigram": Markov(1)}, "names", Scorer)["bigram"].whole()
        values.append(scorer.top(1) if measure == "top" else getattr(scorer, measure)())
    return mean_interval(values, CERTAIN)


def inside(value: float, estimate: Estimate) -> bool:
    assert estimate.low is not None
    assert estimate.high is not None
    return estimate.low <= value <= estimate.high


def test_bigram_of_a_markov_source_is_right_as_often_as_the_source_allows() -> None:
    """Who knows the chain names the likeliest next state, 0.6 in every state."""
    assert inside(0.6, replicated("top"))


def test_brier_score_of_a_markov_source_is_its_gini_impurity() -> None:
    """1 - sum of p^2 = 1 - (0.36 + 0.09 + 0.01)."""
    assert inside(0.54, replicated("brier"))


def test_log_score_of_a_markov_source_is_its_entropy_rate() -> None:
    """- sum of p ln p, for each row the same, and what learning k free probabilities from n steps costs: k / 2n."""
    entropy = -math.fsum(p * math.log(p) for p in (0.6, 0.3, 0.1))
    learning = 8 / (2 * DIALOGUES / 2 * (TURNS - 1))  # two a row; half of the dialogues are learnt from
    assert inside(entropy + learning, replicated("log_score"))


def test_deterministic_source_is_predicted_always() -> None:
    cycle = [Asked(tuple((start + turn) % 5 for turn in range(12)), chunks=0) for start in range(10)]
    scorer = two_fold(cycle, halves(cycle), {"bigram": Markov(1)}, "names", Scorer)["bigram"].whole()
    assert (scorer.top(1), scorer.brier(), scorer.log_score()) == (1.0, 0.0, 0.0)


def test_a_document_read_in_order_is_predicted_by_sequential_but_for_its_beginning() -> None:
    """(T - 1) / T of all queries are hits when the first, before which nothing came, counts as a miss."""
    read = [Asked(tuple(range(10)), chunks=10)] * 8
    scores = prequential(read, fitting(has_chunks=True, sees="moves"), "moves", Scorer)
    assert scores["sequential"].whole().top(1) == 1.0
    assert scores["sequential"].whole().queries == 8 * 9


def test_a_document_read_backwards_is_never_predicted_by_sequential() -> None:
    read = [Asked(tuple(range(9, -1, -1)), chunks=10)] * 8
    scores = prequential(read, fitting(has_chunks=True, sees="moves"), "moves", Scorer)
    assert scores["sequential"].whole().top(1) == 0.0


def test_independent_draws_leave_nothing_for_the_bigram() -> None:
    """The last item says nothing, so that the bigram names what popularity names."""
    draws = stream(12, "independent")
    sequences = [Asked(tuple(draws.choices(range(3), (0.6, 0.3, 0.1), k=30)), chunks=0) for _ in range(100)]
    scores = two_fold(sequences, halves(sequences), {"most": Markov(0), "bigram": Markov(1)}, "names", Scorer)
    most, bigram = scores["most"].whole(), scores["bigram"].whole()
    assert bigram.top(1) == most.top(1)
    assert bigram.brier() == pytest.approx(most.brier(), abs=0.01)
    assert most.brier() == pytest.approx(1 - 0.46, abs=0.03)


def test_shuffling_keeps_what_is_asked_and_destroys_the_order() -> None:
    """Of 4 states 5 times each, any other than the last follows with 5/19, and the bigram cannot do better."""
    cycle = [Asked(tuple((start + turn) % 4 for turn in range(20)), chunks=0) for start in range(60)]
    values = []
    for draw in range(REPLICATIONS):
        mixed = shuffled(cycle, seed=3, draw=draw)
        assert [Counter(order.numbers) for order in mixed] == [Counter(order.numbers) for order in cycle]
        assert mixed != cycle
        scorer = two_fold(mixed, halves(mixed), {"bigram": Markov(1)}, "names", Scorer)["bigram"].whole()
        values.append(scorer.top(1))
    assert inside(5 / 19, mean_interval(values, CERTAIN))


def test_shuffled_scores_stand_beside_the_ordered_ones() -> None:
    """The whole analysis says of a cycle: order is all there is."""
    cycle = tuple(
        Dialogue(str(start), tuple(Query(item="abcd"[(start + turn) % 4]) for turn in range(20))) for start in range(40)
    )
    told = next_item(_set(cycle), 1, 5)
    bigram = told["two_fold"]["bigram"]
    assert bigram["top1"]["value"] == 1.0
    assert bigram["shuffled"]["top1"]["value"] == pytest.approx(5 / 19, abs=0.03)
    assert told["two_fold"]["most_frequent"]["shuffled"]["top1"]["value"] == pytest.approx(0.25, abs=0.03)


def test_moves_carry_over_where_names_are_new() -> None:
    """Each dialogue asks for two things of its own by turns: known by recency, unknown by name."""
    pairs = [Asked((2 * k, 2 * k + 1) * 6, chunks=0) for k in range(30)]
    by_move = prequential(pairs, {"markov": Markov(2)}, "moves", Scorer)["markov"].whole()
    by_name = two_fold(pairs, halves(pairs), {"markov": Markov(2)}, "names", Scorer)["markov"].whole()
    assert by_move.top(1) == pytest.approx(10 / 11, abs=0.02)  # all but the second query, which is new
    assert by_name.top(1) == 0.0


def test_crps_of_log_normal_gaps_is_the_mean_times_the_gini_coefficient() -> None:
    """A perfect forecast scores E|X - X'| / 2, for a log-normal mean x (2 Phi(sigma / sqrt 2) - 1)."""
    sigma, median_s = 0.8, 10.0
    perfect = median_s * math.exp(sigma**2 / 2) * (2 * NormalDist().cdf(sigma / math.sqrt(2)) - 1)
    scores: dict[str, list[float]] = {}
    for replication in range(6):
        draws = stream(13, replication)
        made = [
            Dialogue(
                str(index),
                tuple(Query(gap_s=draws.lognormvariate(math.log(median_s), sigma), gap_kind="tool") for _ in range(20)),
            )
            for index in range(100)
        ]
        for name, score in gaps(made, seed=1)["tool"]["crps_s"].items():
            scores.setdefault(name, []).append(score["value"])
    for name in ("log_normal", "empirical", "after_previous"):
        estimate = mean_interval(scores[name], CERTAIN)
        assert inside(perfect, estimate) or estimate.value == pytest.approx(perfect, rel=0.01), name
    assert min(scores["median"]) > max(scores["log_normal"])


def _set(dialogues: tuple[Dialogue, ...]) -> DialogueSet:
    return DialogueSet(Path("made"), "made", About("category", "a letter"), dialogues)
