"""In which order do sequences get into the batch? The form in which every batching policy answers.

Who runs follows from the order alone (semantics D1): the running sequences in the order of admission, then the
waiting ones by rank, until the token budget, the sequences or the memory are used up; whoever must give memory back
is the running one with the highest rank.
"""

from __future__ import annotations

from typing import Protocol

from simkv.registry import Registry


class SequenceView(Protocol):
    """What a batching policy may know of one sequence; read it during the call only."""

    @property
    def prefill_left_tokens(self) -> int:
        """[tokens] Prompt tokens still to be computed."""

    @property
    def context_tokens(self) -> int:
        """[tokens] KV that it already has."""

    @property
    def submitted_s(self) -> float:
        """[s] When it became ready to run."""

    @property
    def priority(self) -> int:
        """What the client asked for: lower is more urgent."""


class Batching(Protocol):
    """One method to write."""

    def rank(self, view: SequenceView) -> float:
        """Return the place of a sequence that has become ready: lower runs first, equals in the order of arrival."""


BATCHING: Registry[Batching] = Registry("batching policy", "simkv.batching")
