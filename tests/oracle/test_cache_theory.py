"""Evictions against theory: Che's approximation, time-to-live caches, Continuum's closed form, other people's MIN."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simkv.kv.block import Run
from simkv.kv.buffer import KvBuffer
from simkv.mrc import Access, accesses, replay
from simkv.policies import EVICTION
from simkv.policies.eviction.continuum_ttl import ContinuumTtl, best_ttl_s
from simkv.policies.eviction.ttl import Ttl
from simkv.rng import stream
from simkv.workload import open_trace


def singles(blocks: list[int]) -> list[Access]:
    """Return accesses to single blocks."""
    return [Access(float(at), (Run(block, 1),)) for at, block in enumerate(blocks)]


def independent(count: int, items: int, exponent: float, *key: int) -> list[int]:
    """Draw blocks independently by Zipf's law (the independent reference model)."""
    weights = [1 / rank**exponent for rank in range(1, items + 1)]
    return stream(20240601, "irm", *key).choices(range(items), weights, k=count)


def che_ratio(rates: list[float], size: int) -> float:
    """Return the hit ratio of LRU by Che, Tung and Wang (2002): the t at which `size` blocks were used in t."""
    low, high = 0.0, 1e9
    for _ in range(200):
        t = (low + high) / 2
        if math.fsum(1 - math.exp(-rate * t) for rate in rates) < size:
            low = t
        else:
            high = t
    return math.fsum(rate * (1 - math.exp(-rate * low)) for rate in rates) / math.fsum(rates)


def test_lru_by_che() -> None:
    """1,000 blocks by Zipf's law with 0.8, room for 100: .3778 by the approximation, and within a point of it here."""
    weights = [1 / rank**0.8 for rank in range(1, 1_001)]
    total = math.fsum(weights)
    expected = che_ratio([weight / total for weight in weights], 100)
    assert expected == pytest.approx(0.3778, abs=5e-5)
    blocks, warmup = independent(60_000, 1_000, 0.8), 5_000
    hits, _ = replay(singles(blocks), EVICTION.create("lru"), 100, warmup)
    assert hits / (len(blocks) - warmup) == pytest.approx(expected, abs=0.01)


def test_fifo_and_random_hit_alike_under_independent_references() -> None:
    """They share one product form (Gelenbe, 1973), and LRU does better."""
    blocks, warmup = independent(40_000, 300, 0.8, 2), 5_000
    hits = {name: replay(singles(blocks), EVICTION.create(name), 40, warmup)[0] for name in ("fifo", "random", "lru")}
    assert hits["random"] == pytest.approx(hits["fifo"], rel=0.03)
    assert hits["lru"] > 1.05 * hits["fifo"]


@pytest.mark.parametrize("renew", [True, False])
def test_ttl_under_poisson(renew: bool) -> None:
    """A renewed time to live T hits with 1 - exp(-r T) at rate r, a fixed one with r T / (1 + r T)."""
    draws, ttl_s, rate_per_s = stream(20240601, "ttl", int(renew)), 10.0, 0.1
    clock = [0.0]
    buffer = KvBuffer(8, 1, Ttl(ttl_s, renew), lambda: clock[0])
    hits, count, run = 0, 40_000, Run(0, 2)
    for _ in range(count):
        clock[0] += draws.expovariate(rate_per_s)
        if buffer.resident(run):
            hits += 1
            buffer.touch(run)
        else:
            buffer.reserve(run, pin=True)
            buffer.release(run)
    product = rate_per_s * ttl_s
    expected = 1 - math.exp(-product) if renew else product / (1 + product)
    assert hits / count == pytest.approx(expected, abs=4 * 0.5 / math.sqrt(count))


