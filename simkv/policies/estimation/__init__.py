"""How fast is the link just now? One estimator a file; the question and its form are in `question.py`."""

from simkv.policies.estimation import ewma, harmonic_mean, oracle, sliding_quantile, stale_report
from simkv.policies.estimation.question import ESTIMATORS, Estimator, Report

__all__ = [
    "ESTIMATORS",
    "Estimator",
    "Report",
    "ewma",
    "harmonic_mean",
    "oracle",
    "sliding_quantile",
    "stale_report",
]
