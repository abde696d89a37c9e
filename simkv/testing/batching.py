"""What is promised of batching policies: limits are kept, and somebody runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from simkv.policies.batching import BatchView
from simkv.rng import stream
from simkv.testing.subject import Subject


@dataclass(frozen=True)
class _Sequence:
    """What a batching policy sees of a sequence."""

    prefill_left_tokens: int
    context_tokens: int
    submitted_s: float


def batching_answers(subject: Subject) -> str:
    """Show queues of all sizes under small and large limits; return all choices."""
    draws, said = stream(6, "batching"), []
    for case in range(200):
        most = draws.choice([1, 4, 64])
        running = [_Sequence(draws.choice([0, 0, 1, 40]), 100, 0.0) for _ in range(draws.randrange(most + 1))]
        waiting = [_Sequence(draws.randrange(1, 90), 10 * case, 1.0) for _ in range(draws.randrange(6))]
        view = BatchView(running, waiting, draws.choice([1, 16, 2048]), most)
        if not running and not waiting:
            continue
        policy = subject.make()
        answer = policy.select(view)
        subject.want(answer == policy.select(view), "asked again, it selects something else")
        _check_batch(subject, view, running, waiting, answer)
        said.append(str(answer))
    return "\n".join(said)


def _check_batch(
    subject: Subject,
    view: BatchView,
    running: Sequence[_Sequence],
    waiting: Sequence[_Sequence],
    answer: tuple[list[int], list[int]],
) -> None:
    for_running, for_admitted = answer
    subject.want(len(for_running) <= len(running), "it gives tokens to more sequences than are running")
    subject.want(len(for_admitted) <= len(waiting), "it admits more sequences than are waiting")
    admitted = len(running) + len(for_admitted)
    subject.want(admitted <= max(view.max_sequences, len(running)), f"it admits {admitted} of {view.max_sequences}")
    given = for_running + for_admitted
    subject.want(sum(given) <= view.token_budget, f"it gives {sum(given)} tokens of {view.token_budget}")
    subject.want(sum(given) > 0, "it gives nobody a token although somebody could run")
    subject.want(all(tokens > 0 for tokens in for_admitted), "it admits a sequence and gives it nothing")
    for queue, tokens in ((running, for_running), (waiting, for_admitted)):
        for sequence, count in zip(queue, tokens, strict=False):
            most = sequence.prefill_left_tokens or 1
            subject.want(0 <= count <= most, f"it gives {count} tokens to a sequence that can use {most}")
