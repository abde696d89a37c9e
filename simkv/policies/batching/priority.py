"""Urgent sequences first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from simkv.policies.batching.question import BATCHING, SequenceView


@BATCHING.register("priority")
@dataclass
class Priority:
    """Take the sequence of the lowest priority number first; when memory runs out, the highest gives its own back.

    The numbers are the sessions' (`priority` in a trace of simkv's own format).

    Source: vLLM, `--scheduling-policy priority`.
    """

    needs_priorities: ClassVar[bool] = True

    def rank(self, view: SequenceView) -> float:
        """Return the priority that the client gave."""
        return view.priority
