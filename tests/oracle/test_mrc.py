"""Hit counts of whole runs equal those of single blocks, of definitions written out, and of published counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simkv.errors import InputError
from simkv.kv.block import Run
from simkv.mrc import Access, accesses, counted, hit_counts, replay
from simkv.policies import EVICTION
from simkv.policies.eviction.question import Eviction, Foretold
from simkv.workload import open_trace
from tests.oracle.reference_caches import Cache, Fifo, Lfu, Lru, Min

MOONCAKE = Path("mooncake") / "conversation_0_40min.jsonl.xz"

#: Policy -> its definition; of an oracle, made from the accesses too.
PLAIN: dict[str, Callable[[int], Cache]] = {"fifo": Fifo, "lfu": Lfu, "lru": Lru}


@st.composite
def prompts(draw: st.DrawFn) -> list[Access]:
    """Draw prompts of a few runs that branch, grow and come back; no block stands twice in one."""
    order = []
    for at in range(draw(st.integers(1, 25))):
        runs: list[Run] = []
        taken: set[int] = set()
        for _ in range(draw(st.integers(1, 3))):
            run = Run(draw(st.integers(0, 30)), draw(st.integers(1, 9)))
            if taken.isdisjoint(range(run.start, run.end)):
                taken |= set(range(run.start, run.end))
                runs.append(run)
        order.append(Access(float(at), tuple(runs)))
    return order


def blocks_of(order: Sequence[Access]) -> list[list[int]]:
    """Return the blocks of each prompt, root to leaf."""
    return [[block for run in access.runs for block in range(run.start, run.end)] for access in order]


def plain_hits(order: Sequence[Access], cache: Cache, warmup: int = 0) -> tuple[int, int]:
    """Return hits and prefix hits, block by block."""
    hits = prefix_hits = 0
    for index, blocks in enumerate(blocks_of(order)):
        found = [cache.access(block) for block in blocks]
        if index >= warmup:
            hits += sum(found)
            prefix_hits += [*found, False].index(False)
    return hits, prefix_hits


class OneByOne:
    """A policy with the four hooks alone: of it, no blocks may come together."""

    def __init__(self, policy: Eviction) -> None:
        self.inserted, self.used = policy.inserted, policy.used
        self.removed, self.victim = policy.removed, policy.victim


def cut(order: Sequence[Access]) -> list[Access]:
    """Return the same accesses in runs of one block."""
    pairs = zip(order, blocks_of(order), strict=True)
    return [Access(access.at_s, tuple(Run(block, 1) for block in blocks)) for access, blocks in pairs]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(prompts(), st.integers(1, 30), st.integers(0, 3), st.sampled_from(sorted(PLAIN)))
def test_runs_hit_as_the_definition_says(order: list[Access], size: int, warmup: int, name: str) -> None:
    """Each policy in runs through the buffer, against its definition in single blocks."""
    assert replay(order, EVICTION.create(name), size, warmup) == plain_hits(order, PLAIN[name](size), warmup)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(prompts(), st.integers(1, 30), st.booleans())
def test_min_in_runs_hits_as_the_definition_says(order: list[Access], size: int, bypass: bool) -> None:
    """Belady's MIN, forced and with bypass."""
    flat = [block for blocks in blocks_of(order) for block in blocks]
    hits, _ = plain_hits(order, Min(size, flat, bypass))
    assert replay(order, EVICTION.create("belady", {"bypass": bypass}), size)[0] == hits


#: What they do depends on how blocks are cut into runs: draws, and one observed gap for each run that is used.
BY_RUN = {"continuum-ttl", "random"}


@pytest.mark.parametrize("name", sorted(set(EVICTION) - BY_RUN))
@settings(max_examples=60, deadline=None, derandomize=True)
@given(order=prompts(), size=st.integers(1, 30))
def test_runs_and_single_blocks_are_one_replay(name: str, order: list[Access], size: int) -> None:
    """However many blocks a policy lets come at once, the counts are those of runs of one block."""
    assert replay(order, EVICTION.create(name), size) == replay(cut(order), EVICTION.create(name), size)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(prompts(), st.integers(1, 30), st.sampled_from(sorted(PLAIN)))
def test_a_policy_that_cannot_tell_is_asked_block_by_block(order: list[Access], size: int, name: str) -> None:
    """Without the optional hook the counts are the same, only slower."""
    assert not isinstance(OneByOne(EVICTION.create(name)), Foretold)
    assert replay(order, OneByOne(EVICTION.create(name)), size) == plain_hits(order, PLAIN[name](size))


def test_a_later_block_of_a_prompt_may_leave_for_an_earlier_one() -> None:
    """LRU with two blocks: 0 1 | 2 0 1: 2 takes the place of 0, 0 that of 1."""
    order = [Access(0.0, (Run(0, 2),)), Access(1.0, (Run(2, 1), Run(0, 2)))]
    assert replay(order, EVICTION.create("lru"), 2) == (0, 0)
    assert replay(order, EVICTION.create("lru"), 3) == (2, 0)


def test_counts_by_hand() -> None:
    """Two prompts: 0 1 2 and 0 1 7; unlimited room stands last, as None."""
    order = [Access(0.0, (Run(0, 3),)), Access(1.0, (Run(0, 2), Run(7, 1)))]
    told = counted(order, ["lru"], [3, 1]).to_json()
    assert told == {
        "accesses": 6,
        "unique": 4,
        "infinite_hits": 2,
        "results": [
            {"policy": "lru", "blocks": 1, "hits": 0, "prefix_hits": 0},
            {"policy": "lru", "blocks": 3, "hits": 2, "prefix_hits": 2},
            {"policy": "lru", "blocks": None, "hits": 2, "prefix_hits": 2},
        ],
    }


def test_a_warmup_is_replayed_and_not_counted() -> None:
    """The second prompt hits what the first left; only the second counts."""
    order = [Access(0.0, (Run(0, 3),)), Access(1.0, (Run(0, 3),))]
    told = counted(order, ["fifo"], [3], warmup=1)
    assert (told.accesses, told.infinite_hits, told.results[0].hits) == (3, 3, 3)
    with pytest.raises(InputError, match="fewer than the 2 prompts"):
        counted(order, ["fifo"], [3], warmup=2)


def test_what_does_not_fit_is_refused() -> None:
    """A policy or a size that is none."""
    order = [Access(0.0, (Run(0, 3),))]
    with pytest.raises(InputError, match="did you mean 'lru'"):
        counted(order, ["lruu"])
    with pytest.raises(InputError, match="at least 1 block"):
        counted(order, ["lru"], [0])


def test_published_counts(data: Path) -> None:
    """Mooncake's conversations, first 40 minutes: sizes of the trace, and LRU as libcachesim counts it."""
    told = hit_counts(data / MOONCAKE, ["lru"], [1_000, 10_000])
    assert (told.accesses, told.unique, told.infinite_hits) == (194_284, 126_103, 68_181)
    assert [point.hits for point in told.results] == [8_559, 39_980, 68_181]


def test_sessions_without_a_start_follow_one_another() -> None:
    """Think times set the order inside a session."""
    order = accesses(open_trace(Path(__file__).parents[2] / "traces" / "reading.jsonl.gz"))
    assert [access.at_s for access in order] == sorted(access.at_s for access in order)
    assert all(run.count for access in order for run in access.runs)
