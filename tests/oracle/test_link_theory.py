"""A link against queueing theory, and against a second solver in exact rationals that knows no virtual time.

The intervals are 99.9 % Student intervals over replications with fixed seeds: theory must lie inside, and
they must be narrow enough to say something. Every run drains, so no long stay is missing from a mean.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from statistics import fmean, linear_regression, stdev
from typing import Literal, NamedTuple

import pytest
from scipy.stats import t as student
from simpy import Environment

from simkv.clock import Order, call_at
from simkv.network.capacity import Constant, Replayed
from simkv.network.link import Flow, Link, Traffic
from simkv.network.transport import Ideal
from simkv.rng import stream

DEMAND, SPECULATIVE, BACKGROUND = Traffic

# --- theory ---------------------------------------------------------------------------------------------------

RATE_BPS = 8e6
UNIT_BYTES = 1_000_000  # one second of service
WARM_UP = 400  # transfers left out at either end of a replication


class Stay(NamedTuple):
    """One transfer: its class, its size and its time on the link, in seconds."""

    traffic: Traffic
    size_s: float
    stay_s: float


Sizes = Callable[[random.Random], float]


def exponential(draw: random.Random) -> float:
    """Draw a size of mean 1, coefficient of variation 1."""
    return draw.expovariate(1.0)


def fixed(draw: random.Random) -> float:
    """Give every transfer size 1."""
    return 1.0


def mice_and_elephants(draw: random.Random) -> float:
    """Draw 0.5 nine times in ten, else 5.5: mean 1, squared coefficient of variation 2.25."""
    return 5.5 if draw.random() < 0.1 else 0.5


def replication(
    seed: int, loads: dict[Traffic, float], sizes: Sizes, count: int, discipline: Literal["strict", "ps"] = "strict"
) -> list[Stay]:
    """Send `count` Poisson transfers, drain, and return the stays of all but the first and last few."""
    env = Environment()
    link = Link(env, "theory", Constant(RATE_BPS), 0.0, transport=Ideal(), discipline=discipline)
    draw = stream(seed, "arrivals")
    ended: dict[int, Stay] = {}

    def arrived(flow: Flow) -> None:
        assert isinstance(flow.tag, int)
        ended[flow.tag] = Stay(flow.traffic, flow.wire_bytes / UNIT_BYTES, env.now - flow.start_s)

    def send_next(number: int) -> None:
        if number == count:
            return
        traffic = draw.choices(list(loads), list(loads.values()))[0]
        link.send(max(1, round(UNIT_BYTES * sizes(draw))), traffic, arrived).tag = number
        call_at(env, env.now + draw.expovariate(sum(loads.values())), Order.ARRIVAL, lambda: send_next(number + 1))

    send_next(0)
    env.run()
    assert len(ended) == count, "every transfer ends in the run"
    return [ended[i] for i in range(WARM_UP, count - WARM_UP)]


def assert_theory_inside(values: Sequence[float], theory: float, within: float) -> None:
    """Assert that theory lies in the 99.9 % interval of the mean, which is no wider than +- `within` of it."""
    half = student.ppf(0.9995, len(values) - 1) * stdev(values) / math.sqrt(len(values))
    assert abs(fmean(values) - theory) <= half, f"{fmean(values):.4f} +- {half:.4f} against {theory:.4f}"
    assert half <= within * theory, f"the interval +- {half:.4f} says too little about {theory:.4f}"


@pytest.mark.parametrize("sizes", [exponential, fixed, mice_and_elephants], ids=["M/M/1", "M/D/1", "M/G/1"])
def test_processor_sharing_is_insensitive_and_proportional(sizes: Sizes) -> None:
    """T(x) = x / (1 - load), whatever the distribution: the mean, each half of the sizes, and the slope."""
    load = 0.6
    runs = [replication(seed, {SPECULATIVE: load}, sizes, 5_000) for seed in range(10)]
    theory = 1.0 / (1.0 - load)
    assert_theory_inside([sum(s.stay_s for s in run) / sum(s.size_s for s in run) for run in runs], theory, 0.12)
    if sizes is fixed:
        return
    for is_large in (False, True):
        part = [[s for s in run if (s.size_s > 0.7) == is_large] for run in runs]
        assert_theory_inside([sum(s.stay_s for s in run) / sum(s.size_s for s in run) for run in part], theory, 0.12)
    slopes = [linear_regression([s.size_s for s in run], [s.stay_s for s in run]).slope for run in runs]
    assert_theory_inside(slopes, theory, 0.12)


def test_two_classes_under_preemptive_priority() -> None:
    """Exponential sizes, loads 0.4 and 0.3: 1 / (1 - .4) = 1.667 and 1 / (.6 x .3) = 5.556.

    The formula is for first come first served inside a class; with exponential sizes of one rate the number
    present, and so by Little's law the mean stay, is the same under processor sharing.
    """
    runs = [replication(seed, {DEMAND: 0.4, SPECULATIVE: 0.3}, exponential, 8_000) for seed in range(10)]
    for traffic, theory, within in ((DEMAND, 1 / 0.6, 0.08), (SPECULATIVE, 1 / (0.6 * 0.3), 0.25)):
        assert_theory_inside([fmean(s.stay_s for s in run if s.traffic is traffic) for run in runs], theory, within)


def test_classes_under_one_shared_group_all_wait_alike() -> None:
    """Discipline `ps`, loads 0.4 and 0.3: 1 / (1 - .7) = 3.333 for both."""
    runs = [replication(seed, {DEMAND: 0.4, SPECULATIVE: 0.3}, exponential, 6_000, "ps") for seed in range(10)]
    for traffic in (DEMAND, SPECULATIVE):
        assert_theory_inside([fmean(s.stay_s for s in run if s.traffic is traffic) for run in runs], 1 / 0.3, 0.25)


# --- a second solver ------------------------------------------------------------------------------------------


class Op(NamedTuple):
    """Something that is done to a link."""

    at_s: float
    kind: Literal["send", "promote", "cancel"]
    name: int
    size_bytes: int = 0
    traffic: int = 0
    weight: int = 1


@dataclass
class Fluid:
    """One transfer of the second solver, in bits."""

    left: Fraction
    traffic: int
    weight: int
    is_late: bool = False  # came during a drain
    cancelled: bool = False
    end: Fraction | None = None
    sent: dict[int, Fraction] = field(default_factory=dict)


@dataclass
class Solver:
    """Strict classes or one shared group, event by event in rationals, O(flows) each.

    `steps` are (time, rate) pairs, the last for ever. The rules for committed bits are those of `link.py`,
    worded on explicit sets of flows instead of frozen bands.
    """

    steps: list[tuple[Fraction, Fraction]]
    strict: bool
    committed: Fraction
    now: Fraction = Fraction(0)
    flows: dict[int, Fluid] = field(default_factory=dict)
    drain_left: Fraction = Fraction(0)  # 0 = no drain
    drain_from: int = 0
    pending: list[int] = field(default_factory=list)

    def solve(self, ops: list[Op]) -> dict[int, Fluid]:
        """Carry out the operations and run until everything has ended."""
        for op in ops:
            self._run_until(Fraction(op.at_s))
            self._apply(op)
        self._run_until(None)
        return self.flows

    def _live(self) -> list[Fluid]:
        return [f for f in self.flows.values() if f.end is None and not f.is_late]

    def _sending(self) -> list[Fluid]:
        live = self._live()
        if self.drain_left:
            live = [f for f in live if f.traffic >= self.drain_from]
        if not self.strict:
            return live
        top = min((f.traffic for f in live), default=0)
        return [f for f in live if f.traffic == top]

    def _run_until(self, end: Fraction | None) -> None:
        while True:
            sending = self._sending()
            if not sending and self.drain_left:
                self._end_drain()
                continue
            if not sending and end is None:
                return
            weight = sum(f.weight for f in sending)
            rate = [r for t, r in self.steps if t <= self.now][-1]
            times = [t for t, _ in self.steps if t > self.now][:1]
            if end is not None:
                times.append(end)
            if rate:
                times += [self.now + f.left * weight / (rate * f.weight) for f in sending]
                times += [self.now + self.drain_left / rate] if self.drain_left else []
            self._advance(min(times), rate, sending, weight)
            if self.now == end:
                return

    def _advance(self, to: Fraction, rate: Fraction, sending: list[Fluid], weight: int) -> None:
        bits = (to - self.now) * rate
        self.now = to
        for flow in sending:
            share = bits * flow.weight / weight
            flow.left -= share
            flow.sent[flow.traffic] = flow.sent.get(flow.traffic, Fraction(0)) + share
            if flow.left == 0:
                flow.end = to
        if self.drain_left:
            self.drain_left -= bits
            if not self.drain_left:
                self._end_drain()

    def _end_drain(self) -> None:
        self.drain_left = Fraction(0)
        for name in self.pending:
            flow = self.flows[name]
            if flow.end is None and flow.cancelled:
                flow.end = self.now
            elif flow.end is None:
                flow.traffic = DEMAND
        self.pending = []
        for flow in self.flows.values():
            flow.is_late = False

    def _begin_drain(self, sending: list[Fluid]) -> None:
        if self.strict and not self.drain_left and self.committed:
            self.drain_left, self.drain_from = self.committed, sending[0].traffic

    def _apply(self, op: Op) -> None:
        if op.kind == "send":
            self._admit(op)
            return
        flow = self.flows.get(op.name)
        if flow is None or flow.end is not None or flow.cancelled:
            return
        sending = self._sending()
        if op.kind == "promote":
            self._promote(op.name, flow, sending)
            return
        flow.cancelled = True
        if flow.is_late:
            flow.end = self.now
        elif self.drain_left and flow.traffic >= self.drain_from:
            self.pending.append(op.name)
        elif self.committed and flow in sending:
            flow.left = min(flow.left, self.committed * flow.weight / sum(f.weight for f in sending))
        else:
            flow.end = self.now

    def _admit(self, op: Op) -> None:
        flow = Fluid(Fraction(8 * op.size_bytes), op.traffic, op.weight)
        sending = self._sending()
        if self.drain_left:
            flow.is_late = flow.traffic >= self.drain_from
        elif sending and sending[0].traffic > flow.traffic:
            self._begin_drain(sending)
        self.flows[op.name] = flow

    def _promote(self, name: int, flow: Fluid, sending: list[Fluid]) -> None:
        if flow.traffic == DEMAND:
            return
        if not flow.is_late and flow in sending:
            self._begin_drain(sending)
        if self.drain_left and flow.traffic >= self.drain_from and not flow.is_late:
            self.pending.append(name)
            return
        if all(f.traffic > DEMAND for f in self._live()) and sending and flow not in sending:
            self._begin_drain(sending)
        flow.traffic, flow.is_late = int(DEMAND), False


def random_ops(draw: random.Random, flows: int, span_s: float) -> list[Op]:
    """Draw sends of mixed sizes, classes and weights, some of them promoted or cancelled later."""
    ops: list[Op] = []
    for name in range(flows):
        at_s = draw.uniform(0.0, span_s)
        size_bytes = round(10 ** draw.uniform(2, 6.3))
        ops.append(Op(at_s, "send", name, size_bytes, draw.randrange(3), draw.choice((1, 1, 2, 5))))
        for kind, chance in (("promote", 0.4), ("cancel", 0.25)):
            if draw.random() < chance:
                ops.append(Op(at_s + draw.expovariate(1.0), kind, name))  # type: ignore[arg-type]
    return sorted(ops)


def simulate(link: Link, ops: list[Op]) -> dict[int, Flow]:
    """Carry the same operations out on a real link."""
    flows: dict[int, Flow] = {}

    def act(op: Op) -> None:
        if op.kind == "send":
            flows[op.name] = link.send(op.size_bytes, Traffic(op.traffic), lambda _: None, weight=op.weight)
        elif op.kind == "promote":
            link.promote(flows[op.name])
        else:
            link.cancel(flows[op.name])

    for op in ops:
        call_at(link.env, op.at_s, Order.ARRIVAL, lambda op=op: act(op))  # type: ignore[misc]
    link.env.run()
    return flows


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("committed_bytes", [0, 60_000])
@pytest.mark.parametrize("discipline", ["strict", "ps"])
@pytest.mark.parametrize("replayed", [False, True], ids=["constant", "replayed"])
def test_link_equals_exact_integration(
    seed: int, committed_bytes: int, discipline: Literal["strict", "ps"], replayed: bool
) -> None:
    """Every end time to 1e-9, every (flow, class) to the byte, through promotions, cancellations and outages."""
    draw = stream(seed, "ops", committed_bytes, discipline, str(replayed))
    span_s = 6.0
    ops = random_ops(draw, 25, span_s)
    rates_bps = [float(draw.choice((0, 1, 2, 8, 20)) * 10**6) for _ in range(64)] if replayed else [8e6]
    rates_bps[-1] = 8e6  # for ever in the solver; the replayed series holds it long enough
    times_s = [i / 4 for i in range(len(rates_bps) - 1)] + [len(rates_bps) / 4]
    series = Replayed([*times_s, 1e6], [*rates_bps, 8e6]) if replayed else Constant(8e6)
    steps = [(Fraction(t), Fraction(r)) for t, r in zip(times_s, rates_bps, strict=True)] if replayed else []
    link = Link(
        Environment(), "l", series, 0.0, transport=Ideal(), discipline=discipline, committed_bytes=committed_bytes
    )
    ours = simulate(link, ops)
    exact = Solver(
        steps or [(Fraction(0), Fraction(8_000_000))], discipline == "strict", Fraction(8 * committed_bytes)
    ).solve(ops)
    for name, flow in ours.items():
        twin = exact[name]
        assert flow.cancelled == twin.cancelled
        assert twin.end is not None
        assert flow.end_s == pytest.approx(float(twin.end), rel=1e-9)
        for traffic in Traffic:
            sent_bytes = twin.sent.get(traffic, Fraction(0)) / 8
            assert abs(flow.wire_bytes_by_class.get(traffic, 0) - sent_bytes) <= 1
        if not flow.cancelled:
            assert sum(flow.wire_bytes_by_class.values()) == flow.wire_bytes
