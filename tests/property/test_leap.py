"""Leaping changes nothing (semantics D4): against stepping, and against a loop that knows neither.

The third loop is plain: no events, no closed form. It asks who runs before every single step, prices that step
alone and adds it up.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from simpy import Environment

from simkv.clock import Order, call_at
from simkv.compute.gpu import Gpu, GpuSequence
from simkv.compute.profile import PROFILES
from simkv.compute.steptime import FixedStepTime, RooflineStepTime, StepTime
from simkv.model import ModelShape, get
from simkv.policies import BATCHING
from simkv.scenario import load
from simkv.simulation import run
from tests.conftest import ROOT

law = settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.data_too_large])

TOY = ModelShape("toy", layers=2, hidden=8, heads=4, kv_heads=1, head_dim=2, intermediate=16, vocab=64)


class Job(NamedTuple):
    """A sequence, and what is done to it; None = nothing."""

    at_s: float
    prefill_tokens: int
    cached_tokens: int
    output_tokens: int
    speculative: bool
    promote_after_s: float | None
    cancel_after_s: float | None
    think_s: float | None
    """[s] After its end the same is asked again, once."""


class Engine(NamedTuple):
    """The inputs of a GPU."""

    token_budget: int
    max_sequences: int
    speculative_step_tokens: int


@dataclass
class Outcome:
    """What happened to each sequence and when [s], and what the GPU spent."""

    moments: dict[tuple[str, str], float] = field(default_factory=dict)
    in_order: list[tuple[str, str]] = field(default_factory=list)
    cancelled: dict[str, bool] = field(default_factory=dict)
    spent_s: dict[str, float] = field(default_factory=dict)
    demand_s: float = 0.0
    speculative_s: float = 0.0

    def note(self, name: str, what: str, now_s: float) -> None:
        """Write down a moment."""
        assert (name, what) not in self.moments
        self.moments[name, what] = now_s
        self.in_order.append((name, what))


def sequence_of(name: str, job: Job, outcome: Outcome, now: Callable[[], float], ended: Callable[[], None]) -> Any:
    """Return the sequence that a job asks for."""

    def finished() -> None:
        outcome.note(name, "finished", now())
        outcome.cancelled[name] = sequence.cancelled
        outcome.spent_s[name] = sequence.speculative_s
        ended()

    sequence = GpuSequence(
        job.prefill_tokens,
        job.cached_tokens,
        0 if job.speculative else job.output_tokens,
        speculative=job.speculative,
        on_scheduled=lambda: outcome.note(name, "scheduled", now()),
        on_first_token=lambda: outcome.note(name, "first token", now()),
        on_finished=finished,
    )
    return sequence


def play(jobs: list[Job], engine: Engine, price: StepTime, step_by_step: bool) -> Outcome:
    """Run jobs on the real loop until nothing is left."""
    env, outcome = Environment(), Outcome()
    gpu = Gpu(env, price, BATCHING.create("chunked-fcfs"), step_by_step=step_by_step, **engine._asdict())

    def ask(name: str, job: Job) -> None:
        def ended() -> None:
            if job.think_s is not None:
                again = job._replace(think_s=None)
                call_at(env, env.now + job.think_s, Order.ARRIVAL, lambda: ask(f"{name} again", again))

        sequence = sequence_of(name, job, outcome, lambda: env.now, ended)
        gpu.submit(sequence)
        for after_s, act in ((job.promote_after_s, gpu.promote), (job.cancel_after_s, gpu.cancel)):
            if after_s is not None:
                call_at(env, env.now + after_s, Order.ARRIVAL, lambda act=act: act(sequence))

    for number, job in enumerate(jobs):
        call_at(env, job.at_s, Order.ARRIVAL, lambda number=number, job=job: ask(f"{number}", job))
    env.run()
    assert gpu.is_idle
    outcome.demand_s, outcome.speculative_s = gpu.demand_s, gpu.speculative_s
    return outcome


class Plain:
    """The same engine, told as a loop over steps."""

    def __init__(self, jobs: list[Job], engine: Engine, price: StepTime) -> None:
        self.now_s = 0.0
        self.outcome = Outcome()
        self.engine = engine
        self.price = price
        self.running: list[Any] = []
        self.waiting: deque[Any] = deque()
        self.speculative: deque[Any] = deque()
        self.current: Any = None
        self.due: list[tuple[float, int, Callable[[], None]]] = []
        for number, job in enumerate(jobs):
            self.later(job.at_s, lambda number=number, job=job: self.ask(f"{number}", job))

    def later(self, at_s: float, act: Callable[[], None]) -> None:
        self.due.append((at_s, len(self.due), act))

    def act_before(self, until_s: float, inclusive: bool) -> None:
        """Do all that is due before a moment, or at it as well, in its order."""
        while True:
            ready = [d for d in self.due if d[2] and (d[0] < until_s or (inclusive and d[0] == until_s))]
            if not ready:
                return
            first = min(ready)
            self.due[first[1]] = (first[0], first[1], None)  # type: ignore[assignment]
            self.now_s = first[0]
            first[2]()

    def ask(self, name: str, job: Job) -> None:
        def ended() -> None:
            if job.think_s is not None:
                again = job._replace(think_s=None)
                self.later(self.now_s + job.think_s, lambda: self.ask(f"{name} again", again))

        sequence = sequence_of(name, job, self.outcome, lambda: self.now_s, ended)
        (self.speculative if job.speculative else self.waiting).append(sequence)
        for after_s, act in ((job.promote_after_s, self.promote), (job.cancel_after_s, self.cancel)):
            if after_s is not None:
                self.later(self.now_s + after_s, lambda act=act: act(sequence))

    def promote(self, sequence: Any) -> None:
        if sequence.speculative and not sequence.cancelled:
            sequence.speculative = False
            if sequence is not self.current and sequence in self.speculative:
                self.speculative.remove(sequence)
                self.waiting.append(sequence)

    def cancel(self, sequence: Any) -> None:
        if sequence.speculative and not sequence.cancelled:
            sequence.cancelled = True
            if sequence is not self.current and sequence in self.speculative:
                self.speculative.remove(sequence)
                sequence.on_finished()

    def run(self) -> Outcome:
        while True:
            self.act_before(self.now_s, inclusive=True)
            if self.running or self.waiting:
                self.demand_step()
            elif self.speculative:
                self.speculative_step()
            elif any(due[2] for due in self.due):
                self.now_s = min(due[0] for due in self.due if due[2])
            else:
                return self.outcome

    def pass_time(self, duration_s: float) -> None:
        end_s = self.now_s + duration_s
        self.act_before(end_s, inclusive=False)
        self.now_s = end_s

    def shares(self) -> Iterator[tuple[Any, int]]:
        """Yield who gets how many tokens of this step."""
        budget = self.engine.token_budget
        for sequence in self.running:
            tokens = min(sequence.prefill_left_tokens or 1, budget)
            budget -= tokens
            if tokens:
                yield sequence, tokens
        while self.waiting and budget and len(self.running) < self.engine.max_sequences:
            sequence = self.waiting.popleft()
            self.running.append(sequence)
            sequence.start()
            tokens = min(sequence.prefill_left_tokens, budget)
            budget -= tokens
            yield sequence, tokens

    def demand_step(self) -> None:
        shares = list(self.shares())
        chunks = [(tokens, s.context_tokens) for s, tokens in shares if s.prefill_left_tokens]
        decoding = [s for s, _ in shares if not s.prefill_left_tokens]
        ending = [s for s, tokens in shares if tokens == s.prefill_left_tokens and s.output_left_tokens]
        context_tokens = sum(s.context_tokens for s in decoding)
        duration_s = self.price.step(chunks, len(decoding), context_tokens, len(decoding) + len(ending))
        self.pass_time(duration_s)
        self.outcome.demand_s += duration_s
        for sequence, tokens in shares:
            sequence.context_tokens += tokens
            if sequence in decoding:
                sequence.output_left_tokens -= 1
            else:
                sequence.prefill_left_tokens -= tokens
        for sequence in ending:
            sequence.output_left_tokens -= 1
        gone = [s for s in self.running if not (s.prefill_left_tokens or s.output_left_tokens)]
        self.running = [s for s in self.running if s not in gone]
        for sequence in ending:
            sequence.on_first_token()
        for sequence in gone:
            sequence.on_finished()

    def speculative_step(self) -> None:
        sequence = self.current = self.speculative[0]
        sequence.start()
        tokens = min(sequence.prefill_left_tokens, self.engine.speculative_step_tokens)
        duration_s = self.price.step([(tokens, sequence.context_tokens)], 0, 0, 0)
        self.pass_time(duration_s)
        self.current = None
        self.outcome.speculative_s += duration_s
        sequence.speculative_s += duration_s
        sequence.prefill_left_tokens -= tokens
        sequence.context_tokens += tokens
        if sequence.cancelled or not sequence.prefill_left_tokens:
            self.speculative.popleft()
            sequence.on_finished()
        elif not sequence.speculative:
            self.waiting.append(self.speculative.popleft())


# -- what is drawn ------------------------------------------------------------------------------------------------

#: Multiples of 1/8 s and prices that are powers of two: sums are exact, so that ties are ties in all three loops.
eighths = st.integers(0, 200).map(lambda n: n / 8)
tie_prices = st.builds(FixedStepTime, st.sampled_from([0.0, 0.125, 0.25]), st.sampled_from([0.0, 0.25, 0.5, 1.0]))
#: Any float, with prices between which and the arrivals nothing ties.
moments = st.floats(0.0, 20.0)
rooflines = st.builds(
    RooflineStepTime,
    st.just(TOY),
    st.floats(3e5, 1e8),
    st.floats(3e5, 1e8),
    st.sampled_from([1.2345e-4, 1.2345e-2, 0.12345]),
)
engines = st.builds(Engine, st.integers(1, 40), st.integers(1, 6), st.integers(1, 40))


def jobs_at(times: st.SearchStrategy[float]) -> st.SearchStrategy[list[Job]]:
    """Draw lists of jobs."""
    sometimes = st.none() | times.map(lambda seconds: seconds / 4)
    job = st.builds(
        Job, times, st.integers(1, 60), st.integers(0, 100), st.integers(0, 60), st.booleans(), *[sometimes] * 3
    )
    return st.lists(job, min_size=1, max_size=12)


def assert_same(one: Outcome, other: Outcome, order_too: bool) -> None:
    """Discrete outcomes are equal, times to 1e-9 relative."""
    assert set(one.moments) == set(other.moments)
    if order_too:
        assert one.in_order == other.in_order
    assert one.cancelled == other.cancelled
    assert one.moments == pytest.approx(other.moments, rel=1e-9, abs=1e-12)
    assert one.spent_s == pytest.approx(other.spent_s, rel=1e-9, abs=1e-12)
    assert (one.demand_s, one.speculative_s) == pytest.approx((other.demand_s, other.speculative_s), rel=1e-9)


def assert_all_alike(jobs: list[Job], engine: Engine, price: StepTime) -> None:
    """Leap, step, and count."""
    leapt = play(jobs, engine, price, step_by_step=False)
    stepped = play(jobs, engine, price, step_by_step=True)
    assert_same(leapt, stepped, order_too=True)
    assert leapt == stepped  # more than is promised: both compute boundaries alike, to the last bit
    assert_same(leapt, Plain(jobs, engine, price).run(), order_too=False)


# -- the laws -----------------------------------------------------------------------------------------------------


@law
@given(jobs_at(eighths), engines, tie_prices)
def test_ties_fall_alike(jobs: list[Job], engine: Engine, price: FixedStepTime) -> None:
    """Arrivals, promotions and cancellations on step boundaries, also of steps that take no time."""
    assert_all_alike(jobs, engine, price)


@law
@given(jobs_at(moments), engines, st.floats(0.01, 1.0), st.floats(0.01, 1.0))
def test_fixed_times(jobs: list[Job], engine: Engine, prefill_s: float, decode_s: float) -> None:
    assume(len({job.at_s for job in jobs}) == len(jobs))
    assert_all_alike(jobs, engine, FixedStepTime(prefill_s * 1.0000123, decode_s * 1.0000321))


@law
@given(jobs_at(moments), engines, rooflines)
def test_rooflines(jobs: list[Job], engine: Engine, price: RooflineStepTime) -> None:
    """Steps that grow with the context, and change law at the ridge."""
    assert_all_alike(jobs, engine, price)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.data())
def test_long_answers_on_a_real_device(data: st.DataObject) -> None:
    """A thousand tokens a sequence, contexts of a hundred thousand, a batch of a hundred."""
    whole = st.builds(
        Job,
        st.floats(0.0, 30.0),
        st.integers(1, 8_000),
        st.integers(0, 100_000),
        st.integers(0, 1_000),
        st.booleans(),
        *[st.none() | st.floats(0.0, 5.0)] * 3,
    )
    jobs = data.draw(st.lists(whole, min_size=5, max_size=20))
    price = PROFILES.create("analytic-l40s").step_time(get("Llama-3.1-8B"))
    assert_all_alike(jobs, Engine(2048, 100, 256), price)


@law
@given(jobs_at(eighths), engines, tie_prices)
def test_every_sequence_ends_once_and_time_is_spent_once(jobs: list[Job], engine: Engine, price: FixedStepTime) -> None:
    """Busy time is demand plus speculation; of a cancelled sequence nothing follows its end."""
    outcome = play(jobs, engine, price, step_by_step=False)
    asked = {str(n) for n, _ in enumerate(jobs)} | {
        f"{n} again" for n, job in enumerate(jobs) if job.think_s is not None
    }
    assert {name for name, what in outcome.moments if what == "finished"} == asked
    assert outcome.speculative_s == pytest.approx(sum(outcome.spent_s.values()), rel=1e-9)
    end_s = max(at_s for at_s in outcome.moments.values())
    assert outcome.demand_s + outcome.speculative_s <= end_s + 1e-9
    for name in asked:
        start_s = outcome.moments.get((name, "scheduled"))
        finish_s = outcome.moments[name, "finished"]
        assert outcome.cancelled[name] or start_s is not None
        assert start_s is None or start_s <= outcome.moments.get((name, "first token"), finish_s) <= finish_s


@pytest.mark.parametrize("arm", ["text-prefetch", "threshold"])
def test_whole_results_with_every_subsystem_on(arm: str) -> None:
    """A slice, sessions that think, prediction and speculation at both ends: the tables are the same."""
    tables = []
    for step_by_step in (False, True):
        overrides = {"run.step_by_step": step_by_step, "workload.sessions": 6, "replications": 1}
        result = run(load(ROOT / "scenarios" / "5g_slice.yaml", overrides), arm)
        assert any(gpu.speculative_s for gpu in result.gpus.values())
        tables.append(result)
    leapt, stepped = tables
    for column, values in leapt.requests.items():
        same = stepped.requests[column]
        assert values == (pytest.approx(same, rel=1e-9, nan_ok=True) if column.endswith("_s") else same), column
    assert leapt.speculative_units == stepped.speculative_units
    assert leapt.speculative_bytes == stepped.speculative_bytes
    assert leapt.speculative_gpu_s == pytest.approx(stepped.speculative_gpu_s, rel=1e-9)
    for name, gpu in stepped.gpus.items():
        assert dataclasses.asdict(leapt.gpus[name]) == pytest.approx(dataclasses.asdict(gpu), rel=1e-9), name
