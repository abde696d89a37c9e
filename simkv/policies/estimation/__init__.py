"""How fast is the link just now? One estimator a file; the question and its form are in `question.py`."""

from simkv.policies.estimation import ewma
from simkv.policies.estimation.question import ESTIMATORS, Estimator, Report

__all__ = ["ESTIMATORS", "Estimator", "Report", "ewma"]
