"""Predictors against theory: regret bounds, planted sources, counts by brute force, and real dialogues."""

from __future__ import annotations

import json
import lzma
import math
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, make_dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from simkv.predictors import PREDICTORS, History, Item, Outcome, Predictor
from simkv.predictors.ensemble import Ensemble
from simkv.rng import stream
from simkv.scoring import Scorer

CHUNKS = 10_000


def view_after(moves: Sequence[int], chunks: int = CHUNKS) -> History:
    """Return what is known of a reader who has moved so."""
    last = sum(moves) - 1
    asked = (last,) if moves else ()
    return History(0, asked, moves, lambda move: last + move if 0 <= last + move < chunks else None, chunks)


def prequential(predictor: Predictor, moves: list[int], floor: float = 1e-6) -> Scorer:
    """Return the scores of a predictor that reads one conversation: predict, score, observe."""
    scorer = Scorer(floor)
    for turn, move in enumerate(moves):
        before = moves[:turn]
        scorer.add(predictor.predict(view_after(before)), sum(before) - 1 + move)
        predictor.observe(Outcome(0, tuple(before[-16:]), move))
    return scorer


# -- regret ----------------------------------------------------------------------------------------

OPINIONS = (0.05, 0.3, 0.5, 0.8, 0.98)  # P(move 1) that each expert holds to, whatever happens; else move 2

ROUNDING = 1e-9  # where a bound is reached


@dataclass
class Fixed:
    """Hold to an opinion."""

    opinion: float = 0.5

    def predict(self, view: History) -> Mapping[Item, float]:
        """Return the opinion of the two items ahead."""
        reached = {view.item_after(1): self.opinion, view.item_after(2): 1 - self.opinion}
        return {item: p for item, p in reached.items() if item is not None}

    def observe(self, outcome: Outcome) -> None:
        """Learn nothing."""


