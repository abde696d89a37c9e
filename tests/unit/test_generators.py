"""Generators: what they make has the statistics that they promise, and the defaults are what the data says."""

from __future__ import annotations

import dataclasses
import itertools
import math
import runpy
import statistics
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from simkv.errors import InputError
from simkv.request import Session, Turn
from simkv.workload import GENERATORS, SERIES_GENERATORS, convert
from simkv.workload.generators import draws
from simkv.workload.generators.editing import Editing
from simkv.workload.generators.independent_trigger import IndependentTrigger
from simkv.workload.generators.log_ar1 import LogAr1
from simkv.workload.generators.sequential_reading import SequentialReading
from tests.conftest import ROOT

Z = 3.3  # two-sided 99.9 %; seeds are fixed, so a test passes or fails for good


def close(count: int, total: int, expected: float) -> bool:
    """Return whether a share agrees with a probability within Monte Carlo error."""
    return abs(count / total - expected) < Z * math.sqrt(expected * (1 - expected) / total)


@pytest.fixture(scope="module")
def reading() -> list[Session]:
    return list(SequentialReading(conversations=1500).sessions(seed=3))


def test_reading_has_the_shape_asked_for(reading: list[Session]) -> None:
    assert len(reading) == 1500
    assert {(len(session.turns), len(session.chunk_tokens), session.layout) for session in reading} == {
        (10, 10, "document_first")
    }
    assert {session.turns[0].gap_kind for session in reading} == {"none"}
    assert {turn.gap_kind for session in reading for turn in session.turns[1:]} == {"tool"}


def test_reading_moves_as_measured(reading: list[Session]) -> None:
    reader = SequentialReading()
    steps: Counter[str] = Counter()
    ahead: Counter[bool] = Counter()
    skips: Counter[bool] = Counter()
    for session in reading:
        chunks = [turn.chunks[0] for turn in session.turns]
        for here, there in itertools.pairwise(chunks):
            if here == reader.chunks - 1:
                continue
            steps["stay" if there == here else "next" if there == here + 1 else "jump"] += 1
            if there not in (here, here + 1) and 0 < here < reader.chunks - 2:
                ahead[there > here] += 1
            if there > here + 1:
                skips[True] += there - here - 2
                skips[False] += there < reader.chunks - 1
    assert close(steps["stay"], steps.total(), reader.stay_ratio)
    assert close(steps["next"], steps.total(), reader.next_ratio)
    assert close(ahead[True], ahead.total(), reader.jump_forward_ratio)
    assert close(skips[True], skips.total(), reader.skip_ratio)
    first = sum(session.turns[0].chunks == (0,) for session in reading)
    assert close(first, len(reading), reader.first_chunk_ratio)


@pytest.mark.parametrize(("field", "name"), [("new_tokens", "question"), ("answer_tokens", "answer")])
def test_reading_has_the_mean_lengths_asked_for(reading: list[Session], field: str, name: str) -> None:
    tokens = [getattr(turn, field) for session in reading for turn in session.turns]
    error = Z * statistics.stdev(tokens) / math.sqrt(len(tokens))
    # Rounding up to one token lifts the mean of the short lengths a little: 0.05.
    assert statistics.fmean(tokens) == pytest.approx(
        getattr(SequentialReading(), f"{name}_tokens_mean"), abs=error + 0.05
    )


@pytest.mark.parametrize("gap_kind", ["tool", "human"])
def test_reading_has_the_think_times_asked_for(gap_kind: Any) -> None:
    reader = SequentialReading(conversations=500, gap_kind=gap_kind)
    logs = [math.log(turn.think_s) for session in reader.sessions(seed=5) for turn in session.turns[1:]]
    median_s = getattr(reader, f"{gap_kind}_think_median_s")
    sigma = getattr(reader, f"{gap_kind}_think_sigma")
    assert statistics.fmean(logs) == pytest.approx(math.log(median_s), abs=Z * sigma / math.sqrt(len(logs)))
    assert statistics.stdev(logs) == pytest.approx(sigma, abs=Z * sigma / math.sqrt(2 * len(logs)))


