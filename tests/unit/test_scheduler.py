"""Who is in which step: the sentences of semantics D1, D3 and D5, one test each, by schedules computed by hand.

Every step takes one second, so step n runs from n - 1 to n s.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest

from simkv.clock import Clock, Order, call_at
from simkv.compute.gpu import Gpu, GpuSequence
from simkv.compute.host import WithHost
from simkv.compute.steptime import FixedStepTime
from simkv.kv.block import Run
from simkv.kv.radix import BlockPool, PagedContent
from simkv.policies import BATCHING
from simkv.replay import Engine


@dataclass(frozen=True)
class Seconds:
    """A price list: a step takes a second; it remembers what it was asked of steps that are no leap."""

    wants_longest: bool = False
    steps: list[tuple[list[tuple[int, int]], int, int, int]] = field(default_factory=list)
    longest: list[int] = field(default_factory=list)

    outside: ClassVar[bool] = False

    def step(self, chunks: Any, decodes: int, context_tokens: int, emitting: int, longest_tokens: int = 0) -> float:
        """Write down what a step is made of."""
        self.steps.append((list(chunks), decodes, context_tokens, emitting))
        self.longest.append(longest_tokens)
        return 1.0

    def span(
        self, batch: int, context_tokens: int, max_steps: int, until_s: float, longest_tokens: int = 0
    ) -> tuple[int, float]:
        """Count seconds."""
        steps = max_steps if until_s == math.inf else max(1, min(max_steps, math.ceil(until_s)))
        return steps, float(steps)

    @property
    def chunks(self) -> list[list[tuple[int, int]]]:
        """The prefill chunks of each step that has any."""
        return [step[0] for step in self.steps if step[0]]


class Stage:
    """An engine with a paged pool, what is submitted to it, and what happened when."""

    def __init__(self, blocks: int, block_tokens: int = 4, policy: str = "chunked-fcfs", **engine: Any) -> None:
        self.env = Clock()
        self.price = Seconds(engine.pop("wants_longest", False))
        reserve_prompt = engine.pop("reserve_prompt", True)
        self.pool = BlockPool(blocks, block_tokens, reserve_prompt=reserve_prompt)
        self.gpu = Gpu(self.env, self.price, BATCHING.create(policy), room=self.pool, **engine)
        self.log: list[tuple[float, str, str]] = []
        self.names = 0

    def submit(
        self, at_s: float, name: str, prompt_tokens: int, output_tokens: int, priority: int = 0, like: int | None = None
    ) -> GpuSequence:
        """Submit a sequence; those that are `like` a number have all full blocks of the prompt in common."""
        self.names += 1
        runs = () if like is None else (Run(like * 1000, prompt_tokens // self.pool.block_tokens),)
        sequence = GpuSequence(
            prompt_tokens,
            output_tokens=output_tokens,
            priority=priority,
            content=PagedContent(runs, (1 << 40) + (self.names << 20)),
            on_scheduled=self.logs(name, "scheduled"),
            on_first_token=self.logs(name, "first token"),
            on_finished=self.logs(name, "finished"),
        )
        call_at(self.env, at_s, Order.ARRIVAL, lambda: self.gpu.submit(sequence))
        return sequence

    def logs(self, name: str, what: str) -> Callable[[], None]:
        return lambda: self.log.append((self.env.now, name, what))

    def run(self, until_s: float | None = None) -> None:
        """Let everything happen; in the end, all blocks are free again."""
        self.env.run(until=until_s)
        self.pool.check()
        assert until_s is not None or (self.gpu.is_idle and self.pool.free_blocks == self.pool.blocks)

    def times(self, what: str) -> dict[str, float]:
        """Return when a thing happened to each."""
        return {name: at_s for at_s, name, happened in self.log if happened == what}


# -- D1: the running list -----------------------------------------------------------------------------------------


def test_the_running_list_is_walked_once_a_step_in_admission_order() -> None:
    """Decodes and partial prefills alike: a's decode comes before the rest of b's prompt, that before c."""
    stage = Stage(100, token_budget=10)
    stage.submit(0, "a", 4, 9)
    stage.submit(0, "b", 21, 9)
    stage.submit(0, "c", 5, 1)
    stage.run()
    assert stage.price.chunks == [[(4, 0), (6, 0)], [(9, 6)], [(6, 15), (3, 0)], [(2, 3)]]
    assert [step[1] for step in stage.price.steps[:4]] == [0, 1, 1, 2]
    assert stage.times("first token") == {"a": 1.0, "b": 3.0, "c": 4.0}


def test_decodes_are_walked_in_admission_order_for_blocks_too() -> None:
    """Two decodes want a block in one step and one is free: who was admitted first has it."""
    stage = Stage(5)
    a, b = stage.submit(0, "a", 8, 3), stage.submit(0, "b", 8, 3)
    stage.run()
    assert (a.preemptions, b.preemptions) == (0, 1)
    assert stage.times("finished")["a"] == 3.0


def test_then_the_waiting_queue_with_head_of_line_blocking() -> None:
    """There is room for c beside a, but b is before it."""
    stage = Stage(4)
    stage.submit(0, "a", 8, 3)
    stage.submit(0, "b", 12, 1)
    stage.submit(0, "c", 1, 1)
    stage.run()
    assert stage.times("scheduled") == {"a": 0.0, "b": 3.0, "c": 3.0}


def test_nobody_is_admitted_in_a_step_in_which_somebody_was_preempted() -> None:
    """In step 3 b makes way for a, and leaves a block that c could have; c has it in step 4."""
    stage = Stage(4, policy="priority")
    stage.submit(0, "a", 7, 6, priority=1)
    b = stage.submit(0, "b", 4, 5, priority=2)
    stage.submit(1.5, "c", 1, 1, priority=0)
    stage.run()
    assert b.preemptions == 1
    assert stage.times("scheduled")["c"] == 3.0


def test_nor_in_a_step_that_nobody_is_left_in() -> None:
    """Step 3 is decided when step 2 begins: b gives up its blocks, and d, who could have them, waits for step 2's end.

    a's last token is in step 2, so that nobody is left in step 3.
    """
    stage = Stage(4, 2, policy="priority", async_scheduling=True)
    stage.submit(0, "a", 3, 2)
    b = stage.submit(0, "b", 3, 4, priority=1)
    stage.submit(0.5, "d", 4, 1)
    stage.run()
    assert b.preemptions == 1
    assert stage.times("finished")["a"] == 2.0
    assert stage.times("scheduled")["d"] == 2.0
    assert stage.times("finished")["d"] == 3.0


# -- D1: inputs ---------------------------------------------------------------------------------------------------


def test_budget_sequences_and_block_are_inputs() -> None:
    """Their defaults are vLLM's for online serving: 2048 tokens, 256 sequences, blocks of 16."""
    engine = Engine(blocks=1000)
    assert (engine.token_budget, engine.max_sequences, engine.block_tokens) == (2048, 256, 16)
    stage = Stage(1000, engine.block_tokens)
    stage.submit(0, "a", 3000, 0)
    stage.run()
    assert stage.price.chunks == [[(2048, 0)], [(952, 2048)]]
    stage = Stage(100, token_budget=6, max_sequences=2)
    for name in "abc":
        stage.submit(0, name, 4, 1)
    stage.run()
    assert stage.price.chunks == [[(4, 0), (2, 0)], [(2, 2), (4, 0)]]  # in the first, two are admitted


