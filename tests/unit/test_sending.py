"""What the source computes, sends, promotes and cancels, to the byte and the second."""

from __future__ import annotations

from pathlib import Path

import pytest

from simkv.build import World
from simkv.errors import InputError
from tests.unit.little_worlds import BLOCK_BYTES, CLOSE, LINKS, little, play, scenario, session, turn

SEQUENTIAL = "sequential"
SLOW = "{name: fixed, prefill_per_token: 100 ms}"


def test_what_is_asked_for_while_queued_or_computing_is_late(tmp_path: Path) -> None:
    played = little(
        tmp_path,
        session(turn(0), turn(1, 2), chunks=[32, 32, 32]),
        prefetch="{name: sequential, ahead: 2}",
        sender_gpu=SLOW,
        step=4,
    )
    # 0.1 asked, 3.3 computed, 5.3 sent, 5.4 here: asked again. From 3.3 on chunk 1 is computed in steps of 0.4 s;
    # the question comes at 5.5 and takes effect at the step's end, 5.7: six steps are speculation, the rest demand.
    assert played.units == {"used_late": 2}
    assert played.result.speculative_gpu_s["used_late"] == pytest.approx(2.4, **CLOSE)
    assert played.wire_bytes == {}
    assert played.column("late_units") == [0, 2]
    assert played.column("needed_units") == [1, 2]
    # At 5.7 one step computes what is left of chunk 1, 8 tokens, and chunk 2: 4.0 s. Then both share the link.
    assert played.column("first_token_s")[1] == pytest.approx(5.7 + 4.0 + 4.0 + 0.1, **CLOSE)


def test_what_is_asked_for_in_flight_is_speculation_until_the_question_reaches_the_source(tmp_path: Path) -> None:
    played = little(tmp_path, session(turn(0), turn(1, think=1.0), chunks=[16, 64]), prefetch=SEQUENTIAL)
    # Chunk 0 is on the wire from 0.1 to 1.1, chunk 1 from then on; asked for at 2.2, promoted at 2.3
    assert played.wire_bytes == {"used_late": round(1.2 * BLOCK_BYTES)}
    assert [row[3] for row in played.transfers("speculative")] == ["promoted"]
    assert sum(row[2] for row in played.transfers("demand")) == 5 * BLOCK_BYTES - round(1.2 * BLOCK_BYTES)
    assert played.column("first_token_s")[1] == pytest.approx(5.2, **CLOSE)


def test_a_question_that_crosses_the_news_of_a_push_finds_it_late(tmp_path: Path) -> None:
    played = little(
        tmp_path,
        session(turn(0), turn(1, think=0.55), chunks=[16, 16]),
        prefetch=SEQUENTIAL,
        sender_gpu=SLOW,
    )
    # Chunk 1 is sent from 3.3 on, of which the receiver hears at 3.4; asked for at 3.35, promoted at 3.45
    assert played.units == {"used_late": 1}
    assert played.wire_bytes == {"used_late": round(0.15 * BLOCK_BYTES)}
    assert played.column("late_units") == [0, 1]


def test_a_push_that_arrives_before_the_question_is_late_all_the_same(tmp_path: Path) -> None:
    played = little(
        tmp_path,
        session(turn(0), turn(1, think=0.55), chunks=[16, 16]),
        prefetch=SEQUENTIAL,
        sender_gpu=SLOW,
        links=LINKS.format(delay="100 ms", down="1572.864 kbit/s", up="1 Gbit/s", committed="").replace(
            "to: sender, delay: 100 ms", "to: sender, delay: 2 s"
        ),
    )
    # Chunk 1 is sent from 5.2 on and here at 6.3; asked for at 5.25, which the source will hear at 7.25
    assert played.column("first_token_s")[1] == pytest.approx(6.3, **CLOSE)
    assert played.units == {"used_late": 1}
    assert played.wire_bytes == {"used_late": BLOCK_BYTES}
    assert (played.column("needed_units"), played.column("late_units")) == ([1, 1], [0, 1])


def test_what_the_next_decision_no_longer_wants_is_cancelled(tmp_path: Path) -> None:
    played = little(tmp_path, session(turn(0), turn(2, think=2.0), chunks=[16, 128, 16]), prefetch=SEQUENTIAL)
    assert played.units == {"cancelled": 1}
    assert played.wire_bytes == {"cancelled": round(2.2 * BLOCK_BYTES)}  # on the wire from 1.1 to 3.3
    assert played.column("first_token_s")[1] == pytest.approx(4.4, **CLOSE)  # all of the link from 3.3 on


