"""A KV buffer: room, use, marks, eviction, and the misuse that it refuses."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from simkv.errors import InvariantError
from simkv.kv.block import Run
from simkv.kv.buffer import KvBuffer
from simkv.policies import EVICTION
from simkv.policies.eviction import Eviction

Evicted = list[tuple[Run, object]]


def make(blocks: int, eviction: Eviction | None = None) -> tuple[KvBuffer, Evicted]:
    """Return a buffer with room for so many blocks, and the list of what it evicts."""
    evicted: Evicted = []
    policy = eviction or EVICTION.create("lru")
    return KvBuffer(blocks * 100, 100, policy, lambda: 0.0, lambda run, mark: evicted.append((run, mark))), evicted


def fill(buffer: KvBuffer, run: Run, mark: object = None) -> None:
    """Bring a run in, unused."""
    assert buffer.reserve(run, mark)
    buffer.arrive(run)


def test_room_is_whole_blocks() -> None:
    """What is left of the bytes behind the last whole block holds nothing."""
    assert KvBuffer(299, 100, EVICTION.create("lru"), lambda: 0.0).capacity_blocks == 2


@pytest.mark.parametrize(("size_bytes", "block_bytes"), [(99, 100), (0, 100), (100, 0), (100, -1)])
def test_no_room_for_one_block(size_bytes: int, block_bytes: int) -> None:
    """A buffer that can hold nothing is a mistake."""
    with pytest.raises(ValueError, match="want room for at least one block"):
        KvBuffer(size_bytes, block_bytes, EVICTION.create("lru"), lambda: 0.0)


def test_reserved_is_not_yet_resident() -> None:
    """Room is taken at once, content is usable on arrival only."""
    buffer, _ = make(10)
    assert buffer.reserve(Run(0, 4))
    assert (buffer.used_blocks, buffer.pinned_blocks, buffer.leading(Run(0, 4))) == (4, 4, 0)
    assert buffer.arriving(Run(0, 10)) == buffer.not_resident(Run(0, 4)) == [Run(0, 4)]
    buffer.arrive(Run(0, 2))
    assert (buffer.leading(Run(0, 4)), buffer.pinned_blocks) == (2, 2)
    buffer.arrive(Run(2, 2))
    assert buffer.resident(Run(0, 4))
    assert buffer.pinned_blocks == 0


def test_reuse_stops_at_the_first_hole() -> None:
    """Blocks behind a hole do not count (semantics B4), though they are there."""
    buffer, _ = make(10)
    fill(buffer, Run(0, 2))
    fill(buffer, Run(3, 2))
    assert buffer.leading(Run(0, 5)) == 2
    assert buffer.leading(Run(2, 3)) == 0
    assert buffer.absent(Run(0, 6)) == [Run(2, 1), Run(5, 1)]


def test_the_end_of_a_prompt_goes_before_its_front() -> None:
    """As much as is needed is cut from the end of the run used longest ago."""
    buffer, evicted = make(10)
    fill(buffer, Run(0, 6))
    fill(buffer, Run(20, 4))
    assert buffer.reserve(Run(40, 2))
    assert buffer.reserve(Run(50, 1))
    assert evicted == [(Run(4, 2), None), (Run(3, 1), None)]
    assert buffer.leading(Run(0, 6)) == 3


def test_what_is_used_together_goes_from_its_end_however_it_came() -> None:
    """Pieces that came apart are one prompt once they were used together."""
    buffer, evicted = make(10)
    for start in (4, 0, 8):
        fill(buffer, Run(start, 2))
    for start in (2, 6):
        fill(buffer, Run(start, 2))
    buffer.pin(Run(0, 10))
    buffer.release(Run(0, 10))
    assert buffer.reserve(Run(40, 7))
    assert evicted == [(Run(3, 7), None)]


def test_what_is_in_use_stays() -> None:
    """Eviction passes over pinned blocks; they are evictable again once released."""
    buffer, evicted = make(8)
    fill(buffer, Run(0, 4))
    fill(buffer, Run(10, 4))
    buffer.pin(Run(1, 2))
    assert buffer.reserve(Run(20, 3))
    buffer.arrive(Run(20, 3))
    assert evicted == [(Run(3, 1), None), (Run(0, 1), None), (Run(13, 1), None)]
    buffer.release(Run(1, 2))
    assert buffer.reserve(Run(30, 8))
    assert [run for run, _ in evicted[3:]] == [Run(10, 3), Run(20, 3), Run(1, 2)]


def test_room_that_cannot_be_made_changes_nothing() -> None:
    """All or nothing: what is in use or arriving leaves too little, so nobody is evicted."""
    buffer, evicted = make(6)
    fill(buffer, Run(0, 4))
    buffer.pin(Run(0, 2))
    assert buffer.reserve(Run(10, 2))
    assert not buffer.reserve(Run(20, 3))
    assert evicted == []
    assert buffer.used_blocks == 6
    assert buffer.reserve(Run(20, 2))
    assert evicted == [(Run(2, 2), None)]


def test_nested_use() -> None:
    """A block in two uses is free after both."""
    buffer, _ = make(4)
    fill(buffer, Run(0, 4))
    buffer.pin(Run(0, 4))
    buffer.pin(Run(2, 2))
    buffer.release(Run(0, 4))
    assert buffer.pinned_blocks == 2
    assert not buffer.reserve(Run(10, 3))
    buffer.release(Run(2, 2))
    buffer.check_all_free()


def test_drop_throws_away_what_nobody_else_uses() -> None:
    """Blocks dropped at the end of their last use leave without being evicted."""
    buffer, evicted = make(4)
    assert buffer.reserve(Run(0, 4))
    buffer.arrive(Run(0, 4), pin=True)
    buffer.pin(Run(0, 1))
    buffer.release(Run(0, 4), drop=True)
    assert (buffer.used_blocks, buffer.leading(Run(0, 4))) == (1, 1)
    buffer.release(Run(0, 1), drop=True)
    assert (buffer.used_blocks, evicted) == (0, [])


def test_abandoned_room_is_free_again() -> None:
    """Content that will not come gives its room back, in part too."""
    buffer, _ = make(4)
    assert buffer.reserve(Run(0, 4))
    buffer.abandon(Run(1, 2))
    assert buffer.free_blocks == 2
    assert buffer.arriving(Run(0, 4)) == [Run(0, 1), Run(3, 1)]


def test_marks_stay_with_their_blocks() -> None:
    """Cut, used or evicted: a block keeps the mark that it came with, until it is unmarked."""
    buffer, evicted = make(8)
    fill(buffer, Run(0, 4), "unit")
    fill(buffer, Run(4, 2))
    assert buffer.marks(Run(2, 4)) == [(Run(2, 2), "unit")]
    buffer.pin(Run(0, 6))
    buffer.release(Run(0, 6))
    buffer.unmark(Run(0, 1))
    assert buffer.marks(Run(0, 6)) == [(Run(1, 3), "unit")]
    assert buffer.survey(Run(0, 1)).is_marked is False
    assert buffer.reserve(Run(20, 7))
    assert evicted == [(Run(4, 2), None), (Run(1, 3), "unit")]


def fifo_pair() -> tuple[KvBuffer, Evicted]:
    """Return a full FIFO buffer where two runs came one after the other and were then used as one."""
    buffer, evicted = make(8, EVICTION.create("fifo"))
    fill(buffer, Run(0, 4))
    fill(buffer, Run(4, 4))
    buffer.pin(Run(0, 8))
    buffer.release(Run(0, 8))
    return buffer, evicted


def test_a_victim_in_the_middle_of_what_was_used_together() -> None:
    """What remains on both sides of the cut goes its own way from there on."""
    buffer, evicted = fifo_pair()
    assert buffer.reserve(Run(20, 2))
    assert evicted == [(Run(2, 2), None)]
    buffer.pin(Run(0, 2))
    assert buffer.survey(Run(4, 4)).idle_blocks == 4
    buffer.release(Run(0, 2))
    buffer.arrive(Run(20, 2))
    buffer.check_all_free()


def test_what_was_passed_over_comes_back_as_new() -> None:
    """With FIFO a block in use at its turn is last afterwards; its neighbours, used with it again, keep their turn."""
    buffer, evicted = make(8, EVICTION.create("fifo"))
    for run in (Run(4, 2), Run(20, 2), Run(0, 4)):
        fill(buffer, run)
    buffer.pin(Run(4, 2))
    assert buffer.reserve(Run(30, 1))  # passes over what is in use
    buffer.arrive(Run(30, 1))
    buffer.release(Run(4, 2))
    buffer.pin(Run(0, 6))
    buffer.release(Run(0, 6))
    assert buffer.reserve(Run(40, 8))
    assert evicted == [(Run(21, 1), None), (Run(20, 1), None), (Run(0, 4), None), (Run(30, 1), None), (Run(4, 2), None)]


def test_what_was_passed_over_is_released_beside_what_was_not() -> None:
    """One release takes both: the one comes in anew, the other keeps its place."""
    buffer, evicted = make(8, EVICTION.create("fifo"))
    for run in (Run(4, 2), Run(20, 2), Run(0, 4)):
        fill(buffer, run)
    buffer.pin(Run(4, 2))
    assert buffer.reserve(Run(30, 1))
    buffer.arrive(Run(30, 1))
    buffer.pin(Run(0, 4))
    buffer.release(Run(0, 6))
    assert buffer.reserve(Run(40, 8))
    assert [run for run, _ in evicted[1:]] == [Run(20, 1), Run(0, 4), Run(30, 1), Run(4, 2)]


MISUSE: dict[str, tuple[Callable[[KvBuffer], None], str]] = {
    "pin what is absent": (lambda b: b.pin(Run(50, 1)), "not wholly in the buffer"),
    "pin across a hole": (lambda b: b.pin(Run(0, 6)), "not wholly in the buffer"),
    "pin what is arriving": (lambda b: b.pin(Run(20, 1)), "before it arrived"),
    "arrive without room": (lambda b: b.arrive(Run(50, 1)), "not wholly in the buffer"),
    "arrive twice": (lambda b: b.arrive(Run(0, 1)), "without a reservation"),
    "abandon what is here": (lambda b: b.abandon(Run(0, 1)), "without a reservation"),
    "release what is not in use": (lambda b: b.release(Run(0, 1)), "more often than pinned"),
    "unmark what is absent": (lambda b: b.unmark(Run(50, 1)), "not wholly in the buffer"),
    "end with room reserved": (lambda b: b.check_all_free(), "still in use or arriving"),
}


@pytest.mark.parametrize("misuse", MISUSE)
def test_misuse_breaks_an_invariant(misuse: str) -> None:
    """A caller's mistake stops the run instead of spoiling its counts."""
    buffer, _ = make(10)
    fill(buffer, Run(0, 4))
    assert buffer.reserve(Run(20, 2))
    act, message = MISUSE[misuse]
    with pytest.raises(InvariantError, match=message):
        act(buffer)