def test_no_more_sequences_run_than_allowed() -> None:
    stage = Stage(100, max_sequences=2)
    for name in "abc":
        stage.submit(0, name, 4, 3)
    stage.run()
    assert stage.times("scheduled") == {"a": 0.0, "b": 0.0, "c": 3.0}


def test_the_number_of_blocks_is_an_input() -> None:
    """Three fit at a time with six blocks, two with five."""
    for blocks, last_s in ((6, 0.0), (5, 1.0)):
        stage = Stage(blocks)
        for name in "abc":
            stage.submit(0, name, 8, 1)
        stage.run()
        assert stage.times("scheduled")["c"] == last_s


def test_the_watermark_is_0() -> None:
    """The last free block is used, by a prompt and by a decode."""
    stage = Stage(3)
    a = stage.submit(0, "a", 8, 3)
    stage.run(until_s=0.5)
    assert stage.pool.free_blocks == 1
    stage.run(until_s=1.5)
    assert stage.pool.free_blocks == 0
    stage.run()
    assert (a.preemptions, stage.times("finished")) == (0, {"a": 3.0})
    stage = Stage(2)
    stage.submit(0, "a", 8, 0)
    stage.run()
    assert stage.times("finished") == {"a": 1.0}


def test_a_prompt_is_admitted_only_if_all_of_it_fits() -> None:
    """Its first chunk would fit beside a; vLLM may be told to look at that alone."""
    for reserve_prompt, scheduled_s in ((True, 3.0), (False, 0.0)):
        stage = Stage(4, token_budget=12, reserve_prompt=reserve_prompt)
        stage.submit(0, "a", 8, 3)
        stage.submit(0, "b", 16, 0)
        stage.run()
        assert stage.times("scheduled")["b"] == scheduled_s


