"""Which KV leaves a full buffer? One policy a file; the question and its form are in `question.py`."""

from simkv.policies.eviction import belady, fifo, lfu, lru
from simkv.policies.eviction.question import EVICTION, Eviction

__all__ = ["EVICTION", "Eviction", "belady", "fifo", "lfu", "lru"]
