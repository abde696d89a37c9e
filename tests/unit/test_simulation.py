"""One run as a whole: its result, its checks, and the messages that servers and sources exchange."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from simkv.build import World
from simkv.errors import InputError, InvariantError
from simkv.simulation import run
from tests.unit.little_worlds import CLOSE, little, play, scenario, session, turn


def test_arms_are_known_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no arm 'none'; arms: default"):
        run(scenario(tmp_path, session(turn(0), chunks=[16])), "none")


def test_gpu_time_sums_to_the_length_of_the_run(tmp_path: Path) -> None:
    played = little(
        tmp_path,
        session(turn(0, answer=3), turn(1, think=2.0), chunks=[16, 64]),
        prefetch="sequential",
        sender_gpu="{name: fixed, prefill_per_token: 10 ms}",
        gpu="{name: fixed, prefill_per_token: 100 ms, decode_step: 1 s}",
    )
    assert played.result.end_s == played.column("last_token_s")[-1]
    lengths = {name: sum((gpu.demand_s, gpu.speculative_s, gpu.idle_s)) for name, gpu in played.result.gpus.items()}
    assert lengths == pytest.approx(dict.fromkeys(lengths, played.world.env.now), **CLOSE)
    assert played.result.gpus["sender"].speculative_s > 0


def test_a_run_that_ends_before_its_horizon_is_whole(tmp_path: Path) -> None:
    played = little(tmp_path, session(turn(0), chunks=[16]), horizon=", horizon: 1 h")
    assert played.column("status") == ["finished"]
    assert (played.result.end_s, played.world.env.now) == (3600.0, 3600.0)


def test_a_leak_at_the_source_is_noticed(tmp_path: Path) -> None:
    def pin(world: World) -> None:
        buffer = world.sources["sender"].buffer
        buffer.pin(next(iter(buffer._entries))[0])

    with pytest.raises(InvariantError, match="still in use"):
        play(scenario(tmp_path, session(turn(0), chunks=[16])), (5.0, pin))


def test_messages_pay_delay_and_bytes(tmp_path: Path) -> None:
    """Semantics C2: what demand causes is demand class, the rest speculative."""
    told: dict[str, Any] = {"control": "100 B", "up": "1572.864 kbit/s"}
    none = little(tmp_path, session(turn(0), chunks=[16, 16]), **told).result.links["up"]
    pushing = little(tmp_path, session(turn(0), chunks=[16, 16]), prefetch="sequential", **told).result.links["up"]
    # A question and the news that chunk 0 is there; with speculation also the session's end
    assert none.control_bytes == none.wire_bytes_by_class["demand"] == 200
    assert pushing.wire_bytes_by_class == {"demand": 200, "speculative": 100, "background": 0}
    assert pushing.speculative_control_bytes == 100


def test_the_words_of_a_question_pay_for_their_way(tmp_path: Path) -> None:
    """A source that knows what was asked in words was told so: five characters and a space of two words."""
    asked = session({**turn(0), "words": ["why", "me"]}, chunks=[16, 16])
    up = little(tmp_path, asked, control="100 B", up="1572.864 kbit/s").result.links["up"]
    assert up.control_bytes == 200 + 7


@pytest.mark.parametrize("up", ["99.9 kbit/s", "2 kbit/s"])
def test_demand_is_bit_identical_with_speculation_though_messages_collide(tmp_path: Path, up: str) -> None:
    """Semantics E2: the directory costs demand the same in every arm, so speculation costs it nothing."""
    draw, start_s, sessions = random.Random(3), 0.0, []
    for index in range(60):
        start_s += draw.expovariate(0.5)
        turns = (turn(0), turn(think=9000.0))
        sessions.append(session(*turns, chunks=[16, 32, 16, 48], name=f"s{index}", start=start_s))
    told: dict[str, Any] = {
        "control": "64 B",
        "links": f"""
links:
  down: {{from: sender, to: receiver, delay: 3 ms, capacity: 777.7 kbit/s, transport: warm, committed_bytes: 0 B}}
  up: {{from: receiver, to: sender, delay: 3 ms, capacity: {up}, transport: warm, committed_bytes: 0 B}}
""",
    }
    without = little(tmp_path, *sessions, **told)
    with_ = little(tmp_path, *sessions, prefetch="{name: sequential, ahead: 3}", **told)
    assert with_.result.speculative_bytes["never_used"] > 10e6
    for column in ("arrival_s", "scheduled_s", "first_token_s", "last_token_s", "stall_s"):
        assert with_.column(column) == without.column(column)  # not approximately
