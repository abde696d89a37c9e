"""Urgent sequences first."""

from __future__ import annotations

from dataclasses import dataclass

from simkv.policies.batching.question import BATCHING, SequenceView


@BATCHING.register("priority")
@dataclass
class Priority:
    """Take the sequence of the lowest priority number first; when memory runs out, the highest gives its own back.

    Source: vLLM, `--scheduling-policy priority`.
    """

    def rank(self, view: SequenceView) -> float:
        """Return the priority that the client gave."""
        return view.priority
