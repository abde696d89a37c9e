"""Which KV leaves a full buffer? One policy a file; the question and its form are in `question.py`."""

from simkv.policies.eviction import (
    arc,
    belady,
    continuum_ttl,
    fifo,
    gdsf,
    lfu,
    lru,
    random,
    s3_fifo,
    sieve,
    slru,
    ttl,
    w_tinylfu,
    workflow_aware,
)
from simkv.policies.eviction.question import EVICTION, Eviction

__all__ = [
    "EVICTION",
    "Eviction",
    "arc",
    "belady",
    "continuum_ttl",
    "fifo",
    "gdsf",
    "lfu",
    "lru",
    "random",
    "s3_fifo",
    "sieve",
    "slru",
    "ttl",
    "w_tinylfu",
    "workflow_aware",
]
