"""When will the next query of a session come? One predictor a file; the question is in `question.py`."""

from simkv.predictors.timing import empirical, exponential, lead_time, oracle, semi_markov
from simkv.predictors.timing.question import TIMING, TimingPredictor, TimingView

__all__ = [
    "TIMING",
    "TimingPredictor",
    "TimingView",
    "empirical",
    "exponential",
    "lead_time",
    "oracle",
    "semi_markov",
]