@pytest.mark.parametrize("chunks", [1, 2, 3])
def test_reading_stays_inside_short_documents(chunks: int) -> None:
    for ratios in ({}, {"stay_ratio": 0.0, "next_ratio": 1.0}, {"stay_ratio": 0.0, "next_ratio": 0.0}):
        reader = SequentialReading(conversations=20, chunks=chunks, **ratios)
        asked = {turn.chunks[0] for session in reader.sessions(seed=1) for turn in session.turns}
        assert asked <= set(range(chunks))


def test_another_length_leaves_the_chunks_as_they_were() -> None:
    plain, wordy = (
        list(SequentialReading(conversations=5, answer_tokens_mean=mean).sessions(seed=1)) for mean in (20.0, 200.0)
    )
    assert [[turn.chunks for turn in session.turns] for session in plain] == [
        [turn.chunks for turn in session.turns] for session in wordy
    ]
    assert [[turn.think_s for turn in session.turns] for session in plain] == [
        [turn.think_s for turn in session.turns] for session in wordy
    ]


def test_triggers_keep_the_rate_of_requests() -> None:
    maker = IndependentTrigger(request_rate_per_s=2.0, p=0.4, n=1.5, horizon_s=5000)
    sessions = list(maker.sessions(seed=1))
    starts = [session.start_s or 0.0 for session in sessions]
    assert starts == sorted(starts)
    assert all(0 <= start < 5000 for start in starts)
    triggers = [session for session in sessions if session.session_id.startswith("trigger")]
    asked = sum(turn.chunks == (0,) for session in sessions for turn in session.turns)
    assert asked == pytest.approx(2.0 * 5000, abs=Z * math.sqrt(2.0 * 5000))
    assert len(triggers) == pytest.approx(3.0 * 5000, abs=Z * math.sqrt(3.0 * 5000))
    assert close(sum(session.turns[1].chunks == (0,) for session in triggers), len(triggers), 0.4)
    assert triggers[0].turns[0] == Turn(1, 1)
    assert {turn.think_s for session in triggers for turn in session.turns[1:]} == {maker.settle_s}


def test_another_probability_leaves_triggers_where_they_were() -> None:
    first, second = (
        [
            session.start_s
            for session in IndependentTrigger(p=p, horizon_s=500).sessions(seed=1)
            if session.session_id.startswith("trigger")
        ]
        for p in (0.2, 0.9)
    )
    assert first == second


def test_capacity_has_the_statistics_asked_for() -> None:
    maker = LogAr1(duration_s=100_000)
    rates = maker.series(seed=1).rates_bps
    up = [math.log(rate) for rate in rates if rate]
    # An AR(1) with lag-one correlation a has n (1 - a) / (1 + a) independent samples for its mean.
    memory = maker.autocorrelation
    effective = len(up) * (1 - memory) / (1 + memory)
    median_error = Z * 1.2533 * maker.sigma / math.sqrt(effective)  # 1.2533: a normal's median against its mean
    assert statistics.median(up) == pytest.approx(math.log(maker.median_bps), abs=median_error)
    quartiles = statistics.quantiles(up, n=4)  # below the ceiling, so the ceiling does not narrow them
    assert (quartiles[2] - quartiles[0]) / 1.349 == pytest.approx(maker.sigma, rel=0.05)
    pairs = list(itertools.pairwise(rates))
    logs = [(math.log(a), math.log(b)) for a, b in pairs if a and b]
    assert statistics.correlation(*zip(*logs, strict=True)) == pytest.approx(maker.autocorrelation, abs=0.01)
    from_up = [not b for a, b in pairs if a]
    from_outage = [not b for a, b in pairs if not a]
    assert close(sum(from_up), len(from_up), maker.outage_start_ratio)
    assert close(sum(from_outage), len(from_outage), 1 - 1 / maker.outage_mean_s)
    assert max(rates) == maker.ceiling_bps


def test_a_finer_step_keeps_memory_and_outages_per_second() -> None:
    rates = LogAr1(duration_s=20_000, step_s=0.25).series(seed=2).rates_bps
    outage_ratio = sum(not rate for rate in rates) / len(rates)
    assert outage_ratio == pytest.approx(0.085, abs=0.03)
    logs = [(math.log(a), math.log(b)) for a, b in zip(rates, rates[4:], strict=False) if a and b]
    assert statistics.correlation(*zip(*logs, strict=True)) == pytest.approx(LogAr1().autocorrelation, abs=0.02)