# -- D1: hits -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("tokens", "cached"), [(3, 0), (4, 0), (5, 4), (8, 4), (9, 8), (12, 8)])
def test_a_hit_is_at_most_floor_of_tokens_less_one_over_block_blocks(tokens: int, cached: int) -> None:
    """The last token is always computed."""
    stage = Stage(100)
    stage.submit(0, "a", tokens, 1, like=1)
    b = stage.submit(5, "b", tokens, 1, like=1)
    stage.run()
    assert stage.price.chunks == [[(tokens, 0)], [(tokens - cached, cached)]]
    assert b.found_tokens == cached


def test_full_blocks_are_hashed_when_allocated() -> None:
    """The second of two requests in one step hits what the first has just been given."""
    stage = Stage(100)
    stage.submit(0, "a", 9, 1, like=1)
    stage.submit(0, "b", 9, 1, like=1)
    stage.run()
    assert stage.price.chunks == [[(9, 0), (1, 8)]]


def test_a_block_that_is_not_full_is_not_hashed() -> None:
    stage = Stage(100)
    stage.submit(0, "a", 7, 1, like=1)
    stage.submit(0, "b", 9, 1, like=1)
    stage.run()
    assert stage.price.chunks == [[(7, 0), (5, 4)]]


def test_blocks_of_the_output_are_hashed_too() -> None:
    """b, preempted after five tokens of answer, finds its prompt's block and one of its answer's two again."""
    stage = Stage(7, 2)
    stage.submit(0, "a", 2, 9)
    b = stage.submit(0, "b", 2, 9)
    stage.run()
    assert (b.preemptions, b.found_tokens) == (1, 0)  # found is what it found when admitted first
    assert stage.price.chunks == [[(2, 0), (2, 0)], [(3, 4)]]
    assert stage.times("finished") == {"a": 9.0, "b": 13.0}


# -- D1: the free queue -------------------------------------------------------------------------------------------


def test_blocks_are_freed_tail_first() -> None:
    """Of a's three blocks, the one at its end is used first, then the one before it: its front stays longest."""
    stage = Stage(3)
    stage.submit(0, "a", 12, 1, like=1)
    stage.submit(1, "b", 1, 1)
    stage.submit(2, "a again", 12, 1, like=1)
    stage.run()
    assert stage.price.chunks[-1] == [(4, 8)]
    stage = Stage(3)
    stage.submit(0, "a", 12, 1, like=1)
    stage.submit(1, "b", 5, 1)
    stage.submit(2, "a again", 12, 1, like=1)
    stage.run()
    assert stage.price.chunks[-1] == [(8, 4)]


def test_who_was_freed_first_is_used_first() -> None:
    stage = Stage(4)
    stage.submit(0, "a", 5, 1, like=1)
    stage.submit(1, "b", 5, 1, like=2)
    stage.submit(2, "c", 9, 1)  # three blocks: both that were not full, and a's
    stage.submit(3, "b again", 5, 1, like=2)
    stage.submit(4, "a again", 5, 1, like=1)
    stage.run()
    assert stage.price.chunks[-2:] == [[(1, 4)], [(5, 0)]]


def test_a_hit_takes_blocks_out_and_counts_against_free_blocks() -> None:
    """z hits two free blocks and needs a third; two are left beside y: it must wait."""
    stage = Stage(4)
    stage.submit(0, "x", 9, 1, like=1)
    stage.submit(1, "y", 8, 1)
    stage.submit(1, "z", 9, 1, like=1)
    stage.run()
    assert stage.times("scheduled") == {"x": 0.0, "y": 1.0, "z": 2.0}
    assert stage.price.chunks[-1] == [(1, 8)]


def test_what_is_hit_is_not_evicted() -> None:
    """x again holds two of the blocks that x left: y gets the others, and when x comes a third time it hits."""
    stage = Stage(5)
    stage.submit(0, "x", 9, 1, like=1)
    stage.submit(1, "x again", 9, 3, like=1)
    stage.submit(1, "y", 8, 1)
    stage.submit(5, "x once more", 9, 1, like=1)
    stage.run()
    assert stage.price.chunks[1:] == [[(1, 8), (8, 0)], [(1, 8)]]


