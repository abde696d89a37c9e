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
        running = [sequence.prefill_left_tokens or 1 for sequence in view.running]
        wanted = sum(running)
        if wanted > budget:
            running = _filled(running, budget)
        budget -= min(wanted, budget)
        admitted: list[int] = []
        room = view.max_sequences - len(running)
        if budget > 0 and room > 0:
            for sequence in view.waiting:
                tokens = min(sequence.prefill_left_tokens, budget)
                admitted.append(tokens)
                budget -= tokens
                if not budget or len(admitted) == room:
                    break
        return running, admitted


def _filled(wanted: list[int], budget: int) -> list[int]:
    """Return what each gets of the budget when the first take what they want."""
    given = []
    for tokens in wanted:
        given.append(min(tokens, budget))
        budget -= given[-1]
    return given
