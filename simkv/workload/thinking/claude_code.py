"""Think times as people and tools took them in recorded coding sessions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

from simkv.workload.thinking.question import THINK

# [s], of ln(gap): log-normals through the deciles of 4,228 gaps after an answer's end and 23,945 after a tool call
# (claude_code_traces; printed by traces/measure.py).
HUMAN_S, TOOL_S = (142.0, 1.82), (11.1, 1.08)
_NORMAL = NormalDist()


@THINK.register("claude-code")
@dataclass
class ClaudeCodeThink:
    """Draw think times as they were in Claude Code sessions: log-normals fitted to a human's or a tool's gaps.

    Attributes
    ----------
    kind : whose gaps; never a mixture.

    Source: 457 sessions of callanjfox/kv-cache-tester (Apache-2.0); docs/data.md.
    """

    kind: Literal["human", "tool"] = "human"

    def __post_init__(self) -> None:
        if self.kind not in ("human", "tool"):
            raise ValueError(f"kind must be human or tool, got {self.kind!r}")

    @property
    def words(self) -> str:
        """What the run's notes say of it."""
        median_s, sigma = self._fit
        fit = f"log-normal, median {median_s:g} s, sigma {sigma:g}"
        return f"{self.kind}, {fit}; source: Claude Code sessions (docs/data.md)"

    def think_s(self, share: float) -> float:
        """Return [s] the quantile of a share."""
        median_s, sigma = self._fit
        return median_s * math.exp(sigma * _NORMAL.inv_cdf(share))

    @property
    def _fit(self) -> tuple[float, float]:
        return HUMAN_S if self.kind == "human" else TOOL_S
