"""Continuous batching with chunked prefill, first come, first served."""

from __future__ import annotations

from dataclasses import dataclass

from simkv.policies.batching.question import BATCHING, BatchView


@BATCHING.register("chunked-fcfs")
@dataclass
class ChunkedFcfs:
    """Walk the running list in the order of admission, decodes and partial prefills alike, then admit.

    Source: Agrawal et al., "Taming throughput-latency tradeoff in LLM inference with Sarathi-Serve", OSDI'24;
    the order is that of vLLM V1's scheduler (semantics D1).
    """

    def select(self, view: BatchView) -> tuple[list[int], list[int]]:
        """Fill the token budget; admission stops at the first sequence that gets nothing."""
        budget = view.token_budget
        running = []
        for sequence in view.running:
            tokens = min(sequence.prefill_left_tokens or 1, budget)
            running.append(tokens)
            budget -= tokens
        admitted: list[int] = []
        room = view.max_sequences - len(view.running)
        for sequence in view.waiting:
            if budget <= 0 or len(admitted) >= room:
                break
            tokens = min(sequence.prefill_left_tokens, budget)
            admitted.append(tokens)
            budget -= tokens
        return running, admitted
