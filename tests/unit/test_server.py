"""What a server holds, lends, evicts and refuses; what a request waits for and finds."""

from __future__ import annotations

from pathlib import Path

import pytest

from simkv.build import World
from simkv.errors import InvariantError
from tests.unit.little_worlds import (
    BLOCK_BYTES,
    CLOSE,
    TOKEN_BYTES,
    little,
    play,
    run_turn,
    scenario,
    session,
    turn,
)

SEQUENTIAL = "sequential"
PER_TOKEN = "{name: fixed, prefill_per_token: 1 s}"  # a second a token shows what is prefilled
DECODES = "{name: fixed, decode_step: 1 s}"


# -- pushes -------------------------------------------------------------------------------------------------


def test_a_push_without_room_is_refused_and_stops_one_delay_later(tmp_path: Path) -> None:
    played = little(
        tmp_path,
        session(turn(0), turn(0, think=20.0), turn(0, think=20.0), chunks=[16, 64]),
        prefetch=SEQUENTIAL,
        receiver_blocks=3,
    )
    # Turn 0: refused before chunk 0 leaves the link to it. Turn 1 asks at 21.2: sent from 21.3, refused 21.4, stopped
    # 21.5. Turn 2 ends the session, so that the news of its end comes with its question.
    assert played.units == {"never_used": 3}
    assert played.wire_bytes == {"never_used": round(0.2 * BLOCK_BYTES)}
    assert played.transfers("speculative")[1][:2] == pytest.approx((21.3, 21.5), **CLOSE)
    assert played.transfers("speculative")[1][3] == "cancelled"


@pytest.mark.parametrize(("crowd_tokens", "evicted_blocks"), [(48, 2), (80, 4)])
def test_speculation_that_is_evicted_in_part_is_cut(tmp_path: Path, crowd_tokens: int, evicted_blocks: int) -> None:
    blocks = crowd_tokens // 16
    played = little(
        tmp_path,
        session(turn(0), turn(1, think=30.0), chunks=[16, 64], name="a"),
        session(turn(0), chunks=[crowd_tokens], name="b", start=10.0),
        prefetch=SEQUENTIAL,
        receiver_blocks=blocks + 3 if evicted_blocks == 2 else blocks + 1,
    )
    # b needs its chunk and a block for the dialogue; chunk 0 of a goes first, then the end of its chunk 1
    expected = {"evicted": evicted_blocks * BLOCK_BYTES, "used_in_time": (4 - evicted_blocks) * BLOCK_BYTES}
    assert played.wire_bytes == {outcome: size for outcome, size in expected.items() if size}
    last_turn = played.column("turn").index(1)
    assert played.column("in_time_units")[last_turn] == (evicted_blocks < 4)
    assert played.column("needed_units")[last_turn] == 1 + (evicted_blocks < 4)  # what went is needed as well
    assert played.transfers("demand")[-1][2] == evicted_blocks * BLOCK_BYTES
    assert not played.column("ready_at_arrival")[last_turn]


def test_demand_refetch_of_what_speculation_displaced_is_pollution(tmp_path: Path) -> None:
    played = little(
        tmp_path,
        session(turn(0), turn(think=10.0), turn(0, think=20.0), chunks=[48, 48]),
        prefetch=SEQUENTIAL,
        receiver_blocks=5,
    )
    # While turn 0 runs, chunk 1 is refused. In turn 1 it comes, and takes the last block of chunk 0 for it.
    assert played.result.pollution_bytes == BLOCK_BYTES
    assert [row[2] for row in played.transfers("demand")] == [3 * BLOCK_BYTES, BLOCK_BYTES]


def test_what_demand_displaces_is_no_pollution(tmp_path: Path) -> None:
    played = little(
        tmp_path,
        session(turn(0), turn(1, think=10.0), turn(0, think=20.0), chunks=[48, 48]),
        receiver_blocks=5,
    )
    assert played.result.pollution_bytes == 0
    assert len(played.transfers("demand")) == 3


