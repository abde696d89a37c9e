"""What whoever speculates knows of when the next query comes, learned from the ends of answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from simkv.policies import PREFETCH
from simkv.policies.prefetch.question import Moment, Prefetch, PrefetchView
from simkv.scenario import Scenario
from tests.unit.little_worlds import CLOSE, play, scenario, session, turn

THINK_S = 5.0


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float, float | None]]:
    """(moment, time, expected time to the next query) of each decision of a policy that only looks."""
    shown: list[tuple[str, float, float | None]] = []

    @dataclass
    class Waiting:
        moments: ClassVar[frozenset[Moment]] = frozenset({"query", "pause", "timer"})

        def decide(self, view: PrefetchView) -> list[Prefetch]:
            gap = view.until_next()
            shown.append((view.moment, view.now_s, None if gap is None else gap.mean_s))
            return [Prefetch(3, start_s=view.now_s + 2.0)] if view.moment == "pause" else []

    monkeypatch.setitem(PREFETCH._factories, "waiting", Waiting)
    return shown


def waiting(folder: Path, timing: str, initiator: str = "push", **told: Any) -> Scenario:
    """Return four turns, five seconds apart; an answer of two tokens takes a second a token."""
    turns = [turn(0, answer=2, think=THINK_S if index else 0.0) for index in range(4)]
    return scenario(
        folder,
        session(*turns, chunks=[16, 16, 16, 16]),
        prefetch="waiting",
        predictor="sequential",
        timing=timing,
        initiator=initiator,
        gpu="{name: fixed, decode_step: 1 s}",
        **told,
    )


def test_the_oracle_of_gaps_knows_what_is_left_at_every_moment(tmp_path: Path, seen: list[Any]) -> None:
    """The pause is heard of 0.1 s after it began; a timer rings 2 s later; nobody comes after the last answer."""
    play(waiting(tmp_path, "oracle"))
    pauses = [(now_s, mean_s) for moment, now_s, mean_s in seen if moment == "pause"]
    timers = [(now_s, mean_s) for moment, now_s, mean_s in seen if moment == "timer"]
    assert [mean_s for _, mean_s in pauses] == [pytest.approx(THINK_S, **CLOSE)] * 3 + [None]
    assert [mean_s for _, mean_s in timers] == [pytest.approx(THINK_S - 2.0, **CLOSE)] * 3
    assert [after - before for (before, _), (after, _) in zip(pauses, timers, strict=False)] == [pytest.approx(2.0)] * 3


def test_a_gap_is_learned_from_the_end_of_the_answer_and_the_answer_apart(tmp_path: Path, seen: list[Any]) -> None:
    """Every gap is five seconds, so their mean is, once one was heard; at a query the answer comes on top."""
    played = play(waiting(tmp_path, "exponential"))
    pauses = [mean_s for moment, _, mean_s in seen if moment == "pause"]
    assert pauses[1:] == [pytest.approx(THINK_S, rel=1e-6)] * 3
    finished, asked = played.column("last_token_s"), played.column("arrival_s")
    answer_s = finished[2] - asked[2]
    queries = [mean_s for moment, _, mean_s in seen if moment == "query"]
    assert queries[3] == pytest.approx(THINK_S + answer_s, rel=0.35)  # the first answer, which fetched, counts too


def test_a_receiver_that_pulls_hears_of_pauses_at_once(tmp_path: Path, seen: list[Any]) -> None:
    """No message, no delay."""
    played = play(waiting(tmp_path, "oracle", "pull"))
    pauses = [now_s for moment, now_s, _ in seen if moment == "pause"]
    assert pauses == [pytest.approx(end_s, **CLOSE) for end_s in played.column("last_token_s")]


def test_a_decision_makes_earlier_timers_stale(tmp_path: Path, seen: list[Any]) -> None:
    """A query that comes before the timer rings silences it."""
    turns = [turn(0, answer=2), turn(0, answer=2, think=1.0)]
    play(
        scenario(
            tmp_path,
            session(*turns, chunks=[16, 16, 16, 16]),
            prefetch="waiting",
            gpu="{name: fixed, decode_step: 1 s}",
        )
    )
    moments = [moment for moment, _, _ in seen]
    assert moments == ["query", "pause", "query", "pause"]
