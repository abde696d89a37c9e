"""What is pushed ahead of time: who sees what, and what the directory is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from simkv.policies import PREFETCH
from simkv.policies.prefetch.question import Prefetch, PrefetchView
from simkv.predictors import PREDICTORS
from simkv.predictors.question import History, Item, Outcome
from tests.unit.little_worlds import BLOCK_BYTES, CLOSE, FREE, little, run_turn, session, turn


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What a prefetch policy and a predictor that are no oracles were shown."""
    shown: list[Any] = []

    @dataclass
    class Curious:
        def decide(self, view: PrefetchView) -> list[Prefetch]:
            shown.append((view.now_s, view.foresight, list(view.asked), view.chunks, view.held(0), view.item_bytes(0)))
            view.probabilities()
            return []

    @dataclass
    class Wondering:
        def predict(self, view: History) -> Mapping[Item, float]:
            shown.append(view.next_items)
            return {}

        def observe(self, outcome: Outcome) -> None:
            pass

    monkeypatch.setitem(PREFETCH._factories, "curious", Curious)
    monkeypatch.setitem(PREDICTORS._factories, "wondering", Wondering)
    return shown


def test_who_is_no_oracle_sees_no_future(tmp_path: Path, seen: list[Any]) -> None:
    little(
        tmp_path,
        session(turn(0), turn(1, think=8.0), chunks=[16, 32]),
        prefetch="curious",
        predictor="wondering",
    )
    assert seen[1::2] == [None, None]
    # Shown when the question reaches the source; chunk 0 comes because it is asked for, then it is believed held
    assert seen[0::2] == [
        (0.1, None, [0], 2, True, BLOCK_BYTES),
        (pytest.approx(9.3, **CLOSE), None, [0, 1], 2, True, BLOCK_BYTES),
    ]


@pytest.mark.parametrize("how", ["{name: oracle}", "{name: threshold, threshold: 0.5}"])
def test_an_oracle_moves_exactly_the_next_turn(tmp_path: Path, how: str) -> None:
    played = little(
        tmp_path,
        session(turn(0), turn(3, think=9.0), turn(1, think=9.0), chunks=[16, 16, 16, 48]),
        prefetch=how,
        predictor="oracle",
    )
    assert [row[2] for row in played.transfers("speculative")] == [3 * BLOCK_BYTES, BLOCK_BYTES]
    assert played.units == {"used_in_time": 2}
    assert played.column("ready_at_arrival") == [False, True, True]


def test_an_oracle_that_looks_further_ahead_moves_more_soonest_first(tmp_path: Path) -> None:
    played = little(
        tmp_path,
        session(turn(0), turn(3, think=9.0), turn(1, 3, think=9.0), chunks=[16, 16, 16, 48]),
        prefetch="{name: oracle, ahead: 2}",
    )
    assert [row[2] for row in played.transfers("speculative")] == [
        BLOCK_BYTES,
        3 * BLOCK_BYTES,
    ]  # in order of their end
    assert played.units == {"used_in_time": 2}


def test_an_oracle_moves_nothing_that_does_not_exist_yet(tmp_path: Path) -> None:
    """Semantics B1: the second turn's new blocks are nobody's before it arrives, not even a source's with a GPU."""
    played = little(
        tmp_path,
        session(run_turn((0, 2)), run_turn((0, 2), (5, 3), think=9.0), run_turn((0, 2), (5, 3), think=9.0)),
        layout=None,
        prefetch="{name: oracle, ahead: 2}",
        receiver_blocks=100,
    )
    assert played.transfers("speculative") == []
    assert played.column("cached_tokens") == [0, 32, 80]


def test_an_oracle_brings_back_what_was_evicted(tmp_path: Path) -> None:
    played = little(
        tmp_path,
        session(run_turn((0, 3)), run_turn(new=47, think=9.0), run_turn(think=9.0), run_turn((0, 3), think=9.0)),
        layout=None,
        prefetch="oracle",
        sender_gpu=None,
        receiver_blocks=4,
    )
    # Turn 1 needs three of the four blocks, so two of turn 0's three go; turn 2 has them brought back from the pool
    assert played.units == {"used_in_time": 1}
    assert played.wire_bytes == {"used_in_time": 2 * BLOCK_BYTES}


