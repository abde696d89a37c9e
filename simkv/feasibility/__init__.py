"""What is known before any run: is moving KV worth it here, can it be hidden, and is anything overloaded?

`arithmetic` has the formulas, `asks` what the traffic asks of each server, `figures` puts both together and into
words (semantics A2). Nothing here simulates: no queues, no contention, mean capacities.
"""

from __future__ import annotations

from simkv.feasibility.figures import Figure, check_arms, figures

__all__ = ["Figure", "check_arms", "figures"]