def test_editing_edits_what_was_asked_as_often_as_told_and_reads_as_ever() -> None:
    sessions = list(Editing(edit_ratio=0.3).sessions(seed=1))
    plain = list(SequentialReading().sessions(seed=1))
    bare = [[dataclasses.replace(turn, edits=()) for turn in session.turns] for session in sessions]
    assert bare == [list(session.turns) for session in plain]
    edited = [turn.edits for session in sessions for turn in session.turns[1:]]
    assert statistics.fmean(map(len, edited)) == pytest.approx(0.3, abs=0.04)
    assert not any(session.turns[0].edits for session in sessions)
    for session in sessions:
        asked: set[int] = set()
        for turn in session.turns:
            assert {edit.chunk for edit in turn.edits} <= asked
            asked.update(turn.chunks)
    places = [edit.kept_tokens for edits in edited for edit in edits]
    assert min(places) < 16 < 512 - 16 <= max(places)
    assert all(edit.tokens == 512 for edits in edited for edit in edits)
    assert statistics.fmean(places) == pytest.approx(256, abs=30)


def test_another_rate_of_edits_leaves_later_edits_their_places() -> None:
    few, many = (list(Editing(edit_ratio=ratio).sessions(seed=1)) for ratio in (0.1, 0.5))
    pairs = [(a, b) for one, other in zip(few, many, strict=True) for a, b in zip(one.turns, other.turns, strict=True)]
    assert all(a.edits == b.edits for a, b in pairs if a.edits)
    assert sum(bool(a.edits) for a, _ in pairs) < sum(bool(b.edits) for _, b in pairs)


@pytest.mark.parametrize("name", ["sequential-reading", "independent-trigger", "editing"])
def test_equal_seeds_give_equal_sessions_and_others_others(name: str) -> None:
    maker = GENERATORS.create(name)
    first, again, other = (list(maker.sessions(seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_series_generators_are_not_workloads() -> None:
    assert list(SERIES_GENERATORS) == ["log-ar1"]
    with pytest.raises(InputError, match="unknown generator 'log-ar1'"):
        GENERATORS.create("log-ar1")


@pytest.mark.parametrize(
    ("source", "name"),
    [("generator:sequential-reading", "reading.jsonl.gz"), ("generator:log-ar1", "slice_capacity.csv")],
)
def test_shipped_files_are_what_their_command_makes(tmp_path: Path, source: str, name: str) -> None:
    convert(source, tmp_path / name, {}, seed=1)
    assert (tmp_path / name).read_bytes() == (ROOT / "traces" / name).read_bytes()


def test_defaults_are_what_the_data_says(data: Path) -> None:
    """Every measured default, recomputed: agrees to the three digits that it is given with."""
    found = runpy.run_path(str(ROOT / "traces" / "measure.py"))["measure"](data)
    numbers = {name: value for source in found.values() for name, value in source.items()}
    reading, capacity = dataclasses.asdict(Editing()), dataclasses.asdict(LogAr1())
    measured = [
        "edit_ratio",
        "stay_ratio",
        "next_ratio",
        "jump_forward_ratio",
        "skip_ratio",
        "first_chunk_ratio",
        "question_tokens_mean",
        "answer_tokens_mean",
        "tool_think_median_s",
        "tool_think_sigma",
        "human_think_median_s",
        "human_think_sigma",
    ]
    assert {name: reading[name] for name in measured} == {
        name: pytest.approx(numbers[name], rel=5e-3) for name in measured
    }
    fitted = ["median_bps", "sigma", "autocorrelation", "outage_start_ratio", "outage_mean_s", "ceiling_bps"]
    assert {name: capacity[name] for name in fitted} == {
        name: pytest.approx(numbers[name], rel=5e-3) for name in fitted
    }
    assert numbers["question_words"] == draws.QUESTION_WORDS
    assert numbers["answer_words"] == draws.ANSWER_WORDS