def test_eviction_happens_at_allocation() -> None:
    """Not when a block is freed: what lies in the free queue is there until it is given to somebody."""
    stage = Stage(3)
    stage.submit(0, "x", 9, 1, like=1)
    stage.submit(50, "y", 8, 1)
    stage.run(until_s=49)
    assert (stage.pool.free_blocks, stage.pool.evicted_blocks) == (3, 0)
    stage.run(until_s=52)
    assert (stage.pool.free_blocks, stage.pool.evicted_blocks) == (3, 1)
    stage.submit(53, "x again", 9, 1, like=1)
    stage.run()
    assert stage.price.chunks[-1] == [(5, 4)]


# -- D1: preemption -----------------------------------------------------------------------------------------------


def preempted() -> tuple[Stage, GpuSequence]:
    """Let b, behind a, be preempted in step 3, after two tokens of its answer; c comes behind it."""
    stage = Stage(4)
    stage.submit(0, "a", 7, 6)
    b = stage.submit(0, "b", 4, 5, like=1)
    stage.submit(1.5, "c", 5, 1, like=1)
    return stage, b


def test_the_last_of_running_is_preempted_and_its_blocks_return() -> None:
    """b held two blocks; a takes one of them."""
    stage, b = preempted()
    stage.run(until_s=1.75)
    assert (b.preemptions, stage.gpu.running, stage.gpu.waiting, stage.pool.free_blocks) == (0, 2, 1, 0)
    stage.run(until_s=2.5)
    assert (b.preemptions, stage.gpu.running, stage.gpu.waiting, stage.pool.free_blocks) == (1, 1, 2, 1)
    assert stage.gpu.preemptions == 1


def test_its_computed_count_is_zero_and_it_is_looked_up_again() -> None:
    """Four tokens of prompt and two of answer are to be computed; four of them are found; three are still to come."""
    stage, b = preempted()
    stage.run(until_s=2.5)
    assert (b.context_tokens, b.prefill_left_tokens, b.output_left_tokens) == (0, 6, 3)
    stage.run()
    assert stage.price.steps[-1][0][0] == (2, 4)
    assert stage.times("finished") == {"a": 6.0, "b": 9.0, "c": 7.0}


def test_it_goes_to_the_head_of_waiting() -> None:
    """b needs two blocks and c, behind it, hits one of them: both are admitted in b's order when a has ended."""
    stage, _ = preempted()
    stage.run()
    assert stage.price.chunks[-1] == [(2, 4), (1, 4)]
    assert stage.times("scheduled")["c"] == 6.0


def test_a_prefill_that_is_not_finished_is_preempted_as_well() -> None:
    """Step 3 finds no block for the rest of b's prompt, which is the last of running."""
    stage = Stage(5, token_budget=9, reserve_prompt=False)
    stage.submit(0, "a", 7, 9)
    b = stage.submit(1.5, "b", 17, 1)
    stage.run()
    assert b.preemptions >= 1
    assert stage.times("finished")["a"] == 9.0
    assert stage.times("first token")["b"] > 9.0


def test_who_takes_its_own_memory_is_out_of_the_step() -> None:
    """Alone but for one that holds what it needs."""
    stage = Stage(4, 2)
    a, b = stage.submit(0, "a", 2, 4), stage.submit(0, "b", 4, 3)
    stage.run()
    assert (a.preemptions, b.preemptions) == (0, 1)
    assert stage.times("finished")["a"] == 4.0


# -- D1: priority -------------------------------------------------------------------------------------------------


def test_the_most_urgent_is_admitted_first_and_equals_in_the_order_of_arrival() -> None:
    stage = Stage(100, policy="priority", max_sequences=1)
    for name, priority in (("a", 0), ("b", 2), ("c", 1), ("d", 2), ("e", 1)):
        stage.submit(0, name, 4, 1, priority)
    stage.run()
    assert [name for _, name, what in stage.log if what == "scheduled"] == ["a", "c", "e", "b", "d"]


@pytest.mark.parametrize(("policy", "loser"), [("chunked-fcfs", "b"), ("priority", "a")])
def test_the_least_urgent_is_preempted_whenever_it_was_admitted(policy: str, loser: str) -> None:
    stage = Stage(4, policy=policy)
    a = stage.submit(0, "a", 4, 9, priority=2)
    b = stage.submit(0.5, "b", 7, 6, priority=0)
    stage.run()
    assert {"a": a.preemptions, "b": b.preemptions} == {"a": 0, "b": 0} | {loser: 1}


