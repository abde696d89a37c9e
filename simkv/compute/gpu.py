"""The loop that runs GPU steps: when a batch ends, and whom it serves.

A `Scheduler` says who is in each step, a `StepTime` how long it takes. A batch of decodes that nobody joins or leaves
is jumped over in one event, up to the first step boundary at or after whatever changes it (semantics D4).
Speculative prefills run only when no demand is runnable, a stated number of tokens at a time (`idle_only`), or in
what demand leaves of the token budget (`leftover`, D3).

With `async_scheduling` the batch of a step is decided when the step before it begins, as vLLM does to hide the host's
work: who arrives waits for the step that is under way and for the one that is decided already.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from heapq import heappush
from typing import Any, Literal

from simpy import Environment

from simkv.clock import Order, call_at
from simkv.compute.batch import Batch
from simkv.compute.kernel import Kernel, Kernels
from simkv.compute.leap import Leap, StepEnd
from simkv.compute.room import Room
from simkv.compute.scheduler import Scheduler
from simkv.compute.sequence import GpuSequence
from simkv.compute.steptime import StepTime
from simkv.errors import InputError
from simkv.policies.batching.question import Batching

__all__ = ["Gpu", "GpuSequence"]

Speculative = Literal["idle_only", "leftover"]
_STEP_END = int(Order.STEP_END)  # a plain number: the queue compares it often


class Gpu:
    """One GPU (or tensor-parallel group) that serves one model.

    Parameters
    ----------
    step_time : its price list.
    batching : the order of those that wait.
    room : paged KV memory; None = whoever submits a sequence holds its memory already.
    token_budget : [tokens] most tokens in a step.
    max_sequences : most sequences admitted at a time.
    speculative : when speculation may run.
    speculative_step_tokens : [tokens] most tokens in a speculative step: what a new demand may have to wait for.
    async_scheduling : decide a step when the one before it begins.
    step_by_step : take every step as an event of its own instead of jumping.

    Attributes
    ----------
    demand_s, speculative_s : [s] busy so far, by cause.
    extrapolated_s : [s] of both that were priced outside the measured range of the price list.
    steps, kernels : how many are done; work that belongs to no step.

    Examples
    --------
    >>> from simkv.compute.steptime import FixedStepTime
    >>> from simkv.policies import BATCHING
    >>> env = Environment()
    >>> gpu = Gpu(env, FixedStepTime(0.1, 1.0), BATCHING.create("chunked-fcfs"))
    >>> gpu.submit(GpuSequence(5, output_tokens=3, on_finished=lambda: print(f"finished at {env.now} s")))
    >>> env.run()
    finished at 2.5 s
    """

    def __init__(
        self,
        env: Environment,
        step_time: StepTime,
        batching: Batching,
        *,
        room: Room | None = None,
        token_budget: int = 2048,
        max_sequences: int = 256,
        speculative: Speculative = "idle_only",
        speculative_step_tokens: int = 256,
        async_scheduling: bool = False,
        step_by_step: bool = False,
    ) -> None:
        if min(token_budget, max_sequences, speculative_step_tokens) < 1:
            raise InputError(
                "want at least 1 token a step, 1 sequence and 1 speculative token a step,"
                f" got {token_budget}, {max_sequences} and {speculative_step_tokens}"
            )
        self._env = env
        self._step_time = step_time
        self._who = Scheduler(batching, room, token_budget, max_sequences, step_time.wants_longest)
        self._token_budget = token_budget
        self._fills_up = speculative == "leftover"
        self._speculative_step_tokens = speculative_step_tokens
        self._is_async = async_scheduling
        self._step_by_step = step_by_step
        self._speculative: deque[GpuSequence] = deque()
        self.kernels = Kernels(env, self._something_changed, self._end_kernel)
        self._asked_kernels = self.kernels.demand  # looked at before every step
        # What is under way: a batch, with a speculative chunk in it or not; a leap; or a speculative chunk alone.
        self._batch: Batch | None = None
        self._leap: Leap | None = None
        self._speculating: GpuSequence | None = None
        self._next: Batch | None = None  # decided already
        self._decodes_follow = False  # or what is decided are the decodes alone
        self._busy_since_s: float | None = None
        self._deciding = False  # a decision is already due at this instant
        self.steps = 0
        self.demand_s = self.speculative_s = self.extrapolated_s = 0.0

    # -- what others ask ---------------------------------------------------------------------------

    def submit(self, sequence: GpuSequence) -> None:
        """Queue a sequence; it runs as soon as its turn comes."""
        sequence.submitted_s = self._env._now
        if sequence.speculative:
            self._speculative.append(sequence)
            self._something_changed(may_join=self._fills_up)
        else:
            self._something_changed(may_join=self._who.push(sequence))

    def promote(self, sequence: GpuSequence) -> None:
        """Turn a speculative sequence into demand, from the next step boundary on (semantics D3)."""
        if not sequence.speculative or sequence.cancelled:
            return
        sequence.speculative = False
        if sequence is not self._speculating and sequence in self._speculative:
            self._speculative.remove(sequence)
            self._something_changed(may_join=self._who.push(sequence))

    def cancel(self, sequence: GpuSequence) -> None:
        """Drop a sequence that is still speculative; a step that runs it is finished first."""
        if not sequence.speculative or sequence.cancelled:
            return
        sequence.cancelled = True
        if sequence is not self._speculating and sequence in self._speculative:
            self._speculative.remove(sequence)
            sequence.finish()

    def settle(self) -> None:
        """Count what the step under way has taken so far: once, at the end of a run that stops inside it."""
        if self._busy_since_s is None:
            return
        spent_s = self._env._now - self._busy_since_s
        self._busy_since_s = None
        if self.kernels.running is not None:
            self._count_kernel(self.kernels.running, spent_s)
        elif self._speculating is not None and self._batch is None:
            self.speculative_s += spent_s
            self._speculating.spend(spent_s)
        else:
            self.demand_s += spent_s

    def catch_up(self) -> None:
        """Take the memory that the steps begun so far have filled; before anybody else looks at it."""
        if self._leap is not None:
            begun, _ = self._leap.first_boundary(self._env._now)
            self._who.have_formed(self.steps + begun, self._is_async)

    def room_changed(self) -> None:
        """Somebody else took or left memory: end a leap before it lacks a block, or let in who waits for it."""
        leap = self._leap
        if leap is None:
            if self._busy_since_s is None and self._who.waiting:
                self._decide_now()
        elif not leap.cut:
            if self._who.may_admit():
                self._cut(leap)
                return
            begun, _ = leap.first_boundary(self._env._now)
            most = begun - 1 + self._who.steps_alike(self.steps + begun, self._is_async)
            if most < leap.most_steps:
                leap.most_steps = most
                if not self._step_by_step:
                    self._arm(leap, most, leap.duration_s(most))

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs and nothing waits."""
        return self._who.is_empty and self._next is None and not self._speculative and self.kernels.is_idle

    @property
    def running(self) -> int:
        """How many sequences are admitted and have not ended."""
        return self._who.running

    @property
    def waiting(self) -> int:
        """How many sequences wait to be admitted."""
        return self._who.waiting

    @property
    def preemptions(self) -> int:
        """How often a running one lost its memory."""
        return self._who.preemptions

    # -- what is next ------------------------------------------------------------------------------

    def _something_changed(self, may_join: bool) -> None:
        """React to a cause: end a leap at its next boundary, or decide now when idle."""
        if self._leap is not None:
            if may_join and not self._leap.cut:
                self._cut(self._leap)
        elif self._busy_since_s is None:
            self._decide_now()

    def _decide_now(self) -> None:
        """Decide once all else of this instant has happened (semantics D5)."""
        if not self._deciding:
            self._deciding = True
            call_at(self._env, self._env._now, Order.DECISION, self._decide)

    def _decide_after_step(self) -> None:
        """Decide at a step's end: at once where nothing else happens at this instant."""
        queue = self._env._queue
        if queue and queue[0][0] <= self._env._now:
            self._decide_now()
        else:
            self._decide()

    def _decide(self) -> None:
        self._deciding = False
        self._busy_since_s = self._env._now  # who is told that it is scheduled may submit another
        if self._asked_kernels:
            self.kernels.begin(self._asked_kernels)
            return
        step = self.steps + 1
        batch, self._next = self._next, None
        if self._decodes_follow:
            self._decodes_follow = False
            batch = self._who.continued(step)
        if batch is None:
            batch = self._who.form(step)
        if batch is None:
            self._begin_unasked()
            return
        filled = self._fills_up and self._speculative and batch.tokens < self._token_budget
        sharing = self._who.in_batch(batch) if filled else ()
        alone = self._is_async and not self._decide_ahead(batch, step + 1)
        if filled:
            self._begin_filled(batch, sharing)
        elif alone or batch.chunks or batch.preempted:
            self._begin_step(batch)
        else:
            self._begin_leap(batch, step)

    def _decide_ahead(self, batch: Batch, step: int) -> bool:
        """Decide the step after the one that begins; return whether it is the same batch of decodes."""
        following = self._who.form(step, under_way=batch)
        if following is None:
            return False
        if following.chunks or following.preempted:
            self._next = following
            return False
        self._decodes_follow = True
        return following.decodes == batch.decodes and not batch.chunks

    # -- one step ----------------------------------------------------------------------------------

    def _begin_step(self, batch: Batch) -> None:
        self._batch = batch
        duration_s = self._step_time.step(
            batch.chunks, batch.decodes, batch.context_tokens, batch.emitting, batch.longest_tokens
        )
        end = StepEnd(self._end_demand, None, 1, duration_s, self._step_time.outside)
        env: Any = self._env
        heappush(env._queue, (env._now + duration_s, _STEP_END, next(env._eid), end))

    def _end_demand(self, end: StepEnd) -> None:
        """Tell those that emitted a first or a last token; let the others go on."""
        batch, duration_s = self._batch, end.duration_s
        self._busy_since_s = self._leap = self._batch = None
        self.steps += end.steps
        self.demand_s += duration_s
        self.extrapolated_s += duration_s if end.outside else 0.0
        who = self._who
        gone = who.done(self.steps, batch)
        if batch is not None:
            for sequence in batch.emits:
                sequence.emit()
        for sequence in gone:
            sequence.finish()
        self._decide_after_step()

    def _end_kernel(self, kernel: Kernel) -> None:
        self._count_kernel(kernel, kernel.duration_s)
        kernel.on_finished()
        self._decide_after_step()

    def _count_kernel(self, kernel: Kernel, spent_s: float) -> None:
        self._busy_since_s = None
        self.extrapolated_s += spent_s if kernel.outside else 0.0
        if kernel.speculative:
            self.speculative_s += spent_s
            kernel.spend(spent_s)
        else:
            self.demand_s += spent_s

    # -- speculative steps -------------------------------------------------------------------------

    def _begin_unasked(self) -> None:
        """No demand is runnable: speculate, or be idle."""
        if self.kernels.speculative:
            self.kernels.begin(self.kernels.speculative)
        elif self._speculative:
            self._begin_speculative()
        else:
            self._busy_since_s = None

    def _begin_speculative(self) -> None:
        sequence = self._speculative[0]
        tokens = min(sequence.prefill_left_tokens, self._speculative_step_tokens)
        duration_s = self._step_time.step([(tokens, sequence.context_tokens)], 0, 0, 0)
        self._speculating = sequence
        if self._step_time.outside:
            self.extrapolated_s += duration_s
        sequence.start()

        def end() -> None:
            self._busy_since_s = None
            self._has_speculated(sequence, tokens, duration_s)
            self._decide_after_step()

        call_at(self._env, self._env._now + duration_s, Order.STEP_END, end)

    def _has_speculated(self, sequence: GpuSequence, tokens: int, duration_s: float) -> None:
        """Count a speculative chunk; let the sequence go when it is whole or unwanted, or join demand."""
        self._speculating = None
        self.speculative_s += duration_s
        sequence.spend(duration_s)
        sequence.prefill_left_tokens -= tokens
        sequence.context_tokens += tokens
        if sequence.cancelled or not sequence.prefill_left_tokens:
            self._speculative.popleft()
            sequence.finish()
        elif not sequence.speculative:  # promoted during the step
            self._speculative.popleft()
            self._who.push(sequence)

    def _begin_filled(self, batch: Batch, sharing: Sequence[GpuSequence]) -> None:
        """Let a speculative chunk have what demand leaves of the budget; the step is longer for it (semantics D3)."""
        sequence = self._speculative[0]
        tokens = min(sequence.prefill_left_tokens, self._token_budget - batch.tokens)
        told = (batch.decodes, batch.context_tokens, batch.emitting, batch.longest_tokens)
        demand_s = self._step_time.step(batch.chunks, *told)
        duration_s = self._step_time.step([*batch.chunks, (tokens, sequence.context_tokens)], *told)
        outside = self._step_time.outside
        self._batch, self._speculating = batch, sequence
        sequence.start()

        def end() -> None:
            longer_s = duration_s - demand_s
            for other in sharing:
                other.interference_s += longer_s
            self._has_speculated(sequence, tokens, longer_s)
            self._end_demand(StepEnd(self._end_demand, None, 1, demand_s, outside))

        call_at(self._env, self._env._now + duration_s, Order.STEP_END, end)

    # -- leaping over the steps of an unchanged batch ----------------------------------------------

    def _begin_leap(self, batch: Batch, step: int) -> None:
        leap = self._leap = Leap(self._step_time, self._env._now, batch, self._who.steps_alike(step, self._is_async))
        self._arm(leap, *((1, leap.duration_s(1)) if self._step_by_step else (leap.most_steps, leap.most_s)))

    def _arm(self, leap: Leap, steps: int, duration_s: float) -> None:
        """Wake at the end of step `steps` of the leap, unless it ends before."""
        leap.armed = steps
        env: Any = self._env
        end_s = leap.start_s + duration_s
        end = StepEnd(self._reach, leap, steps, duration_s, False)
        at = (end_s if end_s > env._now else env._now, _STEP_END, next(env._eid), end)
        heappush(env._queue, at)

    def _cut(self, leap: Leap) -> None:
        """End the leap at the first boundary at or after now."""
        leap.cut = True
        if not self._step_by_step:
            steps, duration_s = leap.first_boundary(self._env._now)
        elif leap.armed == 1 or leap.start_s + leap.duration_s(leap.armed - 1) < self._env._now:
            return  # every boundary is an event: the next one sees the cut
        else:  # a boundary of this very instant is past; what came with it still joins (semantics D5)
            steps, duration_s = leap.first_boundary(self._env._now)
        if steps != leap.armed:
            self._arm(leap, steps, duration_s)

    def _reach(self, end: StepEnd) -> None:
        leap, steps = end.leap, end.steps
        if leap is None or leap is not self._leap:  # it was cut before this boundary
            return
        if leap.cut or steps == leap.most_steps:
            if self._is_async:
                self._who.have_formed(self.steps + steps, is_ahead=True)
            else:
                self._who.take_room(self.steps + steps)
            end.outside = leap.outside
            self._end_demand(end)
        else:
            self._arm(leap, steps + 1, leap.duration_s(steps + 1))
