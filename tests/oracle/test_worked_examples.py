"""Who decides what ahead of time, and what it costs: examples worked by hand, exact to 1e-9.

A block takes one second on the link, a message 0.1 s; GPUs take no time unless said. Here stands what `Prefetch`,
moments, initiators and slices can do. Elsewhere: the three turns of a push (`test_three_turns.py`); a stale directory
that costs a push a duplicate, committed bytes, promotion to the byte (`tests/unit/test_sending.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from simkv.build import World
from simkv.policies import PREFETCH
from simkv.policies.prefetch import Moment, Prefetch, PrefetchView
from tests.unit.little_worlds import BLOCK_BYTES, CLOSE, Played, little, play, run_turn, scenario, session, turn

SLOW = "{name: fixed, prefill_per_token: 100 ms}"  # a block in 1.6 s
BOTH = pytest.mark.parametrize("initiator", ["push", "pull"])

Script = Callable[[PrefetchView], list[Prefetch]]
Scripted = Callable[..., list[tuple[str, float]]]


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Scripted:
    """Return what registers a policy `scripted` that is asked at some moments, and returns when and why it was."""

    def register(script: Script, *asked_at: Moment) -> list[tuple[str, float]]:
        asked: list[tuple[str, float]] = []

        @dataclass
        class Policy:
            moments: ClassVar[frozenset[Moment]] = frozenset(asked_at or {"query"})

            def decide(self, view: PrefetchView) -> list[Prefetch]:
                asked.append((view.moment, view.now_s))
                return script(view)

        monkeypatch.setitem(PREFETCH._factories, "scripted", Policy)
        return asked

    return register


def sent(played: Played) -> list[tuple[float, float]]:
    """Return (when it was handed to the link, when its last bit left) of each speculative transfer."""
    return [row[:2] for row in played.transfers("speculative")]


def first_tokens(played: Played) -> list[float]:
    return played.column("first_token_s")


# -- who begins, and when --------------------------------------------------------------------------


@pytest.mark.parametrize(("initiator", "decided_s"), [("push", 0.1), ("pull", 0.0)])
def test_after_a_query_push_and_pull_begin_together(
    tmp_path: Path, scripted: Scripted, initiator: str, decided_s: float
) -> None:
    """The source decides when it hears of the query; the receiver at once, and its wish travels as long."""
    asked = scripted(lambda view: [Prefetch(1)])
    played = little(
        tmp_path,
        session(turn(0), turn(1, think=9.0), chunks=[16, 16]),
        prefetch="scripted",
        initiator=initiator,
    )
    # Chunk 0 is sent from 0.1 to 1.1 and here at 1.2; chunk 1 goes behind it, to 2.1, and is asked for at 10.2
    assert asked[0] == pytest.approx(("query", decided_s))
    assert [start_s for start_s, _ in sent(played)] == pytest.approx([0.1], **CLOSE)
    assert [end_s for _, end_s in sent(played)] == pytest.approx([2.1], **CLOSE)
    assert first_tokens(played) == pytest.approx([1.2, 10.2], **CLOSE)
    assert played.units == {"used_in_time": 1}


@pytest.mark.parametrize(("initiator", "begun_s"), [("push", 5.0), ("pull", 5.1)])
def test_a_timer_rings_where_it_was_set(tmp_path: Path, scripted: Scripted, initiator: str, begun_s: float) -> None:
    """`start_s`: nothing moves before; then the policy is asked again. A wish has the way to the source before it."""
    asked = scripted(lambda view: [Prefetch(1, start_s=5.0)])
    played = little(
        tmp_path,
        session(turn(0), turn(1, think=9.0), chunks=[16, 16]),
        prefetch="scripted",
        initiator=initiator,
        horizon=", horizon: 9 s",
    )
    assert [moment for moment, _ in asked] == ["query", "timer"]
    assert asked[1][1] == pytest.approx(5.0, **CLOSE)
    assert sent(played) == [pytest.approx((begun_s, begun_s + 1.0), **CLOSE)]


@pytest.mark.parametrize(("initiator", "decided_s"), [("push", 5.3), ("pull", 5.2)])
def test_a_pause_is_when_the_answer_has_ended(
    tmp_path: Path, scripted: Scripted, initiator: str, decided_s: float
) -> None:
    """Five tokens: the first at 1.2, the others a second each, the last at 5.2, of which a source hears at 5.3."""
    asked = scripted(lambda view: [Prefetch(1)], "pause")
    played = little(
        tmp_path,
        session(turn(0, answer=5), turn(1, think=9.0), chunks=[16, 16]),
        prefetch="scripted",
        gpu="{name: fixed, decode_step: 1 s}",
        initiator=initiator,
        horizon=", horizon: 9 s",
    )
    assert asked == [("pause", pytest.approx(decided_s, **CLOSE))]
    assert sent(played) == [pytest.approx((5.3, 6.3), **CLOSE)]


@BOTH
@pytest.mark.parametrize(("accuracy", "first_s"), [("1.0", 11.2), ("0.0", 12.4)])
def test_a_hint_comes_its_lead_before_the_query(tmp_path: Path, initiator: str, accuracy: str, first_s: float) -> None:
    """Turn 1 comes at 1.2 + 10 = 11.2; its hint at 7.2, at the source at 7.3: sent until 8.3. A wrong one names the
    only other chunk that turn 1 does not ask, chunk 0, which is there; or, if it lacks that, wastes a block."""
    played = little(
        tmp_path,
        session(turn(0), turn(1, think=10.0), chunks=[16, 16, 16]),
        workload=f", hints: {{lead: 4 s, accuracy: {accuracy}}}",
        prefetch="hint-driven",
        initiator=initiator,
        seed=3,
    )
    assert first_tokens(played)[1] == pytest.approx(first_s, **CLOSE)  # else asked 11.3, sent 12.3, here 12.4
    assert sent(played) == [pytest.approx((7.3, 8.3), **CLOSE)]
    assert played.units == ({"used_in_time": 1} if accuracy == "1.0" else {"never_used": 1})


# -- what is late, and what is not wanted any more -------------------------------------------------


@BOTH
def test_what_is_asked_for_in_flight_is_promoted_a_delay_later(tmp_path: Path, initiator: str) -> None:
    played = little(
        tmp_path,
        session(turn(0), turn(1, think=1.0), chunks=[16, 64]),
        prefetch="sequential",
        initiator=initiator,
    )
    # On the wire from 1.1; asked for at 2.2, promoted at 2.3: 1.2 blocks are speculation, 2.8 demand, until 5.1
    assert played.wire_bytes == {"used_late": round(1.2 * BLOCK_BYTES)}
    assert first_tokens(played)[1] == pytest.approx(5.2, **CLOSE)


@BOTH
def test_what_is_not_wanted_any_more_stops_a_delay_later(tmp_path: Path, initiator: str) -> None:
    played = little(
        tmp_path,
        session(turn(0), turn(2, think=2.0), chunks=[16, 128, 16]),
        prefetch="sequential",
        initiator=initiator,
    )
    # Chunk 1 is on the wire from 1.1 on; chunk 2 is asked for at 3.2, and the source hears at 3.3
    assert played.wire_bytes == {"cancelled": round(2.2 * BLOCK_BYTES)}
    assert first_tokens(played)[1] == pytest.approx(4.4, **CLOSE)


@pytest.mark.parametrize(("initiator", "duplicates"), [("push", 1), ("pull", 0)])
def test_who_knows_the_buffer_asks_for_no_duplicate(tmp_path: Path, initiator: str, duplicates: int) -> None:
    """The directory says that chunk 1 is gone, and it is not. A receiver says with its wish what it holds."""
    told = scenario(
        tmp_path,
        session(turn(0), turn(0, think=10.0), turn(1, think=10.0), chunks=[16, 16]),
        prefetch="sequential",
        initiator=initiator,
    )

    def mislead(world: World) -> None:
        receiver = world.servers[0]
        held = [run for run, entry in receiver.buffer._entries if entry.mark is not None]
        world.sources["sender"].was_evicted(receiver, held, by_speculation=False)

    played = play(told, (5.0, mislead))
    assert played.units == {"used_in_time": 1} | ({"never_used": 1} if duplicates else {})
    assert len(sent(played)) == 1 + duplicates


# -- the order of deadlines ------------------------------------------------------------------------

#: Three conversations ask one block each at once and have 4, 2 and 3 blocks pushed behind it.
THREE = [
    session(turn(0), turn(0, think=50.0), chunks=[16, 64], name="a"),
    session(turn(2), turn(2, think=50.0), chunks=[16, 16, 16, 32], name="b"),
    session(turn(4), turn(4, think=50.0), chunks=[16, 16, 16, 16, 16, 48], name="c"),
]
DEADLINES_S = {0: 100.0, 2: 50.0, 4: 70.0}  # of what follows these chunks


@pytest.mark.parametrize(("with_deadlines", "ends_s"), [(True, [7.1, 9.1, 12.1]), (False, [9.1, 11.1, 12.1])])
def test_deadlines_go_one_after_the_other(
    tmp_path: Path, scripted: Scripted, with_deadlines: bool, ends_s: list[float]
) -> None:
    """The three demands share the link until 3.1. With deadlines a goes first, for it had begun to wait alone, then b,
    then c: 4, 2, 3 s. Without, all share: b is through after 3 x 2 s, c after 2 x 1 more, a after one more.
    """

    def push(view: PrefetchView) -> list[Prefetch]:
        last = view.asked[-1]
        assert isinstance(last, int)
        return [Prefetch(last + 1, deadline_s=DEADLINES_S[last] if with_deadlines else None)]

    scripted(push)
    played = little(tmp_path, *THREE, prefetch="scripted", horizon=", horizon: 20 s")
    assert sorted(end_s for _, end_s in sent(played)) == pytest.approx(ends_s, **CLOSE)


def test_what_waits_in_line_and_is_asked_for_goes_at_once(tmp_path: Path, scripted: Scripted) -> None:
    """c asks for its three blocks at 3.2 + 1, the source hears at 4.3: sent until 7.3, before what is left of a."""

    def push(view: PrefetchView) -> list[Prefetch]:
        last = view.asked[-1]
        assert isinstance(last, int)
        return [Prefetch(last + 1, deadline_s=DEADLINES_S[last])] if last in DEADLINES_S else []

    scripted(push)
    c = session(turn(4), turn(5, think=1.0), chunks=[16, 16, 16, 16, 16, 48], name="c")
    played = little(tmp_path, *THREE[:2], c, prefetch="scripted", horizon=", horizon: 20 s")
    assert max(first_tokens(played)) == pytest.approx(7.4, **CLOSE)
    # a had 1.2 blocks through by 4.3 and ends 2.8 after 7.3, b two seconds later
    assert sorted(end_s for _, end_s in sent(played)) == pytest.approx([10.1, 12.1], **CLOSE)
    assert played.units["used_late"] == 1
    assert "used_late" not in played.wire_bytes


# -- computing ahead -------------------------------------------------------------------------------


@BOTH
def test_what_is_made_ahead_only_has_to_be_sent(tmp_path: Path, initiator: str) -> None:
    """Chunk 0: made at 1.7, here at 2.8. Chunk 1 is made in idle time until 3.3; asked for at 7.8, it is here 1.2 later
    instead of 2.8. Chunk 2 is made in vain, 1.6 s, behind it."""
    played = little(
        tmp_path,
        session(turn(0), turn(1, think=5.0), turn(0, think=5.0), chunks=[16, 16, 16]),
        prefetch="{name: sequential, kind: compute}",
        sender_gpu=SLOW,
        initiator=initiator,
    )
    assert first_tokens(played)[:2] == pytest.approx([2.8, 9.0], **CLOSE)
    assert played.transfers("speculative") == []
    assert played.units == {"used_in_time": 1, "never_used": 1}
    spent_s = played.result.speculative_gpu_s
    assert {name: spent_s[name] for name in played.units} == pytest.approx({"used_in_time": 1.6, "never_used": 1.6})
    assert math.fsum(spent_s.values()) == pytest.approx(played.result.gpus["sender"].speculative_s, **CLOSE)


@BOTH
def test_what_is_still_being_made_when_it_is_asked_for_is_late(tmp_path: Path, initiator: str) -> None:
    """Ten blocks in 16 s from 1.7 on, in steps of 0.4 s; asked for at 3.8, heard at 3.9, demand from 4.1 on: 2.4 s of
    speculation; one step makes the other 13.6 s, until 17.7; sent until 27.7."""
    played = little(
        tmp_path,
        session(turn(0), turn(1, think=1.0), chunks=[16, 160]),
        prefetch="{name: sequential, kind: compute}",
        sender_gpu=SLOW,
        step=4,
        initiator=initiator,
    )
    assert first_tokens(played)[1] == pytest.approx(27.8, **CLOSE)
    assert played.units == {"used_late": 1}
    assert played.result.speculative_gpu_s["used_late"] == pytest.approx(2.4, **CLOSE)
    assert played.result.gpus["sender"].demand_s == pytest.approx(1.6 + 13.6, **CLOSE)


@BOTH
def test_making_ahead_stops_where_it_is_not_wanted_any_more(tmp_path: Path, initiator: str) -> None:
    """Begun at 1.7; chunk 2 is asked for at 2.9 and heard at 3.0, in the fourth step of 0.4 s."""
    played = little(
        tmp_path,
        session(turn(0), turn(2, think=0.1), chunks=[16, 160, 16]),
        prefetch="{name: sequential, kind: compute}",
        sender_gpu=SLOW,
        step=4,
        initiator=initiator,
    )
    assert played.units == {"cancelled": 1}
    assert played.result.speculative_gpu_s["cancelled"] == pytest.approx(1.6, **CLOSE)


def test_what_was_made_ahead_may_be_evicted_where_it_was_made(tmp_path: Path) -> None:
    """The sender holds three blocks. Chunk 1 of a is made by 3.3; b's two blocks, asked for at 10, push out what was
    used longest ago, a's chunk 0, and then it: in the end a's chunk 1 is made again, on demand."""
    played = little(
        tmp_path,
        session(turn(0), turn(1, think=30.0), chunks=[16, 16], name="a"),
        session(turn(0), chunks=[48], name="b", start=10.0),
        prefetch="{name: sequential, kind: compute}",
        sender_gpu=SLOW,
        sender_blocks=3,
    )
    assert played.units == {"evicted": 1}
    assert played.result.speculative_gpu_s["evicted"] == pytest.approx(1.6, **CLOSE)
    assert played.result.gpus["sender"].demand_s == pytest.approx((1 + 3 + 1) * 1.6, **CLOSE)


# -- a slice of its own ----------------------------------------------------------------------------


@pytest.mark.parametrize("reserved", [0.25, 0.4])
def test_a_reserved_slice_carries_exactly_its_share_under_saturation(tmp_path: Path, reserved: float) -> None:
    """40 blocks of demand and 4 of speculation, all from 0.1 on: each has its share of a block a second, to the end."""
    played = little(
        tmp_path,
        session(turn(0), turn(1, think=9.0), chunks=[640, 64]),
        prefetch=f"{{name: slice-reserved, reserved_ratio: {reserved}}}",
        predictor="sequential",
    )
    assert sent(played) == [pytest.approx((0.1, 0.1 + 4 / reserved), **CLOSE)]
    assert first_tokens(played)[0] == pytest.approx(0.1 + 40 / (1 - reserved) + 0.1, **CLOSE)
    assert played.units == {"used_in_time": 1}


# -- shortly before it is needed -------------------------------------------------------------------


def test_what_was_evicted_meanwhile_is_back_just_in_time(tmp_path: Path) -> None:
    """b pushes out a's three blocks in a long think time; they are back before a goes on at 120.

    a's second answer ends at 60, of which the source hears at 60.1. Its next query is known to be 60 s off; no transfer
    has told a rate yet, so the margin of 10 s is all the lead, but for 0.1 s on the way: sent from 110 to 113.
    """
    told = {"layout": None, "sender_gpu": None, "receiver_blocks": 6, "timing": "oracle"}
    talks = (
        session(run_turn((0, 3)), run_turn((0, 3), think=60.0), run_turn((0, 3), think=60.0), name="a"),
        session(run_turn((50, 5)), name="b", start=70.0),
    )
    played = little(tmp_path, *talks, prefetch="{name: just-in-time, margin: 10 s, threshold: 0.3}", **told)
    assert sent(played) == [pytest.approx((110.0, 113.0), **CLOSE)]
    assert played.units == {"used_in_time": 1}
    assert first_tokens(played)[-1] == pytest.approx(120.0, **CLOSE)
    without = little(tmp_path, *talks, **told)
    assert first_tokens(without)[-1] == pytest.approx(123.2, **CLOSE)  # asked, sent, here
