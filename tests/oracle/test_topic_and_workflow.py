"""Predictors of topics and workflows, against sources whose truth is known (seed document 0, "Prediction Model")."""

from __future__ import annotations

import importlib.util
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from simkv.errors import InputError
from simkv.history import Remembered
from simkv.kv.prefix import Content, Conversation
from simkv.predictors import PREDICTORS, History, Outcome, Predictor
from simkv.predictors.task_graph import TaskGraph
from simkv.request import Session, TraceHeader, Turn
from simkv.rng import stream
from simkv.scoring import Scorer
from simkv.workload.generators.agent_dag import AgentDag, edges_of
from simkv.workload.generators.topical_follow_up import TopicalFollowUp
from tests.unit.little_worlds import play, scenario, session, turn


def prequential(predictor: Predictor, sessions: Sequence[Session], skip: int = 0) -> Scorer:
    """Return the scores of what was predicted wherever something was, the first sessions left out."""
    scorer, content = Scorer(), Content(TraceHeader(16, "independent", "session", True, {}))
    for draw, told in enumerate(sessions):
        conversation = Conversation(told, draw, content)
        memory = Remembered(conversation)
        for index in range(len(told.turns)):
            said = predictor.predict(memory.view(None))
            outcome = memory.learn(conversation.prompt(index))
            assert outcome is not None
            if said and draw >= skip:
                scorer.add(said, outcome.item, candidates=len(told.chunk_tokens))
            predictor.observe(outcome)
    return scorer


# -- sequential ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("is_reversed", "hits"), [(False, 9), (True, 0)])
def test_sequential_prefetch_hits_all_but_the_first_of_a_reader_in_order(
    tmp_path: Path, is_reversed: bool, hits: int
) -> None:
    """With enough think time the hit rate of T turns is (T - 1) / T read in order, 0 read backwards."""
    order = range(9, -1, -1) if is_reversed else range(10)
    told = session(*(turn(chunk, think=9.0) for chunk in order), chunks=[16] * 10)
    played = play(scenario(tmp_path, told, predictor="sequential", prefetch="{name: threshold, threshold: 0.5}"))
    assert sum(played.column("ready_at_arrival")) == hits
    assert len(played.column("ready_at_arrival")) == 10


# -- topics ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def talks() -> list[Session]:
    return list(TopicalFollowUp(conversations=250).sessions(seed=1))


@pytest.mark.parametrize("name", ["topic", "topic-embedding"])
def test_topics_are_foreseen_better_than_by_any_who_reads_no_words(name: str, talks: list[Session]) -> None:
    """On planted topics, where pages have no order: more often right than the others, and honest.

    The bound of the calibration error: 10 bins of some 2,700 forecasts each, so 0.01 is four standard errors of the
    frequency in a bin of probability 0.1.
    """
    some = talks if name == "topic" else talks[:100]
    topic = prequential(PREDICTORS.create(name), some, skip=20)
    for other in ("sequential", "markov", "ppm-c", "popularity"):
        rival = prequential(PREDICTORS.create(other), some, skip=20)
        assert (topic.top(1) or 0.0) > 1.3 * (rival.top(1) or 0.0), other
        assert (topic.log_score() or 9.0) < (rival.log_score() or 0.0) - 0.3, other
    assert (topic.calibration_error() or 1.0) < (0.01 if name == "topic" else 0.02)


def test_an_ensemble_trusts_words_where_they_help(talks: list[Session]) -> None:
    ensemble = PREDICTORS.create("ensemble", {"members": ("sequential", "popularity", "topic")})
    mixed = prequential(ensemble, talks[:60], skip=20)
    alone = prequential(PREDICTORS.create("popularity"), talks[:60], skip=20)
    assert (mixed.brier() or 9.0) < (alone.brier() or 0.0) - 0.05


def test_topic_reads_words_and_not_only_where_the_pages_are() -> None:
    """Chunks of two topics lie anywhere; a question of new words names the chunk that alone holds them."""
    pages = (("sea", "ship"), ("law", "court"), ("sea", "wave"), ("law", "judge"))
    predictor = PREDICTORS.create("topic", {"rate": 0.0, "prior_words": 1.0})
    for word, last, others in (("ship", 2, (1, 3)), ("judge", 1, (0, 2))):
        view = History(0, [last], [last + 1], lambda move: move, 4, words=[(word,)], chunk_words=pages)
        said = predictor.predict(view)
        named = 0 if word == "ship" else 3
        assert all(said[named] > said[other] for other in others)
        assert math.fsum(said.values()) == pytest.approx(1.0, abs=1e-12)


