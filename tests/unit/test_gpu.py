"""The GPU loop, one sentence of the rules at a time (semantics D)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simpy import Environment

from simkv.clock import Order, call_at
from simkv.compute.gpu import Gpu, GpuSequence
from simkv.compute.steptime import FixedStepTime
from simkv.errors import InputError, InvariantError
from simkv.policies import BATCHING


@dataclass(frozen=True)
class Recording(FixedStepTime):
    """A fixed price list that remembers what it was asked."""

    prefill_per_token_s: float = 0.125
    decode_step_s: float = 1.0
    steps: list[tuple[list[tuple[int, int]], int, int, int]] = field(default_factory=list)

    def step(self, chunks: Any, decodes: int, context_tokens: int, emitting: int, longest_tokens: int = 0) -> float:
        self.steps.append((list(chunks), decodes, context_tokens, emitting))
        return super().step(chunks, decodes, context_tokens, emitting)


class Stage:
    """A GPU, what is submitted to it, and what happened when."""

    def __init__(self, price: FixedStepTime | None = None, policy: Any = None, **gpu: Any) -> None:
        self.env = Environment()
        self.price = price or Recording()
        self.gpu = Gpu(self.env, self.price, policy or BATCHING.create("chunked-fcfs"), **gpu)
        self.log: list[tuple[float, str, str]] = []

    def sequence(self, name: str, *tokens: int, speculative: bool = False) -> GpuSequence:
        """Make a sequence of (prefill, cached, output) tokens that logs what happens to it."""
        return GpuSequence(
            *tokens,
            speculative=speculative,
            on_scheduled=self.logs(name, "scheduled"),
            on_first_token=self.logs(name, "first token"),
            on_finished=self.logs(name, "finished"),
        )

    def logs(self, name: str, what: str) -> Callable[[], None]:
        return lambda: self.log.append((self.env.now, name, what))

    def submit(self, at_s: float, name: str, *tokens: int, speculative: bool = False) -> GpuSequence:
        sequence = self.sequence(name, *tokens, speculative=speculative)
        self.at(at_s, lambda: self.gpu.submit(sequence))
        return sequence

    def at(self, at_s: float, action: Callable[[], None], order: Order = Order.ARRIVAL) -> None:
        call_at(self.env, at_s, order, action)

    def run(self, until_s: float | None = None) -> None:
        self.env.run(until=until_s)
        assert until_s is not None or self.gpu.is_idle

    def times(self, what: str) -> dict[str, float]:
        return {name: at_s for at_s, name, happened in self.log if happened == what}


# -- one sequence -------------------------------------------------------------------------------------------------


def test_a_sequence_is_scheduled_emits_and_finishes() -> None:
    """8 tokens of prefill, the first token with their last, four more tokens one by one."""
    stage = Stage()
    stage.submit(0.5, "a", 8, 0, 5)
    stage.run()
    assert stage.log == [(0.5, "a", "scheduled"), (1.5, "a", "first token"), (5.5, "a", "finished")]
    assert (stage.gpu.demand_s, stage.gpu.speculative_s) == (5.0, 0.0)


def test_one_token_of_output_is_there_with_the_prefill() -> None:
    stage = Stage()
    stage.submit(0, "a", 8, 0, 1)
    stage.run()
    assert stage.log[1:] == [(1.0, "a", "first token"), (1.0, "a", "finished")]


def test_a_prefill_alone_emits_nothing() -> None:
    """It has no first token and pays no lm_head."""
    stage = Stage()
    stage.submit(0, "a", 8, 24, 0)
    stage.run()
    assert stage.log == [(0.0, "a", "scheduled"), (1.0, "a", "finished")]
    assert stage.price.steps == [([(8, 24)], 0, 0, 0)]


def test_callbacks_are_optional_but_for_the_end() -> None:
    env, ended = Environment(), []
    gpu = Gpu(env, Recording(), BATCHING.create("chunked-fcfs"))
    gpu.submit(GpuSequence(8, 0, 2, on_finished=lambda: ended.append(env.now)))
    gpu.submit(GpuSequence(8, speculative=True, on_finished=lambda: ended.append(env.now)))
    env.run()
    assert ended == [2.0, 3.0]


# -- who runs (D1) ------------------------------------------------------------------------------------------------


def test_a_long_prompt_is_cut_into_chunks_and_emits_at_their_end_alone() -> None:
    """Each chunk attends to those before it; lm_head is paid once, by the last."""
    stage = Stage(token_budget=8)
    stage.submit(0, "a", 20, 100, 1)
    stage.run()
    assert stage.price.steps == [([(8, 100)], 0, 0, 0), ([(8, 108)], 0, 0, 0), ([(4, 116)], 0, 0, 1)]
    assert stage.times("first token") == {"a": 2.5}


def test_running_sequences_are_walked_in_the_order_of_admission() -> None:
    """Decodes and partial prefills alike: who was admitted first takes its tokens first."""
    stage = Stage(token_budget=10)
    stage.submit(0, "a", 4, 0, 9)
    stage.submit(0, "b", 25, 0, 9)
    stage.submit(0, "c", 5, 0, 9)
    stage.run(until_s=6.0)
    assert [step[:2] for step in stage.price.steps[:4]] == [
        ([(4, 0), (6, 0)], 0),  # what a leaves goes to b, and nothing to c
        ([(9, 6)], 1),
        ([(9, 15)], 1),
        ([(1, 24), (5, 0)], 1),  # b ends; what is left admits c
    ]


def test_decodes_use_up_the_budget_too() -> None:
    """Two decodes fill a budget of two: the third is admitted when one of them has ended."""
    stage = Stage(FixedStepTime(0.0, 1.0), token_budget=2)
    for name, output in (("a", 3), ("b", 4), ("c", 2)):
        stage.submit(0, name, 1, 0, output)
    stage.run()
    assert stage.times("scheduled") == {"a": 0.0, "b": 0.0, "c": 2.0}
    assert stage.times("finished") == {"a": 2.0, "b": 3.0, "c": 4.0}


def test_the_queue_has_head_of_line_blocking() -> None:
    """A short prompt does not overtake a long one: it starts with what the last chunk leaves."""
    stage = Stage(token_budget=8)
    stage.submit(0, "long", 20, 0, 0)
    stage.submit(0, "short", 1, 0, 0)
    stage.run()
    assert stage.times("scheduled") == {"long": 0.0, "short": 2.0}
    assert stage.price.steps[-1] == ([(4, 16), (1, 0)], 0, 0, 0)


def test_no_more_sequences_are_admitted_than_allowed() -> None:
    """The third waits for the first to finish, whatever the budget has left, in the order of arrival."""
    stage = Stage(max_sequences=2)
    for name, output in (("a", 4), ("b", 9), ("c", 1), ("d", 1)):
        stage.submit(0, name, 8, 0, output)
    stage.run()
    assert stage.times("scheduled") == {"a": 0.0, "b": 0.0, "c": 5.0, "d": 7.0}


def test_decodes_share_a_step_and_read_their_contexts() -> None:
    """A step of two decodes costs one decode; the contexts grow by a token each."""
    stage = Stage()
    stage.submit(0, "a", 8, 0, 9)
    stage.submit(0, "b", 8, 100, 9)
    stage.submit(4.5, "c", 8, 0, 1)
    stage.run()
    assert stage.times("first token") == {"a": 2.0, "b": 2.0, "c": 7.0}
    assert stage.price.steps[1] == ([(8, 0)], 2, 8 + 3 + 108 + 3, 3)  # three decoded tokens each; c's emits
    assert stage.times("finished") == {"a": 11.0, "b": 11.0, "c": 7.0}


# -- ties and boundaries (D4, D5) ---------------------------------------------------------------------------------

both_modes = pytest.mark.parametrize("step_by_step", [False, True], ids=["leap", "step_by_step"])


@both_modes
@pytest.mark.parametrize(
    ("arrival_s", "joins_s"),
    [(2.5, 3.0), (3.0, 3.0), (3.25, 4.0), (10.0, 10.0), (10.5, 11.0)],
    ids=["inside", "on a boundary", "after it", "on the last boundary", "when idle but for it"],
)
def test_who_arrives_joins_at_the_first_boundary_at_or_after(
    arrival_s: float, joins_s: float, step_by_step: bool
) -> None:
    """At one instant a step ends before a request arrives, and a decision comes last."""
    stage = Stage(FixedStepTime(0.0, 1.0), step_by_step=step_by_step)
    stage.submit(0, "a", 1, 0, 12)
    stage.submit(arrival_s, "b", 1, 0, 1)
    stage.run()
    assert stage.times("scheduled")["b"] == joins_s


@both_modes
@pytest.mark.parametrize("order", [Order.TRANSFER_END, Order.STEP_END, Order.ARRIVAL, Order.DECISION])
def test_whatever_happens_on_a_boundary_joins_there(order: Order, step_by_step: bool) -> None:
    """A delivery that makes a request runnable, another GPU's step, an arrival."""
    stage = Stage(FixedStepTime(0.0, 1.0), step_by_step=step_by_step)
    stage.submit(0, "a", 1, 0, 9)
    b = stage.sequence("b", 1, 0, 1)
    stage.at(4.0, lambda: stage.gpu.submit(b), order)
    stage.run()
    assert stage.times("scheduled")["b"] == 4.0