@pytest.mark.parametrize("kind", ["kv", "text"])
def test_a_stream_without_sessions_is_looked_ahead_of(tmp_path: Path, kind: str) -> None:
    asks = [(0, (0, 2)), (20, (20, 6)), (40, (30, 1)), (60, (0, 2))]
    played = little(
        tmp_path,
        *[session(run_turn(runs), start=float(start), name=f"r{start}") for start, runs in asks],
        layout=None,
        header={"has_sessions": False, "block_scope": "global"},
        prefetch=f"{{name: oracle, ahead: 1, kind: {kind}}}",
        acquisition="fetch" if kind == "kv" else "text",
        sender_gpu=None,
        receiver_blocks=7,
        gpu=FREE,
    )
    # The second request's six blocks and one of dialogue push out the first's, which the fourth needs
    assert played.units == {"used_in_time": 1}
    assert played.wire_bytes == {"used_in_time": 2 * BLOCK_BYTES if kind == "kv" else 2 * 16 * 4}
    assert played.column("cached_tokens")[3] == 32


def test_pushes_of_a_stream_go_to_the_receiver_that_asks(tmp_path: Path) -> None:
    """A decision for one receiver cancels nothing that was decided for another."""
    asks = [(0.0, 0, 9), (20.0, 20, 1), (22.0, 40, 1), (60.0, 0, 9)]
    played = little(
        tmp_path,
        *[session(run_turn((at, count)), start=start, name=f"{start} {at}") for start, at, count in asks],
        layout=None,
        header={"has_sessions": False, "block_scope": "global"},
        prefetch="{name: oracle, ahead: 3}",
        sender_gpu=None,
        count=2,
        routing="round-robin",
    )
    # At 20.1 the second receiver is sent the first one's nine blocks, which takes until 29.1; at 22.1 the first asks
    assert played.units == {"used_in_time": 1}
    assert played.column("cached_tokens") == [0, 0, 0, 9 * 16]


def test_text_is_not_pushed_where_kv_is_on_its_way(tmp_path: Path) -> None:
    played = little(
        tmp_path,
        session(turn(0), turn(0, think=1.5), turn(1, think=30.0), chunks=[16, 80]),
        prefetch="sequential",
    )
    assert [row[2] for row in played.transfers("speculative")] == [5 * BLOCK_BYTES]  # wanted twice, sent once


def test_an_ended_session_is_forgotten_by_every_source_and_server(tmp_path: Path) -> None:
    """Also by the servers that it has left."""
    talks = [session(turn(0), turn(1, think=3.0), chunks=[16, 16, 16], name=f"s{i}", start=i / 2) for i in range(5)]
    for kind, acquisition in (("kv", "fetch"), ("text", "text")):
        played = little(
            tmp_path,
            *talks,
            prefetch=f"{{name: sequential, ahead: 2, kind: {kind}}}",
            acquisition=acquisition,
            count=3,
            routing="round-robin",
        )
        ahead = played.world.sources["sender"].ahead
        assert ahead is not None
        assert ahead.pusher.mind is not None
        assert (ahead.pusher.mind._known, ahead.pusher._jobs) == ({}, {})
        for server in played.world.servers:
            assert len(server._texts.known) == 0
        assert played.world.serving._visited == {}


def test_memory_does_not_grow_with_the_sessions_that_have_passed(tmp_path: Path) -> None:
    def left(count: int) -> int:
        talks = [
            session(turn(0), turn(1, think=1.0), chunks=[16, 16, 16], name=f"s{i}", start=20.0 * i)
            for i in range(count)
        ]
        played = little(tmp_path, *talks, prefetch="sequential", receiver_blocks=6, sender_blocks=6)
        server, source = played.world.servers[0], played.world.sources["sender"]
        assert source.ahead is not None
        pusher = source.ahead.pusher
        sizes: list[Callable[[], int]] = [
            lambda: len(server._kv._displaced),
            lambda: len(server._kv._reserved),
            lambda: len(played.world.ledger._open),
            lambda: sum(len(held) for held in pusher._held.values()),
        ]
        return sum(size() for size in sizes)

    assert left(20) <= left(10)