@pytest.mark.parametrize("gain_s", [0.5, 3.0, 20.0])
def test_continuum_closed_form(gain_s: float) -> None:
    """With exponential gaps of mean m the best time to live is m ln(G / m) if G > m, else 0."""
    draws = stream(20240601, "gaps")
    gaps_s = sorted(draws.expovariate(1.0) for _ in range(20_000))
    expected = math.log(gain_s) if gain_s > 1 else 0.0
    assert best_ttl_s(gaps_s, gain_s) == pytest.approx(expected, abs=0.15)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=30), st.floats(0.1, 100))
def test_continuum_is_the_argmax(gaps_s: list[float], gain_s: float) -> None:
    """Of 0 and the observed gaps, by trying each."""

    def worth(t: float) -> float:
        return sum(gap <= t for gap in gaps_s) / len(gaps_s) * gain_s - t

    assert worth(best_ttl_s(sorted(gaps_s), gain_s)) == pytest.approx(max(map(worth, [0.0, *gaps_s])))


def test_continuum_learns_from_uses_and_returns() -> None:
    """Gaps of 5 s, then the time to live is 5 s; also where a run had left in between."""
    policy = ContinuumTtl(gain_s=60.0, samples=10, cold_gap_s=1.0)
    assert policy.ttl_s == pytest.approx(math.log(60.0))
    clock = [0.0]
    buffer = KvBuffer(8, 1, policy, lambda: clock[0])
    for turn in range(11):
        clock[0] = 5.0 * turn
        if not buffer.resident(Run(0, 3)):
            buffer.reserve(Run(0, 3), pin=True)
            buffer.release(Run(0, 3))
        else:
            buffer.touch(Run(0, 3))
    assert policy.ttl_s == 5.0
    clock[0] += 5.0
    assert buffer.resident(Run(0, 3))
    clock[0] += 0.1
    assert not buffer.resident(Run(0, 3))


@pytest.mark.parametrize("name", ["lru", "lfu", "belady"])
def test_more_room_never_hits_less_with_stack_policies(name: str) -> None:
    """The inclusion property: hits grow with room."""
    order = singles(independent(4_000, 120, 0.7, 3))
    hits = [replay(order, EVICTION.create(name), size)[0] for size in (1, 2, 5, 10, 20, 50, 100, 120)]
    assert all(a <= b for a, b in pairwise(hits))


def test_lru_hits_are_stack_distances_at_all_sizes() -> None:
    """Mattson et al.: one pass gives the hits of every size."""
    blocks = independent(3_000, 80, 0.7, 4)
    stack: list[int] = []
    short = [0] * 81
    for block in blocks:
        if block in stack:
            short[stack.index(block)] += 1
            stack.remove(block)
        stack.insert(0, block)
    for size in range(1, 81, 4):
        assert replay(singles(blocks), EVICTION.create("lru"), size)[0] == sum(short[:size])


#: Blocks of room -> hits in the second half of the requests (from 3,925 on) of Mooncake's conversations, first 40
#: minutes, by `simulate_policy(plan, "optimal", blocks)` of the PyPI package kvcache-simulator 0.1.3 (Apache-2.0), each
#: block weighing one token. It evicts leaves only and stores nothing that is used later than all that is there.
KVCACHE_SIMULATOR = {300: 10_150, 1_000: 17_731, 3_000: 26_916, 5_859: 33_291, 10_000: 34_557}


@pytest.mark.parametrize(
    "size", [1_000, *(pytest.param(size, marks=pytest.mark.evidence) for size in (300, 3_000, 5_859, 10_000))]
)
def test_min_with_bypass_is_another_tools_optimum(size: int, data: Path) -> None:
    """Hits after the same warm-up, and all of them in unbroken prefixes."""
    order = accesses(open_trace(data / "mooncake" / "conversation_0_40min.jsonl.xz"))
    hits, prefix_hits = replay(order, EVICTION.create("belady", {"bypass": True}), size, warmup=len(order) // 2)
    assert (hits, prefix_hits) == (KVCACHE_SIMULATOR[size], KVCACHE_SIMULATOR[size])