def test_a_demand_takes_the_room_of_a_push_that_nobody_asked_for(tmp_path: Path) -> None:
    """Semantics D3: it need not wait until the push, of the lowest class, has arrived."""
    played = little(
        tmp_path,
        session(turn(0), turn(1, think=90.0), chunks=[16, 640], name="a"),
        session(turn(0), chunks=[64], name="b", start=10.0),
        prefetch=SEQUENTIAL,
        receiver_blocks=42,
    )
    # a's chunk 1 reserves 40 of 42 blocks at 0.2; b needs 5 at 10.0
    assert played.units["evicted"] == 1
    assert played.wire_bytes["evicted"] == round(9.0 * BLOCK_BYTES)  # from 1.1 until b's message is there, 10.1
    assert played.column("first_token_s")[1] == pytest.approx(14.2, **CLOSE)


def test_room_of_a_cancelled_push_is_kept_for_a_request_that_waits_for_its_blocks(tmp_path: Path) -> None:
    played = little(
        tmp_path,
        session(turn(1), turn(3, think=0.1), turn(2), turn(), chunks=[16] * 5, name="a"),
        session(turn(0), chunks=[64], name="b", start=2.7),
        prefetch="sequential",
        receiver_blocks=6,
        control="64000 B",  # slow news, behind demand, of the push of chunk 2 that a's jump to 3 cancelled
        up="1 Gbit/s",
    )
    # a asks for chunk 2 at 2.5 and takes its room over; b wants 5 blocks at 2.7, which only that room could give
    assert set(played.column("status")) == {"finished"}
    first_s = dict(zip(played.column("session_id"), played.column("first_token_s"), strict=True))
    assert first_s["b"] > 2.7 + 4.2


def test_a_push_that_was_asked_for_keeps_its_room(tmp_path: Path) -> None:
    played = little(
        tmp_path,
        session(turn(0), turn(1, think=1.0), chunks=[16, 80], name="a"),
        session(turn(0), chunks=[64], name="b", start=4.0),
        prefetch=SEQUENTIAL,
        receiver_blocks=8,
    )
    # a's chunk 1 is on its way from 1.1 and asked for at 2.2; b finds no room until that request has ended, at 6.2
    assert "evicted" not in played.units
    assert played.column("first_token_s")[1:] == pytest.approx([6.2, 6.2 + 4.2], **CLOSE)


def test_what_a_late_push_holds_comes_free_when_it_lands(tmp_path: Path) -> None:
    def talk(start: float, new: int, answer: int) -> dict[str, object]:
        return session(turn(new=new, answer=answer), start=start, name=f"at {start}")

    played = little(
        tmp_path,
        session(turn(0), turn(1, think=1.8), chunks=[16, 64], name="a"),
        talk(1.5, 44, 4),
        talk(2.0, 90, 1),
        prefetch="{name: sequential, kind: kv}",
        receiver_blocks=8,
        gpu=DECODES,
    )
    # a's chunk 1 has four blocks from 1.2 on, the talk of 1.5 three until 4.5. The talk of 2.0 needs six: giving up the
    # push would not do, so it waits. At 3.0 a asks for chunk 1, behind it; so it is late, and kept until it lands, 5.2.
    at_2 = played.column("session_id").index("at 2.0")
    assert played.column("scheduled_s")[at_2] == pytest.approx(5.2, **CLOSE)
    assert played.units["used_late"] == 1


def test_a_push_that_is_partly_here_already_brings_the_rest(tmp_path: Path) -> None:
    """The receiver lost two of four blocks and the source believes it lost all: two come for nothing."""

    def lose_half(world: World) -> None:
        receiver = world.servers[0]
        (chunk,) = [run for run, entry in receiver.buffer._entries if entry.mark is not None]
        half = type(chunk)(chunk.start + 2, 2)
        receiver.buffer.pin(half)
        receiver.buffer.release(half, drop=True)
        world.sources["sender"].was_evicted(receiver, [chunk], by_speculation=False)

    asks = session(turn(0), turn(0, think=10.0), turn(1, think=10.0), chunks=[16, 64])
    for kind, acquisition, token_bytes in (("kv", "fetch", TOKEN_BYTES), ("text", "text", 4)):
        told = scenario(tmp_path, asks, prefetch=f"{{name: sequential, kind: {kind}}}", acquisition=acquisition)
        played = play(told, (9.0, lose_half))
        assert played.units == {"used_in_time": 2, "never_used": 1}
        assert played.wire_bytes == {"used_in_time": 96 * token_bytes, "never_used": 32 * token_bytes}
        assert played.column("cached_tokens")[2] == 64