@both_modes
@pytest.mark.parametrize("steps", [3, 4])
def test_a_boundary_is_where_it_is_however_it_rounds(steps: int, step_by_step: bool) -> None:
    """Boundary k is at start + S(k), though S(k) may be less or more than the difference of those moments."""
    start_s, step_s = 0.3, 0.1
    tie_s = start_s + steps * step_s
    assert (tie_s - start_s > steps * step_s) == (steps == 3)
    assert (tie_s - start_s < steps * step_s) == (steps == 4)
    for arrival_s, joins_s in (
        (math.nextafter(tie_s, 0), tie_s),
        (tie_s, tie_s),
        (math.nextafter(tie_s, 1), start_s + (steps + 1) * step_s),
    ):
        stage = Stage(FixedStepTime(0.0, step_s), step_by_step=step_by_step)
        stage.submit(start_s, "a", 1, 0, 9)
        stage.submit(arrival_s, "b", 1, 0, 1)
        stage.run()
        assert stage.times("scheduled")["b"] == joins_s


@both_modes
def test_the_second_cause_joins_with_the_first(step_by_step: bool) -> None:
    stage = Stage(FixedStepTime(0.0, 1.0), step_by_step=step_by_step)
    stage.submit(0, "a", 1, 0, 9)
    stage.submit(3.25, "b", 1, 0, 1)
    stage.submit(3.75, "c", 1, 0, 1)
    stage.submit(4.0, "d", 1, 0, 1)
    stage.run()
    assert stage.times("scheduled") == {"a": 0.0, "b": 4.0, "c": 4.0, "d": 4.0}


