"""A link: hand-computed schedules, promotion, cancellation, committed bytes and the ledger."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from simpy import Environment

from simkv.clock import Order, call_at
from simkv.errors import InputError
from simkv.network import transport
from simkv.network.capacity import Capacity, Constant, Replayed
from simkv.network.link import Flow, Link, Traffic, TransferRecord
from simkv.network.topology import Topology
from simkv.network.transport import Ideal, Transport, Warm

DEMAND, SPECULATIVE, BACKGROUND = Traffic
MB = 1_000_000
RATE_BPS = 8e6  # 1 MB a second, so that times are sizes


@dataclass
class Bench:
    """One link, a log of arrivals, and verbs at absolute times."""

    capacity: Capacity = field(default_factory=lambda: Constant(RATE_BPS))
    delay_s: float = 0.0
    transport: Transport = field(default_factory=Ideal)
    discipline: str = "strict"
    committed_bytes: int | None = None
    rtt_s: float | None = None

    def __post_init__(self) -> None:
        self.env = Environment()
        self.records: list[TransferRecord] = []
        self.arrivals: dict[str, float] = {}
        self.flows: dict[str, Flow] = {}
        self.link = Link(
            self.env,
            "wan",
            self.capacity,
            self.delay_s,
            transport=self.transport,
            discipline=self.discipline,  # type: ignore[arg-type]
            committed_bytes=self.committed_bytes,
            rtt_s=self.rtt_s,
            record=self.records.append,
        )

    def send(self, at_s: float, name: str, payload_bytes: int, traffic: Traffic, weight: float = 1.0) -> None:
        def now() -> None:
            flow = self.link.send(payload_bytes, traffic, self._arrived, weight=weight)
            flow.tag = name
            self.flows[name] = flow

        self.at(at_s, now)

    def _arrived(self, flow: Flow) -> None:
        self.arrivals[str(flow.tag)] = self.env.now

    def promote(self, at_s: float, name: str) -> None:
        self.at(at_s, lambda: self.link.promote(self.flows[name]))

    def cancel(self, at_s: float, name: str) -> None:
        self.at(at_s, lambda: self.link.cancel(self.flows[name]))

    def at(self, at_s: float, action: Callable[[], None]) -> None:
        call_at(self.env, at_s, Order.ARRIVAL, action)

    def run(self, until_s: float | None = None) -> Bench:
        self.env.run(until_s)
        self.link.settle()
        return self

    def rows(self) -> list[tuple[str, int, str]]:
        """(class, wire bytes, outcome) of each record."""
        return [(r.traffic, r.wire_bytes, r.outcome) for r in self.records]


def test_one_transfer_takes_its_bytes_over_the_rate_plus_the_delay() -> None:
    """2 MB at 1 MB/s and 20 ms."""
    bench = Bench(delay_s=0.02)
    bench.send(1.0, "a", 2 * MB, DEMAND)
    bench.run()
    flow = bench.flows["a"]
    assert bench.arrivals == {"a": pytest.approx(3.02)}
    assert (flow.start_s, flow.end_s, flow.arrived) == (1.0, 3.0, True)
    assert bench.records == [TransferRecord("wan", "demand", 1.0, 3.0, 2 * MB, 2 * MB, "delivered")]
    assert bench.link.totals.busy_s == pytest.approx(2.0)


def test_two_flows_of_a_class_share() -> None:
    """2 MB and 1 MB together: the short one at 2 s, the long one at 3 s."""
    bench = Bench()
    bench.send(0.0, "long", 2 * MB, SPECULATIVE)
    bench.send(0.0, "short", MB, SPECULATIVE)
    assert bench.run().arrivals == {"short": pytest.approx(2.0), "long": pytest.approx(3.0)}


def test_weights_divide_the_link() -> None:
    """Weights 3 and 1: 3 MB and 1 MB end together; then nobody is left."""
    bench = Bench()
    bench.send(0.0, "heavy", 3 * MB, DEMAND, weight=3.0)
    bench.send(0.0, "light", 2 * MB, DEMAND, weight=1.0)
    assert bench.run().arrivals == {"heavy": pytest.approx(4.0), "light": pytest.approx(5.0)}


def test_light_members_outlive_heavy_ones_unharmed() -> None:
    """A weight of 1e-6 next to a million of weight 1e6: the sum of weights keeps the small one exactly."""
    bench = Bench()
    bench.send(0.0, "light", MB, DEMAND, weight=1e-6)
    for i in range(50):
        bench.send(0.0, f"heavy{i}", 1, DEMAND, weight=1e6 / 3)
    assert bench.run().arrivals["light"] == pytest.approx(1.0 + 50 / MB, rel=1e-12)


def test_classes_preempt() -> None:
    """Demand, then speculative, then background, each from where it stood."""
    bench = Bench()
    bench.send(0.0, "background", 2 * MB, BACKGROUND)
    bench.send(1.0, "speculative", 2 * MB, SPECULATIVE)
    bench.send(2.0, "demand", 2 * MB, DEMAND)
    assert bench.run().arrivals == {
        "demand": pytest.approx(4.0),
        "speculative": pytest.approx(5.0),
        "background": pytest.approx(6.0),
    }


def test_ps_discipline_ignores_classes_but_counts_them() -> None:
    """All classes share alike; the ledger still tells them apart."""
    bench = Bench(discipline="ps")
    bench.send(0.0, "s", 2 * MB, SPECULATIVE)
    bench.send(0.0, "d", 2 * MB, DEMAND)
    bench.promote(2.0, "s")
    bench.run()
    assert bench.arrivals == {"s": pytest.approx(4.0), "d": pytest.approx(4.0)}
    assert bench.link.totals.wire_bytes_by_class == {"demand": 3 * MB, "speculative": MB, "background": 0}


def test_capacity_steps_cost_no_events() -> None:
    """A thousand steps, one transfer: one wake-up and one arrival."""
    bench = Bench(capacity=Replayed([i / 100 for i in range(1000)], [RATE_BPS / 2, RATE_BPS * 1.5] * 500))
    bench.send(0.0, "a", 10 * MB, DEMAND)
    steps = 0
    while bench.env.peek() < float("inf"):
        bench.env.step()
        steps += 1
    assert bench.arrivals["a"] == pytest.approx(10.0)
    assert steps == 3  # the send itself, the last bit, the arrival


def test_transfer_that_ends_where_an_outage_begins_is_not_held_up() -> None:
    """Three weighted flows whose finish tags do not divide evenly end at 1 s, not after the outage."""
    bench = Bench(capacity=Replayed([0.0, 1.0], [9.6e6, 0.0]))
    for i in (1, 2, 3):
        bench.send(0.0, f"{i}", 200_000 * i, DEMAND, weight=0.1 * i)
    assert max(bench.run().arrivals.values()) == pytest.approx(1.0)


def test_dead_link_delivers_nothing_and_is_busy() -> None:
    """A flow on a link without capacity is in flight at the end, with nothing sent."""
    bench = Bench(capacity=Constant(0.0))
    bench.send(1.0, "a", MB, DEMAND)
    bench.run(until_s=5.0)
    assert bench.rows() == [("demand", 0, "in_flight_at_end")]
    assert bench.link.totals.busy_s == pytest.approx(4.0)


def test_empty_message_takes_the_delay_alone() -> None:
    """No bytes: no flow on the wire, a record of 0 bytes, and the arrival one delay later."""
    bench = Bench(delay_s=0.02, transport=Warm())
    bench.send(1.0, "big", MB, DEMAND)
    bench.send(1.5, "empty", 0, DEMAND)
    bench.run()
    assert bench.arrivals["empty"] == pytest.approx(1.52)
    assert bench.flows["empty"].wire_bytes == 0
    assert ("demand", 0, "delivered") in bench.rows()


# --- promotion and cancellation ------------------------------------------------------------------------------


@pytest.mark.parametrize("payload_bytes", [3 * MB, 30, 3_000_000_000])
def test_promotion_splits_the_ledger_exactly(payload_bytes: int) -> None:
    """A 3 s transfer promoted after 1.7 s: exactly 17/30 of its bytes are speculative."""
    bench = Bench(capacity=Constant(8.0 * payload_bytes / 3))
    bench.send(0.0, "a", payload_bytes, SPECULATIVE)
    bench.promote(1.7, "a")
    bench.run()
    speculative = payload_bytes * 17 // 30
    assert bench.flows["a"].wire_bytes_by_class == {SPECULATIVE: speculative, DEMAND: payload_bytes - speculative}
    assert bench.rows() == [
        ("speculative", speculative, "promoted"),
        ("demand", payload_bytes - speculative, "delivered"),
    ]
    assert bench.records[0].end_s == bench.records[1].start_s == 1.7
    assert bench.arrivals["a"] == pytest.approx(3.0)


def test_promoted_flow_overtakes_its_old_class() -> None:
    """Two halves of a shared link; after promotion one has all of it."""
    bench = Bench()
    bench.send(0.0, "a", 2 * MB, SPECULATIVE)
    bench.send(0.0, "b", 2 * MB, SPECULATIVE)
    bench.promote(2.0, "a")
    bench.promote(2.5, "a")
    assert bench.run().arrivals == {"a": pytest.approx(3.0), "b": pytest.approx(4.0)}
    assert len(bench.records) == 3


def test_promotion_of_a_waiting_flow_joins_the_busy_demand() -> None:
    """A speculative flow that demand holds up is promoted before it sent anything: two rows, the first empty."""
    bench = Bench()
    bench.send(0.0, "d", 2 * MB, DEMAND)
    bench.send(0.5, "s", MB, SPECULATIVE)
    bench.promote(1.0, "s")
    assert bench.run().arrivals == {"d": pytest.approx(3.0), "s": pytest.approx(3.0)}
    assert bench.rows()[0] == ("speculative", 0, "promoted")


def test_cancellation_frees_the_link_and_counts_what_was_sent() -> None:
    """Half of the link for 2 s is 1 MB; the other flow then has the link to itself."""
    bench = Bench()
    bench.send(0.0, "a", 2 * MB, SPECULATIVE)
    bench.send(0.0, "b", 2 * MB, SPECULATIVE)
    bench.cancel(2.0, "a")
    bench.cancel(2.5, "a")
    bench.promote(2.5, "a")
    bench.run()
    assert bench.arrivals == {"b": pytest.approx(3.0)}
    assert bench.rows() == [("speculative", MB, "cancelled"), ("speculative", 2 * MB, "delivered")]
    assert bench.flows["a"].cancelled
    assert bench.flows["a"].wire_bytes_by_class == {SPECULATIVE: MB}


def test_cancellation_on_the_way_stops_the_arrival_but_not_the_bytes() -> None:
    """Everything was sent; only `on_arrival` is spared."""
    bench = Bench(delay_s=1.0)
    bench.send(0.0, "a", MB, SPECULATIVE)
    bench.promote(1.4, "a")  # nothing left to promote
    bench.cancel(1.5, "a")
    bench.run()
    assert bench.arrivals == {}
    assert bench.rows() == [("speculative", MB, "cancelled")]
    assert not bench.flows["a"].arrived


def test_cancelling_after_arrival_does_nothing() -> None:
    """What arrived is delivered."""
    bench = Bench()
    bench.send(0.0, "a", MB, SPECULATIVE)
    bench.cancel(2.0, "a")
    assert bench.run().rows() == [("speculative", MB, "delivered")]
    assert not bench.flows["a"].cancelled


def test_many_cancellations_do_not_pile_up() -> None:
    """Stale heap entries are swept while the class stays busy."""
    bench = Bench()
    bench.send(0.0, "stay", MB, SPECULATIVE)
    bench.env.run(0.0 + 1e-9)
    for _ in range(10_000):
        bench.link.cancel(bench.link.send(MB, SPECULATIVE, lambda _: None))
    assert len(bench.link._bands[SPECULATIVE]._heap) < 100
    assert bench.run().arrivals["stay"] == pytest.approx(1.0)


def test_sent_bytes_can_be_asked_at_any_time() -> None:
    """In service, held up, and after the end."""
    bench = Bench()
    bench.send(0.0, "s", 2 * MB, SPECULATIVE)
    bench.send(1.0, "d", MB, DEMAND)
    seen: list[tuple[int, int]] = []
    for t_s in (0.25, 1.5, 2.5, 4.0):
        bench.at(t_s, lambda: seen.append((bench.flows["s"].sent_wire_bytes(bench.env.now), len(bench.flows))))
    bench.run()
    assert seen == [(250_000, 1), (MB, 2), (1_500_000, 2), (2 * MB, 2)]


# --- committed bytes (semantics C3) --------------------------------------------------------------------------


def test_demand_waits_for_the_committed_bytes() -> None:
    """1 MB of the speculative 4 MB is committed when demand comes at 1 s: demand runs 2 to 3 s."""
    bench = Bench(committed_bytes=MB)
    bench.send(0.0, "s", 4 * MB, SPECULATIVE)
    bench.send(1.0, "d", MB, DEMAND)
    seen: list[int] = []
    bench.at(2.5, lambda: seen.append(bench.flows["s"].sent_wire_bytes(2.5)))
    bench.run()
    assert bench.arrivals == {"d": pytest.approx(3.0), "s": pytest.approx(5.0)}
    assert seen == [2 * MB]


def test_less_backlog_than_may_be_committed() -> None:
    """Only what there is drains: 0.5 MB, over both lower classes in their order."""
    bench = Bench(committed_bytes=MB)
    bench.send(0.0, "s", MB, SPECULATIVE)
    bench.send(0.0, "b", MB // 4, BACKGROUND)
    bench.send(0.75, "d", MB, DEMAND)
    assert bench.run().arrivals == {"s": pytest.approx(1.0), "b": pytest.approx(1.25), "d": pytest.approx(2.25)}


def test_backlog_equal_to_the_committed_bytes_is_finished_first() -> None:
    """No last billionth of a bit stays behind the demand."""
    bench = Bench(capacity=Constant(7e6), committed_bytes=700_000)
    for i in range(7):
        bench.send(0.1, f"s{i}", 200_000, SPECULATIVE)
    bench.send(0.9, "d", 7_000_000, DEMAND)
    bench.run()
    assert max(t for name, t in bench.arrivals.items() if name != "d") == pytest.approx(1.7)
    assert bench.arrivals["d"] == pytest.approx(9.7)


def test_who_comes_during_a_drain_is_not_committed() -> None:
    """A speculative flow that comes after the demand waits for it, drain or not."""
    bench = Bench(committed_bytes=MB)
    bench.send(0.0, "s", 4 * MB, SPECULATIVE)
    bench.send(1.0, "d", MB, DEMAND)
    bench.send(1.5, "late", MB, SPECULATIVE)
    bench.send(1.6, "never", MB, SPECULATIVE)
    bench.send(1.6, "hasty", MB, SPECULATIVE)
    bench.cancel(1.8, "never")
    bench.promote(1.8, "hasty")
    bench.run()
    assert bench.arrivals["d"] == bench.arrivals["hasty"] == pytest.approx(4.0)
    assert bench.arrivals["late"] == pytest.approx(6.0)
    assert bench.arrivals["s"] == pytest.approx(7.0)
    assert bench.flows["never"].wire_bytes_by_class == {SPECULATIVE: 0}
    assert bench.flows["hasty"].wire_bytes_by_class == {SPECULATIVE: 0, DEMAND: MB}


def test_a_demand_that_joins_demand_waits_for_nothing() -> None:
    """Only a class that becomes busy meets committed bytes; a second demand shares at once."""
    bench = Bench(committed_bytes=MB)
    bench.send(0.0, "s", 4 * MB, SPECULATIVE)
    bench.send(1.0, "d1", MB, DEMAND)
    bench.send(2.0, "d2", MB, DEMAND)
    assert bench.run().arrivals == {"d1": pytest.approx(4.0), "d2": pytest.approx(4.0), "s": pytest.approx(6.0)}


def test_cancellation_cannot_take_back_committed_bytes() -> None:
    """A lone flow of 4 MB, cancelled at 1 s with 1 MB committed: 2 MB are on the ledger, the last at 2 s."""
    bench = Bench(committed_bytes=MB)
    bench.send(0.0, "s", 4 * MB, SPECULATIVE)
    bench.cancel(1.0, "s")
    bench.run()
    assert bench.records == [TransferRecord("wan", "speculative", 0.0, 2.0, 2 * MB, 2 * MB, "cancelled")]
    assert bench.flows["s"].end_s == 2.0
    assert bench.arrivals == {}


def test_cancelled_flow_has_its_share_of_the_committed_bytes() -> None:
    """Weights 3 to 1: three quarters of the committed 1 MB are its own."""
    bench = Bench(committed_bytes=MB)
    bench.send(0.0, "a", 9 * MB, SPECULATIVE, weight=3.0)
    bench.send(0.0, "b", 9 * MB, SPECULATIVE)
    bench.cancel(4.0, "a")
    bench.run()
    assert bench.flows["a"].wire_bytes_by_class == {SPECULATIVE: 3_750_000}
    assert bench.flows["a"].end_s == pytest.approx(5.0)
    assert bench.arrivals["b"] == pytest.approx(9 + 3.75)


def test_cancellation_of_the_last_bytes_lets_them_all_drain() -> None:
    """Less left than committed: all of it is sent, and still nobody hears of it."""
    bench = Bench(committed_bytes=MB)
    bench.send(0.0, "s", 2 * MB, SPECULATIVE)
    bench.cancel(1.5, "s")
    assert bench.run().rows() == [("speculative", 2 * MB, "cancelled")]
    assert bench.arrivals == {}


def test_cancellation_during_a_drain_takes_effect_at_its_end() -> None:
    """Demand at 1 s, cancellation at 1.5 s: the flow has sent 2 MB when the drain ends at 2 s."""
    bench = Bench(committed_bytes=MB)
    bench.send(0.0, "s", 4 * MB, SPECULATIVE)
    bench.send(1.0, "d", MB, DEMAND)
    bench.cancel(1.5, "s")
    bench.run()
    assert bench.flows["s"].end_s == 2.0
    assert bench.rows() == [("speculative", 2 * MB, "cancelled"), ("demand", MB, "delivered")]
    assert bench.arrivals == {"d": pytest.approx(3.0)}


def test_promotion_cannot_take_back_committed_bytes() -> None:
    """Promoted at 1 s with 1 MB committed: 2 MB of its 4 are speculative, and it overtakes its class at 2 s."""
    bench = Bench(committed_bytes=MB)
    bench.send(0.0, "s", 4 * MB, SPECULATIVE)
    bench.promote(1.0, "s")
    bench.send(1.5, "other", MB, SPECULATIVE)
    bench.run()
    assert bench.flows["s"].wire_bytes_by_class == {SPECULATIVE: 2 * MB, DEMAND: 2 * MB}
    assert bench.arrivals == {"s": pytest.approx(4.0), "other": pytest.approx(5.0)}


def test_promotion_of_the_last_bytes_comes_too_late() -> None:
    """All that was left is committed: the flow ends as it began."""
    bench = Bench(committed_bytes=MB)
    bench.send(0.0, "s", 2 * MB, SPECULATIVE)
    bench.promote(1.5, "s")
    assert bench.run().rows() == [("speculative", 2 * MB, "delivered")]


def test_a_waiting_flow_has_nothing_committed() -> None:
    """While demand is sent, speculative flows are cancelled and promoted at once."""
    bench = Bench(committed_bytes=MB)
    bench.send(0.0, "d", 2 * MB, DEMAND)
    bench.send(0.0, "a", MB, SPECULATIVE)
    bench.send(0.0, "b", MB, SPECULATIVE)
    bench.cancel(1.0, "a")
    bench.promote(1.0, "b")
    bench.run()
    assert bench.flows["a"].end_s == 1.0
    assert bench.arrivals == {"d": pytest.approx(3.0), "b": pytest.approx(3.0)}


def test_demand_cancelled_in_a_drain_hands_the_link_back() -> None:
    """The drain ends as planned; the lower classes then go on."""
    bench = Bench(committed_bytes=MB)
    bench.send(0.0, "s", 4 * MB, SPECULATIVE)
    bench.send(1.0, "d", MB, DEMAND)
    bench.cancel(1.5, "d")
    bench.send(1.5, "late", MB, SPECULATIVE)
    assert bench.run().arrivals == {"late": pytest.approx(4.0), "s": pytest.approx(5.0)}
    assert bench.flows["d"].end_s == 1.5


def test_default_is_rate_times_rtt_unless_ideal() -> None:
    """1 MB/s x 0.25 s RTT (given, or twice the delay); an ideal transport commits nothing."""
    for delay_s, rtt_s in ((0.125, None), (0.0, 0.25)):
        bench = Bench(transport=Warm(), delay_s=delay_s, rtt_s=rtt_s)
        bench.send(0.0, "s", 4 * MB, SPECULATIVE)
        bench.send(1.0, "d", 1448 * 100, DEMAND)
        assert bench.run().arrivals["d"] == pytest.approx(1.25 + 0.15 + delay_s)
    ideal = Bench(delay_s=0.125)
    ideal.send(0.0, "s", 4 * MB, SPECULATIVE)
    ideal.send(1.0, "d", MB, DEMAND)
    assert ideal.run().arrivals["d"] == pytest.approx(2.125)


# --- the ledger ----------------------------------------------------------------------------------------------


def test_headers_payload_and_control_add_up() -> None:
    """payload + overhead = wire; control messages are a part of it, counted apart, and no transfers."""
    bench = Bench(transport=Warm(), committed_bytes=0)
    bench.send(0.0, "a", 1_000_003, SPECULATIVE)
    for traffic in (DEMAND, SPECULATIVE):
        bench.at(0.1, lambda traffic=traffic: bench.link.send(100, traffic, lambda _: None, control=True) and None)  # type: ignore[misc]
    bench.promote(0.3333, "a")
    bench.run()
    totals = bench.link.totals
    data_wire_bytes = 1_000_003 + 52 * 691
    assert (totals.control_bytes, totals.speculative_control_bytes) == (2 * 152, 152)
    assert totals.payload_bytes == 1_000_203
    assert totals.overhead_bytes == 52 * 693
    assert sum(totals.wire_bytes_by_class.values()) == data_wire_bytes + 2 * 152
    assert sum(r.payload_bytes for r in bench.records) == 1_000_003
    assert sum(bench.flows["a"].wire_bytes_by_class.values()) == data_wire_bytes


def test_settle_counts_what_is_under_way() -> None:
    """On the wire, on its way, held up, draining after a cancellation: each with what it sent, and no arrival."""
    bench = Bench(delay_s=1.0, committed_bytes=MB)
    bench.send(0.0, "way", MB, DEMAND)
    bench.send(0.0, "cut", 4 * MB, SPECULATIVE)
    bench.cancel(1.25, "cut")
    bench.run(until_s=1.75)
    bench.env.run()
    assert bench.rows() == [("demand", MB, "in_flight_at_end"), ("speculative", 750_000, "cancelled")]
    assert bench.arrivals == {}
    assert sum(bench.link.totals.wire_bytes_by_class.values()) == 1_750_000
    assert bench.flows["cut"].sent_wire_bytes(9.0) == 750_000
    assert bench.link.totals.busy_s == pytest.approx(1.75)
    bench.link.settle()
    assert len(bench.records) == 2


def test_busy_time_leaves_out_idle_time_and_counts_no_gap_twice() -> None:
    """1 s at the start and, with a preemption, 2 s later."""
    bench = Bench()
    bench.send(0.0, "a", MB, DEMAND)
    bench.send(5.0, "b", MB, BACKGROUND)
    bench.send(5.5, "c", MB, DEMAND)
    assert bench.run().link.totals.busy_s == pytest.approx(3.0)


def test_transfer_ends_before_a_preemption_of_the_same_instant() -> None:
    """Semantics D5, under rounding: the flow that ends when the demand comes is not held up by it."""
    bench = Bench(capacity=Constant(3e6))
    bench.send(0.1, "s", 75_000, SPECULATIVE)
    bench.send(0.3, "d", 3 * MB, DEMAND)
    assert 0.1 + 75_000 * 8 / 3e6 > 0.3  # in floats
    bench.run()
    assert bench.arrivals == {"s": pytest.approx(0.3), "d": pytest.approx(8.3)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"delay_s": -1.0}, "link wan: delay_s"),
        ({"committed_bytes": -1}, "committed_bytes"),
        ({"rtt_s": float("nan")}, "rtt_s"),
        ({"discipline": "fifo"}, "'strict' or 'ps', got 'fifo'"),
    ],
)
def test_bad_links_are_refused(change: dict[str, object], message: str) -> None:
    """Where, what is wanted, what was found."""
    with pytest.raises(InputError, match=message):
        Bench(**change)  # type: ignore[arg-type]


def test_bad_transfers_are_refused() -> None:
    """Sizes and weights that mean nothing."""
    link = Bench().link
    with pytest.raises(InputError, match="0 bytes or more, got -1"):
        link.send(-1, DEMAND, lambda _: None)
    with pytest.raises(InputError, match="weight"):
        link.send(1, DEMAND, lambda _: None, weight=0.0)


# --- transports and topology ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload_bytes", "wire_bytes"), [(0, 0), (1, 53), (1448, 1500), (1449, 1553), (1448 * 1000, MB * 3 // 2)]
)
def test_warm_headers(payload_bytes: int, wire_bytes: int) -> None:
    """52 bytes for each packet that has begun."""
    assert Warm().wire_bytes(payload_bytes) == wire_bytes


def test_transports_by_name() -> None:
    """Known names are made; others get a hint."""
    assert [transport.make(name).name for name in transport.names()] == ["ideal", "warm"]
    with pytest.raises(InputError, match="unknown transport 'worm'; did you mean 'warm'"):
        transport.make("worm")


def _topology(*pairs: tuple[str, str]) -> Topology:
    topology = Topology()
    env = Environment()
    for name in ("a", "b", "c"):
        topology.add_server(name)
    for source, target in pairs:
        topology.add_link(source, target, Link(env, f"{source}{target}", Constant(1.0), 0.0, transport=Ideal()))
    return topology


def test_topology_finds_links_by_direction() -> None:
    """One link a direction."""
    topology = _topology(("a", "b"), ("b", "a"))
    assert topology.link_between("a", "b").name == "ab"
    assert topology.link_between("b", "a").name == "ba"
    assert [link.name for link in topology.links] == ["ab", "ba"]
    assert topology.servers == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("a", "c", "simkv shares one link per path; a to c crosses 2"),
        ("c", "a", "no link leads from c to a; there are: a to b, b to c"),
        ("a", "a", "no link leads from a to a"),
        ("x", "a", "unknown server 'x'; known: a, b, c"),
    ],
)
def test_topology_refuses_what_it_cannot_price(source: str, target: str, message: str) -> None:
    """More than one hop, no path, unknown names."""
    with pytest.raises(InputError, match=message):
        _topology(("a", "b"), ("b", "c")).link_between(source, target)


@pytest.mark.parametrize(
    ("source", "target", "name", "message"),
    [
        ("a", "b", "new", "joined already, by 'ab'"),
        ("b", "b", "new", "to itself"),
        ("a", "d", "new", "link new: unknown server 'd'"),
        ("b", "c", "ab", "two links of this name"),
    ],
)
def test_topology_refuses_bad_links(source: str, target: str, name: str, message: str) -> None:
    """Twice the same direction, a loop, an unknown end, a name taken."""
    topology = _topology(("a", "b"))
    link = Link(Environment(), name, Constant(1.0), 0.0, transport=Ideal())
    with pytest.raises(InputError, match=message):
        topology.add_link(source, target, link)


def test_server_names_differ() -> None:
    """Two servers of one name are refused."""
    with pytest.raises(InputError, match="two servers called 'a'"):
        _topology().add_server("a")


def test_a_link_is_idle_after_a_drain_that_leaves_nothing() -> None:
    """Promoted at 0.5 s with all of it committed: the drain ends with it at 1 s; 1 s more from 10 s on."""
    bench = Bench(committed_bytes=2 * MB)
    bench.send(0.0, "a", MB, SPECULATIVE)
    bench.at(0.5, lambda: bench.link.promote(bench.flows["a"]))
    bench.send(10.0, "b", MB, DEMAND)
    assert bench.run().link.totals.busy_s == pytest.approx(2.0)
