"""What is worth moving ahead of time? One policy a file; the question and its form are in `question.py`."""

from simkv.policies.prefetch import none, oracle, sequential, threshold
from simkv.policies.prefetch.question import PREFETCH, Foresight, Prefetch, PrefetchPolicy, PrefetchView

__all__ = [
    "PREFETCH",
    "Foresight",
    "Prefetch",
    "PrefetchPolicy",
    "PrefetchView",
    "none",
    "oracle",
    "sequential",
    "threshold",
]
