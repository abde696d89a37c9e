"""Every unit that a query needed and did not find has one cause, worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simkv import fates
from simkv.claim import Claim
from simkv.errors import InvariantError
from simkv.fates import Fates
from simkv.first_look import FirstLook
from simkv.kv.block import Run
from simkv.kv.buffer import KvBuffer
from simkv.kv.prefix import Part
from simkv.ledger import Ledger
from simkv.metrics import replication_metrics
from simkv.policies import EVICTION
from simkv.results import MISS_CAUSES
from tests.unit.little_worlds import Played, play, scenario, session, turn

SEQUENTIAL = "sequential"


def misses(folder: Path, *sessions: dict[str, Any], **told: Any) -> list[dict[str, int]]:
    """Return the causes of each request's misses, in order of arrival."""
    return causes_of(play(scenario(folder, *sessions, **told)))


def causes_of(played: Played) -> list[dict[str, int]]:
    columns = {cause: played.column(f"{cause}_units") for cause in MISS_CAUSES}
    rows = range(len(played.column("turn")))
    return [{cause: units[row] for cause, units in columns.items() if units[row]} for row in rows]


def test_before_a_session_has_asked_nothing_can_be_tried(tmp_path: Path) -> None:
    found = misses(tmp_path, session(turn(0), turn(1, think=9.0), chunks=[16, 16]))
    assert found == [{"uncreated": 1}, {"unpredicted": 1}]


def test_another_chunk_than_the_one_speculated_is_a_wrong_guess(tmp_path: Path) -> None:
    told = session(turn(0), turn(2, think=9.0), turn(0, think=9.0), chunks=[16, 16, 16])
    assert misses(tmp_path, told, prefetch=SEQUENTIAL) == [{"uncreated": 1}, {"wrong": 1}, {}]


def test_behind_the_end_of_a_document_sequential_prefetch_tries_nothing(tmp_path: Path) -> None:
    told = session(turn(1), turn(0, think=9.0), chunks=[16, 16])
    assert misses(tmp_path, told, prefetch=SEQUENTIAL) == [{"uncreated": 1}, {"unpredicted": 1}]


def test_a_push_that_is_under_way_is_late(tmp_path: Path) -> None:
    told = session(turn(0), turn(1, think=1.0), chunks=[16, 64])
    assert misses(tmp_path, told, prefetch=SEQUENTIAL) == [{"uncreated": 1}, {"late": 1}]


def test_a_push_that_was_stopped_is_cancelled(tmp_path: Path) -> None:
    told = session(turn(0), turn(2, think=2.0), turn(1, think=9.0), chunks=[16, 128, 16])
    assert misses(tmp_path, told, prefetch=SEQUENTIAL) == [{"uncreated": 1}, {"wrong": 1}, {"cancelled": 1}]


def test_a_push_that_stopped_because_its_session_ended_is_cancelled_for_who_reads_the_same(tmp_path: Path) -> None:
    first = session(turn(0), chunks=[16, 160], name="a", document_id="d")
    second = session(turn(1), chunks=[16, 160], name="b", document_id="d", start=60.0)
    assert misses(tmp_path, first, second, prefetch=SEQUENTIAL) == [{"uncreated": 1}, {"cancelled": 1}]


def test_a_push_that_found_no_room_was_refused(tmp_path: Path) -> None:
    """While turn 0 holds two of five blocks, the four of chunk 1 do not fit; alone with the question they do."""
    told = session(turn(0), turn(1, think=20.0), chunks=[16, 64])
    assert misses(tmp_path, told, prefetch=SEQUENTIAL, receiver_blocks=5) == [{"uncreated": 1}, {"refused": 1}]


def test_a_source_without_room_refuses_as_well(tmp_path: Path) -> None:
    """Chunk 1 takes four blocks; the source has three."""
    told = session(turn(0), turn(2, think=20.0), chunks=[16, 64, 16])
    gpu = "{name: fixed, prefill_per_token: 100 ms}"
    played = play(scenario(tmp_path, told, prefetch=SEQUENTIAL, sender_blocks=3, sender_gpu=gpu))
    assert played.units == {"never_used": 1}
    assert causes_of(played) == [{"uncreated": 1}, {"wrong": 1}]


