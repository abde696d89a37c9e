"""Topical conversations and agent workflows: what is made has the statistics that were asked for."""

from __future__ import annotations

import itertools
import math
import runpy
import statistics
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from simkv import simulation
from simkv.errors import InputError
from simkv.request import Session
from simkv.scenario import from_text
from simkv.workload import GENERATORS, convert, open_trace
from simkv.workload.generators.agent_dag import AIRLINE, AgentDag, edges_of
from simkv.workload.generators.topical_follow_up import TopicalFollowUp
from tests.conftest import ROOT

Z = 3.3  # two-sided 99.9 %; seeds are fixed, so a test passes or fails for good


def close(count: int, total: int, expected: float) -> bool:
    """Return whether a share agrees with a probability within Monte Carlo error."""
    return abs(count / total - expected) <= Z * math.sqrt(expected * (1 - expected) / total)


# -- topics ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def talks() -> list[Session]:
    return list(TopicalFollowUp(conversations=600, chunk_words=40, vocabulary=300).sessions(seed=3))


def walks(sessions: list[Session]) -> list[list[int]]:
    return [[turn.chunks[0] for turn in session.turns] for session in sessions]


def test_readers_stay_on_a_topic_as_often_as_asked(talks: list[Session]) -> None:
    maker = TopicalFollowUp()
    topics = [[chunk // maker.chunks_per_topic for chunk in walk] for walk in walks(talks)]
    steps = [step for walk in topics for step in itertools.pairwise(walk)]
    assert close(sum(a == b for a, b in steps), len(steps), maker.stay_ratio)
    elsewhere = Counter((b - a) % maker.topics for a, b in steps if a != b)
    assert close(elsewhere[1], elsewhere.total(), 1 / (maker.topics - 1))
    firsts = Counter(walk[0] for walk in topics)
    assert all(close(firsts[topic], firsts.total(), 1 / maker.topics) for topic in range(maker.topics))


def test_chunks_are_asked_again_as_often_as_asked(talks: list[Session]) -> None:
    maker = TopicalFollowUp()
    choices: Counter[bool] = Counter()
    for walk in walks(talks):
        for index, chunk in enumerate(walk[1:], start=1):
            first = chunk - chunk % maker.chunks_per_topic
            asked = {other for other in walk[:index] if first <= other < first + maker.chunks_per_topic}
            if 0 < len(asked) < maker.chunks_per_topic:
                choices[chunk in asked] += 1
    assert close(choices[True], choices.total(), maker.repeat_ratio)


def test_words_come_from_where_they_are_said_to_come_from() -> None:
    """Without echoes: the chunk's words, other words of the topic, words of no chunk; their number is Poisson."""
    maker = TopicalFollowUp(conversations=300, echo_ratio=0.0, chunk_words=40)
    found: Counter[str] = Counter()
    counts: list[int] = []
    for session in maker.sessions(seed=5):
        for turn in session.turns:
            (chunk,) = turn.chunks
            first = chunk - chunk % maker.chunks_per_topic
            topic = set().union(*session.chunk_words[first : first + maker.chunks_per_topic])
            counts.append(len(turn.words))
            for word in turn.words:
                kind = "own" if word in session.chunk_words[chunk] else "topic" if word in topic else "none"
                found[kind] += 1
    assert close(found["own"], found.total(), maker.chunk_word_ratio)
    assert close(found["topic"], found.total(), maker.topic_word_ratio)
    error = Z * math.sqrt(maker.question_words_mean / len(counts))
    assert statistics.fmean(counts) == pytest.approx(maker.question_words_mean, abs=error)
    assert statistics.variance(counts) == pytest.approx(maker.question_words_mean, rel=0.15)


def test_words_of_a_topic_are_those_of_its_distribution() -> None:
    """P(word | topic): mean over conversations of the share of each frequent word, against the planted weights."""
    maker = TopicalFollowUp(
        conversations=500, echo_ratio=0.0, chunk_word_ratio=1.0, topic_word_ratio=0.0, chunk_words=20, vocabulary=30
    )
    weights = maker.topic_weights(seed=9)
    shares: dict[tuple[int, int], list[float]] = defaultdict(list)
    frequent = [(t, w) for t, known in enumerate(weights) for w, p in enumerate(known) if p > 0.05]
    for session in maker.sessions(seed=9):
        said: dict[int, Counter[str]] = defaultdict(Counter)
        for turn in session.turns:
            said[turn.chunks[0] // maker.chunks_per_topic].update(turn.words)
        for topic, word in frequent:
            if total := said[topic].total():
                shares[topic, word].append(said[topic][f"w{word}"] / total)
    assert len(frequent) > 10
    for topic, word in frequent:
        found = shares[topic, word]
        error = 4 * statistics.stdev(found) / math.sqrt(len(found))  # 4: of many words none may stray
        assert statistics.fmean(found) == pytest.approx(weights[topic][word], abs=error)


def test_chunks_are_the_more_alike_the_larger_their_concentration() -> None:
    """Two words of a chunk agree with P = (sum p^2 a + 1) / (a + 1), the Dirichlet-multinomial's."""
    for concentration in (2.0, 50.0):
        maker = TopicalFollowUp(conversations=400, topics=1, chunk_words=2, chunk_concentration=concentration)
        (weights,) = maker.topic_weights(seed=2)
        alike = math.fsum(p * p for p in weights)
        pairs = [words for session in maker.sessions(seed=2) for words in session.chunk_words]
        expected = (alike * concentration + 1) / (concentration + 1)
        assert close(sum(a == b for a, b in pairs), len(pairs), expected)


def test_questions_echo_the_question_before_on_the_same_topic_alone() -> None:
    maker = TopicalFollowUp(
        conversations=300, chunk_words=1, chunk_word_ratio=0.0, topic_word_ratio=0.0, common_vocabulary=10**9
    )
    stays, moves = Counter[bool](), Counter[bool]()
    for session in maker.sessions(seed=4):
        for before, turn in itertools.pairwise(session.turns):
            same = before.chunks[0] // maker.chunks_per_topic == turn.chunks[0] // maker.chunks_per_topic
            if before.words:
                (stays if same else moves).update(word in before.words for word in turn.words)
    assert close(stays[True], stays.total(), maker.echo_ratio)
    assert moves[True] == 0


def test_another_echo_leaves_chunks_and_think_times_as_they_were() -> None:
    first, second = (list(TopicalFollowUp(conversations=5, echo_ratio=ratio).sessions(1)) for ratio in (0.0, 1.0))
    for one, other in zip(first, second, strict=True):
        assert [turn.words for turn in one.turns] != [turn.words for turn in other.turns]
        assert [(turn.chunks, turn.think_s) for turn in one.turns] == [
            (turn.chunks, turn.think_s) for turn in other.turns
        ]


# -- workflows -------------------------------------------------------------------------------------


def test_steps_follow_each_other_as_often_as_their_edges_say() -> None:
    maker = AgentDag(conversations=3000, most_rounds=10**6)
    names = maker.steps
    edges = edges_of(maker.graph)
    after: dict[str, Counter[str]] = defaultdict(Counter)
    for walk in walks(list(maker.sessions(seed=6))):
        steps = ["start", *(names[chunk] for chunk in walk), "end"]
        for before, step in itertools.pairwise(steps):
            after[before][step] += 1
    assert set(after) == set(edges)
    for before, counts in after.items():
        expected = edges[before] | {"end": 1 - math.fsum(edges[before].values())}
        assert set(counts) <= {step for step, p in expected.items() if p > 1e-9}
        for step, probability in expected.items():
            assert close(counts[step], counts.total(), min(1.0, max(0.0, probability))), (before, step)


def test_a_deterministic_graph_is_walked_in_order() -> None:
    maker = AgentDag(graph=("read->analyze", "analyze->decide"), conversations=20)
    assert walks(list(maker.sessions(seed=1))) == [[0, 1, 2]] * 20
    assert maker.header().provenance["steps"] == ["read", "analyze", "decide"]


def test_a_loop_ends_after_its_rounds() -> None:
    endless = AgentDag(graph=("think->act", "act->think"), conversations=5, most_rounds=3)
    assert walks(list(endless.sessions(seed=1))) == [[0, 1] * 3] * 5
    left = AgentDag(graph=("think->think:0.9", "think->done:0.1"), conversations=50, most_rounds=4)
    assert all(walk[-1] == 1 and walk.count(0) <= 4 for walk in walks(list(left.sessions(seed=1))))


def test_gaps_and_answers_are_log_normal_as_asked() -> None:
    maker = AgentDag(conversations=800)
    turns = [turn for session in maker.sessions(seed=8) for turn in session.turns[1:]]
    for values, median, sigma in (
        ([turn.think_s for turn in turns], maker.tool_think_median_s, maker.tool_think_sigma),
        ([turn.answer_tokens for turn in turns], maker.answer_tokens_median, maker.answer_tokens_sigma),
    ):
        for quantile in (0.1, 0.5, 0.9):
            edge = median * math.exp(sigma * statistics.NormalDist().inv_cdf(quantile))
            assert close(sum(value <= edge for value in values), len(values), quantile)
    assert {turn.gap_kind for turn in turns} == {"tool"}


def test_shared_workflows_share_their_document() -> None:
    own, shared = (next(AgentDag(sharing=sharing).sessions(1)) for sharing in ("own", "shared"))  # type: ignore[arg-type]
    assert (own.document_id, shared.document_id) == (None, "workflow")


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        ((), "want at least one edge, such as 'read->analyze:0.7'"),
        (("a>b",), "want an edge such as 'a->b:0.7', names in lower case, got 'a>b'"),
        (("A->b",), "want an edge such as 'a->b:0.7', names in lower case, got 'A->b'"),
        (("a->b:0",), "'a->b:0': want a probability above 0 and at most 1"),
        (("a->b:1.2.3",), "'a->b:1.2.3': '1.2.3' is no number"),
        (("a->b:0.7", "a->b:0.2"), "a->b is given twice"),
        (("a->b:0.7", "a->c:0.4"), "the probabilities after 'a' sum to 1.1; want at most 1"),
        (("start->a:0.5", "a->b"), "the probabilities after 'start' sum to 0.5; want 1"),
        (("a->start",), "'a->start': nothing leads to 'start'"),
        (("end->a",), "'end->a': nothing follows 'end'"),
        (("start->end",), "'start->end': a session has at least one step"),
        (("a->b", "c->d"), "no path leads from 'start' to 'c'"),
    ],
)
def test_what_is_no_graph_is_refused(graph: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError) as caught:
        GENERATORS.create("agent-dag", {"graph": graph})
    assert str(caught.value) == f"generator 'agent-dag': graph: {message}"


def test_a_graph_can_be_given_on_the_command_line(tmp_path: Path) -> None:
    params = {"graph": "read->analyze:0.9, analyze->decide", "conversations": "3"}
    convert("generator:agent-dag", tmp_path / "a.jsonl", params, seed=1)
    assert {len(session.chunk_tokens) for session in open_trace(tmp_path / "a.jsonl").sessions()} == {3}
    with pytest.raises(InputError, match="graph: want an edge"):
        convert("generator:agent-dag", tmp_path / "b.jsonl", {"graph": "read"}, seed=1)
    assert not (tmp_path / "b.jsonl").exists()


def test_words_survive_the_way_through_a_file(tmp_path: Path) -> None:
    convert("generator:topical-follow-up", tmp_path / "a.jsonl.gz", {"conversations": "3"}, seed=4)
    assert list(open_trace(tmp_path / "a.jsonl.gz").sessions()) == list(TopicalFollowUp(conversations=3).sessions(4))


SCENARIO = """
simkv: 1
name: made
model: Qwen2.5-0.5B
seed: 1
replications: 1
workload: {generator: GENERATOR, conversations: 4, sessions: 3, session_rate: 1 /min, composition: naive}
servers:
  far: {gpu: analytic-l40s, buffers: {hbm: {size: 8 GiB}}}
  near: {gpu: analytic-l40s, source: far, buffers: {hbm: {size: 8 GiB}}}
links:
  down: {from: far, to: near, delay: 1 ms, capacity: 1 Gbit/s, transport: ideal}
  up: {from: near, to: far, delay: 1 ms, capacity: 1 Gbit/s, transport: ideal}
policies: {prefetch: {name: threshold, threshold: 0.05}, predictor: markov}
"""


@pytest.mark.parametrize("name", ["topical-follow-up", "agent-dag, graph: ['read->decide:0.9'], sharing: shared"])
def test_scenarios_may_name_them(tmp_path: Path, name: str) -> None:
    scenario = from_text(SCENARIO.replace("GENERATOR", name), tmp_path / "made.yaml")
    assert set(simulation.run(scenario, "default").requests["status"]) == {"finished"}


@pytest.mark.parametrize("name", ["topical-follow-up", "agent-dag"])
def test_equal_seeds_give_equal_sessions_and_others_others(name: str) -> None:
    maker = GENERATORS.create(name, {"conversations": 5})
    first, again, other = (list(maker.sessions(seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_defaults_are_what_the_data_says(data: Path) -> None:
    """Every measured default, recomputed: agrees to the three digits that it is given with."""
    found: dict[str, dict[str, Any]] = runpy.run_path(str(ROOT / "traces" / "measure.py"))["measure"](data)
    talk, agents = TopicalFollowUp(), AgentDag()
    quac, squad, claude = found["quac_canard"], found["squad_xquad_en"], found["claude_code_traces"]
    measured = {
        "stay_ratio": found["sgd_dev_test"]["topic_stay_ratio"],
        "repeat_ratio": found["mtrag"]["repeat_ratio"],
        "question_words_mean": quac["question_content_words_mean"],
        "echo_ratio": quac["question_echo_ratio"],
        "chunk_word_ratio": squad["chunk_word_ratio"],
        "topic_word_ratio": squad["topic_word_ratio"],
        "question_tokens_mean": quac["question_tokens_mean"],
        "answer_tokens_mean": quac["answer_tokens_mean"],
        **{key: claude[key] for key in ("tool_think_median_s", "tool_think_sigma")},
        **{key: claude[key] for key in ("human_think_median_s", "human_think_sigma")},
    }
    assert {key: getattr(talk, key) for key in measured} == {
        key: pytest.approx(value, rel=5e-3) for key, value in measured.items()
    }
    team = found["lmcache_agent_traces"]
    lengths = {key: team[key] for key in ("chunk_tokens", "answer_tokens_median", "answer_tokens_sigma")}
    assert {key: getattr(agents, key) for key in lengths} == {
        key: pytest.approx(value, rel=5e-3) for key, value in lengths.items()
    }
    assert found["tau_bench_airline"]["graph"] == AIRLINE
    assert found["tau_bench_airline"]["most_rounds"] == agents.most_rounds
