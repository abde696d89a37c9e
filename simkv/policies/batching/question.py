"""Who runs in the next GPU step, and with how many tokens? The form in which every batching policy answers."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from simkv.registry import Registry


class SequenceView(Protocol):
    """What a batching policy may know of one sequence; read it during the call only."""

    @property
    def prefill_left_tokens(self) -> int:
        """[tokens] Prompt tokens still to be computed; 0 = it decodes, one token a step."""

    @property
    def context_tokens(self) -> int:
        """[tokens] KV that it already has."""

    @property
    def submitted_s(self) -> float:
        """[s] When it became ready to run."""


@dataclass(slots=True)
class BatchView:
    """What a batching policy may know; live, valid during the call only.

    Attributes
    ----------
    running : admitted sequences in the order of admission.
    waiting : sequences to admit, in the order of arrival.
    token_budget : [tokens] most tokens in one step.
    max_sequences : most sequences admitted at a time.
    """

    running: Collection[SequenceView]
    waiting: Collection[SequenceView]
    token_budget: int
    max_sequences: int


class Batching(Protocol):
    """One method to write."""

    def select(self, view: BatchView) -> tuple[list[int], list[int]]:
        """Return the tokens for each running sequence, then for the sequences to admit from the head of waiting.

        A list may be shorter than its queue: the rest gets nothing. 0 tokens for a running sequence means
        that it sits this step out. At least one sequence must get a token. Where every running sequence decodes
        and nobody is admitted, it is asked again only when something changes (semantics D4).
        """


BATCHING: Registry[Batching] = Registry("batching policy", "simkv.batching")
