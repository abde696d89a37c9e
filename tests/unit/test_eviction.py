"""What each eviction policy offers, run by run."""

from __future__ import annotations

import math

import pytest

from simkv.errors import InputError
from simkv.kv.block import Run
from simkv.kv.buffer import KvBuffer
from simkv.policies.eviction import EVICTION, Eviction
from simkv.policies.eviction.fifo import Fifo
from simkv.policies.eviction.gdsf import Gdsf
from simkv.policies.eviction.lru import Lru
from simkv.policies.eviction.order import RunLine
from simkv.policies.eviction.question import Told
from simkv.policies.eviction.ttl import Ttl
from simkv.policies.eviction.workflow_aware import WorkflowAware


def drained(policy: Eviction) -> list[Run]:
    """Return everything that a policy still offers, in its order."""
    found = []
    while (victim := policy.victim(1)) is not None:
        found.append(victim)
        policy.removed(victim)
    return found


def test_lru_offers_what_was_used_longest_ago() -> None:
    """A use moves a run behind all others; insertion counts as one."""
    policy = Lru()
    for start in (0, 10, 20):
        policy.inserted(Run(start, 4), 0.0)
    policy.used(Run(0, 4), 1.0)
    assert drained(policy) == [Run(10, 4), Run(20, 4), Run(0, 4)]


def test_lru_moves_only_the_part_that_was_used() -> None:
    """What lies around the used part stays in its place, the end before the front: it hangs on it."""
    policy = Lru()
    policy.inserted(Run(0, 10), 0.0)
    policy.inserted(Run(20, 1), 0.0)
    policy.used(Run(4, 2), 1.0)
    assert drained(policy) == [Run(6, 4), Run(0, 4), Run(20, 1), Run(4, 2)]


def test_lru_takes_a_use_across_insertions_as_one() -> None:
    """A prompt's blocks that came at different times are used together."""
    policy = Lru()
    policy.inserted(Run(0, 4), 0.0)
    policy.inserted(Run(20, 1), 0.0)
    policy.inserted(Run(4, 4), 0.0)
    policy.used(Run(0, 8), 1.0)
    assert drained(policy) == [Run(20, 1), Run(0, 8)]


def test_fifo_does_not_count_uses() -> None:
    """Used or not, what came first goes first."""
    policy = Fifo()
    policy.inserted(Run(0, 4), 0.0)
    policy.inserted(Run(10, 4), 0.0)
    policy.used(Run(0, 4), 1.0)
    assert drained(policy) == [Run(0, 4), Run(10, 4)]


@pytest.mark.parametrize("name", sorted(EVICTION))
def test_a_cut_victim_is_offered_on(name: str) -> None:
    """After the buffer took the end of a victim, the front is what remains."""
    policy = EVICTION.create(name)
    policy.inserted(Run(0, 10), 0.0)
    policy.removed(Run(7, 3))
    left = drained(policy)
    assert left == [Run(0, 7)] or (name == "random" and sorted(run.start for run in left) == list(range(7)))


@pytest.mark.parametrize("name", sorted(EVICTION))
def test_nothing_to_offer(name: str) -> None:
    """An empty policy says so."""
    assert EVICTION.create(name).victim(1) is None


def test_line_renews_the_last_in_place() -> None:
    """Renewing what is last, or what is not there at all, keeps the line whole."""
    line = RunLine()
    line.append(Run(0, 2))
    line.renew(Run(0, 2))
    line.renew(Run(5, 2))
    line.renew(Run(0, 2))
    assert [line.pop_first(), line.pop_first(), line.first()] == [Run(5, 2), Run(0, 2), None]


def test_workflow_aware_offers_what_is_the_most_steps_away() -> None:
    """What nobody tells of goes first; a run that is told of in parts is cut; what was told before it came counts."""
    policy = WorkflowAware()
    assert isinstance(policy, Told)
    policy.told(Run(20, 2), 3)
    for start in (0, 10, 20, 30):
        policy.inserted(Run(start, 4), 0.0)
    policy.told(Run(0, 4), 1)
    policy.told(Run(10, 4), 5)
    assert drained(policy) == [Run(22, 2), Run(30, 4), Run(10, 4), Run(20, 2), Run(0, 4)]
    policy.inserted(Run(10, 4), 0.0)
    policy.inserted(Run(0, 4), 0.0)
    policy.told(Run(10, 4), 0)
    assert drained(policy) == [Run(0, 4), Run(10, 4)]
    policy.told(Run(10, 4), math.inf)
    policy.inserted(Run(10, 4), 0.0)
    policy.inserted(Run(0, 4), 0.0)
    assert drained(policy) == [Run(10, 4), Run(0, 4)]