def test_old_questions_fade() -> None:
    pages = (("sea",), ("law",), ("tax",))
    said = {
        decay: PREDICTORS.create("topic", {"decay": decay, "rate": 0.0}).predict(
            History(0, [2, 2], [3, 0], lambda move: move, 3, words=[("sea",), ("law",)], chunk_words=pages)
        )
        for decay in (0.0, 0.5, 1.0)
    }
    assert said[0.0][1] > said[0.5][1] > said[1.0][1]
    assert said[1.0][0] == pytest.approx(said[1.0][1], abs=1e-12)


@pytest.mark.parametrize("name", ["topic", "topic-embedding"])
def test_without_words_nothing_is_said(name: str) -> None:
    predictor = PREDICTORS.create(name)
    pages = (("sea",), ("law",))
    for asked, words, chunk_words in (([0], [()], pages), ([0], [("sea",)], ()), ([], [], pages)):
        view = History(0, asked, [1] * len(asked), lambda move: move, 2, words=words, chunk_words=chunk_words)
        assert predictor.predict(view) == {}
        predictor.observe(Outcome(0, (), 1, item=0, chunk_words=chunk_words))


def test_useless_words_lose_their_weight() -> None:
    """Words that have nothing to do with what is asked next: their evidence ends near 0 and the forecast is uniform."""
    draws = stream(3, "noise")
    predictor = PREDICTORS.create("topic")
    sessions = []
    for number in range(150):
        pages = tuple(tuple(f"w{draws.randrange(40)}" for _ in range(10)) for _ in range(5))
        turns = tuple(
            Turn(1, 1, chunks=(draws.randrange(5),), words=tuple(f"w{draws.randrange(40)}" for _ in range(3)))
            for _ in range(12)
        )
        sessions.append(Session(f"s{number}", turns, "independent", chunk_tokens=(16,) * 5, chunk_words=pages))
    scorer = prequential(predictor, sessions, skip=50)
    assert scorer.log_score() == pytest.approx(math.log(5), abs=0.03)


def test_an_object_with_encode_is_a_model() -> None:
    predictor = PREDICTORS.create("topic-embedding", {"model": f"{__name__}:{Compass.__name__}", "rate": 0.0})
    pages = (("north",), ("south",), ("north", "north"))
    view = History(0, [1], [2], lambda move: move, 3, words=[("north",)], chunk_words=pages)
    said = predictor.predict(view)
    assert said[0] == said[2] > said[1]


