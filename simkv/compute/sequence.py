"""One sequence on a GPU, and what a batching policy may see of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from operator import attrgetter

from simkv.errors import InvariantError
from simkv.policies.batching.question import SequenceView


class GpuSequence:
    """A prompt being prefilled, then an answer being decoded.

    Parameters
    ----------
    prefill_tokens : [tokens] to compute, >= 1.
    cached_tokens : [tokens] whose KV is there already.
    output_tokens : [tokens] to emit; 0 = only the prefill is wanted, as always of a speculative sequence.
    speculative : runs in idle time only.
    on_scheduled, on_first_token, on_finished : called at that moment; the last also when it was cancelled.
    on_spent : called with the [s] of each step that it took as speculation.

    Examples
    --------
    >>> GpuSequence(100, 32, 8, on_finished=lambda: None).view.prefill_left_tokens
    100
    """

    __slots__ = (
        "cancelled",
        "context_tokens",
        "on_finished",
        "on_first_token",
        "on_scheduled",
        "on_spent",
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
        self.speculative = speculative
        self.on_scheduled = on_scheduled
        self.on_first_token = on_first_token
        self.on_spent = on_spent
        self.on_finished = on_finished
        self.submitted_s = 0.0
        self.scheduled = False
        self.cancelled = False
        self.speculative_s = 0.0  # [s] of GPU time spent on it before it was promoted
        self.view: SequenceView = _View(self)

    def start(self) -> None:
        """It is in a step for the first time, or again: tell of the first."""
        if not self.scheduled:
            self.scheduled = True
            if self.on_scheduled is not None:
                self.on_scheduled()

    def spend(self, duration_s: float) -> None:
        """A step took so long as speculation."""
        self.speculative_s += duration_s
        if self.on_spent is not None:
            self.on_spent(duration_s)


class _View:
    """What a batching policy sees of a sequence: not its output length, and nothing to write to.

    The getters are C functions: a policy reads one of every running sequence in every step.
    """

    __slots__ = ("_sequence",)

    def __init__(self, sequence: GpuSequence) -> None:
        self._sequence = sequence

    prefill_left_tokens = property(attrgetter("_sequence.prefill_left_tokens"))
    context_tokens = property(attrgetter("_sequence.context_tokens"))
    submitted_s = property(attrgetter("_sequence.submitted_s"))


class Views(Collection[SequenceView]):
    """A queue of sequences, seen as views; looked at lazily, so a long queue costs nothing.

    Examples
    --------
    >>> queue = [GpuSequence(5, on_finished=lambda: None)]
    >>> [view.prefill_left_tokens for view in Views(queue)]
    [5]
    """

    __slots__ = ("_queue",)

    _view_of = attrgetter("view")

    def __init__(self, queue: Collection[GpuSequence]) -> None:
        self._queue = queue

    def __len__(self) -> int:
        return len(self._queue)

    def __iter__(self) -> Iterator[SequenceView]:
        return map(self._view_of, self._queue)

    def __contains__(self, view: object) -> bool:
        return any(sequence.view is view for sequence in self._queue)