def test_an_arrival_at_the_instant_of_the_question_is_in_time(tmp_path: Path) -> None:
    """Semantics D5: transfers end before requests arrive."""
    told = {"prefetch": SEQUENTIAL, "delay": "0 s"}
    played = little(tmp_path, session(turn(0), turn(1, think=1.0), chunks=[16, 16]), **told)
    assert played.column("arrival_s") == [0.0, 2.0]  # chunk 1 is here at 2.0
    assert played.units == {"used_in_time": 1}


# -- memory -------------------------------------------------------------------------------------------------


def test_a_request_that_never_fits_is_rejected_and_the_others_go_on(tmp_path: Path) -> None:
    played = little(tmp_path, session(turn(0), turn(1, think=1.0), chunks=[48, 16]), receiver_blocks=3)
    assert played.column("status") == ["rejected", "finished"]
    assert played.column("stall_s")[0] == 0.0
    assert played.column("arrival_s") == [0.0, 1.0]


def test_requests_wait_for_memory_in_order_and_hold_nothing(tmp_path: Path) -> None:
    def talk(start: float, tokens: int) -> dict[str, object]:
        return session(turn(new=tokens - 16, answer=16), chunks=[16], start=start, name=f"at {start}")

    pinned: list[int] = []
    look = (3.0, lambda world: pinned.append(world.servers[0].buffer.pinned_blocks))
    told = scenario(tmp_path, talk(0.0, 128), talk(1.0, 96), talk(2.0, 32), receiver_blocks=10, gpu=DECODES)
    played = play(told, look)
    first_ends_s = played.column("last_token_s")[0]
    assert played.column("scheduled_s") == pytest.approx([0.0, first_ends_s, first_ends_s], **CLOSE)
    assert pinned == [8]  # the third would fit, but stands behind the second


def test_no_room_is_taken_from_what_a_request_reuses_itself(tmp_path: Path) -> None:
    played = little(
        tmp_path,
        session(turn(0), turn(0, new=13, answer=2, think=5.0), chunks=[32, 16]),
        receiver_blocks=4,
    )
    assert played.column("cached_tokens") == [32, 32]
    assert len(played.transfers("demand")) == 1


# -- what is cached -----------------------------------------------------------------------------------------


def test_behind_a_hole_nothing_is_used_unless_it_is_filled(tmp_path: Path) -> None:
    """Semantics B4: chunk 1 is gone. Text: chunk 2 is resident in vain. Fetched: it counts again."""

    def punch(world: World) -> None:
        buffer = world.servers[0].buffer
        (whole, _), *_ = list(buffer._entries)
        buffer.pin(whole)
        buffer.release(type(whole)(whole.start + 1, 1), drop=True)
        buffer.release(type(whole)(whole.start, 1))
        buffer.release(type(whole)(whole.start + 2, 1))

    asks = session(turn(2), turn(2, think=20.0), chunks=[16, 16, 16])
    for acquisition, cached in (("text", [0, 16]), ("fetch", [48, 48])):
        told = scenario(tmp_path, asks, layout="document_first", acquisition=acquisition)
        assert play(told, (15.0, punch)).column("cached_tokens") == cached


