"""Made one after the other, sent as soon as made: whatever the sizes, the last is there when a flow shop is done.

Makespan of two machines = max over k of (a_1 + ... + a_k + b_k + ... + b_n) (Johnson, "Optimal two- and three-stage
production schedules", Naval Research Logistics Quarterly 1, 1954); for n equal parts a + (n - 1) max(a, b) + b. Of
whole runs docs/theory.md, section 8, asks the same; here it is the link alone, and any sizes.
"""

from __future__ import annotations

from itertools import accumulate
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simpy import Environment

from simkv.clock import Order, call_at
from simkv.network.capacity import Constant
from simkv.network.link import Link, Traffic
from simkv.network.transport import Ideal

Discipline = Literal["strict", "ps"]

RATE_BPS = 8e3  # a byte takes a millisecond
BYTE_S = 1e-3

parts = st.lists(st.tuples(st.integers(0, 5_000), st.integers(1, 5_000)), min_size=1, max_size=12)


def makespan_s(made_s: list[float], sent_s: list[float]) -> float:
    """Return the closed form."""
    return max(sum(made_s[: k + 1]) + sum(sent_s[k:]) for k in range(len(made_s)))


def last_arrival_s(made_s: list[float], sizes_bytes: list[int], discipline: Discipline, traffic: Traffic) -> float:
    """Send each part when it is made; return when all have arrived."""
    env = Environment()
    link = Link(env, "shop", Constant(RATE_BPS), 0.0, transport=Ideal(), discipline=discipline)
    arrived_s: list[float] = []

    def send(size: int) -> None:
        link.send(size, traffic, lambda flow: arrived_s.append(env.now))

    for ready_s, size in zip(accumulate(made_s), sizes_bytes, strict=True):
        call_at(env, ready_s, Order.STEP_END, lambda size=size: send(size))
    env.run()
    assert len(arrived_s) == len(sizes_bytes)
    return max(arrived_s)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(parts, st.sampled_from(["strict", "ps"]), st.sampled_from(list(Traffic)))
def test_the_last_part_is_there_at_the_makespan(
    shop: list[tuple[int, int]], discipline: Discipline, traffic: Traffic
) -> None:
    """However the link is shared: it is never idle while it has something to send."""
    made_s = [made * BYTE_S for made, _ in shop]
    sizes = [size for _, size in shop]
    theory_s = makespan_s(made_s, [size * BYTE_S for size in sizes])
    assert last_arrival_s(made_s, sizes, discipline, traffic) == pytest.approx(theory_s, rel=1e-9)


@pytest.mark.parametrize(("made", "size"), [(300, 700), (700, 300), (500, 500)])
@pytest.mark.parametrize("count", [1, 2, 32])
def test_equal_parts(made: int, size: int, count: int) -> None:
    """Layers of one size: a + (L - 1) max(a, b) + b."""
    a_s, b_s = made * BYTE_S, size * BYTE_S
    theory_s = a_s + (count - 1) * max(a_s, b_s) + b_s
    assert makespan_s([a_s] * count, [b_s] * count) == pytest.approx(theory_s, rel=1e-12)
    assert last_arrival_s([a_s] * count, [size] * count, "strict", Traffic.DEMAND) == pytest.approx(theory_s, rel=1e-9)
