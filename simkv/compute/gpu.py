"""The loop that runs GPU steps: who is in the batch, when it ends, whom it serves.

A batching policy says who runs; a `StepTime` says how long. Steps that mix prefill and decode are taken one
by one; a batch of decodes that nobody joins or leaves is jumped over in one event, up to the first step
boundary at or after whatever changes it (semantics D4). Speculative prefills run only when no demand is
runnable, a stated number of tokens at a time (`idle_only`, D3).

The loop knows nothing of KV memory: whoever submits a sequence holds room for it already.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator

from simpy import Environment

from simkv.clock import Order, call_at
from simkv.compute.steptime import StepTime
from simkv.errors import InvariantError
from simkv.policies.batching.question import Batching, BatchView, SequenceView


class GpuSequence:
    """A prompt being prefilled, then an answer being decoded.

    Parameters
    ----------
    prefill_tokens : [tokens] to compute, >= 1.
    cached_tokens : [tokens] whose KV is there already.
    output_tokens : [tokens] to emit; 0 = only the prefill is wanted.
    speculative : runs in idle time only.
    on_scheduled, on_first_token, on_finished : called at that moment; the last also when it was cancelled.
    """

    __slots__ = (
        "cancelled",
        "context_tokens",
        "on_finished",
        "on_first_token",
        "on_scheduled",
        "output_left_tokens",
        "prefill_left_tokens",
        "scheduled",
        "speculative",
        "speculative_s",
        "submitted_s",
        "view",
    )

    def __init__(
        self,
        prefill_tokens: int,
        cached_tokens: int = 0,
        output_tokens: int = 0,
        *,
        speculative: bool = False,
        on_scheduled: Callable[[], None] | None = None,
        on_first_token: Callable[[], None] | None = None,
        on_finished: Callable[[], None],
    ) -> None:
        if prefill_tokens < 1:
            raise InvariantError(f"a sequence must have a token to compute, got {prefill_tokens}")
        self.prefill_left_tokens = prefill_tokens
        self.context_tokens = cached_tokens
        self.output_left_tokens = output_tokens
        self.speculative = speculative
        self.on_scheduled = on_scheduled
        self.on_first_token = on_first_token
        self.on_finished = on_finished
        self.submitted_s = 0.0
        self.scheduled = False
        self.cancelled = False
        self.speculative_s = 0.0  # [s] of GPU time spent on it before it was promoted
        self.view = _View(self)


class _View:
    """What a batching policy sees of a sequence: not its output length."""

    __slots__ = ("_sequence",)

    def __init__(self, sequence: GpuSequence) -> None:
        self._sequence = sequence

    @property
    def prefill_left_tokens(self) -> int:
        return self._sequence.prefill_left_tokens

    @property
    def context_tokens(self) -> int:
        return self._sequence.context_tokens

    @property
    def submitted_s(self) -> float:
        return self._sequence.submitted_s


class _Views(Collection[SequenceView]):
    """A queue of sequences, seen as views; looked at lazily, so a long queue costs nothing."""

    __slots__ = ("_queue",)

    def __init__(self, queue: Collection[GpuSequence]) -> None:
        self._queue = queue

    def __len__(self) -> int:
        return len(self._queue)

    def __iter__(self) -> Iterator[SequenceView]:
        return (sequence.view for sequence in self._queue)

    def __contains__(self, view: object) -> bool:
        return any(sequence.view is view for sequence in self._queue)


class Gpu:
    """One GPU (or tensor-parallel group) that serves one model.

    Parameters
    ----------
    step_time : its price list.
    batching : who runs in the next step.
    token_budget : [tokens] most tokens in a step.
    max_sequences : most sequences admitted at a time.
    speculative_step_tokens : [tokens] most tokens in a speculative step: what a new demand may have to wait for.
    step_by_step : take every step as an event of its own instead of jumping.

    Attributes
    ----------
    demand_s, speculative_s : [s] busy so far, by cause.

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
        token_budget: int = 2048,
        max_sequences: int = 256,
        speculative_step_tokens: int = 256,
        step_by_step: bool = False,
    ) -> None:
        self._env = env
        self._step_time = step_time
        self._batching = batching
        self._speculative_step_tokens = speculative_step_tokens
        self._step_by_step = step_by_step
        self._running: list[GpuSequence] = []
        self._waiting: deque[GpuSequence] = deque()
        self._speculative: deque[GpuSequence] = deque()
        self._view = BatchView(_Views(self._running), _Views(self._waiting), token_budget, max_sequences)
        self._in_step: list[tuple[GpuSequence, int]] = []  # (sequence, tokens) of the step under way
        self._deciding = False  # a decision is already due at this instant
        self._leap: _Leap | None = None
        self.demand_s = 0.0
        self.speculative_s = 0.0

    # -- what others ask ---------------------------------------------------------------------------

    def submit(self, sequence: GpuSequence) -> None:
        """Queue a sequence; it runs as soon as the policy lets it."""
        sequence.submitted_s = self._env.now
        (self._speculative if sequence.speculative else self._waiting).append(sequence)
        self._something_changed(demand=not sequence.speculative)

    def promote(self, sequence: GpuSequence) -> None:
        """Turn a speculative sequence into demand, from the next step boundary on (semantics D3)."""
        if not sequence.speculative:
            return
        sequence.speculative = False
        if sequence in self._speculative and not any(s is sequence for s, _ in self._in_step):
            self._speculative.remove(sequence)
            self._waiting.append(sequence)
            self._something_changed(demand=True)

    def cancel(self, sequence: GpuSequence) -> None:
        """Drop a speculative sequence; a step that runs it is finished first."""
        sequence.cancelled = True
        if sequence in self._speculative and not any(s is sequence for s, _ in self._in_step):
            self._speculative.remove(sequence)
            sequence.on_finished()

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs and nothing waits."""
        return not (self._running or self._waiting or self._speculative or self._in_step)

    # -- the loop ----------------------------------------------------------------------------------

    def _something_changed(self, demand: bool) -> None:
        """React to a cause: end a leap at its next boundary, or decide now when idle."""
        if self._leap is not None:
            if demand:
                self._cut_leap()
        elif not self._in_step:
            self._decide_now()

    def _decide_now(self) -> None:
        """Decide once all else of this instant has happened (semantics D5)."""
        if not self._deciding:
            self._deciding = True
            call_at(self._env, self._env.now, Order.DECISION, self._decide)

    def _decide(self) -> None:
        self._deciding = False
        if self._running or self._waiting:
            self._begin_demand()
        elif self._speculative:
            self._begin_speculative()

    def _begin_demand(self) -> None:
        for_running, for_admitted = self._batching.select(self._view)
        batch = [(sequence, tokens) for sequence, tokens in zip(self._running, for_running, strict=False) if tokens]
        for tokens in for_admitted:
            sequence = self._waiting.popleft()
            self._running.append(sequence)
            batch.append((sequence, tokens))
            if not sequence.scheduled:
                sequence.scheduled = True
                if sequence.on_scheduled is not None:
                    sequence.on_scheduled()
        if not batch:
            raise InvariantError("the batching policy gave no sequence a token although some could run")
        self._in_step = batch
        if len(batch) == len(self._running) and all(not s.prefill_left_tokens for s, _ in batch):
            self._begin_leap()
        else:
            self._begin_step()

    def _begin_speculative(self) -> None:
        sequence = self._speculative[0]
        if not sequence.scheduled:
            sequence.scheduled = True
            if sequence.on_scheduled is not None:
                sequence.on_scheduled()
        self._in_step = [(sequence, min(sequence.prefill_left_tokens, self._speculative_step_tokens))]
        self._begin_step(speculative=True)

    def _begin_step(self, speculative: bool = False) -> None:
        chunks, decodes, context, emitting = [], 0, 0, 0
        for sequence, tokens in self._in_step:
            if sequence.prefill_left_tokens:
                chunks.append((tokens, sequence.context_tokens))
                emitting += tokens == sequence.prefill_left_tokens and sequence.output_left_tokens > 0
            else:
                decodes += 1
                emitting += 1
                context += sequence.context_tokens
        duration_s = self._step_time.step(chunks, decodes, context, emitting)
        call_at(
            self._env, self._env.now + duration_s, Order.STEP_END, lambda: self._end_step(duration_s, speculative)
        )

    def _end_step(self, duration_s: float, speculative: bool) -> None:
        batch, self._in_step = self._in_step, []
        if speculative:
            self.speculative_s += duration_s
            self._end_speculative(batch[0][0], batch[0][1], duration_s)
        else:
            self.demand_s += duration_s
            self._advance(batch, 1)
        self._decide_now()

    def _end_speculative(self, sequence: GpuSequence, tokens: int, duration_s: float) -> None:
        sequence.speculative_s += duration_s
        sequence.prefill_left_tokens -= tokens
        sequence.context_tokens += tokens
        if sequence.cancelled or not sequence.prefill_left_tokens:
            self._speculative.popleft()
            sequence.on_finished()
        elif not sequence.speculative:  # promoted during the step
            self._speculative.popleft()
            self._waiting.append(sequence)

    def _advance(self, batch: Iterable[tuple[GpuSequence, int]], steps: int) -> None:
        """Give every sequence of the batch its tokens; tell those that emitted a first or a last one."""
        finished = []
        first = []
        for sequence, tokens in batch:
            if sequence.prefill_left_tokens:
                sequence.prefill_left_tokens -= tokens
                sequence.context_tokens += tokens
                if sequence.prefill_left_tokens:
                    continue
                if sequence.output_left_tokens:
                    sequence.output_left_tokens -= 1
                    first.append(sequence)
            else:
                sequence.context_tokens += steps
                sequence.output_left_tokens -= steps
            if not sequence.output_left_tokens:
                finished.append(sequence)
        if finished:
            gone = set(map(id, finished))
            self._running[:] = [s for s in self._running if id(s) not in gone]
        for sequence in first:
            if sequence.on_first_token is not None:
                sequence.on_first_token()
        for sequence in finished:
            sequence.on_finished()

    # -- leaping over the steps of an unchanged batch ----------------------------------------------

    def _begin_leap(self) -> None:
        batch = len(self._in_step)
        context = sum(sequence.context_tokens for sequence, _ in self._in_step)
        most = min(sequence.output_left_tokens for sequence, _ in self._in_step)
        steps, duration_s = self._step_time.span(batch, context, most, math.inf)
        self._leap = _Leap(self._env.now, batch, context, steps, duration_s)
        self._arm_leap(1 if self._step_by_step else steps)

    def _arm_leap(self, steps: int) -> None:
        """Wake at the end of step `steps` of the leap; an earlier arming becomes stale."""
        leap = self._leap
        assert leap is not None
        leap.armed += 1
        armed = leap.armed
        if steps == leap.most_steps:
            duration_s = leap.most_s
        else:
            steps, duration_s = self._step_time.span(leap.batch, leap.context_tokens, steps, math.inf)
        call_at(
            self._env,
            leap.start_s + duration_s,
            Order.STEP_END,
            lambda: self._reach(leap, armed, steps, duration_s),
        )

    def _cut_leap(self) -> None:
        """End the leap at the first boundary at or after now."""
        leap = self._leap
        if leap is None or leap.cut:
            return
        leap.cut = True
        if self._step_by_step:
            return  # every boundary is an event: the next one sees the cut
        steps, _ = self._step_time.span(leap.batch, leap.context_tokens, leap.most_steps, self._env.now - leap.start_s)
        if steps < leap.most_steps:
            self._arm_leap(steps)

    def _reach(self, leap: _Leap, armed: int, steps: int, duration_s: float) -> None:
        if leap is not self._leap or armed != leap.armed:
            return
        if not leap.cut and steps < leap.most_steps:
            self._arm_leap(steps + 1)
            return
        self._leap = None
        batch, self._in_step = self._in_step, []
        self.demand_s += duration_s
        self._advance(batch, steps)
        self._decide_now()


class _Leap:
    """The steps of one unchanged batch of decodes."""

    __slots__ = ("armed", "batch", "context_tokens", "cut", "most_s", "most_steps", "start_s")

    def __init__(self, start_s: float, batch: int, context_tokens: int, most_steps: int, most_s: float) -> None:
        self.start_s = start_s
        self.batch = batch
        self.context_tokens = context_tokens
        self.most_steps = most_steps
        self.most_s = most_s
        self.armed = 0
        self.cut = False
