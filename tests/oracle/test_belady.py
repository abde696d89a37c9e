"""Evictions against theory: MIN by brute force, the FIFO anomaly, Mattson's stack distances."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simkv.kv.block import Run
from simkv.kv.buffer import KvBuffer
from simkv.policies import EVICTION
from simkv.policies.eviction.belady import Belady, next_uses
from simkv.rng import stream

#: Belady, Nelson and Shedler, CACM 12(6), 1969: more room, more misses.
ANOMALY = (1, 2, 3, 4, 1, 2, 5, 1, 2, 3, 4, 5)


class Replay:
    """A trace of unit blocks played through a buffer.

    Attributes
    ----------
    hits : one flag an access.
    contents : what the buffer held after each access.
    """

    def __init__(self, policy: str, capacity: int, trace: Sequence[int]) -> None:
        eviction = EVICTION.create(policy)
        if isinstance(eviction, Belady):
            eviction.foresee([(Run(block, 1),) for block in trace])
        held: set[int] = set()
        buffer = KvBuffer(capacity, 1, eviction, lambda: 0.0, lambda run, _: held.remove(run.start))
        self.hits: list[bool] = []
        self.contents: list[frozenset[int]] = []
        for block in trace:
            run = Run(block, 1)
            self.hits.append(buffer.resident(run))
            if self.hits[-1]:
                buffer.pin(run)
            else:
                assert buffer.reserve(run)
                buffer.arrive(run, pin=True)
                held.add(block)
            buffer.release(run)
            self.contents.append(frozenset(held))
        buffer.check_all_free()

    @property
    def misses(self) -> int:
        """How many accesses found nothing."""
        return self.hits.count(False)


def fewest_misses(trace: Sequence[int], capacity: int) -> int:
    """Try every choice of victim; every miss takes its block in."""

    @cache
    def best(at: int, held: frozenset[int]) -> int:
        if at == len(trace):
            return 0
        block = trace[at]
        if block in held:
            return best(at + 1, held)
        if len(held) < capacity:
            return 1 + best(at + 1, held | {block})
        return 1 + min(best(at + 1, (held - {victim}) | {block}) for victim in held)

    return best(0, frozenset())


def stack_distances(trace: Sequence[int]) -> list[float]:
    """Return how many other blocks were used since the same block was (Mattson et al., 1970), naively."""
    found = []
    for at, block in enumerate(trace):
        since = next((back for back in range(at - 1, -1, -1) if trace[back] == block), None)
        found.append(math.inf if since is None else len(set(trace[since + 1 : at])))
    return found


def random_trace(length: int, blocks: int, *key: int) -> list[int]:
    """Return accesses with locality: half of them go to one block in eight."""
    draws = stream(20240601, "trace", *key)
    hot = max(1, blocks // 8)
    return [draws.randrange(hot if draws.random() < 0.5 else blocks) for _ in range(length)]


short_traces = st.lists(st.integers(0, 5), min_size=1, max_size=12)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(short_traces, st.integers(2, 4))
def test_belady_misses_as_rarely_as_any_choice_of_victims_could(trace: list[int], capacity: int) -> None:
    """MIN through the buffer equals the minimum over all possible evictions."""
    assert Replay("belady", capacity, trace).misses == fewest_misses(trace, capacity)


@pytest.mark.parametrize(("capacity", "misses"), [(3, 9), (4, 10)])
def test_fifo_anomaly(capacity: int, misses: int) -> None:
    """With FIFO a fourth frame makes it worse: the published counts."""
    assert Replay("fifo", capacity, ANOMALY).misses == misses


@pytest.mark.parametrize(("policy", "misses"), [("lru", (10, 8)), ("belady", (7, 6))])
def test_stack_policies_have_no_anomaly(policy: str, misses: tuple[int, int]) -> None:
    """On the same accesses LRU and MIN gain from the fourth frame; counted by hand."""
    assert tuple(Replay(policy, capacity, ANOMALY).misses for capacity in (3, 4)) == misses


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("policy", ["lru", "belady"])
def test_a_larger_buffer_holds_all_that_a_smaller_one_holds(policy: str, seed: int) -> None:
    """The inclusion property of stack algorithms, after every access."""
    trace = random_trace(400, 40, seed)
    replays = [Replay(policy, capacity, trace).contents for capacity in (2, 5, 6, 13)]
    for smaller, larger in pairwise(replays):
        assert all(a <= b for a, b in zip(smaller, larger, strict=True))


@pytest.mark.parametrize("seed", range(5))
def test_lru_hits_are_the_short_stack_distances(seed: int) -> None:
    """Access by access: LRU with n blocks hits exactly when fewer than n others were used in between."""
    trace = random_trace(600, 50, seed)
    distances = stack_distances(trace)
    for capacity in (1, 3, 10, 25, 50):
        assert Replay("lru", capacity, trace).hits == [distance < capacity for distance in distances]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("capacity", [1, 4, 12])
def test_nobody_misses_less_than_belady(capacity: int, seed: int) -> None:
    """MIN is a lower bound on the misses of every policy that is no oracle."""
    trace = random_trace(600, 50, seed)
    fewest = Replay("belady", capacity, trace).misses
    for policy in EVICTION:
        if not EVICTION.is_oracle(policy):
            assert Replay(policy, capacity, trace).misses >= fewest


def test_a_loop_one_block_too_long() -> None:
    """LRU and FIFO never hit in a loop over n + 1 blocks; MIN misses once in n accesses after the first n + 1."""
    capacity, rounds = 5, 20
    trace = [block for _ in range(rounds) for block in range(capacity + 1)]
    assert not any(Replay("lru", capacity, trace).hits)
    assert not any(Replay("fifo", capacity, trace).hits)
    expected = capacity + 1 + (len(trace) - capacity - 1) / capacity
    assert Replay("belady", capacity, trace).misses == pytest.approx(expected, abs=1)


run_sets = st.lists(st.builds(Run, st.integers(0, 12), st.integers(1, 6)), min_size=1, max_size=3)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(run_sets, max_size=10))
def test_next_uses_are_what_a_search_finds(accesses: list[list[Run]]) -> None:
    """Block by block, also where the runs of an access overlap, against a search through all that follows."""
    blocks = [{block for run in runs for block in range(run.start, run.end)} for runs in accesses]

    def search(block: int, start: int) -> float:
        return float(next((at for at in range(start, len(blocks)) if block in blocks[at]), math.inf))

    after, first = next_uses([tuple(runs) for runs in accesses])
    for at, named in enumerate(blocks):
        found = {block: use for run, use in after[at] for block in range(run.start, run.end)}
        assert found == {block: search(block, at + 1) for block in named}
    found = {block: use for run, use in first for block in range(run.start, run.end)}
    assert found == {block: search(block, 0) for block in set().union(*blocks)}


def test_belady_keeps_the_books_of_what_a_use_cut() -> None:
    """Using the front of a run leaves its end evictable, with its own next use."""
    policy = Belady()
    policy.foresee([(Run(0, 4),), (Run(0, 2),), (Run(0, 2),), (Run(0, 4),)])
    policy.inserted(Run(0, 4), 0.0)
    policy.used(Run(0, 4), 0.0)  # next: the front at 1, the end at 3
    assert policy.victim(1) == Run(2, 2)
    policy.used(Run(1, 1), 1.0)
    policy.removed(Run(3, 1))
    policy.removed(Run(2, 1))
    assert policy.victim(1) == Run(1, 1)  # next at 2
    policy.removed(Run(1, 1))
    assert policy.victim(1) == Run(0, 1)
    policy.removed(Run(0, 1))
    assert policy.victim(1) is None


def test_belady_forgets_what_has_passed() -> None:
    """Its heap grows with what is resident, not with the accesses made."""
    trace = random_trace(20_000, 12)
    policy = Belady()
    policy.foresee([(Run(block, 1),) for block in trace])
    for block in range(12):
        policy.inserted(Run(block, 1), 0.0)
    for block in trace:
        policy.used(Run(block, 1), 0.0)
    assert len(policy._farthest) < 2_000