def test_a_cancelled_computation_costs_the_steps_it_took(tmp_path: Path) -> None:
    played = little(
        tmp_path,
        session(turn(0), turn(2, think=0.1), chunks=[16, 160, 16]),
        prefetch=SEQUENTIAL,
        sender_gpu=SLOW,
        step=4,
    )
    # Chunk 0 is computed until 1.7 and here at 2.8; the next question cancels at 3.0, in the fourth step of 0.4 s
    assert played.units == {"cancelled": 1}
    assert played.result.speculative_gpu_s["cancelled"] == pytest.approx(1.6, **CLOSE)
    assert played.wire_bytes == {}


def test_a_session_that_ends_has_never_used_what_was_pushed(tmp_path: Path) -> None:
    played = little(tmp_path, session(turn(0), chunks=[16, 32]), prefetch=SEQUENTIAL)
    assert played.units == {"never_used": 1}
    assert played.wire_bytes == {"never_used": round(0.2 * BLOCK_BYTES)}  # from 1.1 until the news is there, 1.3


def test_pushed_and_resident_when_the_session_ends_is_never_used(tmp_path: Path) -> None:
    played = little(tmp_path, session(turn(0), turn(0, think=60.0), chunks=[16, 32]), prefetch=SEQUENTIAL)
    assert played.wire_bytes == {"never_used": 2 * BLOCK_BYTES}


def test_what_is_pushed_after_the_end_of_its_session_is_never_used(tmp_path: Path) -> None:
    """The last question is still on its way to the source when the session ends."""
    played = little(
        tmp_path,
        session(turn(0), turn(1, answer=2, think=20.0), chunks=[16, 16, 16]),
        acquisition="text",
        prefetch="{name: sequential, kind: text}",
        gpu="{name: fixed, decode_step: 500 ms}",
        up="800 bit/s",
        control="100 B",  # a second each
    )
    # Turn 1 ends half a second after it asked; its question is there a second later, the news of the end two
    assert played.units == {"used_in_time": 1, "never_used": 1}


@pytest.mark.parametrize(
    ("horizon_s", "expected", "statuses"),
    [
        (0.5, {}, ["unfinished"]),
        (2.0, {"in_flight_at_end": round(0.9 * BLOCK_BYTES)}, ["finished"]),
        (5.0, {"resident_at_end": 2 * BLOCK_BYTES}, ["finished"]),
    ],
)
def test_at_the_horizon(tmp_path: Path, horizon_s: float, expected: dict[str, int], statuses: list[str]) -> None:
    played = little(
        tmp_path,
        session(turn(0), turn(1, think=100.0), chunks=[16, 32]),
        prefetch=SEQUENTIAL,
        horizon=f", horizon: {horizon_s} s",
    )
    assert played.wire_bytes == expected
    assert played.column("status") == statuses
    assert played.result.end_s == horizon_s


def test_a_step_cut_by_the_horizon_is_counted_as_far_as_it_went(tmp_path: Path) -> None:
    played = little(
        tmp_path,
        session(turn(0), turn(1, think=100.0), chunks=[16, 32]),
        prefetch=SEQUENTIAL,
        sender_gpu=SLOW,
        horizon=", horizon: 2.5 s",
    )
    assert played.result.speculative_gpu_s["in_flight_at_end"] == pytest.approx(0.8, **CLOSE)  # from 1.7 on
    assert played.result.gpus["sender"].speculative_s == pytest.approx(0.8, **CLOSE)


def test_two_requests_for_one_document_fetch_it_once(tmp_path: Path) -> None:
    played = little(
        tmp_path,
        session(turn(0), chunks=[48], document_id="d", name="a"),
        session(turn(0), chunks=[48], document_id="d", name="b", start=1.0),
    )
    assert [row[2] for row in played.transfers("demand")] == [3 * BLOCK_BYTES]
    assert played.column("first_token_s") == pytest.approx([3.2, 3.2], **CLOSE)
    assert played.column("cached_tokens") == [48, 48]


def test_two_receivers_have_it_computed_once_and_sent_twice(tmp_path: Path) -> None:
    played = little(
        tmp_path,
        session(turn(0), chunks=[16], document_id="d", name="a"),
        session(turn(0), chunks=[16], document_id="d", name="b", start=0.5),
        count=2,
        sender_gpu=SLOW,
    )
    assert played.result.gpus["sender"].demand_s == pytest.approx(1.6, **CLOSE)
    assert [row[2] for row in played.transfers("demand")] == [BLOCK_BYTES, BLOCK_BYTES]
    assert played.column("server") == ["receiver-0", "receiver-1"]
    assert played.column("first_token_s") == pytest.approx([3.8, 3.8], **CLOSE)  # both from 1.7 on, half the link each


