"""Who arrives when: closed loop, open loop, and draws that nobody else can shift."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from simkv.errors import InputError
from simkv.request import Session, Turn
from simkv.workload.arrival import recorded, resampled, started
from tests.unit.little_worlds import CLOSE, Played, little, run_turn, session, turn

BUSY = "{name: fixed, prefill_per_token: 100 ms, decode_step: 250 ms}"


def test_a_turn_comes_its_think_time_after_the_simulated_answer(tmp_path: Path) -> None:
    """Semantics G3."""
    turns = [turn(0, answer=3), turn(1, answer=5, think=0.5), turn(0, think=0.0), turn(1, think=7.25)]
    for gpu in (BUSY, "{name: fixed}"):
        played = little(tmp_path, session(*turns, chunks=[16, 16], start=2.5), gpu=gpu)
        ends, arrivals = played.column("last_token_s"), played.column("arrival_s")
        assert arrivals[0] == 2.5
        gaps = [after - before for before, after in zip(ends, arrivals[1:], strict=False)]
        assert gaps == pytest.approx([0.5, 0.0, 7.25], **CLOSE)


def test_the_first_think_time_counts_from_the_start_of_the_session(tmp_path: Path) -> None:
    assert little(tmp_path, session(turn(think=3.0), chunks=[16], start=2.0)).column("arrival_s") == [5.0]


def test_recorded_starts_are_played_in_their_order(tmp_path: Path) -> None:
    sessions = [session(turn(), chunks=[16], name=name, start=start) for name, start in (("b", 9.0), ("a", 4.0))]
    played = little(tmp_path, *sessions)
    assert played.column("session_id") == ["a", "b"]
    assert played.column("session") == [0, 1]


def test_sessions_without_a_recorded_start_need_a_rate(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"workload\.starts: session a has no recorded start; want session_rate"):
        little(tmp_path, session(turn(), chunks=[16], start=None))


def some_sessions(count: int) -> list[Session]:
    return [Session(f"s{index}", (Turn(1, 1),), start_s=float(count - index)) for index in range(count)]


def test_draws_are_keyed_by_index_alone() -> None:
    """Semantics G1, G2: more draws shift none; another replication or seed shifts all."""
    pool = some_sessions(5)
    few, many = resampled(pool, 4, 0.1, 7, 0), resampled(pool, 9, 0.1, 7, 0)
    assert many[:4] == few
    assert all(after.start_s > before.start_s for before, after in itertools.pairwise(many))
    assert resampled(pool, 4, 0.1, 7, 1) != few != resampled(pool, 4, 0.1, 8, 0)
    assert [draw.start_s for draw in started(pool, 0.1, 7, 0)][:4] == [draw.start_s for draw in few]
    assert [draw.start_s for draw in recorded(pool)] == [1.0, 2.0, 3.0, 4.0, 5.0]


def poisson(folder: Path, **told: Any) -> Played:
    sessions = [session(turn(0), turn(1, think=2.0), chunks=[16, 16], name=f"s{i}", start=None) for i in range(4)]
    return little(folder, *sessions, workload=", session_rate: 30 /min, sessions: 6", **told)


def test_neither_an_arm_nor_a_server_changes_anybodys_draws(tmp_path: Path) -> None:
    """Semantics G1, through whole scenarios."""
    one = poisson(tmp_path)
    first = {
        row[0]: row[1:] for row in zip(*(one.column(c) for c in ("session", "session_id", "arrival_s")), strict=True)
    }
    for told in ({"count": 3}, {"prefetch": "sequential"}, {"gpu": BUSY, "acquisition": "text"}):
        other = poisson(tmp_path, **told)
        rows = zip(*(other.column(c) for c in ("session", "session_id", "arrival_s", "turn")), strict=True)
        starts = {row[0]: row[1:3] for row in sorted(rows, key=lambda row: -row[3])}
        assert len(starts) == 6
        assert all(name == first[draw][0] for draw, (name, _) in starts.items())
    assert poisson(tmp_path, seed=2).column("arrival_s") != one.column("arrival_s")


def stream(folder: Path, *starts: float, quantum: object = 3.0, **told: Any) -> Played:
    asks = [session(run_turn((10 * i, 1)), start=start, name=f"r{i}") for i, start in enumerate(starts)]
    header = {"has_sessions": False, "block_scope": "global", "provenance": {"timestamp_quantum_s": quantum}}
    return little(folder, *asks, layout=None, header=header, sender_gpu=None, **told)


def test_jitter_spreads_a_tick_and_keeps_its_order(tmp_path: Path) -> None:
    """Semantics H2."""
    starts = [0.0, 0.0, 0.0, 3.0, 9.0, 9.0]
    played = stream(tmp_path, *starts)
    arrivals = played.column("arrival_s")
    assert played.column("session_id") == [f"r{i}" for i in range(6)]
    assert arrivals == sorted(arrivals)
    assert all(0 < at - start < 3.0 for at, start in zip(arrivals, starts, strict=True))
    assert len(set(arrivals)) == 6
    assert stream(tmp_path, *starts).column("arrival_s") == arrivals
    assert stream(tmp_path, *starts, count=2).column("arrival_s") == arrivals
    assert stream(tmp_path, *starts, seed=2).column("arrival_s") != arrivals


def test_an_exact_clock_is_replayed_exactly(tmp_path: Path) -> None:
    starts = [0.1, 0.3, 0.3, 7.7]
    assert stream(tmp_path, *starts, quantum=0).column("arrival_s") == starts


def test_an_open_loop_waits_for_nobody(tmp_path: Path) -> None:
    played = stream(tmp_path, 0.0, 1.0, 2.0, quantum=0, gpu="{name: fixed, prefill_per_token: 10 s}")
    assert played.column("arrival_s") == [0.0, 1.0, 2.0]


@pytest.mark.parametrize("quantum", ["3 s", True, -1])
def test_a_quantum_is_a_time(tmp_path: Path, quantum: object) -> None:
    with pytest.raises(InputError, match="timestamp_quantum_s: want seconds, at least 0, got"):
        stream(tmp_path, 0.0, quantum=quantum)


def test_an_oracle_looks_no_further_than_memory_allows(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="an oracle may look 64 requests ahead in an open loop, got 65"):
        stream(tmp_path, 0.0, 1.0, prefetch="{name: oracle, ahead: 65}")


def test_what_has_been_served_is_not_kept(tmp_path: Path) -> None:
    """Memory follows what is in flight: a request's row names its session and holds nothing of it."""
    played = stream(tmp_path, *[float(i) for i in range(20)], quantum=0)
    rows = played.world.recorder._requests
    assert len(rows) == 20
    assert not any(hasattr(row, "conversation") for row in rows)
    assert played.world.serving._visited == {}