@pytest.fixture
def experts(monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """Register predictors of fixed opinion and return their names."""
    for opinion in OPINIONS:
        fixed = make_dataclass("Fixed", [("opinion", float, opinion)], bases=(Fixed,))
        monkeypatch.setitem(PREDICTORS._factories, f"fixed-{opinion}", fixed)
    return tuple(f"fixed-{opinion}" for opinion in OPINIONS)


def changing(turns: int) -> list[int]:
    """Return moves whose source changes: the leader so far is wrong from then on. Begins with both."""
    return [2, 1, *(1 + (turn * 4 // turns % 2) for turn in range(turns - 2))]


def random_moves(turns: int) -> list[int]:
    """Return moves 1 with probability 0.8, else 2."""
    draws = stream(2, "moves", turns)
    return [2, *(1 if draws.random() < 0.8 else 2 for _ in range(turns - 1))]


def adversarial(ensemble: Ensemble, turns: int) -> list[int]:
    """Return moves of an adversary who always does what the ensemble holds less likely; `ensemble` is used up."""
    moves = [2]
    ensemble.observe(Outcome(0, (), 2))
    for _ in range(turns - 1):
        said = ensemble.predict(view_after(moves))
        move = 1 if said[sum(moves)] < said[sum(moves) + 1] else 2
        ensemble.observe(Outcome(0, tuple(moves[-16:]), move))
        moves.append(move)
    return moves


def regret(names: tuple[str, ...], moves: list[int], value: Callable[[Scorer], float | None], **params: Any) -> float:
    """Return the summed loss of the ensemble minus that of its best member."""
    own = prequential(Ensemble(members=names, **params), moves)
    others = [prequential(PREDICTORS.create(name), moves) for name in names]
    return len(moves) * ((value(own) or 0.0) - min(value(other) or 0.0 for other in others))


def half_brier(scorer: Scorer) -> float:
    """Return a loss in [0, 1]."""
    return (scorer.brier() or 0.0) / 2


@pytest.mark.parametrize("source", ["changing", "random", "adversarial"])
@pytest.mark.parametrize(
    ("eta", "turns"), [(0.1, 300), (0.5, 300), (2.0, 300), (math.sqrt(8 * math.log(5) / 800), 800)]
)
def test_regret_of_exponential_weights(source: str, eta: float, turns: int, experts: tuple[str, ...]) -> None:
    """At most ln N / eta + eta T / 8 for a loss in [0, 1], on any sequence; with eta <= 1/2 at most ln N / eta."""
    moves = {
        "changing": lambda: changing(turns),
        "random": lambda: random_moves(turns),
        "adversarial": lambda: adversarial(Ensemble(members=experts, eta=eta), turns),
    }[source]()
    lost = regret(experts, moves, half_brier, eta=eta)
    assert lost <= math.log(len(experts)) / eta + eta * turns / 8
    if eta <= 0.5:  # half the Brier score is exp-concave up to there
        assert lost <= math.log(len(experts)) / eta + ROUNDING


@pytest.mark.parametrize("eta", [0.3, 1.0])
def test_regret_in_log_loss(eta: float, experts: tuple[str, ...]) -> None:
    """At most ln N / eta, whatever comes and however long."""
    for moves in (changing(400), random_moves(400)):
        lost = regret(experts, moves, Scorer.log_score, loss="log", eta=eta)
        assert lost <= math.log(len(experts)) / eta + ROUNDING


def test_with_log_loss_and_eta_1_weights_are_bayes(experts: tuple[str, ...]) -> None:
    """The probabilities of the opinions given what happened, from equal ones before."""
    moves = random_moves(50)
    ensemble = Ensemble(members=experts, loss="log", eta=1.0)
    prequential(ensemble, moves)
    ones = moves.count(1)
    likelihoods = [p**ones * (1 - p) ** (50 - ones) for p in OPINIONS]
    assert ensemble.weights() == pytest.approx([x / sum(likelihoods) for x in likelihoods], rel=1e-9)


def test_weights_find_the_source(experts: tuple[str, ...]) -> None:
    """After 1,000 draws from an opinion, nearly all trust is its own."""
    ensemble = Ensemble(members=experts)
    prequential(ensemble, random_moves(1000))
    assert ensemble.weights()[OPINIONS.index(0.8)] > 0.99


# -- planted sources -------------------------------------------------------------------------------


@pytest.mark.parametrize("chain_length", [1, 2])
def test_a_planted_chain_is_learnt_up_to_its_entropy(chain_length: int) -> None:
    """Where the next move depends on the last one or two, learners of enough order reach the Brier score of the truth.

    The move `chain_length` ago comes again with probability 0.9, else the other: 2 x 0.9 x 0.1 for who knows it;
    0.5 for who sees no pattern, as an order below does.
    """
    draws = stream(9, "planted", chain_length)
    moves = [1, 2]
    while len(moves) < 4000:
        again = moves[-chain_length]
        moves.append(again if draws.random() < 0.9 else 3 - again)
    scores = {
        (name, order): prequential(PREDICTORS.create(name, {"order": order}), moves).brier() or 0.0
        for name in ("markov", "ppm-c")
        for order in range(3)
    }
    for (_, order), score in scores.items():
        wanted = 0.18 if order >= chain_length else 0.5
        assert score == pytest.approx(wanted, abs=0.025)


def test_ppm_c_gives_what_it_never_saw_its_due() -> None:
    """Its log loss has no use for the floor once all moves were seen; Markov rules out what a context has not shown."""
    draws = stream(9, "many")
    moves = [1 + draws.randrange(8) for _ in range(1500)]
    scores = {
        name: prequential(PREDICTORS.create(name, {"order": 2}), moves).log_score() for name in ("ppm-c", "markov")
    }
    assert scores["ppm-c"] is not None
    assert scores["markov"] is not None
    assert math.log(8) < scores["ppm-c"] < scores["markov"]


def test_popularity_reaches_the_entropy_of_independent_chunks() -> None:
    """Chunks asked independently with known probabilities: the log loss of the truth, plus (K - 1) / 2 ln T / T."""
    shares = (0.5, 0.25, 0.15, 0.1)
    draws, turns = stream(9, "chunks"), 3000
    asked = draws.choices(range(4), shares, k=turns)
    predictor, scorer, truth = PREDICTORS.create("popularity"), Scorer(), Scorer()
    for turn, chunk in enumerate(asked):
        last = asked[turn - 1] if turn else -1
        view = History(0, asked[:turn][-1:], (), lambda move, last=last: last + move, 4)
        scorer.add(predictor.predict(view), chunk, candidates=4)
        truth.add(dict(enumerate(shares)), chunk, candidates=4)
        predictor.observe(Outcome(0, (1,) if turn else (), chunk - last))
    assert scorer.log_score() == pytest.approx(truth.log_score(), abs=2 * 1.5 * math.log(turns) / turns)


# -- dialled oracle --------------------------------------------------------------------------------


@pytest.mark.parametrize("accuracy", [0.25, 0.8, 0.97])
@pytest.mark.parametrize("confidence", [0.5, 0.8])
def test_the_dialled_oracle_measures_as_dialled(accuracy: float, confidence: float) -> None:
    """Top-1 within the 99.99 % binomial interval; its calibration error is |confidence - accuracy| as measured."""
    oracle = PREDICTORS.create("dialled-oracle", {"accuracy": accuracy, "confidence": confidence})
    draws, scorer, turns, chunks = stream(6, "walk"), Scorer(), 4000, 20
    for turn in range(turns):
        session, query = turn % 40, turn // 40
        chunk = draws.randrange(chunks)
        view = History(session, (), (), lambda move: move, chunks, lambda chunk=chunk: [chunk])
        scorer.add(oracle.predict(view), chunk, candidates=chunks)
        oracle.observe(Outcome(session, (1,) * min(query, 16), 1))
    measured = scorer.top(1)
    assert measured == pytest.approx(accuracy, abs=3.9 * math.sqrt(accuracy * (1 - accuracy) / turns))
    assert scorer.calibration_error() == pytest.approx(abs(confidence - (measured or 0.0)), abs=1e-9)
    assert scorer.brier() == pytest.approx(confidence**2 + 1 - 2 * confidence * (measured or 0.0), abs=1e-9)


# -- counts by brute force -------------------------------------------------------------------------


def test_markov_of_order_1_is_what_brute_counts_say() -> None:
    """At each of 600 queries in three sessions in turn: pairs so far, counted anew from the start."""
    draws = stream(8, "brute")
    predictor = PREDICTORS.create("markov", {"order": 1})
    sessions: list[list[int]] = [[], [], []]
    for turn in range(600):
        key = turn % 3
        moves = sessions[key]
        pairs = [(a, b) for other in sessions for a, b in pairwise(other)]
        followed = Counter(b for a, b in pairs if moves and a == moves[-1])
        counts = followed or Counter(move for other in sessions for move in other)
        wanted = {move: count / counts.total() for move, count in counts.items()}
        said = predictor.predict(History(key, (), moves, lambda move: move, 100))
        assert said == pytest.approx(wanted, abs=1e-15)
        move = draws.choices((1, 2, 5, 7, 9), (9, 4, 2, 1, (moves or [0])[-1]))[0]
        predictor.observe(Outcome(key, tuple(moves[-16:]), move))
        moves.append(move)


# -- real dialogues --------------------------------------------------------------------------------


def lines(path: Path) -> list[dict[str, Any]]:
    """Return the dialogues of a file; skip where it is not."""
    if not path.is_file():
        pytest.skip(f"no dialogues at {path}")
    with lzma.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def intents(data: Path) -> list[list[Hashable]]:
    """Return the active intent of each user turn of SGD; the first, where there are two."""
    found = lines(data / "sgd_dev_test" / "dialogs_shared.jsonl.xz")
    return [[turn["intent"][0] for turn in dialogue["turns"] if turn["s"] == "U"] for dialogue in found]


def domains(data: Path) -> list[list[Hashable]]:
    """Return the set of domains of each user turn of MultiWOZ."""
    found = lines(data / "multiwoz_val_test" / "dialogs_shared.jsonl.xz")
    return [[frozenset(act.split("-")[0] for act in t["acts"]) for t in dialogue["turns"][::2]] for dialogue in found]


def tools(data: Path) -> list[list[Hashable]]:
    """Return the tools called in each trajectory of tau-bench."""
    found = lines(data / "tau_bench_airline" / "trajectories_shared.jsonl.xz")
    called = [[call for message in run["traj"] for call in message.get("tool_calls") or ()] for run in found]
    return [[call["function"]["name"] for call in calls] for calls in called]


def two_fold(dialogues: list[list[Hashable]]) -> Scorer:
    """Return the scores of Markov of order 1, learnt on every other dialogue and scored on those between."""
    numbers: dict[Hashable, int] = {}
    coded = [[numbers.setdefault(symbol, len(numbers)) for symbol in dialogue] for dialogue in dialogues]
    scorer = Scorer()
    for fold in (0, 1):
        predictor = PREDICTORS.create("markov", {"order": 1})
        for key, moves in enumerate(coded[fold::2]):
            for turn, move in enumerate(moves):
                predictor.observe(Outcome(key, tuple(moves[:turn][-16:]), move))
        for moves in coded[1 - fold :: 2]:
            for before, after in pairwise(moves):
                said = predictor.predict(History(0, (), (before,), lambda move: move, len(numbers)))
                scorer.add(said, after, candidates=len(numbers))
    return scorer


@pytest.mark.parametrize(
    ("dialogues", "top_1", "top_3"),
    [(intents, 0.75, 0.92), (domains, 0.55, 0.79), (tools, 0.53, 0.76)],
    ids=["SGD", "MultiWOZ", "tau-bench"],
)
def test_bigrams_of_real_dialogues(
    dialogues: Callable[[Path], list[list[Hashable]]], top_1: float, top_3: float, data: Path
) -> None:
    """Top-1 and top-3 of the next intent, domain and tool from the present one, as published with the data."""
    scorer = two_fold(dialogues(data))
    assert scorer.top(1) == pytest.approx(top_1, abs=0.02)
    assert scorer.top(3) == pytest.approx(top_3, abs=0.02)
    found = scorer.split(10)
    assert found is not None
    assert found.reliability - found.resolution + found.uncertainty + found.within_bins == pytest.approx(
        scorer.brier(), abs=1e-12
    )
    assert found.reliability < 0.1 * found.resolution  # counts of thousands are nearly calibrated
