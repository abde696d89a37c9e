"""Who runs in the next GPU step? One policy a file; the question and its form are in `question.py`."""

from simkv.policies.batching import chunked_fcfs
from simkv.policies.batching.question import BATCHING, Batching, BatchView, SequenceView

__all__ = ["BATCHING", "BatchView", "Batching", "SequenceView", "chunked_fcfs"]
