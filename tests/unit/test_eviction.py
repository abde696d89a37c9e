"""What each eviction policy offers, run by run."""

from __future__ import annotations

import pytest

from simkv.kv.block import Run
from simkv.policies.eviction import EVICTION, Eviction
from simkv.policies.eviction.fifo import Fifo
from simkv.policies.eviction.lru import Lru
from simkv.policies.eviction.order import RunLine


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