def test_demand_takes_the_senders_memory_from_speculation(tmp_path: Path) -> None:
    played = little(
        tmp_path,
        session(turn(0), turn(0, think=90.0), chunks=[16, 64], name="a"),
        session(turn(0), chunks=[64], name="b", start=3.0),
        prefetch=SEQUENTIAL,
        sender_gpu=SLOW,
        sender_blocks=5,
        step=4,
        horizon=", horizon: 60 s",
    )
    # Chunk 1 of a takes four of five blocks from 1.7 on, and would take them until it is computed and sent. b's
    # question, at 3.1, needs four: the step under way ends at 3.3, and b is computed until 9.7, sent until 13.7.
    assert played.units["evicted"] == 1
    assert played.result.speculative_gpu_s["evicted"] == pytest.approx(1.6, **CLOSE)
    assert played.column("first_token_s")[1] == pytest.approx(13.8, **CLOSE)


def test_a_document_that_never_fits_at_the_sender_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"servers\.sender\.buffers\.hbm: a document of 4 blocks does not fit into the 3"
    ):
        little(tmp_path, session(turn(0), chunks=[64]), sender_blocks=3)


def test_a_push_that_does_not_fit_at_the_sender_is_given_up(tmp_path: Path) -> None:
    played = little(tmp_path, session(turn(0), chunks=[16, 64]), prefetch=SEQUENTIAL, sender_blocks=4)
    assert played.units == {"never_used": 1}
    assert played.wire_bytes == {}


def test_what_arrived_and_was_gone_again_when_asked_is_sent_again(tmp_path: Path) -> None:
    """The news of its arrival is still on its way when the question overtakes it: the source must not wait for it."""
    played = little(
        tmp_path,
        session(turn(0), turn(1, think=4.2), chunks=[16, 64], name="a"),
        session(turn(new=60, answer=20), chunks=[16], name="b", start=6.1),
        prefetch=SEQUENTIAL,
        receiver_blocks=6,
        delay="0 s",
        up="800 bit/s",
        control="100 B",  # a second each
    )
    # Chunk 1 is here at 6.0; the news of it, sent then, is overtaken by demand: the news that b evicted three of its
    # blocks, sent at 6.1, and a's question for them, sent at 6.2. Both share the link; the first is there at 8.0.
    assert played.column("status") == ["finished", "finished", "finished"]
    assert played.units == {"evicted": 1, "used_in_time": 1, "never_used": 1}  # the last: chunk 0 for b
    assert played.column("first_token_s")[2] == pytest.approx(8.1 + 3.0, **CLOSE)


def test_a_text_under_way_does_not_stand_in_for_kv(tmp_path: Path) -> None:
    played = little(
        tmp_path,
        session(turn(0), turn(1), chunks=[16, 16]),
        prefetch="{name: sequential, kind: text}",
        delay="2 s",
    )
    assert played.column("status") == ["finished", "finished"]
    assert sum(row[2] for row in played.transfers("demand")) == 2 * BLOCK_BYTES


def test_a_stale_belief_costs_a_duplicate(tmp_path: Path) -> None:
    """The directory says that chunk 1 is gone, and it is not: it is pushed again, refused and counted (C2)."""
    told = scenario(
        tmp_path,
        session(turn(0), turn(0, think=10.0), turn(1, think=10.0), chunks=[16, 16]),
        prefetch=SEQUENTIAL,
    )

    def mislead(world: World) -> None:
        receiver = world.servers[0]
        held = [run for run, entry in receiver.buffer._entries if entry.mark is not None]
        world.sources["sender"].was_evicted(receiver, held, by_speculation=False)

    played = play(told, (5.0, mislead))
    assert played.units == {"used_in_time": 1, "never_used": 1}
    # Pushed again at 11.3; refused when the push begins to arrive, 11.4; stopped when the source hears, 11.5
    assert played.wire_bytes == {"used_in_time": BLOCK_BYTES, "never_used": round(0.2 * BLOCK_BYTES)}
    assert played.transfers("speculative")[1][:2] == pytest.approx((11.3, 11.5), **CLOSE)


@pytest.mark.parametrize("committed_blocks", [0, 2])
def test_a_demand_waits_for_what_is_committed_below_the_scheduler(tmp_path: Path, committed_blocks: int) -> None:
    """Semantics C3, through a whole scenario: exactly these bytes of speculative backlog go first."""
    played = little(
        tmp_path,
        session(turn(0), turn(0, think=90.0), chunks=[16, 640], name="a"),
        session(turn(0), chunks=[16], name="b", start=10.0),
        prefetch=SEQUENTIAL,
        committed=f", committed_bytes: {committed_blocks * BLOCK_BYTES} B",
    )
    # a's chunk 1 is on the wire from 1.1 to 41.1, and longer by b's chunk, which is asked for at 10.1
    assert played.column("first_token_s")[1] == pytest.approx(10.1 + committed_blocks + 1.0 + 0.1, **CLOSE)