@both_modes
def test_who_arrives_together_starts_together(step_by_step: bool) -> None:
    """An idle GPU decides when all of an instant has happened."""
    stage = Stage(step_by_step=step_by_step)
    stage.submit(1.0, "a", 8)
    stage.submit(1.0, "b", 8)
    stage.run()
    assert stage.price.steps == [([(8, 0), (8, 0)], 0, 0, 0)]


def test_a_leap_takes_one_event_and_steps_take_many() -> None:
    """The same answer, 10,000 tokens long, with and without an event a token."""
    events = {}
    for step_by_step in (False, True):
        stage = Stage(FixedStepTime(0.0, 0.25), step_by_step=step_by_step)
        stage.submit(0, "a", 1, 0, 10_001)
        events[step_by_step] = 0
        while stage.env.peek() < float("inf"):
            stage.env.step()
            events[step_by_step] += 1
        assert stage.times("finished") == {"a": 2500.0}
    assert events[False] < 10
    assert events[True] > 10_000


def test_a_callback_may_submit_at_once() -> None:
    """Who is submitted when another ends, or is scheduled, runs in a later step; no two steps overlap."""
    stage = Stage()
    sequence = stage.sequence("a", 8, 0, 1)
    sequence.on_scheduled = lambda: stage.gpu.submit(stage.sequence("b", 8))
    sequence.on_finished = lambda: stage.gpu.submit(stage.sequence("c", 8))
    stage.gpu.submit(sequence)
    stage.run()
    assert stage.times("scheduled") == {"b": 1.0, "c": 1.0}
    assert stage.gpu.demand_s == stage.env.now == 3.0


# -- speculative work (D3) ----------------------------------------------------------------------------------------


def test_speculation_runs_only_when_no_demand_is_runnable() -> None:
    """Not beside a decode, though the budget has room; one sequence at a time, in the order of submission."""
    stage = Stage(speculative_step_tokens=8)
    stage.submit(0, "s", 16, speculative=True)
    stage.submit(0, "t", 8, speculative=True)
    stage.submit(0, "a", 8, 0, 3)
    stage.run()
    assert stage.times("scheduled") == {"a": 0.0, "s": 3.0, "t": 5.0}
    assert stage.times("finished") == {"a": 3.0, "s": 5.0, "t": 6.0}
    assert (stage.gpu.demand_s, stage.gpu.speculative_s) == (3.0, 3.0)


def test_a_speculative_step_has_its_own_size_and_no_lm_head() -> None:
    stage = Stage(speculative_step_tokens=8)
    stage.submit(0, "s", 20, 4, speculative=True)
    stage.run()
    assert stage.price.steps == [([(8, 4)], 0, 0, 0), ([(8, 12)], 0, 0, 0), ([(4, 20)], 0, 0, 0)]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.floats(0.0, 20.0), st.integers(1, 64))
