"""Short prompts first."""

from __future__ import annotations

from dataclasses import dataclass

from simkv.policies.batching.question import BATCHING, SequenceView


@BATCHING.register("shortest-prompt")
@dataclass
class ShortestPrompt:
    """Take the sequence with the fewest tokens left to prefill first.

    Source: shortest job first, as Fu et al., "Efficient LLM scheduling by learning to rank", NeurIPS'24, order by
    what remains; here by what is known, the prompt.
    """

    def rank(self, view: SequenceView) -> float:
        """Return the tokens that are left to prefill."""
        return float(view.prefill_left_tokens)