def test_more_document_makes_the_dialogue_a_new_version(tmp_path: Path) -> None:
    """Semantics B2: behind a further chunk the whole dialogue is prefilled again."""
    turns = [turn(0, new=20, answer=13), turn(0, new=10, answer=6), turn(1, new=5, answer=5), turn(0, new=5, answer=2)]
    played = little(tmp_path, session(*turns, chunks=[16, 32]), layout="document_first")
    assert played.column("input_tokens") == [16 + 20, 16 + 43, 48 + 54, 48 + 64]
    # 33 tokens of dialogue after turn 0, 32 of them with KV: two blocks. After turn 2 there are 59, 58 with KV: three.
    assert played.column("cached_tokens") == [16, 16 + 32, 48, 48 + 48]


def test_independent_chunks_count_each_alone(tmp_path: Path) -> None:
    played = little(tmp_path, session(turn(2), turn(0, 2), chunks=[16, 16, 16]))
    assert played.column("cached_tokens") == [16, 32]
    assert played.column("input_tokens") == [17, 32 + 2 + 1]
    assert played.column("needed_units") == [1, 1]


@pytest.mark.parametrize(("composition", "recomputed"), [("naive", 0), ("{name: blend, share: 0.3}", 10)])
def test_blending_recomputes_a_share_of_each_reused_chunk(tmp_path: Path, composition: str, recomputed: int) -> None:
    """Semantics B3: at its real cost, ceil(0.3 x 32), and the text of the chunk is sent along."""
    played = little(tmp_path, session(turn(0), chunks=[32]), composition=composition, gpu=PER_TOKEN)
    text_bytes = 32 * 4 if recomputed else 0
    assert [row[2] for row in played.transfers("demand")] == [2 * BLOCK_BYTES + text_bytes]
    ready_s = 0.1 + 2.0 + text_bytes / BLOCK_BYTES + 0.1
    assert played.column("scheduled_s") == pytest.approx([ready_s], **CLOSE)
    assert played.column("first_token_s") == pytest.approx([ready_s + 1 + recomputed], **CLOSE)


def test_blending_is_the_default_for_independent_chunks_alone(tmp_path: Path) -> None:
    for layout, tokens in (("independent", 1 + 5), ("document_first", 1)):  # ceil(0.15 x 32)
        told = scenario(tmp_path, session(turn(0), chunks=[32]), layout=layout, gpu=PER_TOKEN)
        bare = told.model_copy(update={"workload": told.workload.model_copy(update={"composition": None})})
        played = play(bare)
        took_s = played.column("first_token_s")[0] - played.column("scheduled_s")[0]
        assert took_s == pytest.approx(tokens, **CLOSE)


# -- other ways to acquire ----------------------------------------------------------------------------------


def test_text_is_sent_once(tmp_path: Path) -> None:
    played = little(
        tmp_path,
        session(turn(0), turn(0, think=1.0), turn(1, 0, think=1.0), chunks=[16, 40]),
        acquisition="text",
        gpu=PER_TOKEN,
    )
    assert [row[2] for row in played.transfers("demand")] == [16 * 4, 40 * 4]
    assert played.column("cached_tokens") == [0, 16 + 0, 16 + 0]
    took_s = [a - b for a, b in zip(played.column("first_token_s"), played.column("scheduled_s"), strict=True)]
    assert took_s == pytest.approx([16 + 1, 1 + 2, 40 + 1 + 4], **CLOSE)  # what is new, and the dialogue so far


def test_text_that_is_known_is_not_sent_again_when_its_kv_is_gone(tmp_path: Path) -> None:
    played = little(
        tmp_path,
        session(turn(0), turn(1, think=1.0), turn(0, think=1.0), chunks=[32, 32]),
        acquisition="text",
        receiver_blocks=3,
    )
    assert [row[2] for row in played.transfers("demand")] == [32 * 4, 32 * 4]
    assert played.column("cached_tokens") == [0, 0, 0]


