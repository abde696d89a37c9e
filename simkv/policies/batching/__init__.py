"""In which order do sequences get into the batch? One policy a file; the question and its form are in `question.py`."""

from simkv.policies.batching import chunked_fcfs, priority, shortest_prompt
from simkv.policies.batching.chunked_fcfs import ChunkedFcfs
from simkv.policies.batching.question import BATCHING, Batching, SequenceView

__all__ = ["BATCHING", "Batching", "ChunkedFcfs", "SequenceView", "chunked_fcfs", "priority", "shortest_prompt"]