def test_of_equals_the_one_admitted_last_is_preempted() -> None:
    stage = Stage(5, policy="priority")
    sequences = [stage.submit(0, name, tokens, 5, priority=1) for name, tokens in (("a", 7), ("b", 4), ("c", 3))]
    stage.run()
    assert [sequence.preemptions for sequence in sequences] == [0, 0, 1]


def test_a_step_is_priced_without_who_was_preempted_in_it() -> None:
    """In step 3 the rest of p's prompt takes the memory of d, the longest: the step reads e's two tokens alone."""
    stage = Stage(10, 2, policy="priority", token_budget=8, wants_longest=True)
    stage.submit(0, "e", 1, 9)
    d = stage.submit(0, "d", 6, 9, priority=1)
    stage.submit(0.5, "p", 10, 1)
    stage.run()
    assert d.preemptions >= 1
    assert stage.price.steps[1:3] == [([(6, 0)], 2, 1 + 6, 2), ([(4, 6)], 1, 2, 2)]
    assert stage.price.longest[1:3] == [6, 2]


# -- D1: who emits, and the host ----------------------------------------------------------------------------------


def test_sampling_and_lm_head_cost_only_for_sequences_that_emit() -> None:
    """Decodes, and prefills that end; not a chunk before the last, nor a prefill whose answer nobody wants."""
    stage = Stage(100, token_budget=8)
    stage.submit(0, "a", 2, 9)
    stage.submit(0, "b", 2, 0)
    stage.submit(0, "c", 10, 2)
    stage.run(until_s=2.5)
    assert stage.price.steps == [([(2, 0), (2, 0), (4, 0)], 0, 0, 1), ([(6, 4)], 1, 2, 2)]


def test_host_time_hides_behind_gpu_time_when_asynchronous_and_else_adds() -> None:
    price = FixedStepTime(0.125, 1.0)
    hidden, added = WithHost(price, 0.5, hides=True), WithHost(price, 0.5, hides=False)
    assert [p.step([(2, 0)], 0, 0, 1) for p in (hidden, added)] == [0.5, 0.75]
    assert [p.step([(8, 0)], 0, 0, 1) for p in (hidden, added)] == [1.0, 1.5]
    assert [p.span(1, 9, 4, math.inf) for p in (hidden, added)] == [(4, 4.0), (4, 6.0)]


# -- asynchronous scheduling --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("async_scheduling", "first_token_s"), [(False, 4.0), (True, 5.0)])
def test_the_next_step_is_decided_when_a_step_begins(async_scheduling: bool, first_token_s: float) -> None:
    """b comes in step 3, when step 4 is decided already: it is admitted at the end of step 3, into step 5."""
    stage = Stage(100, async_scheduling=async_scheduling)
    stage.submit(0, "a", 4, 9)
    stage.submit(2.5, "b", 4, 1)
    stage.run()
    assert stage.times("scheduled")["b"] == 3.0
    assert stage.times("first token")["b"] == first_token_s
    assert stage.times("finished")["a"] == 9.0


def test_who_ends_leaves_its_token_of_the_budget_when_its_last_step_begins() -> None:
    """a ends with step 3; step 4 is decided when step 3 begins, and has room for b."""
    stage = Stage(100, async_scheduling=True, token_budget=1)
    stage.submit(0, "a", 1, 3)
    stage.submit(0, "b", 1, 0)
    stage.run()
    assert stage.times("scheduled") == {"a": 0.0, "b": 2.0}
    assert stage.times("finished") == {"a": 3.0, "b": 4.0}


def test_the_last_of_running_may_be_one_whose_last_token_is_under_way() -> None:
    """Then its memory alone is taken: a's step 3 is decided when step 2 begins, which computes b's last token."""
    stage = Stage(4, 2, async_scheduling=True)
    a = stage.submit(0, "a", 3, 4)
    b = stage.submit(0, "b", 2, 2)
    stage.run()
    assert (a.preemptions, b.preemptions) == (0, 1)
    assert stage.times("finished") == {"a": 4.0, "b": 2.0}


def test_it_may_be_one_whose_prompt_alone_was_asked_for() -> None:
    """a's step 4 is decided when step 3 begins, which computes b's prompt and its one token."""
    stage = Stage(4, 2, async_scheduling=True)
    a = stage.submit(0, "a", 2, 5)
    b = stage.submit(0.5, "b", 4, 1)
    stage.run()
    assert (a.preemptions, b.preemptions) == (0, 1)
    assert stage.times("finished") == {"a": 5.0, "b": 3.0}