def test_text_ahead_is_prefilled_in_idle_time_and_promoted_when_asked_for(tmp_path: Path) -> None:
    played = little(
        tmp_path,
        session(turn(0, answer=5), turn(1, think=1.0), turn(2, think=50.0), chunks=[16, 16, 16]),
        acquisition="text",
        prefetch="{name: sequential, kind: text}",
        gpu="{name: fixed, prefill_per_token: 1 s, decode_step: 1 s}",
        down="1572.864 Mbit/s",
        step=4,
    )
    # Turn 0 is prefilled from 0.2 to 17.2 and decodes until 21.2. The text of chunk 1 waits for that: four tokens from
    # 21.2 to 25.2 are speculation. Turn 1 asks at 22.2; from 25.2 on the chunk is demand, 12 s, then its own prompt.
    assert played.units == {"used_late": 1, "used_in_time": 1}
    assert played.result.speculative_gpu_s["used_late"] == pytest.approx(4.0, abs=1e-9)
    assert played.column("scheduled_s")[1] == pytest.approx(25.2 + 12, abs=1e-3)
    assert played.result.speculative_gpu_s["used_in_time"] == pytest.approx(16.0, abs=1e-9)
    assert played.column("ready_at_arrival") == [False, False, True]
    assert played.column("cached_tokens")[1:] == [16, 16]


def test_text_ahead_waits_for_what_it_stands_behind(tmp_path: Path) -> None:
    played = little(
        tmp_path,
        session(turn(0), turn(1, think=30.0), chunks=[16, 16]),
        layout="document_first",
        acquisition="text",
        prefetch="{name: sequential, kind: text}",
        gpu=PER_TOKEN,
        down="1572.864 Mbit/s",
    )
    # The text of chunk 1 is there before chunk 0 is prefilled, at 17.2; it is prefilled from then on
    assert played.units == {"used_in_time": 1}
    assert played.column("cached_tokens") == [0, 32]


def test_text_ahead_gives_its_room_to_demand(tmp_path: Path) -> None:
    played = little(
        tmp_path,
        session(turn(0), turn(0, think=90.0), chunks=[16, 64], name="a"),
        session(turn(0), chunks=[32], name="b", start=30.0),
        acquisition="text",
        prefetch="{name: sequential, kind: text}",
        gpu=PER_TOKEN,
        receiver_blocks=6,
        step=4,
        down="1572.864 Mbit/s",
    )
    # a's chunk 1 takes four blocks, prefilled from 17.2 on; b needs three at 30.0, and the step ends at 33.2
    assert played.units["evicted"] == 1
    assert played.result.speculative_gpu_s["evicted"] == pytest.approx(16.0, abs=1e-3)
    assert played.column("scheduled_s")[1] == pytest.approx(33.4, abs=1e-3)


def test_perfect_residency_moves_nothing(tmp_path: Path) -> None:
    played = little(
        tmp_path,
        session(turn(0), turn(1), chunks=[64, 64]),
        acquisition="perfect-residency",
    )
    assert played.transfers("demand") == []
    assert played.column("first_token_s") == [0.0, 0.0]
    assert played.column("cached_tokens") == [64, 64]


def test_perfect_residency_needs_no_push_that_is_under_way(tmp_path: Path) -> None:
    played = little(
        tmp_path,
        session(turn(0), turn(1, think=1.0), chunks=[16, 64]),
        acquisition="perfect-residency",
        prefetch=SEQUENTIAL,
    )
    assert played.column("status") == ["finished", "finished"]
    assert played.column("first_token_s") == [0.0, 1.0]


def test_without_a_source_everything_is_computed_here_once(tmp_path: Path) -> None:
    played = little(
        tmp_path,
        session(turn(0), chunks=[32], document_id="d", name="a"),
        session(turn(0), chunks=[32], document_id="d", name="b", start=1.0),
        source="",
        sender="",
        gpu=PER_TOKEN,
    )
    assert played.column("cached_tokens") == [0, 32]  # the second waits for the first one's prefill
    assert played.column("first_token_s") == pytest.approx([33.0, 34.0], **CLOSE)


# -- a pool that only stores --------------------------------------------------------------------------------


