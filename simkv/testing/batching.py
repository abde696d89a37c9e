"""What is promised of batching policies: a rank that orders, and no change of mind."""

from __future__ import annotations

import math
from dataclasses import dataclass

from simkv.rng import stream
from simkv.testing.subject import Subject


@dataclass(frozen=True)
class _Sequence:
    """What a batching policy sees of a sequence."""

    prefill_left_tokens: int
    context_tokens: int
    submitted_s: float
    priority: int


def batching_answers(subject: Subject) -> str:
    """Show sequences of all kinds; return all ranks."""
    draws, said = stream(6, "batching"), []
    for case in range(200):
        view = _Sequence(draws.randrange(1, 90_000), draws.choice([0, 16, 4000]), 0.5 * case, draws.randrange(3))
        policy = subject.make()
        rank = policy.rank(view)
        is_number = isinstance(rank, int | float) and not math.isnan(rank)
        subject.want(is_number, f"it ranks a sequence {rank!r}, want a number")
        subject.want(rank == policy.rank(view), "asked again, it gives another rank")
        said.append(repr(float(rank)))
    return "\n".join(said)
