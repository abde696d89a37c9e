"""Think times of a stated median and spread."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

from simkv.workload.thinking.question import THINK

_NORMAL = NormalDist()


@THINK.register("log-normal")
@dataclass
class LogNormalThink:
    """Draw think times from a log-normal; the source of its numbers must be named.

    Attributes
    ----------
    median_s : [s]
    sigma : of ln(think time); 0 = always the median.
    source : where median and sigma come from, in words.
    kind : who thinks: a human, or a tool that runs.

    Source: none; the numbers are the scenario's.
    """

    median_s: float
    sigma: float
    source: str
    kind: Literal["human", "tool"] = "human"

    def __post_init__(self) -> None:
        if not 0 <= self.median_s < math.inf:
            raise ValueError(f"median_s must not be negative, got {self.median_s}")
        if not 0 <= self.sigma < math.inf:
            raise ValueError(f"sigma must not be negative, got {self.sigma}")
        if not self.source.strip():
            raise ValueError("source must say where median and sigma come from")
        if self.kind not in ("human", "tool"):
            raise ValueError(f"kind must be human or tool, got {self.kind!r}")

    @property
    def words(self) -> str:
        """What the run's notes say of it."""
        return f"{self.kind}, log-normal, median {self.median_s:g} s, sigma {self.sigma:g}; source: {self.source}"

    def think_s(self, share: float) -> float:
        """Return [s] the quantile of a share."""
        return self.median_s * math.exp(self.sigma * _NORMAL.inv_cdf(share))
