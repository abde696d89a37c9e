"""What is worth moving ahead of time? One policy a file; the question and its form are in `question.py`."""

from simkv.policies.prefetch import none, oracle, sequential, threshold
from simkv.policies.prefetch.question import (
    AT_QUERIES,
    PREFETCH,
    Foresight,
    LinkView,
    Moment,
    Prefetch,
    PrefetchPolicy,
    PrefetchView,
    Record,
    moments_of,
)

__all__ = [
    "AT_QUERIES",
    "PREFETCH",
    "Foresight",
    "LinkView",
    "Moment",
    "Prefetch",
    "PrefetchPolicy",
    "PrefetchView",
    "Record",
    "moments_of",
    "none",
    "oracle",
    "sequential",
    "threshold",
]
