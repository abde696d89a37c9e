"""When the next query comes, as precisely as was dialled: an oracle that errs to order."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from simkv.predictors.gap import Gap
from simkv.predictors.timing.distributions import Certain, LogNormal
from simkv.predictors.timing.oracle import rest_s
from simkv.predictors.timing.question import TIMING, TimingView
from simkv.rng import stream


@TIMING.register("lead-time", oracle=True)
@dataclass
class LeadTime:
    """Name the true gap times a log-normal error, and how large such errors are.

    What it names is exp(sigma x a standard normal) times the truth, drawn anew for each gap of each session, the same
    whenever it is asked; what it answers is the log-normal of that median and sigma, given what has passed. It is
    calibrated: whole gaps exceed its quantiles as often as these say. A larger sigma stretches the same errors.

    Attributes
    ----------
    sigma : of the natural logarithm of the error; 0 = the truth, for sure.
    seed : of its errors.

    Source: perfect prediction (semantics G5) with errors of a stated size; calibration in probability: Gneiting,
    Balabdaoui and Raftery, "Probabilistic forecasts, calibration and sharpness", J. Royal Stat. Soc. B 69, 2007.
    """

    sigma: float = 0.3
    seed: int = 0
    _gaps: dict[int, int] = field(default_factory=dict, init=False, repr=False)  # of each session, so far

    def __post_init__(self) -> None:
        if not 0 <= self.sigma < math.inf:
            raise ValueError(f"sigma must not be negative, got {self.sigma}")

    def predict(self, view: TimingView) -> Gap:
        """Return the distribution of what is left around the gap that it names."""
        left_s = rest_s(view)
        whole_s = view.elapsed_s + left_s
        if not self.sigma or not whole_s:
            return Certain(left_s)
        draws = stream(self.seed, "lead-time", view.session, self._gaps.get(view.session, 0))
        return LogNormal(whole_s * math.exp(self.sigma * draws.gauss(0, 1)), self.sigma, view.elapsed_s)

    def observe(self, view: TimingView, gap_s: float) -> None:
        """Count the gap; the number is the only thing that it learns."""
        self._gaps[view.session] = self._gaps.get(view.session, 0) + 1
