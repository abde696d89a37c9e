"""The loop that runs GPU steps: who is in the batch, when it ends, whom it serves.

A batching policy says who runs; a `StepTime` says how long. Steps that mix prefill and decode are taken one
by one; a batch of decodes that nobody joins or leaves is jumped over in one event, up to the first step
boundary at or after whatever changes it (semantics D4). Speculative prefills run only when no demand is
runnable, a stated number of tokens at a time (`idle_only`, D3).

The loop knows nothing of KV memory: whoever submits a sequence holds room for it already.
"""

from __future__ import annotations

from collections import deque

from simpy import Environment

from simkv.clock import Order, call_at
from simkv.compute.leap import Leap
from simkv.compute.sequence import GpuSequence, Views
from simkv.compute.steptime import StepTime
from simkv.errors import InputError, InvariantError
from simkv.policies.batching.question import Batching, BatchView

__all__ = ["Gpu", "GpuSequence"]


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
        if min(token_budget, max_sequences, speculative_step_tokens) < 1:
            raise InputError(
                "want at least 1 token a step, 1 sequence and 1 speculative token a step,"
                f" got {token_budget}, {max_sequences} and {speculative_step_tokens}"
            )
        self._env = env
        self._step_time = step_time
        self._batching = batching
        self._speculative_step_tokens = speculative_step_tokens
        self._step_by_step = step_by_step
        self._running: list[GpuSequence] = []
        self._waiting: deque[GpuSequence] = deque()
        self._speculative: deque[GpuSequence] = deque()
        self._view = BatchView(Views(self._running), Views(self._waiting), token_budget, max_sequences)
        # What is under way: prefill chunks (sequence, tokens) and decodes, or one speculative chunk.
        self._chunks: list[tuple[GpuSequence, int]] = []
        self._decodes: list[GpuSequence] = []
        self._prefilling = 0  # how many of the running have prefill left
        self._speculating: GpuSequence | None = None
        self._leap: Leap | None = None
        self._busy_since_s: float | None = None
        self._deciding = False  # a decision is already due at this instant
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
        if not sequence.speculative or sequence.cancelled:
            return
        sequence.speculative = False
        if sequence is not self._speculating and sequence in self._speculative:
            self._speculative.remove(sequence)
            self._waiting.append(sequence)
            self._something_changed(demand=True)

    def cancel(self, sequence: GpuSequence) -> None:
        """Drop a sequence that is still speculative; a step that runs it is finished first."""
        if not sequence.speculative or sequence.cancelled:
            return
        sequence.cancelled = True
        if sequence is not self._speculating and sequence in self._speculative:
            self._speculative.remove(sequence)
            sequence.on_finished()

    def settle(self) -> None:
        """Count what the step under way has taken so far: once, at the end of a run that stops inside it."""
        if self._busy_since_s is None:
            return
        spent_s = self._env.now - self._busy_since_s
        self._busy_since_s = None
        if self._speculating is not None:
            self.speculative_s += spent_s
            self._speculating.spend(spent_s)
        else:
            self.demand_s += spent_s

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs and nothing waits."""
        return not (self._running or self._waiting or self._speculative)

    # -- the loop ----------------------------------------------------------------------------------

    def _something_changed(self, demand: bool) -> None:
        """React to a cause: end a leap at its next boundary, or decide now when idle."""
        if self._leap is not None:
            if demand and not self._leap.cut:
                self._cut(self._leap)
        elif self._busy_since_s is None:
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
        self._busy_since_s = self._env.now
        for_running, for_admitted = self._batching.select(self._view)
        self._take_running(for_running)
        if for_admitted:
            self._admit(for_admitted)
        tokens = len(self._decodes) + sum([tokens for _, tokens in self._chunks])
        if not 0 < tokens <= self._view.token_budget:
            raise InvariantError(f"the batching policy gave {tokens} tokens, want 1 to {self._view.token_budget}")
        if self._chunks or len(self._decodes) < len(self._running):
            self._begin_step()
        else:
            self._begin_leap()

    def _take_running(self, for_running: list[int]) -> None:
        """Note who of the running gets a chunk of prefill, and who decodes."""
        if len(for_running) > len(self._running):
            raise InvariantError(f"the batching policy gave tokens to {len(for_running)} of {len(self._running)}")
        if not self._prefilling and for_running.count(1) == len(self._running):  # the usual case, seen at a glance
            self._chunks, self._decodes = [], self._running.copy()
            return
        chunks, decodes = self._chunks, self._decodes = [], []
        for sequence, tokens in zip(self._running, for_running, strict=False):
            if not tokens:
                continue
            if sequence.prefill_left_tokens:
                chunks.append((sequence, _usable(sequence, tokens)))
            elif tokens == 1:
                decodes.append(sequence)
            else:
                raise InvariantError(f"the batching policy gave {tokens} tokens to a sequence that decodes one")

    def _admit(self, for_admitted: list[int]) -> None:
        """Move the head of the waiting queue to the running, each with its first chunk."""
        if len(for_admitted) > min(len(self._waiting), self._view.max_sequences - len(self._running)):
            raise InvariantError(f"the batching policy admitted {len(for_admitted)} sequences, more than it may")
        self._prefilling += len(for_admitted)
        for tokens in for_admitted:
            sequence = self._waiting.popleft()
            self._running.append(sequence)
            self._chunks.append((sequence, _usable(sequence, tokens)))
            sequence.start()

    def _begin_step(self) -> None:
        chunks = [(tokens, sequence.context_tokens) for sequence, tokens in self._chunks]
        decodes = len(self._decodes)
        context_tokens = sum([sequence.context_tokens for sequence in self._decodes])
        emitting = decodes
        for sequence, tokens in self._chunks:
            emitting += tokens == sequence.prefill_left_tokens and sequence.output_left_tokens > 0
        duration_s = self._step_time.step(chunks, decodes, context_tokens, emitting)
        call_at(self._env, self._env.now + duration_s, Order.STEP_END, lambda: self._end_demand(1, duration_s))

    def _end_demand(self, steps: int, duration_s: float) -> None:
        """Give every sequence of the batch its tokens; tell those that emitted a first or a last one."""
        self._busy_since_s = self._leap = None
        self.demand_s += duration_s
        finished = self._advance_decodes(steps)
        first = self._advance_chunks(finished) if self._chunks else ()
        if finished:
            self._running[:] = [s for s in self._running if s.output_left_tokens or s.prefill_left_tokens]
        for sequence in first:
            if sequence.on_first_token is not None:
                sequence.on_first_token()
        for sequence in finished:
            sequence.on_finished()
        self._decide_now()

    def _advance_decodes(self, steps: int) -> list[GpuSequence]:
        """Return those that have their whole answer."""
        finished = []
        for sequence in self._decodes:
            sequence.context_tokens += steps
            left = sequence.output_left_tokens - steps
            sequence.output_left_tokens = left
            if not left:
                finished.append(sequence)
        return finished

    def _advance_chunks(self, finished: list[GpuSequence]) -> list[GpuSequence]:
        """Return those that emit their first token; add to `finished` those that want no more."""
        first = []
        for sequence, tokens in self._chunks:
            sequence.context_tokens += tokens
            sequence.prefill_left_tokens -= tokens
            if sequence.prefill_left_tokens:
                continue
            self._prefilling -= 1
            if sequence.output_left_tokens:
                sequence.output_left_tokens -= 1
                first.append(sequence)
            if not sequence.output_left_tokens:
                finished.append(sequence)
        return first

    # -- speculative steps -------------------------------------------------------------------------

    def _begin_speculative(self) -> None:
        sequence = self._speculative[0]
        tokens = min(sequence.prefill_left_tokens, self._speculative_step_tokens)
        duration_s = self._step_time.step([(tokens, sequence.context_tokens)], 0, 0, 0)
        self._busy_since_s, self._speculating = self._env.now, sequence
        sequence.start()
        call_at(
            self._env,
            self._env.now + duration_s,
            Order.STEP_END,
            lambda: self._end_speculative(sequence, tokens, duration_s),
        )

    def _end_speculative(self, sequence: GpuSequence, tokens: int, duration_s: float) -> None:
        self._busy_since_s = self._speculating = None
        self.speculative_s += duration_s
        sequence.spend(duration_s)
        sequence.prefill_left_tokens -= tokens
        sequence.context_tokens += tokens
        if sequence.cancelled or not sequence.prefill_left_tokens:
            self._speculative.popleft()
            sequence.on_finished()
        elif not sequence.speculative:  # promoted during the step
            self._speculative.popleft()
            self._waiting.append(sequence)
        self._decide_now()

    # -- leaping over the steps of an unchanged batch ----------------------------------------------

    def _begin_leap(self) -> None:
        context_tokens = sum([sequence.context_tokens for sequence in self._decodes])
        most_steps = min([sequence.output_left_tokens for sequence in self._decodes])
        leap = self._leap = Leap(self._step_time, self._env.now, len(self._decodes), context_tokens, most_steps)
        if self._step_by_step:
            self._arm(leap, 1, leap.duration_s(1))
        else:
            self._arm(leap, leap.most_steps, leap.most_s)

    def _arm(self, leap: Leap, steps: int, duration_s: float) -> None:
        """Wake at the end of step `steps` of the leap, unless it ends before."""
        leap.armed = steps
        call_at(self._env, leap.start_s + duration_s, Order.STEP_END, lambda: self._reach(leap, steps, duration_s))

    def _cut(self, leap: Leap) -> None:
        """End the leap at the first boundary at or after now."""
        leap.cut = True
        if not self._step_by_step:
            steps, duration_s = leap.first_boundary(self._env.now)
        elif leap.armed == 1 or leap.start_s + leap.duration_s(leap.armed - 1) < self._env.now:
            return  # every boundary is an event: the next one sees the cut
        else:  # a boundary of this very instant is past; what came with it still joins (semantics D5)
            steps, duration_s = leap.first_boundary(self._env.now)
        if steps != leap.armed:
            self._arm(leap, steps, duration_s)

    def _reach(self, leap: Leap, steps: int, duration_s: float) -> None:
        if leap is not self._leap:  # it was cut before this boundary
            return
        if leap.cut or steps == leap.most_steps:
            self._end_demand(steps, duration_s)
        else:
            self._arm(leap, steps + 1, leap.duration_s(steps + 1))


def _usable(sequence: GpuSequence, tokens: int) -> int:
    """Return the size of a chunk that a policy gave, unless the sequence has no use for it."""
    if 0 < tokens <= sequence.prefill_left_tokens:
        return tokens
    raise InvariantError(
        f"the batching policy gave {tokens} tokens to a sequence with {sequence.prefill_left_tokens} left to prefill"
    )