def test_lost_count() -> None:
    """The count of used blocks is checked against the entries."""
    buffer, _ = make(10)
    fill(buffer, Run(0, 4))
    buffer.used_blocks += 1
    with pytest.raises(InvariantError, match="4 blocks of 10 are stored, 5 are counted"):
        buffer.check_all_free()


class Broken:
    """An eviction policy that offers one answer for ever."""

    def __init__(self, answer: Run | None) -> None:
        self.answer = answer

    def inserted(self, run: Run, now_s: float) -> None:
        """Ignore it."""

    def used(self, run: Run, now_s: float) -> None:
        """Ignore it."""

    def removed(self, run: Run) -> None:
        """Ignore it."""

    def victim(self, need_bytes: int) -> Run | None:
        """Return what it was made with."""
        return self.answer


@pytest.mark.parametrize("answer", [None, Run(50, 1), Run(3, 1)])
def test_a_broken_policy_cannot_hang_the_buffer(answer: Run | None) -> None:
    """No victim, one that is not here, or one in use offered again and again: an error, never an endless loop."""
    buffer, _ = make(4, Broken(answer))
    fill(buffer, Run(0, 4))
    buffer.pin(Run(3, 1))
    with pytest.raises(InvariantError, match="the eviction policy offers"):
        buffer.reserve(Run(20, 2))
