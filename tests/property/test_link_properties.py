"""Laws that a link obeys whatever is sent over it."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simpy import Environment

from simkv.clock import Order, call_at
from simkv.network.capacity import Capacity, Constant, Replayed
from simkv.network.link import Flow, Link, Traffic, TransferRecord
from simkv.network.transport import Ideal, Warm

DEMAND, SPECULATIVE, BACKGROUND = Traffic

law = settings(max_examples=80, deadline=None, derandomize=True)


class Send(NamedTuple):
    """One transfer and what is done to it later; None = nothing."""

    at_s: float
    payload_bytes: int
    traffic: Traffic
    weight: float = 1.0
    promote_after_s: float | None = None
    cancel_after_s: float | None = None


times = st.floats(0.0, 10.0)
delays = st.none() | st.floats(0.0, 5.0)
sizes = st.integers(0, 3_000_000)
weights = st.sampled_from([1.0, 1.0, 0.5, 3.0, 10.0])
series = st.builds(
    lambda rates, offset_s: Replayed([0.25 * i for i in range(len(rates))], rates, offset_s=offset_s),
    st.lists(st.sampled_from([0.0, 1e5, 8e6, 3e7]), min_size=2, max_size=12).filter(any),
    st.floats(0.0, 10.0),
)
capacities = st.builds(Constant, st.sampled_from([1e6, 8e6, 1.23e8])) | series


def sends(*traffic: Traffic, promoted: bool = False, cancelled: bool = False) -> st.SearchStrategy[list[Send]]:
    """Draw lists of transfers of these classes, of which some may be promoted or cancelled."""
    later = [delays if wanted else st.none() for wanted in (promoted, cancelled)]
    return st.lists(st.builds(Send, times, sizes, st.sampled_from(traffic), weights, *later), max_size=12)


any_sends = sends(*Traffic, promoted=True, cancelled=True)
plain_sends = sends(*Traffic)
lower_sends = sends(SPECULATIVE, BACKGROUND, cancelled=True)


class Run:
    """One link, everything that was sent over it, and when each arrived."""

    def __init__(self, capacity: Capacity, plan: list[Send], until_s: float | None = None, **link: Any) -> None:
        self.env = Environment()
        self.records: list[TransferRecord] = []
        self.flows: dict[int, Flow] = {}
        self.arrived_s: dict[int, float] = {}
        link.setdefault("transport", Ideal())
        self.link = Link(self.env, "l", capacity, link.pop("delay_s", 0.0), record=self.records.append, **link)
        for number, item in enumerate(plan):
            call_at(self.env, item.at_s, Order.ARRIVAL, lambda n=number, i=item: self._send(n, i))  # type: ignore[misc]
        self.env.run(until_s)
        self.link.settle()

    def _send(self, number: int, item: Send) -> None:
        flow = self.link.send(item.payload_bytes, item.traffic, self._arrived, weight=item.weight)
        flow.tag = number
        self.flows[number] = flow
        for after_s, act in ((item.promote_after_s, self.link.promote), (item.cancel_after_s, self.link.cancel)):
            if after_s is not None:
                call_at(self.env, item.at_s + after_s, Order.DECISION, lambda act=act: act(flow))  # type: ignore[misc]

    def _arrived(self, flow: Flow) -> None:
        assert isinstance(flow.tag, int)
        self.arrived_s[flow.tag] = self.env.now


@law
@given(
    capacities,
    any_sends,
    st.sampled_from(["strict", "ps"]),
    st.sampled_from([None, 0, 5_000, 1_000_000]),
    st.none() | st.floats(0.1, 12.0),
)
def test_every_byte_is_in_exactly_one_place(
    capacity: Capacity, plan: list[Send], discipline: str, committed_bytes: int | None, until_s: float | None
) -> None:
    """Records, flows and totals agree to the byte, and every flow ends once, cut short or not."""
    run = Run(
        capacity,
        plan,
        until_s,
        discipline=discipline,
        committed_bytes=committed_bytes,
        transport=Warm(),
        delay_s=0.05,
    )
    totals = run.link.totals
    wire_bytes = sum(r.wire_bytes for r in run.records)
    assert totals.payload_bytes + totals.overhead_bytes == wire_bytes == sum(totals.wire_bytes_by_class.values())
    assert totals.payload_bytes == sum(r.payload_bytes for r in run.records)
    assert all(0 <= r.payload_bytes <= r.wire_bytes and r.start_s <= r.end_s for r in run.records)
    for traffic in Traffic:
        in_class = sum(f.wire_bytes_by_class.get(traffic, 0) for f in run.flows.values())
        assert totals.wire_bytes_by_class[traffic.label] == in_class
    assert len(run.flows) == sum(r.outcome != "promoted" for r in run.records)
    for flow in run.flows.values():
        spent = sum(flow.wire_bytes_by_class.values())
        assert spent == flow.wire_bytes if flow.arrived else spent <= flow.wire_bytes
        assert not (flow.arrived and flow.cancelled)
    capacity_bytes = capacity.bits_between(0.0, run.env.now) / 8
    assert wire_bytes <= capacity_bytes * (1 + 1e-9) + len(run.flows)


@law
@given(capacities, any_sends)
def test_all_that_is_not_cancelled_arrives_whole_and_once(capacity: Capacity, plan: list[Send]) -> None:
    """No transfer is lost: each arrives, or was cancelled."""
    run = Run(capacity, plan, committed_bytes=20_000)
    assert set(run.arrived_s) == {n for n, flow in run.flows.items() if not flow.cancelled}
    assert {r.outcome for r in run.records} <= {"delivered", "promoted", "cancelled"}


@law
@given(capacities, sends(DEMAND, cancelled=True), lower_sends)
def test_demand_is_bit_identical_under_any_lower_traffic(
    capacity: Capacity, demand: list[Send], lower: list[Send]
) -> None:
    """Semantics E2: equal floats, not close ones, on the link's clock and on the simulation's."""
    alone = Run(capacity, demand, committed_bytes=0, delay_s=0.013)
    among = Run(capacity, [*demand, *lower], committed_bytes=0, delay_s=0.013)
    for number, flow in alone.flows.items():
        assert among.flows[number].end_s == flow.end_s
        assert among.flows[number].wire_bytes_by_class == flow.wire_bytes_by_class
        assert among.arrived_s.get(number) == alone.arrived_s.get(number)


@law
@given(series, plain_sends, st.floats(1.0, 10.0), st.sampled_from(["strict", "ps"]))
def test_more_capacity_is_never_later(slow: Replayed, plan: list[Send], factor: float, discipline: str) -> None:
    """Every transfer of an open loop ends no later when every step of the series is raised."""
    fast = Replayed(slow._table.edges_s[:-1], [factor * r for r in slow._table.rates_bps], offset_s=slow._offset_s)
    before = Run(slow, plan, discipline=discipline)
    after = Run(fast, plan, discipline=discipline)
    for number, flow in before.flows.items():
        end_s = after.flows[number].end_s
        assert flow.end_s is not None
        assert end_s is not None
        assert end_s <= flow.end_s * (1 + 1e-12) + 1e-9


@law
@given(capacities, plain_sends)
def test_work_is_conserved(capacity: Capacity, plan: list[Send]) -> None:
    """The link is busy exactly as long as first come first served would be, in any discipline."""
    ends_s, busy_s = 0.0, 0.0
    for item in sorted(plan):
        if item.payload_bytes:
            start_s = max(ends_s, item.at_s)
            ends_s = capacity.time_when(start_s, 8.0 * item.payload_bytes)
            busy_s += ends_s - start_s
    for options in ({"discipline": "strict"}, {"discipline": "ps"}, {"committed_bytes": 100_000}):
        run = Run(capacity, plan, **options)
        assert run.link.totals.busy_s == pytest.approx(busy_s, rel=1e-9, abs=1e-9)
        last_s = max((f.end_s or 0.0 for f in run.flows.values() if f.wire_bytes), default=0.0)
        assert last_s == pytest.approx(ends_s, rel=1e-9)


@law
@given(plain_sends, st.integers(1, 50), st.sampled_from([0, 40_000]))
def test_bytes_and_rates_scale_together(plan: list[Send], factor: int, committed_bytes: int) -> None:
    """k times the bytes at k times the rate end when they ended."""
    run = Run(Constant(8e6), plan, committed_bytes=committed_bytes)
    scaled_plan = [item._replace(payload_bytes=factor * item.payload_bytes) for item in plan]
    scaled = Run(Constant(factor * 8e6), scaled_plan, committed_bytes=factor * committed_bytes)
    for number, flow in run.flows.items():
        assert scaled.flows[number].end_s == pytest.approx(flow.end_s, rel=1e-9)


@law
@given(plain_sends, st.sampled_from([0.25, 2.0, 1024.0]))
def test_time_scales(plan: list[Send], factor: float) -> None:
    """All times k-fold at a k-th of the rate: all ends k-fold, exactly where k is a power of two."""
    run = Run(Constant(8e6), plan)
    scaled = Run(Constant(8e6 / factor), [item._replace(at_s=factor * item.at_s) for item in plan])
    for number, flow in run.flows.items():
        assert flow.end_s is not None
        assert scaled.flows[number].end_s == pytest.approx(factor * flow.end_s, rel=1e-12)


@law
@given(lower_sends, times, st.integers(1, 3_000_000), st.integers(0, 500_000))
def test_a_demand_waits_at_most_for_the_committed_bytes(
    lower: list[Send], at_s: float, payload_bytes: int, committed_bytes: int
) -> None:
    """Semantics C3: a lone demand is delayed by no more than they take, whatever happens below it."""
    run = Run(Constant(8e6), [Send(at_s, payload_bytes, DEMAND), *lower], committed_bytes=committed_bytes)
    end_s = run.flows[0].end_s
    assert end_s is not None
    assert payload_bytes / 1e6 - 1e-9 <= end_s - at_s <= (payload_bytes + committed_bytes) / 1e6 + 1e-9
