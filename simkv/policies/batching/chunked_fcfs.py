"""Continuous batching with chunked prefill, first come, first served."""

from __future__ import annotations

from dataclasses import dataclass

from simkv.policies.batching.question import BATCHING, SequenceView


@BATCHING.register("chunked-fcfs")
@dataclass
class ChunkedFcfs:
    """Take sequences as they come.

    Source: Agrawal et al., "Taming throughput-latency tradeoff in LLM inference with Sarathi-Serve", OSDI'24;
    vLLM's default (`--scheduling-policy fcfs`).
    """

    def rank(self, view: SequenceView) -> float:
        """Return the same for all: the order of arrival decides."""
        return 0.0
