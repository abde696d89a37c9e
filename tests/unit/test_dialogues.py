"""Real dialogues as sessions, and think times for traces that have none."""

from __future__ import annotations

import json
import math
import runpy
import statistics
from pathlib import Path
from typing import Any

import pytest

from simkv import cli, simulation
from simkv.errors import InputError
from simkv.request import Session, Turn
from simkv.scenario import from_text
from simkv.workload import convert, info, open_trace
from simkv.workload.arrival import Draw
from simkv.workload.generators.sequential_reading import SequentialReading
from simkv.workload.readers import mtrag
from simkv.workload.readers.text import content_words
from simkv.workload.thinking import THINK, claude_code, with_think_times
from tests.conftest import ROOT

PARAGRAPH = {
    **{"article": 3, "paragraph": 1, "uid": "9", "title": "T"},
    "context": "alpha beta gamma delta epsil zeta12 theta iotas kappa",  # 53 characters; a fifth is 10.6
    "qas": [
        {"id": "a", "question": "What about Gamma?", "answers": [{"text": "gamma", "answer_start": 11}]},
        {"id": "b", "question": "And the Kappa of it", "answers": [{"text": "iotas kappa", "answer_start": 42}]},
    ],
}
CONVERSATION = {
    **{"conversation_id": "c", "domain": "d", "user_questions": ["?", "Which sea?", "And law?"]},
    "turns": [
        {"n": 2, "question": "Which sea?", "rewrite": "?", "passages": ["z_1-0-399", "a-7-50-91"]},
        {"n": 3, "question": "And law?", "rewrite": "?", "passages": ["m-0-4", "z_1-0-399"]},
    ],
}
DIALOGUE = {
    **{"dialog_id": "q", "title": "T", "section": "S"},
    "turns": [
        {"n": 1, "question": "What group disbanded?", "rewrite": "?", "answer": "The Mothers of Invention"},
        {"n": 2, "question": "Why?", "rewrite": "?", "answer": None},
    ],
}


def written(folder: Path, *records: dict[str, Any]) -> Path:
    path = folder / "dialogues.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def only(path: Path) -> Session:
    (session,) = open_trace(path).sessions()
    return session


def test_content_words_are_all_but_function_words() -> None:
    assert content_words("Who wrote the 2nd book, and WHY didn't she?") == ("wrote", "2nd", "book")