# -- D3 -----------------------------------------------------------------------------------------------------------


def test_leftover_speculation_is_charged_to_who_it_lengthens() -> None:
    """Speculation gets what a step is longer for it; the demand in it counts the same as interference."""
    env, ended = Clock(), {}
    gpu = Gpu(env, FixedStepTime(0.125, 1.0), BATCHING.create("chunked-fcfs"), token_budget=8, speculative="leftover")
    a = GpuSequence(8, 0, 3, on_finished=lambda: ended.update(a=env.now))
    s = GpuSequence(14, speculative=True, on_finished=lambda: ended.update(s=env.now))
    gpu.submit(a)
    gpu.submit(s)
    env.run()
    assert ended == {"a": 1.0 + 2 * 1.875, "s": 1.0 + 2 * 1.875}  # seven tokens beside each of a's two decodes
    assert (a.interference_s, s.interference_s) == (1.75, 0.0)
    assert (s.speculative_s, gpu.speculative_s, gpu.demand_s) == (1.75, 1.75, 3.0)


def test_without_demand_leftover_speculation_runs_in_steps_of_its_own() -> None:
    env, ended = Clock(), []
    gpu = Gpu(
        env,
        FixedStepTime(0.125, 1.0),
        BATCHING.create("chunked-fcfs"),
        speculative="leftover",
        speculative_step_tokens=8,
    )
    s = GpuSequence(14, speculative=True, on_finished=lambda: ended.append(env.now))
    gpu.submit(s)
    env.run()
    assert (ended, gpu.steps, s.speculative_s) == ([1.75], 0, 1.75)


# -- D5 -----------------------------------------------------------------------------------------------------------


def test_a_step_ends_before_who_arrives_and_a_decision_is_last() -> None:
    """At 3 s a's memory is free for who comes at 3 s, and of these the more urgent is first, though it came second."""
    stage = Stage(4, policy="priority", max_sequences=1)
    stage.submit(0, "a", 12, 3)
    stage.submit(3, "b", 16, 1, priority=1)
    stage.submit(3, "c", 16, 1, priority=0)
    stage.run()
    assert stage.log[2:] == [
        (3.0, "a", "finished"),
        (3.0, "c", "scheduled"),
        (4.0, "c", "first token"),
        (4.0, "c", "finished"),
        (4.0, "b", "scheduled"),
        (5.0, "b", "first token"),
        (5.0, "b", "finished"),
    ]


def test_of_one_kind_who_was_scheduled_first_is_first() -> None:
    stage = Stage(100, max_sequences=1)
    for name in "abc":
        stage.submit(1, name, 4, 1)
    stage.run()
    assert stage.times("scheduled") == {"a": 1.0, "b": 2.0, "c": 3.0}


# -- what overload costs ------------------------------------------------------------------------------------------


def cost_of(requests: int, arrive_s: float, async_scheduling: bool) -> tuple[float, float]:
    """Return events and decisions a request, of requests that come in so many seconds; eight fit at a time."""
    stage = Stage(40, 16, async_scheduling=async_scheduling)
    formed = 0
    who = stage.gpu._who
    form, continued = who.form, who.continued

    def count(decide: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **more: Any) -> Any:
            nonlocal formed
            formed += 1
            return decide(*args, **more)

        return counted

    who.form, who.continued = count(form), count(continued)  # type: ignore[method-assign]
    for number in range(requests):
        stage.submit(arrive_s * number / requests, f"{number}", 60 + number % 7, 20 + number % 5)
    stage.run()
    assert len(stage.times("finished")) == requests
    return next(stage.env._eid) / requests, formed / requests


@pytest.mark.parametrize("async_scheduling", [False, True])
@pytest.mark.parametrize("arrive_s", [0.0, 100.0], ids=["at once", "one by one"])
def test_what_a_request_costs_does_not_grow_with_the_queue(arrive_s: float, async_scheduling: bool) -> None:
    """200 and 2,000 wait for the same engine: events and decisions a request stay the same."""
    few_events, few_decisions = cost_of(200, arrive_s, async_scheduling)
    many_events, many_decisions = cost_of(2_000, arrive_s, async_scheduling)
    assert many_events <= 1.05 * few_events < 10
    assert many_decisions <= 1.05 * few_decisions < 10