class Compass:
    """An encoder that knows one direction; its class serves as the object."""

    @staticmethod
    def encode(texts: list[str]) -> list[list[int]]:
        return [[1 if "north" in text else -1] for text in texts]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("nowhere:encoder", "model 'nowhere:encoder' cannot be imported"),
        ("math:pi", r"model 'math:pi' has no method encode\(texts\)"),
    ],
)
def test_what_is_no_model_is_refused(model: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        PREDICTORS.create("topic-embedding", {"model": model})


def test_a_language_model_needs_its_package() -> None:
    if importlib.util.find_spec("sentence_transformers") is not None:
        pytest.skip("sentence-transformers is installed")
    with pytest.raises(InputError, match=r"needs sentence-transformers: pip install 'simkv\[embed\]'"):
        PREDICTORS.create("topic-embedding", {"model": "all-MiniLM-L6-v2"})


# -- workflows -------------------------------------------------------------------------------------


@pytest.mark.parametrize("back_off", [0.0, 0.5, 5.0])
def test_a_deterministic_workflow_is_known_after_one_session(back_off: float) -> None:
    """Read, analyse, read again another way, decide: seen once, every next step is the most probable one."""
    maker = AgentDag(graph=("read->analyze", "analyze->compare", "compare->decide"), conversations=20)
    predictor = PREDICTORS.create("task-graph", {"back_off": back_off})
    assert prequential(predictor, list(maker.sessions(seed=1)), skip=1).top(1) == 1.0


def test_probabilities_of_a_branching_workflow_are_its_edges() -> None:
    """After 3,000 sessions each edge within the 99.99 % binomial interval, and the forecasts are calibrated."""
    graph = (
        *("plan->search:0.6", "plan->code:0.3", "plan->answer:0.1", "search->plan:0.25", "search->answer:0.75"),
        *("code->code:0.4", "code->answer:0.6"),
    )
    maker = AgentDag(graph=graph, conversations=3000, most_rounds=10**6)
    predictor = TaskGraph()
    scorer = prequential(predictor, list(maker.sessions(seed=2)), skip=100)
    names = maker.steps
    runs = Counter[int]()
    for told in maker.sessions(seed=2):
        runs.update(turn.chunks[0] for turn in told.turns[:-1])
    for step, nexts in edges_of(graph).items():
        if step not in names or not nexts:
            continue
        here = names.index(step)
        said = predictor.predict(History(0, [here], [1], lambda move: move, len(names)))
        for name, p in nexts.items():
            error = 3.9 * math.sqrt(p * (1 - p) / runs[here]) + 1 / runs[here]  # and what back-off moves
            assert said[names.index(name)] == pytest.approx(p, abs=error), (step, name)
    assert scorer.calibration_error() == pytest.approx(0, abs=0.01)


def test_a_step_never_left_is_guessed_by_how_often_steps_run() -> None:
    graph = TaskGraph(back_off=1.0)
    for item, last in ((0, None), (1, 0), (1, 1), (1, 1)):
        graph.observe(Outcome(0, (), 0, item=item, last=last))
    said = graph.predict(History(0, [2], [1], lambda move: move, 3))
    assert said == pytest.approx({0: 2 / 7, 1: 4 / 7, 2: 1 / 7})
    assert graph.predict(History(0, [], [], lambda move: move, 3))[0] == pytest.approx((1 + 2 / 7) / 2)


def test_steps_to_the_next_use_are_expected_hitting_times() -> None:
    """Against hand and against a walk: a loop that is left with probability 1/4, then a chain."""
    graph = TaskGraph(back_off=0.0, horizon=400)
    for item, last, times in ((1, 0, 1), (0, 1, 3), (2, 1, 1), (3, 2, 1), (0, 3, 1)):
        for _ in range(times):
            graph.observe(Outcome(0, (), 0, item=item, last=last))
    said = graph.steps(History(0, [0], [1], lambda move: move, 5))
    # 0 -> 1 -> (0 with 3/4, else 2 -> 3 -> 0): rounds until 2 are geometric with mean 4, of two steps each
    assert said == pytest.approx({0: 2 * 3 / 4 + 4 * 1 / 4, 1: 1.0, 2: 8.0, 3: 9.0, 4: 400.0}, rel=1e-9)
    draws, total, walks = stream(5, "walk"), 0, 4000
    for _ in range(walks):
        step, count = 0, 0
        while step != 3:
            step = {0: 1, 1: 0 if draws.random() < 0.75 else 2, 2: 3}[step]
            count += 1
        total += count
    assert total / walks == pytest.approx(said[3], abs=3.9 * 7 / math.sqrt(walks))  # 7: sd of 2 x geometric(1/4)


def test_what_may_never_come_counts_as_the_horizon() -> None:
    graph = TaskGraph(back_off=0.0, horizon=10)
    for item, last in ((1, 0), (2, 0)):
        graph.observe(Outcome(0, (), 0, item=item, last=last))
    assert graph.steps(History(0, [0], [1], lambda move: move, 3)) == {0: 10.0, 1: 0.5 * 1 + 0.5 * 10, 2: 5.5}


def test_the_airline_workflow_is_foreseen_better_by_steps_than_by_moves() -> None:
    sessions = list(AgentDag(conversations=300).sessions(seed=4))
    graph = prequential(PREDICTORS.create("task-graph"), sessions, skip=30)
    moves = prequential(PREDICTORS.create("markov"), sessions, skip=30)
    assert (graph.top(1) or 0.0) > (moves.top(1) or 1.0) + 0.05
    assert (graph.log_score() or 9.0) < (moves.log_score() or 0.0)
    assert (graph.calibration_error() or 1.0) < 0.03