def test_workflow_aware_buffer_keeps_the_next_agent() -> None:
    """Three agents in turn, a buffer for two: LRU always evicts the next one, this does not."""
    agents = [Run(0, 4), Run(10, 4), Run(20, 4)]
    hits = {}
    for name in ("lru", "workflow-aware"):
        policy = EVICTION.create(name)
        buffer = KvBuffer(8, 1, policy, lambda: 0.0)
        hits[name] = 0
        for step in range(30):
            for other, run in enumerate(agents):
                if isinstance(policy, Told):
                    policy.told(run, (other - step) % 3)
            hits[name] += buffer.resident(agents[step % 3])
            for gap in buffer.absent(agents[step % 3]):
                buffer.reserve(gap)
                buffer.arrive(gap)
            buffer.touch(agents[step % 3])
    assert hits["lru"] == 0
    assert hits["workflow-aware"] >= 13  # MIN hits every second use in a loop of three over two


def test_ttl_drops_what_was_not_used_in_time() -> None:
    """Whoever looks after the time to live does not find it; a use in time renews it, unless told not to."""
    for renew, left in ((True, 4), (False, 0)):
        clock = [0.0]
        buffer = KvBuffer(8, 1, Ttl(ttl_s=10.0, renew=renew), lambda clock=clock: clock[0])
        buffer.reserve(Run(0, 4), pin=True)
        buffer.release(Run(0, 4))
        clock[0] = 9.0
        buffer.touch(Run(0, 4))
        clock[0] = 18.0
        assert buffer.leading(Run(0, 4)) == left
        clock[0] = 19.0
        assert buffer.survey(Run(0, 4)).resident == []
        assert buffer.used_blocks == 0


def test_ttl_spares_what_is_in_use() -> None:
    """A block that is pinned outlives its time, and lives as long again once it is free."""
    clock = [0.0]
    buffer = KvBuffer(8, 1, Ttl(ttl_s=10.0), lambda: clock[0])
    buffer.reserve(Run(0, 4), pin=True)
    buffer.release(Run(0, 4))
    buffer.pin(Run(0, 4))
    clock[0] = 50.0
    assert buffer.resident(Run(0, 4))
    buffer.release(Run(0, 4))
    clock[0] = 59.0
    assert buffer.resident(Run(0, 4))


def test_gdsf_keeps_what_costs_most_to_compute_again() -> None:
    """By transfer all blocks cost the same and the oldest goes; by recompute the deeper one stays."""
    for cost, first in (("transfer", Run(10, 4)), ("recompute", Run(0, 4))):
        policy = Gdsf(cost=cost)  # type: ignore[arg-type]
        policy.priced(lambda run: 1.0 + run.start)
        for start in (10, 0):
            policy.inserted(Run(start, 4), 0.0)
            policy.used(Run(start, 4), 0.0)
        assert policy.victim(1) == first


def test_what_policies_refuse() -> None:
    """A share that is none, a time that is none."""
    for name, params in (
        ("s3-fifo", {"small_ratio": 0.0}),
        ("s3-fifo", {"threshold": 0}),
        ("w-tinylfu", {"window_ratio": 1.5}),
        ("slru", {"segments": 0}),
        ("ttl", {"ttl_s": 0.0}),
        ("continuum-ttl", {"gain_s": -1.0}),
        ("gdsf", {"cost": "money"}),
    ):
        with pytest.raises(InputError, match="must be"):
            EVICTION.create(name, params)


def test_gdsf_lets_pass_what_is_worth_less_than_all_that_is_here() -> None:
    """Two blocks used three times each are worth 3; of four that come, two would be worth 1 and 2, the third stays."""
    policy = Gdsf()
    policy.inserted(Run(0, 2), 0.0)
    for _ in range(3):
        policy.used(Run(0, 2), 0.0)
    assert policy.coming(Run(10, 4)) == (2, False)
    policy.passed(Run(12, 2), 0.0)
    assert policy.coming(Run(10, 2)) == (1, True)
    assert policy.coming(Run(11, 1)) == (1, True)
