"""Which step of a workflow follows the one that runs now? Edges learnt by the names of steps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from simkv.predictors.question import PREDICTORS, History, Item, Outcome

_START = -1  # the step before the first


@PREDICTORS.register("task-graph")
@dataclass
class TaskGraph:
    """Predict the next step of a workflow by how often it followed this one, in all sessions so far.

    A step is a chunk; its index is its name and means the same in every session of the workload. A step that was left
    seldom, or never, is helped by how often each step ran at all (back-off), and what never ran by Laplace's rule.
    All steps share probability 1: that of the next query, given that there is one.

    Attributes
    ----------
    back_off : how many runs of a step the back-off weighs; 0 = counted edges alone.
    horizon : steps that `steps` looks ahead.

    Source: seed document 0, "Prediction Model", item 3; steps to the next use: Pan et al., "KVFlow: efficient prefix
    caching for accelerating LLM-based multi-agent workflows", 2025; back-off as in MacKay and Bauman Peto, "A
    hierarchical Dirichlet language model", Natural Language Engineering 1(3), 1995.
    """

    needs_chunks: ClassVar[bool] = True

    back_off: float = 0.5
    horizon: int = 64
    _edges: dict[int, dict[int, int]] = field(default_factory=dict, init=False, repr=False)
    _runs: dict[int, int] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if not 0 <= self.back_off < math.inf:
            raise ValueError(f"back_off must not be negative, got {self.back_off}")
        if self.horizon < 1:
            raise ValueError(f"horizon must be at least 1, got {self.horizon}")

    def predict(self, view: History) -> Mapping[Item, float]:
        """Return the smoothed relative frequencies of what followed this step."""
        counts = self._edges.get(_step(view), {})
        known = {step: count for step, count in counts.items() if step < view.chunks}
        total = sum(known.values()) + self.back_off
        if not self.back_off:
            return {step: count / total for step, count in known.items()}
        runs = [self._runs.get(step, 0) + 1 for step in range(view.chunks)]
        share = self.back_off / sum(runs) if runs else 0.0
        return {step: (known.get(step, 0) + share * count) / total for step, count in enumerate(runs)}

    def observe(self, outcome: Outcome) -> None:
        """Count an edge, and a run of its end."""
        if not isinstance(outcome.item, int):
            return
        before = outcome.last if isinstance(outcome.last, int) else _START
        after = self._edges.setdefault(before, {})
        after[outcome.item] = after.get(outcome.item, 0) + 1
        self._runs[outcome.item] = self._runs.get(outcome.item, 0) + 1

    def steps(self, view: History) -> dict[Item, float]:
        """Return for each step the expected number of steps until it runs next, counted edges alone.

        Whatever takes longer than `horizon`, or never comes, counts as `horizon`. One call costs
        steps x horizon x edges.

        Examples
        --------
        >>> graph = TaskGraph(horizon=10)
        >>> for step, move in ((0, 1), (1, 1), (2, 1)):
        ...     graph.observe(Outcome(0, (), move, item=step, last=step - 1 if step else None))
        >>> graph.steps(History(1, [0], [1], lambda move: None, 4))
        {0: 10.0, 1: 1.0, 2: 2.0, 3: 10.0}
        """
        return {step: self._expected_steps(_step(view), step) for step in range(view.chunks)}

    def _expected_steps(self, start: int, target: int) -> float:
        """Return E[min(steps from start to target, horizon)]: the sum over t of P(more than t steps)."""
        at = {start: 1.0}
        expected = 0.0
        for _ in range(self.horizon):
            left = math.fsum(at.values())
            expected += left
            ahead: dict[int, float] = {}
            for step, probability in at.items():
                counts = self._edges.get(step)
                if not counts:  # nothing ever followed: it stays away
                    ahead[step] = ahead.get(step, 0.0) + probability
                    continue
                total = sum(counts.values())
                for after, count in counts.items():
                    if after != target:
                        ahead[after] = ahead.get(after, 0.0) + probability * count / total
            at = ahead
            if not at:
                break
        return expected


def _step(view: History) -> int:
    last = view.asked[-1] if view.asked else None
    return last if isinstance(last, int) else _START
