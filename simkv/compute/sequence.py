"""One sequence on a GPU, and what a batching policy may see of it."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any

from simkv.errors import InvariantError
from simkv.policies.batching.question import SequenceView


class GpuSequence:
    """A prompt being prefilled, then an answer being decoded.

    Parameters
    ----------
    prefill_tokens : [tokens] to compute, >= 1.
    cached_tokens : [tokens] whose KV is there already.
    output_tokens : [tokens] to emit; 0 = only the prefill is wanted, as always of a speculative sequence.
    speculative : runs when no demand does, or in what demand leaves of a step.
    priority : lower comes first where the batching policy goes by it.
    content : what a `Room` knows of its KV; None = whoever submits it holds its memory already.
    page_shift_tokens : [tokens] by which its blocks are ahead of its context: a block is full when both together
        fill it.
    on_scheduled, on_first_token, on_finished : called at that moment; the last also when it was cancelled.
    on_refilled : called when it has computed again what it lost with its memory.
    on_spent : called with the [s] of each step that it took as speculation.

    Attributes
    ----------
    prefill_left_tokens, context_tokens, output_left_tokens : [tokens] when the steps formed so far are done; while it
        decodes, as they were when it began to.
    found_tokens : [tokens] that were cached when it was admitted first.
    preemptions : how often it lost its memory.
    interference_s : [s] by which speculation lengthened the steps that it was in.

    Examples
    --------
    >>> GpuSequence(100, 32, 8, on_finished=lambda: None).prefill_left_tokens
    100
    """

    # Defaults stand on the class: a replay makes a million sequences, most of which never differ from them.
    speculative = scheduled = has_emitted = cancelled = False
    priority = preemptions = 0
    interference_s = 0.0
    speculative_s = 0.0  # [s] of GPU time spent on it before it was promoted
    submitted_s = 0.0
    content: Any = None
    page_shift_tokens = 0
    on_scheduled: Callable[[], None] | None = None
    on_first_token: Callable[[], None] | None = None
    on_refilled: Callable[[], None] | None = None
    on_spent: Callable[[float], None] | None = None
    on_finished: Callable[[], None]
    # What the scheduler notes; it decodes its last token in step `last_step`.
    number = admission = last_step = offset = 0
    rank = 0.0

    def __init__(
        self,
        prefill_tokens: int,
        cached_tokens: int = 0,
        output_tokens: int = 0,
        *,
        speculative: bool = False,
        priority: int = 0,
        content: Any = None,
        page_shift_tokens: int = 0,
        on_scheduled: Callable[[], None] | None = None,
        on_first_token: Callable[[], None] | None = None,
        on_refilled: Callable[[], None] | None = None,
        on_spent: Callable[[float], None] | None = None,
        on_finished: Callable[[], None],
    ) -> None:
        if prefill_tokens < 1:
            raise InvariantError(f"a sequence must have a token to compute, got {prefill_tokens}")
        if cached_tokens < 0 or output_tokens < 0:
            raise InvariantError(f"want no negative tokens, got {cached_tokens} cached and {output_tokens} to emit")
        if speculative and output_tokens:
            raise InvariantError(f"nobody waits for the answer of a speculative sequence, got {output_tokens} tokens")
        self.prefill_left_tokens = prefill_tokens
        self.context_tokens = cached_tokens
        self.output_left_tokens = output_tokens
        self.found_tokens = cached_tokens
        self.speculative = speculative
        self.priority = priority
        self.content = content
        self.page_shift_tokens = page_shift_tokens
        self.on_scheduled = on_scheduled
        self.on_first_token = on_first_token
        self.on_refilled = on_refilled
        self.on_spent = on_spent
        self.on_finished = on_finished

    @property
    def view(self) -> SequenceView:
        """What a batching policy sees of it."""
        return _View(self)

    def start(self) -> None:
        """It is in a step for the first time, or again: tell of the first."""
        if not self.scheduled:
            self.scheduled = True
            if self.on_scheduled is not None:
                self.on_scheduled()

    def emit(self) -> None:
        """A prefill has ended in a token: tell of the first, and of one after a loss."""
        if not self.has_emitted:
            self.has_emitted = True
            if self.on_first_token is not None:
                self.on_first_token()
        elif self.on_refilled is not None:
            self.on_refilled()

    def finish(self) -> None:
        """It has ended, or was cancelled: tell of it."""
        self.on_finished()

    def spend(self, duration_s: float) -> None:
        """A step took so long as speculation."""
        self.speculative_s += duration_s
        if self.on_spent is not None:
            self.on_spent(duration_s)


class _View:
    """What a batching policy sees of a sequence: not its output length, and nothing to write to."""

    __slots__ = ("_sequence",)

    def __init__(self, sequence: GpuSequence) -> None:
        self._sequence = sequence

    prefill_left_tokens = property(attrgetter("_sequence.prefill_left_tokens"))
    context_tokens = property(attrgetter("_sequence.context_tokens"))
    submitted_s = property(attrgetter("_sequence.submitted_s"))
    priority = property(attrgetter("_sequence.priority"))