def talk_over_a_prefix(name: str, start: float, *more: dict[str, object]) -> dict[str, object]:
    """Return a session whose first four blocks other sessions share."""
    turns = (run_turn((0, 4)), *more)
    return session(*turns, name=name, start=start, shared_prefix={"key": "tools", "blocks": 4})


def test_what_the_pool_lacks_is_computed_and_written_through(tmp_path: Path) -> None:
    played = little(
        tmp_path,
        talk_over_a_prefix("a", 0.0),
        talk_over_a_prefix("b", 1.0),
        talk_over_a_prefix("c", 20.0),
        layout=None,
        sender_gpu=None,
        count=3,
        routing="round-robin",
    )
    # a computes the prefix at 0.0; in the pool it is at 4.1, too late for b, which hears so at 1.2; c gets it
    assert played.column("server") == ["receiver-0", "receiver-1", "receiver-2"]
    assert played.column("cached_tokens") == [0, 0, 64]
    assert played.column("first_token_s") == pytest.approx([0.0, 1.2, 24.2], **CLOSE)
    # b does not know that a writes the same, and shares the link with it; what comes second is not stored twice
    assert [row[2] for row in played.transfers("background", "up")] == [4 * BLOCK_BYTES, 4 * BLOCK_BYTES]
    assert [row[2] for row in played.transfers("demand")] == [4 * BLOCK_BYTES]
    assert played.world.sources["sender"].buffer.used_blocks == 4


def test_what_another_request_computes_is_waited_for_not_asked_of_the_pool(tmp_path: Path) -> None:
    played = little(
        tmp_path,
        talk_over_a_prefix("a", 0.0),
        talk_over_a_prefix("b", 1.0),
        layout=None,
        sender_gpu=None,
        gpu=PER_TOKEN,
    )
    assert played.column("cached_tokens") == [0, 64]
    assert played.column("first_token_s") == pytest.approx([65.0, 66.0], **CLOSE)
    assert played.transfers("demand") == []


def test_a_pool_sends_text_along_with_independent_chunks(tmp_path: Path) -> None:
    """A pool that got a chunk by write-through sends it to be blended elsewhere."""
    played = little(
        tmp_path,
        session(turn(0), chunks=[24], document_id="d", name="a"),
        session(turn(0), chunks=[24], document_id="d", name="b", start=30.0),
        sender_gpu=None,
        composition="blend",
        count=2,
        routing="round-robin",
    )
    assert [row[2] for row in played.transfers("demand")] == [2 * BLOCK_BYTES + 24 * 4]


def test_a_pool_sends_the_chunks_that_it_has(tmp_path: Path) -> None:
    """Independent chunks count each alone: chunk 1 comes although chunk 0, asked before it, must be computed."""
    played = little(
        tmp_path,
        session(turn(1), chunks=[16, 16], document_id="d", name="a"),
        session(turn(0, 1), chunks=[16, 16], document_id="d", name="b", start=30.0),
        sender_gpu=None,
        count=2,
        routing="round-robin",
    )
    assert [row[2] for row in played.transfers("demand")] == [BLOCK_BYTES]
    assert played.column("cached_tokens") == [0, 16]


# -- at the end ---------------------------------------------------------------------------------------------


def test_what_is_left_over_is_an_error(tmp_path: Path) -> None:
    world = play(scenario(tmp_path, session(turn(0), chunks=[16]))).world
    world.servers[0].load.requests += 1
    with pytest.raises(InvariantError, match="1 requests and 0 sessions have not ended"):
        world.servers[0].check_at_rest()
    world.sources["sender"]._waiting_for_room.append(None)  # type: ignore[arg-type]
    with pytest.raises(InvariantError, match="0 compute, 1 wait for room"):
        world.sources["sender"].check_at_rest()


def test_a_request_that_waits_for_ever_is_an_error(tmp_path: Path) -> None:
    told = scenario(tmp_path, session(turn(0), chunks=[16]))
    with pytest.raises(InvariantError, match="1 requests wait for something that will not happen"):
        play(told, (0.5, lambda world: world.links["down"].settle()))  # the link loses what it carries