@pytest.mark.parametrize("prefetch", ["none", SEQUENTIAL])
def test_what_demand_or_speculation_brought_and_lost_was_evicted(tmp_path: Path, prefetch: str) -> None:
    if prefetch == "none":  # turn 1 takes the room of chunk 0
        told = session(turn(0), turn(1, think=10.0), turn(0, think=20.0), chunks=[48, 48])
        assert misses(tmp_path, told, receiver_blocks=5)[2] == {"evicted": 1}
    else:  # b takes the room of chunk 1, which came at 5.4
        first = session(turn(0), turn(1, think=30.0), chunks=[16, 64], name="a")
        other = session(turn(0), chunks=[80], name="b", start=10.0)
        assert misses(tmp_path, first, other, prefetch=prefetch, receiver_blocks=6)[-1] == {"evicted": 1}


def test_two_late_pieces_of_one_chunk_hide_no_other_miss() -> None:
    """Chunk 1 comes in two pieces, for its middle block is here; chunk 2 nobody speculated."""
    claim = Claim.__new__(Claim)
    claim.in_time_units = claim.late_units = 0
    claim.misses = {0: "wrong", 1: "wrong"}
    claim.prompt = mock.Mock(parts=[mock.Mock(run=Run(0, 3)), mock.Mock(run=Run(3, 3))])
    claim.was_late([Run(0, 1)], [Run(2, 1)])
    assert {name: count for name, count in claim.units().items() if count} == {
        "needed_units": 3,
        "late_units": 2,
        "wrong_units": 1,
    }


def test_what_is_gone_decides_and_not_what_is_late_beside_it() -> None:
    """The front of a chunk is on its way, its end was evicted: a late unit, and one more."""
    ledger = Ledger()
    buffer = KvBuffer(80, 10, EVICTION.create("lru"), now=lambda: 0.0)
    look = FirstLook(buffer, ledger)
    buffer.reserve(Run(0, 2), mark=ledger.open(0, 2, Run(0, 2), look.fates))
    look.fates.note(Run(2, 2), "evicted")
    claim = Claim(mock.Mock(key=0), mock.Mock(), mock.Mock(), on_ready=lambda: None)
    claim.prompt = mock.Mock(parts=[Part(Run(0, 4), 64, 0)], spans=[Run(0, 4)], fresh_blocks=0)
    ledger.attempts.asked(0)
    look.at(claim)
    assert {name: count for name, count in claim.units().items() if count} == {
        "needed_units": 2,
        "late_units": 1,
        "evicted_units": 1,
    }


def test_a_unit_without_a_cause_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    units = Claim.units
    monkeypatch.setattr(Claim, "units", lambda claim: units(claim) | {"unpredicted_units": 0})
    with pytest.raises(InvariantError, match="needed 1 units, 0 were in time or have a cause"):
        misses(tmp_path, session(turn(0), turn(1), chunks=[16, 16]))


def test_shares_of_causes_and_of_what_came_in_time_sum_to_one(tmp_path: Path) -> None:
    told = session(turn(0), turn(2, think=9.0), turn(3, think=9.0), turn(4, think=0.1), chunks=[16, 16, 16, 16, 64])
    found = replication_metrics(play(scenario(tmp_path, told, prefetch=SEQUENTIAL)).result)
    shares = {name: found[f"missed.{name}"] for name in MISS_CAUSES}
    assert {name: share for name, share in shares.items() if share} == {"uncreated": 0.25, "wrong": 0.25, "late": 0.25}
    assert found["in_time"] == 0.25


notes = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 6), st.sampled_from(MISS_CAUSES)), max_size=60)


@given(notes)
def test_the_newest_fates_are_remembered_and_no_more(told: list[tuple[int, int, str]]) -> None:
    with mock.patch.object(fates, "MOST_FATES", 5):
        ours = Fates()
        for start, count, cause in told:
            ours.note(Run(start, count), cause)
        facts: list[tuple[int, int, str]] = []
        for start, count, cause in told:  # what continues the note before it to the front is one fact with it
            if facts and facts[-1][0] == start + count and facts[-1][2] == cause:
                facts[-1] = (start, count + facts[-1][1], cause)
            else:
                facts.append((start, count, cause))
        expected: dict[int, str] = {}
        for start, count, cause in facts[-5:]:
            expected |= dict.fromkeys(range(start, start + count), cause)
        assert {block: ours.of(Run(block, 1)) for block in range(40)} == {b: expected.get(b) for b in range(40)}
        assert len(ours._noted) <= 5