def test_a_new_demand_waits_for_one_speculative_step_at_most(arrival_s: float, step_tokens: int) -> None:
    """And that has the stated size, whatever waits behind it."""
    stage = Stage(speculative_step_tokens=step_tokens)
    stage.submit(0, "s", 100, speculative=True)
    stage.submit(0, "t", 100, speculative=True)
    stage.submit(arrival_s, "a", 8, 0, 1)
    stage.run()
    waited_s = stage.times("scheduled")["a"] - arrival_s
    assert 0 <= waited_s <= step_tokens * 0.125
    assert stage.gpu.speculative_s == pytest.approx(25.0)


def test_demand_comes_first_where_a_speculative_step_ends() -> None:
    stage = Stage(speculative_step_tokens=8)
    stage.submit(0, "s", 32, speculative=True)
    stage.submit(2.0, "a", 8, 0, 1)
    stage.run()
    assert stage.times("scheduled")["a"] == 2.0
    assert stage.times("finished") == {"a": 3.0, "s": 5.0}


def test_a_promotion_takes_effect_at_the_next_boundary() -> None:
    """The step under way stays speculative; the rest is demand, in demand's chunks, before other speculation."""
    stage = Stage(speculative_step_tokens=8)
    stage.submit(0, "t", 8, speculative=True)
    s = stage.submit(0, "s", 40, speculative=True)
    stage.submit(0, "u", 8, speculative=True)
    stage.at(1.5, lambda: stage.gpu.promote(s))
    stage.run()
    assert stage.price.steps[1:3] == [([(8, 0)], 0, 0, 0), ([(32, 8)], 0, 0, 0)]
    assert stage.times("finished") == {"t": 1.0, "s": 6.0, "u": 7.0}
    assert (s.speculative_s, stage.gpu.speculative_s, stage.gpu.demand_s) == (1.0, 3.0, 4.0)
    assert not s.cancelled


def test_a_promotion_during_its_last_step_changes_nothing() -> None:
    stage = Stage()
    s = stage.submit(0, "s", 8, speculative=True)
    stage.at(0.5, lambda: stage.gpu.promote(s))
    stage.run()
    assert stage.times("finished") == {"s": 1.0}
    assert (s.speculative_s, stage.gpu.speculative_s, stage.gpu.demand_s) == (1.0, 1.0, 0.0)


def test_a_promoted_sequence_that_waits_queues_behind_the_demand_that_waits() -> None:
    stage = Stage(max_sequences=1)
    stage.submit(0, "a", 8, 0, 2)
    s = stage.submit(0, "s", 8, speculative=True)
    stage.submit(0.5, "b", 8)
    stage.at(0.75, lambda: stage.gpu.promote(s))
    stage.submit(0.875, "c", 8)
    stage.run()
    assert stage.times("scheduled") == {"a": 0.0, "b": 2.0, "s": 3.0, "c": 4.0}
    assert (s.speculative_s, stage.gpu.speculative_s, stage.gpu.demand_s) == (0.0, 0.0, 5.0)


@both_modes
def test_a_promotion_ends_a_leap_at_its_next_boundary(step_by_step: bool) -> None:
    stage = Stage(step_by_step=step_by_step)
    stage.submit(0, "a", 8, 0, 9)
    s = stage.submit(0, "s", 8, speculative=True)
    stage.at(3.5, lambda: stage.gpu.promote(s))
    stage.run()
    assert stage.times("scheduled")["s"] == 4.0
    assert stage.times("finished") == {"s": 6.0, "a": 10.0}


def test_only_speculation_can_be_promoted_or_cancelled() -> None:
    """A demand, a promoted sequence and one that has ended are left alone."""
    stage = Stage()
    a = stage.submit(0, "a", 8, 0, 2)
    s = stage.submit(0, "s", 8, speculative=True)
    for at_s in (0.5, 1.5, 9.0):
        for sequence in (a, s):
            stage.at(at_s, lambda sequence=sequence: stage.gpu.promote(sequence))
            stage.at(at_s, lambda sequence=sequence: stage.gpu.cancel(sequence))
    stage.run()
    assert (a.cancelled, s.cancelled) == (False, False)
    assert stage.times("finished") == {"a": 3.0, "s": 3.0}  # a decodes beside the prefill of s


