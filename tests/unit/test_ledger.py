"""Every speculative byte and second ends in one account, whatever happens to its unit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simpy import Environment

from simkv.errors import InvariantError
from simkv.ledger import Ledger, Unit
from simkv.network.capacity import Constant
from simkv.network.link import Flow, Link, Traffic
from simkv.network.transport import Ideal
from simkv.results import OUTCOMES


def sent(ledger: Ledger, unit: Unit, payload_bytes: int) -> None:
    """Let a unit spend bytes on an otherwise idle link."""
    env = Environment()
    link = Link(env, "l", Constant(8e6), 0.0, transport=Ideal())
    ledger.begin(unit)
    ledger.watch(unit, link.send(payload_bytes, Traffic.SPECULATIVE, lambda _: None))
    env.run()
    ledger.end(unit)


def test_the_first_decision_stands() -> None:
    ledger = Ledger()
    unit = ledger.open(session=0, blocks=1)
    sent(ledger, unit, 100)
    ledger.decide(unit, "used_late")
    ledger.decide(unit, "never_used")
    ledger.end_session(0)
    assert ledger.wire_bytes["used_late"] == 100
    assert sum(ledger.units.values()) == 1


def test_a_unit_closes_only_when_nothing_can_be_spent_on_it_any_more() -> None:
    ledger = Ledger()
    unit = ledger.open(session=0, blocks=1)
    ledger.begin(unit)
    ledger.decide(unit, "cancelled")
    assert ledger.units["cancelled"] == 0
    ledger.spend_gpu(unit, 0.5)
    ledger.end(unit)
    assert (ledger.units["cancelled"], ledger.gpu_s["cancelled"]) == (1, 0.5)


def test_a_cancelled_flow_is_counted_when_what_is_committed_has_drained() -> None:
    env, ledger = Environment(), Ledger()
    link = Link(env, "l", Constant(8e6), 0.0, transport=Ideal(), committed_bytes=250_000)
    unit = ledger.open(session=0, blocks=1)
    ledger.begin(unit)
    flow = link.send(2_000_000, Traffic.SPECULATIVE, lambda _: None)
    ledger.watch(unit, flow)
    env.run(until=1.0)
    ledger.decide(unit, "cancelled")
    link.cancel(flow)
    ledger.end(unit)
    assert ledger.units["cancelled"] == 0
    env.run()
    ledger.open(session=1, blocks=1)  # closes what has drained meanwhile: memory follows what is open
    assert ledger.wire_bytes["cancelled"] == 1_250_000
    assert ledger._draining == []
    assert set(ledger._open) == {1}


def test_what_is_promoted_is_speculation_up_to_then() -> None:
    env, ledger = Environment(), Ledger()
    link = Link(env, "l", Constant(8e6), 0.0, transport=Ideal())
    unit = ledger.open(session=0, blocks=1)
    ledger.begin(unit)
    flow = link.send(2_000_000, Traffic.SPECULATIVE, lambda _: None)
    ledger.watch(unit, flow)
    env.run(until=0.5)
    ledger.decide(unit, "used_late")
    link.promote(flow)
    env.run()
    ledger.end(unit)
    assert ledger.wire_bytes["used_late"] == 500_000


def test_a_cut_unit_splits_and_keeps_every_byte() -> None:
    ledger = Ledger()
    unit = ledger.open(session=0, blocks=3)
    sent(ledger, unit, 100)
    ledger.spend_gpu(unit, 3.0)
    ledger.cut(unit, 1, "evicted")
    ledger.cut(unit, 1, "evicted")
    ledger.decide(unit, "used_in_time")
    assert (ledger.wire_bytes["evicted"], ledger.wire_bytes["used_in_time"]) == (33 + 33, 34)
    assert (ledger.gpu_s["evicted"], ledger.gpu_s["used_in_time"]) == (2.0, 1.0)
    assert (ledger.units["evicted"], ledger.units["used_in_time"]) == (2, 1)


def test_cutting_all_of_it_decides_it_and_what_is_decided_is_not_cut() -> None:
    ledger = Ledger()
    unit = ledger.open(session=0, blocks=2)
    ledger.cut(unit, 2, "evicted")
    ledger.cut(unit, 1, "never_used")
    assert unit.outcome == "evicted"
    assert sum(ledger.units.values()) == 1


def test_the_end_of_a_session_is_the_end_of_its_units_alone() -> None:
    ledger = Ledger()
    mine, other = ledger.open(session=0, blocks=1), ledger.open(session=1, blocks=1)
    ledger.end_session(0)
    assert (mine.outcome, other.outcome) == ("never_used", None)


def test_the_end_of_the_run() -> None:
    ledger = Ledger()
    moving, _, late = (ledger.open(session=0, blocks=1) for _ in range(3))
    ledger.begin(moving)
    ledger.begin(late)
    ledger.decide(late, "used_late")
    ledger.settle()
    assert {outcome: count for outcome, count in ledger.units.items() if count} == {
        "in_flight_at_end": 1,
        "resident_at_end": 1,
        "used_late": 1,
    }


@pytest.mark.parametrize(("wire_bytes", "gpu_s", "says"), [(99, 1.0, "99 speculative bytes"), (100, 1.1, "1.1 s")])
def test_accounts_that_do_not_balance_are_an_error(wire_bytes: int, gpu_s: float, says: str) -> None:
    ledger = Ledger()
    unit = ledger.open(session=0, blocks=1)
    sent(ledger, unit, 100)
    ledger.spend_gpu(unit, 1.0)
    ledger.decide(unit, "used_late")
    ledger.check(100, 1.0)
    with pytest.raises(InvariantError, match=says):
        ledger.check(wire_bytes, gpu_s)


@given(
    st.lists(
        st.tuples(st.integers(0, 10**9), st.integers(1, 9), st.lists(st.integers(1, 4)), st.sampled_from(OUTCOMES))
    )
)
def test_bytes_are_conserved_however_units_are_cut(plan: list[tuple[int, int, list[int], str]]) -> None:
    ledger = Ledger()
    for number, (wire_bytes, blocks, cuts, outcome) in enumerate(plan):
        unit = ledger.open(session=number, blocks=blocks)
        flow = Flow(
            *(wire_bytes, wire_bytes, Traffic.SPECULATIVE, 0.0),
            control=False,
            weight=1.0,
            on_arrival=lambda _: None,
            bits_left=lambda *_: 0.0,
        )
        flow.end_s = 1.0
        flow.wire_bytes_by_class[Traffic.SPECULATIVE] = wire_bytes
        ledger.watch(unit, flow)
        for count in cuts:
            ledger.cut(unit, count, "evicted")
        ledger.decide(unit, outcome)
    ledger.check(sum(wire_bytes for wire_bytes, _, _, _ in plan), 0.0)