def test_a_paragraph_is_five_chunks_and_its_questions_in_order(tmp_path: Path) -> None:
    """Words lie in the chunk in which they start; a turn asks the chunk in which its answer starts."""
    session = only(written(tmp_path, PARAGRAPH))
    assert session.session_id == "article-3-paragraph-1"
    assert session.chunk_words == (
        ("alpha", "beta"),
        ("gamma", "delta"),
        ("epsil", "zeta12"),
        ("theta", "iotas"),
        ("kappa",),
    )
    assert session.chunk_tokens == (3, 3, 3, 3, 1)
    assert [turn.chunks for turn in session.turns] == [(11 * 5 // 53,), (42 * 5 // 53,)] == [(1,), (3,)]
    assert [turn.words for turn in session.turns] == [("gamma",), ("kappa",)]
    assert [(turn.new_tokens, turn.answer_tokens, turn.think_s) for turn in session.turns] == [(4, 1, 0.0), (7, 3, 0.0)]


def test_a_conversation_is_its_passages_in_an_order_that_tells_nothing(tmp_path: Path) -> None:
    session = only(written(tmp_path, CONVERSATION))
    assert session.layout == "independent"
    assert session.chunk_tokens == (11, 1, 100)  # a-7-50-91, m-0-4, z_1-0-399: a token is four characters
    assert [turn.chunks for turn in session.turns] == [(2, 0), (1, 2)]
    assert [turn.words for turn in session.turns] == [("sea",), ("law",)]
    assert session.chunk_words == ()


def test_dialogues_without_passages_have_lengths_and_words_alone(tmp_path: Path) -> None:
    session = only(written(tmp_path, DIALOGUE))
    assert session.turns == (Turn(4, 5, words=("group", "disbanded")), Turn(1, 1))
    assert session.chunk_tokens == ()


@pytest.mark.parametrize(
    ("folder", "name", "sessions", "requests"),
    [
        ("squad_xquad_en", "paragraphs_shared", 120, 604),
        ("mtrag", "human_retrieval_shared", 61, 438),
        ("quac_canard", "dialogs_shared", 246, 1715),
    ],
)
def test_the_real_sets_are_read_whole(
    folder: str, name: str, sessions: int, requests: int, data: Path, tmp_path: Path
) -> None:
    """As many as their README says; converted, they say the same, and still say what they lack."""
    path = data / folder / f"{name}.jsonl.xz"
    found = info(path)
    assert (found["sessions"], found["requests"]) == (sessions, requests)
    convert(str(path), tmp_path / "native.jsonl.gz", {}, seed=0)
    again = open_trace(tmp_path / "native.jsonl.gz")
    assert list(again.sessions()) == list(open_trace(path).sessions())
    assert again.header.provenance["missing"] == open_trace(path).header.provenance["missing"]


def test_the_length_of_answers_is_what_the_data_says(data: Path) -> None:
    measured = runpy.run_path(str(ROOT / "traces" / "measure.py"))["passages"](data)
    assert round(measured["mtrag_answer_tokens_mean"]) == mtrag.ANSWER_TOKENS
    assert measured["mtrag_answers"] == 1086


# -- think times -----------------------------------------------------------------------------------

SCENARIO = """
simkv: 1
name: dialogues
model: Qwen2.5-0.5B
seed: 1
replications: 1
workload: {trace: TRACE, session_rate: 1 /min, sessions: 3THINK}
servers:
  far: {gpu: analytic-l40s, buffers: {hbm: {size: 8 GiB}}}
  near: {gpu: analytic-l40s, source: far, buffers: {hbm: {size: 8 GiB}}}
links:
  down: {from: far, to: near, delay: 1 ms, capacity: 1 Gbit/s, transport: ideal}
  up: {from: near, to: far, delay: 1 ms, capacity: 1 Gbit/s, transport: ideal}
policies: {prefetch: {name: threshold, threshold: 0.1}, predictor: markov}
"""


def played(trace: Path, think: str = "") -> simulation.RunResult:
    text = SCENARIO.replace("TRACE", str(trace)).replace("THINK", think)
    return simulation.run(from_text(text, trace.parent / "dialogues.yaml"), "default")


@pytest.mark.parametrize("record", [PARAGRAPH, CONVERSATION], ids=["squad", "mtrag"])
def test_a_trace_without_think_times_wants_their_source(tmp_path: Path, record: dict[str, Any]) -> None:
    """Semantics H4: refused without one, also once converted; with one it runs and its notes name the source."""
    path = written(tmp_path, record)
    native = tmp_path / "native.jsonl"
    convert(str(path), native, {}, seed=0)
    for trace in (path, native):
        with pytest.raises(InputError, match="this trace has no think times; want their source, such as think: claude"):
            played(trace)
        done = played(trace, ", think: {name: log-normal, median: 30 s, sigma: 0, source: a guess}")
        assert set(done.requests["status"]) == {"finished"}
        assert done.notes["think times"] == "human, log-normal, median 30 s, sigma 0; source: a guess"
        first, second = (
            next(
                i
                for i, key in enumerate(zip(done.requests["session_id"], done.requests["turn"], strict=True))
                if key[1] == t
            )
            for t in (0, 1)
        )
        gap_s = done.requests["arrival_s"][second] - done.requests["last_token_s"][first]
        assert gap_s == pytest.approx(30.0, abs=1e-9)


def test_a_trace_with_think_times_takes_no_others() -> None:
    with pytest.raises(InputError, match=r"workload.think: this workload has think times of its own; remove think"):
        played(ROOT / "traces" / "reading.jsonl.gz", ", think: claude-code")


def test_dialogues_without_passages_are_not_played(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="these dialogues have no passages, so nothing says which KV a turn needs"):
        played(written(tmp_path, DIALOGUE), ", think: claude-code")


def test_what_a_trace_lacks_is_told_in_known_words(tmp_path: Path) -> None:
    header = '{"format": "simkv.sessions", "version": 1, "block_tokens": 16, "layout": "independent", '
    header += '"block_scope": "session", "provenance": {"missing": ["thoughts"]}}'
    path = tmp_path / "odd.jsonl"
    path.write_text(
        header
        + '\n{"session_id": "s", "turns": [{"new_tokens": 1, "answer_tokens": 1, "think_s": 0, "gap_kind": "none"}]}\n'
    )
    with pytest.raises(InputError, match="missing: want a list of think times and chunks, got"):
        played(path)


def test_check_says_so_before_any_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "dialogues.yaml"
    path.write_text(SCENARIO.replace("TRACE", str(written(tmp_path, PARAGRAPH))).replace("THINK", ""))
    assert cli.main(["check", str(path)]) == 2
    assert "this trace has no think times" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["human", "tool"])
def test_think_times_have_the_distribution_that_was_named(kind: Any) -> None:
    """Log-normal: mean and spread of the logarithm within the 99.9 % interval; the first turn waits for nobody."""
    median_s, sigma = claude_code.HUMAN_S if kind == "human" else claude_code.TOOL_S
    draws = [Draw(Session("s", (Turn(1, 1),) * 41), 0.0)] * 100
    found = with_think_times(draws, THINK.create("claude-code", {"kind": kind}), 3, 0)
    turns = [turn for draw in found for turn in draw.session.turns[1:]]
    logs = [math.log(turn.think_s) for turn in turns]
    assert statistics.fmean(logs) == pytest.approx(math.log(median_s), abs=3.3 * sigma / math.sqrt(len(logs)))
    assert statistics.stdev(logs) == pytest.approx(sigma, rel=3.3 / math.sqrt(2 * len(logs)))
    assert {turn.gap_kind for turn in turns} == {kind}
    assert {(draw.session.turns[0].think_s, draw.session.turns[0].gap_kind) for draw in found} == {(0.0, "none")}


def test_think_times_are_keyed_by_draw_and_turn_alone() -> None:
    """Semantics G1: more sessions, or longer ones, leave the others' think times as they were."""
    source = THINK.create("claude-code")
    short, long = Session("a", (Turn(1, 1),) * 3), Session("b", (Turn(1, 1),) * 9)
    alone = with_think_times([Draw(short, 0.0)], source, 1, 0)[0].session.turns
    beside = with_think_times([Draw(long, 0.0), Draw(short, 0.0)], source, 1, 0)
    assert beside[0].session.turns[:3] == alone
    assert beside[1].session.turns != alone
    assert with_think_times([Draw(short, 0.0)], source, 1, 1)[0].session.turns != alone


def test_both_sources_of_numbers_agree_with_the_generators() -> None:
    reading = SequentialReading()
    assert (reading.human_think_median_s, reading.human_think_sigma) == claude_code.HUMAN_S
    assert (reading.tool_think_median_s, reading.tool_think_sigma) == claude_code.TOOL_S


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ("median: 30 s, sigma: 1", "needs the parameter 'source'"),
        ("median: 30, sigma: 1, source: x", "median"),
        ("median: 30 s, sigma: -1, source: x", "sigma must not be negative, got -1"),
        ("median: 30 s, sigma: 1, source: ' '", "source must say where median and sigma come from"),
        ("median: 30 s, sigma: 1, source: x, kind: both", "human, tool"),
    ],
)
def test_a_source_of_think_times_is_whole(tmp_path: Path, params: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        played(written(tmp_path, PARAGRAPH), f", think: {{name: log-normal, {params}}}")