def test_a_waiting_sequence_is_cancelled_at_once() -> None:
    """It has spent nothing, and whoever submitted it is told."""
    stage = Stage(speculative_step_tokens=8)
    stage.submit(0, "s", 16, speculative=True)
    t = stage.submit(0, "t", 16, speculative=True)
    stage.at(0.5, lambda: stage.gpu.cancel(t))
    stage.run()
    assert stage.times("finished") == {"t": 0.5, "s": 2.0}
    assert t.cancelled
    assert (t.speculative_s, stage.gpu.speculative_s) == (0.0, 2.0)


def test_a_running_sequence_is_cancelled_when_its_step_ends() -> None:
    """The step is spent; a promotion comes too late, and so does a second cancellation."""
    stage = Stage(speculative_step_tokens=8)
    s = stage.submit(0, "s", 40, speculative=True)
    stage.submit(0, "t", 8, speculative=True)
    stage.at(1.25, lambda: stage.gpu.cancel(s))
    stage.at(1.5, lambda: stage.gpu.promote(s))
    stage.at(1.75, lambda: stage.gpu.cancel(s))
    stage.run()
    assert (s.cancelled, s.speculative) == (True, True)
    assert stage.log[1:] == [(2.0, "s", "finished"), (2.0, "t", "scheduled"), (3.0, "t", "finished")]
    assert (s.speculative_s, stage.gpu.speculative_s, stage.gpu.demand_s) == (2.0, 3.0, 0.0)


def test_what_speculation_spends_is_told_step_by_step() -> None:
    """Whoever keeps the books knows at any moment what was spent so far."""
    stage, spent = Stage(speculative_step_tokens=8), []
    sequence = stage.sequence("s", 20, speculative=True)
    sequence.on_spent = lambda seconds: spent.append((stage.env.now, seconds))
    stage.gpu.submit(sequence)
    stage.run()
    assert spent == [(1.0, 1.0), (2.0, 1.0), (2.5, 0.5)]
    assert sequence.speculative_s == 2.5


@pytest.mark.parametrize(
    ("horizon_s", "demand_s", "speculative_s", "of_s"),
    [(0.5, 0.5, 0.0, 0.0), (3.5, 3.5, 0.0, 0.0), (5.0, 5.0, 0.0, 0.0), (6.25, 5.0, 1.25, 1.25), (9.0, 5.0, 2.0, 2.0)],
    ids=["in a step", "in a leap", "on a boundary", "in a speculative step", "idle"],
)
def test_a_run_that_stops_inside_a_step_counts_its_part(
    horizon_s: float, demand_s: float, speculative_s: float, of_s: float
) -> None:
    """Busy time is busy time, whether or not the step came to its end."""
    stage = Stage(speculative_step_tokens=8)
    stage.submit(0, "a", 8, 0, 5)
    s = stage.submit(0, "s", 16, speculative=True)
    stage.run(until_s=horizon_s)
    stage.gpu.settle()
    assert (stage.gpu.demand_s, stage.gpu.speculative_s, s.speculative_s) == (demand_s, speculative_s, of_s)


# -- what a policy sees and may say -------------------------------------------------------------------------------


def test_a_policy_sees_no_output_length_and_can_change_nothing() -> None:
    sequence = GpuSequence(20, 5, 7, on_finished=lambda: None)
    view = sequence.view
    assert (view.prefill_left_tokens, view.context_tokens, view.submitted_s) == (20, 5, 0.0)
    assert {name for name in dir(view) if not name.startswith("_")} == {
        "prefill_left_tokens",
        "context_tokens",
        "submitted_s",
        "priority",
    }
    for name in ("prefill_left_tokens", "anything"):
        with pytest.raises(AttributeError):
            setattr(view, name, 1)


@pytest.mark.parametrize("name", ["token_budget", "max_sequences", "speculative_step_tokens"])
def test_an_engine_needs_room(name: str) -> None:
    with pytest.raises(InputError, match="want at least 1 token a step, 1 sequence and 1 speculative token"):
        Stage(**{name: 0})


@pytest.mark.parametrize(
    ("tokens", "speculative"), [((0,), False), ((5, -1), False), ((5, 0, -1), False), ((5, 0, 1), True)]
)
def test_a_sequence_that_cannot_be(tokens: tuple[int, ...], speculative: bool) -> None:
    with pytest.raises(InvariantError):
        GpuSequence(*tokens, speculative=speculative, on_finished=lambda: None)


def test_idle_means_that_nothing_runs_or_waits() -> None:
    stage = Stage()
    assert stage.gpu.is_idle
    stage.gpu.submit(stage.sequence("s", 8, speculative=True))
    assert not stage.gpu.is_idle
    stage.env.run(until=0.5)
    assert not stage.gpu.is_idle
    stage.run()
    assert stage.gpu.is_idle
