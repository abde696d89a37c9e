"""Leaping changes nothing (semantics D4), in an engine whose memory runs out, is shared, and is looked up again.

Three engines play the same jobs: one that leaps, one that steps, and a loop that knows neither runs nor sums.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simkv.clock import Clock, Order, call_at
from simkv.compute.gpu import Gpu, GpuSequence
from simkv.compute.steptime import RooflineStepTime, StepTime
from simkv.kv.radix import BlockPool, PagedContent
from simkv.model import ModelShape
from simkv.policies import BATCHING
from simkv.rng import stream
from tests.property.block_by_block import Job, Loop, Owner, Rules, own_ids

law = settings(max_examples=400, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.data_too_large])

TOY = ModelShape("toy", layers=2, hidden=8, heads=4, kv_heads=1, head_dim=2, intermediate=16, vocab=64)


@dataclass(frozen=True)
class Itemised:
    """A price list that charges for all that it is told, in fractions of a second that add up exactly."""

    unit_s: float

    wants_longest: ClassVar[bool] = True
    outside: ClassVar[bool] = False

    def step(self, chunks: Any, decodes: int, context_tokens: int, emitting: int, longest_tokens: int = 0) -> float:
        """Return the sum of the items."""
        prefill = sum(8 * new + cached for new, cached in chunks)
        return self.unit_s * (prefill + 64 * bool(decodes) + context_tokens + 4 * emitting + 2 * longest_tokens)

    def span(
        self, batch: int, context_tokens: int, max_steps: int, until_s: float, longest_tokens: int = 0
    ) -> tuple[int, float]:
        """Add step to step."""
        steps, total_s = 0, 0.0
        while steps < max_steps and (not steps or total_s < until_s):
            total_s += self.step((), batch, context_tokens + batch * steps, batch, longest_tokens + steps)
            steps += 1
        return steps, total_s


@dataclass
class Outcome:
    """What happened to each sequence and when [s], and what the engine spent."""

    said: list[tuple[float, int, str]] = field(default_factory=list)
    preemptions: list[int] = field(default_factory=list)
    found_tokens: list[int] = field(default_factory=list)
    cancelled: list[bool] = field(default_factory=list)
    speculative_s: list[float] = field(default_factory=list)
    interference_s: list[float] = field(default_factory=list)
    steps: int = 0
    spent_s: tuple[float, float] = (0.0, 0.0)
    free_blocks: int = 0

    def moments(self) -> dict[tuple[int, str], float]:
        """Return the time [s] of each thing that happened."""
        return {(name, what): at_s for at_s, name, what in self.said}


def play(jobs: list[Job], rules: Rules, price: StepTime, step_by_step: bool) -> Outcome:
    """Run jobs on the real engine until nothing is left."""
    env, outcome = Clock(), Outcome()
    pool = BlockPool(rules.blocks, rules.block_tokens)
    gpu = Gpu(
        env,
        price,
        BATCHING.create("priority" if rules.by_priority else "chunked-fcfs"),
        room=pool,
        token_budget=rules.token_budget,
        max_sequences=rules.max_sequences,
        speculative="leftover" if rules.leftover else "idle_only",
        speculative_step_tokens=rules.speculative_step_tokens,
        async_scheduling=rules.async_scheduling,
        step_by_step=step_by_step,
    )

    def noting(name: int, what: str) -> Any:
        return lambda: outcome.said.append((env.now, name, what))

    def ask(sequence: GpuSequence, job: Job) -> None:
        gpu.submit(sequence)
        for after_s, act in ((job.promote_after_s, gpu.promote), (job.cancel_after_s, gpu.cancel)):
            if after_s is not None:
                call_at(env, env.now + after_s, Order.ARRIVAL, lambda act=act: act(sequence))

    sequences = []
    for name, job in enumerate(jobs):
        sequence = GpuSequence(
            job.prompt_tokens,
            output_tokens=job.output_tokens,
            speculative=job.speculative,
            priority=job.priority,
            content=None if job.ids is None else PagedContent(Owner(job.ids, 0).runs, own_ids(name)),
            on_scheduled=noting(name, "scheduled"),
            on_first_token=noting(name, "first token"),
            on_finished=noting(name, "finished"),
        )
        sequences.append(sequence)
        call_at(env, job.at_s, Order.ARRIVAL, lambda sequence=sequence, job=job: ask(sequence, job))
    env.run()
    assert gpu.is_idle
    pool.check()
    outcome.preemptions = [sequence.preemptions for sequence in sequences]
    outcome.found_tokens = [sequence.found_tokens for sequence in sequences]
    outcome.cancelled = [sequence.cancelled for sequence in sequences]
    outcome.speculative_s = [sequence.speculative_s for sequence in sequences]
    outcome.interference_s = [sequence.interference_s for sequence in sequences]
    outcome.steps, outcome.spent_s, outcome.free_blocks = gpu.steps, (gpu.demand_s, gpu.speculative_s), pool.free_blocks
    return outcome


def count(jobs: list[Job], rules: Rules, price: StepTime) -> Outcome:
    """Run jobs in the loop that walks every sequence and every block."""
    loop = Loop(jobs, rules, price).run()
    return Outcome(
        loop.said,
        [asked.preemptions for asked in loop.all],
        [asked.found for asked in loop.all],
        [asked.cancelled for asked in loop.all],
        [asked.speculative_s for asked in loop.all],
        [asked.interference_s for asked in loop.all],
        loop.steps,
        (loop.demand_s, loop.speculative_s),
        len(loop.pool.free),
    )


def assert_all_alike(jobs: list[Job], rules: Rules, price: StepTime, exact: bool) -> Outcome:
    """Leap, step, and count: discrete outcomes are equal, times to 1e-9 relative, or to the last bit."""
    leapt = play(jobs, rules, price, step_by_step=False)
    assert leapt == play(jobs, rules, price, step_by_step=True)
    counted = count(jobs, rules, price)
    assert leapt.free_blocks == rules.blocks
    assert (leapt.steps, leapt.preemptions) == (counted.steps, counted.preemptions)
    assert (leapt.found_tokens, leapt.cancelled) == (counted.found_tokens, counted.cancelled)

    def near(values: Any) -> Any:
        return values if exact else pytest.approx(values, rel=1e-9, abs=1e-12)

    assert leapt.moments() == near(counted.moments())
    assert leapt.speculative_s == near(counted.speculative_s)
    assert leapt.interference_s == near(counted.interference_s)
    assert leapt.spent_s == near(counted.spent_s)
    return leapt


# -- what is drawn ------------------------------------------------------------------------------------------------

rules_of = st.builds(
    Rules,
    st.integers(2, 24),
    st.sampled_from([1, 2, 4]),
    st.integers(1, 24),
    st.integers(1, 6),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.integers(1, 12),
)
#: Few moments, so that many arrive at one, and most on step boundaries.
bursts = st.integers(0, 24).map(lambda n: n / 8)
moments = st.floats(0.0, 3.0)


@st.composite
def cases(draw: Any, times: st.SearchStrategy[float], speculation: bool) -> tuple[list[Job], Rules]:
    """Draw an engine and jobs that each fit into it alone; prompts of a family share their front."""
    rules = draw(rules_of)
    jobs = []
    for _ in range(draw(st.integers(1, 10))):
        family, shared, tail = draw(st.integers(0, 2)), draw(st.integers(0, 8)), draw(st.integers(0, 12))
        prompt_tokens = max(shared * rules.block_tokens + tail, 1)
        ids = [1000 * family + place for place in range(shared)]
        output_tokens = draw(st.integers(0, 30))
        job = Job(draw(times), ids, prompt_tokens, output_tokens, draw(st.integers(0, 2)))
        if speculation and draw(st.booleans()):
            after = st.none() | times.map(lambda seconds: seconds / 4)
            job = job._replace(
                ids=None, output_tokens=0, speculative=True, promote_after_s=draw(after), cancel_after_s=draw(after)
            )
        elif draw(st.integers(0, 9)) == 0:
            job = job._replace(ids=None)
        if -(-(prompt_tokens + output_tokens) // rules.block_tokens) <= rules.blocks:
            jobs.append(job)
    return jobs, rules


# -- the laws -----------------------------------------------------------------------------------------------------


@law
@given(cases(bursts, speculation=False), st.sampled_from([0.0, 2**-9, 2**-6]))
def test_ties_fall_alike_where_memory_runs_out(case: tuple[list[Job], Rules], unit_s: float) -> None:
    """Exact prices: arrivals, ends and preemptions on one boundary; equal to the last bit in all three."""
    assert_all_alike(*case, Itemised(unit_s), exact=True)


@law
@given(cases(bursts, speculation=True), st.sampled_from([0.0, 2**-9, 2**-6]))
def test_ties_fall_alike_with_speculation(case: tuple[list[Job], Rules], unit_s: float) -> None:
    """The same beside speculation in idle time or in what is left of a step, promoted and cancelled."""
    assert_all_alike(*case, Itemised(unit_s), exact=True)


@law
@given(cases(moments, speculation=True), st.floats(3e5, 1e8), st.floats(3e5, 1e8))
def test_rooflines_where_memory_runs_out(case: tuple[list[Job], Rules], flop_per_s: float, bytes_per_s: float) -> None:
    """Prices and moments that are any floats, a law that changes at the ridge."""
    assert_all_alike(*case, RooflineStepTime(TOY, flop_per_s, bytes_per_s, 1.2345e-2), exact=False)


@pytest.mark.parametrize("async_scheduling", [False, True], ids=["synchronous", "asynchronous"])
@pytest.mark.parametrize("by_priority", [False, True], ids=["fcfs", "priority"])
def test_an_engine_that_is_always_short_of_memory(by_priority: bool, async_scheduling: bool) -> None:
    """Two hundred requests: dozens of preemptions, hits, chunks and ties, and speculation in what is left."""
    draws, jobs = stream(11, "paged"), []
    for _ in range(200):
        family, shared, tail = draws.randrange(3), draws.randrange(6), draws.randrange(1, 40)
        ids = [1000 * family + place for place in range(shared)]
        at_s, priority = draws.randrange(400) / 8, draws.randrange(3)
        job = Job(at_s, ids, 16 * shared + tail, draws.randrange(80), priority)
        if draws.random() < 0.1:
            job = Job(at_s, None, 64, 0, 0, True, draws.choice([None, 1.0]), draws.choice([None, 2.0]))
        jobs.append(job)
    rules = Rules(30, 16, 96, 12, by_priority, async_scheduling, leftover=True)
    outcome = assert_all_alike(jobs, rules, Itemised(2**-12), exact=True)
    assert sum(outcome.preemptions) > 50
    assert sum(tokens > 0 for tokens in outcome.found_tokens) > 50
    assert sum(seconds > 0 for seconds in outcome.interference_s) > 10
    assert any(outcome.cancelled)
