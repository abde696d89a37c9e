"""What is promised of eviction policies: honest books, at O(log n) a call."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

from simkv.kv.block import Run
from simkv.kv.buffer import KvBuffer
from simkv.policies.eviction import Eviction
from simkv.rng import stream
from simkv.testing.subject import Subject

_FEW, _MANY = 500, 8000  # runs on the books; _MANY is 16 times _FEW
_MOST_GROWTH = 8.0  # a scan grows by 16, a heap by about 1.5; caches and noise stay far below this


def eviction_answers(subject: Subject) -> str:
    """Play hooks, then prompts through a small buffer; return all victims."""
    return "\n".join(map(str, [*_play_hooks(subject), *_play_buffer(subject)]))


def check_cost(subject: Subject) -> None:
    """Raise if a call takes about as many times longer as there are more runs on the books."""
    many_s = few_s = growth = math.inf
    for _ in range(4):  # somebody else may keep the processor busy once or twice, which both sides survive as minima
        few_s = min(few_s, *(_seconds_a_round(subject, _FEW) for _ in range(4)))  # short, so soon disturbed, but cheap
        many_s = min(many_s, _seconds_a_round(subject, _MANY))
        growth = many_s / few_s
        if growth < _MOST_GROWTH:
            return
    found = f"calls take {growth:.0f} times longer with {_MANY // _FEW} times as many runs: no scan, at most O(log n)"
    subject.want(False, found)


def _blocks(run: Run) -> set[int]:
    return set(range(run.start, run.end))


def _play_hooks(subject: Subject) -> Iterator[Run | None]:
    """Call the hooks at random beside a set of the blocks that are evictable; yield the victims."""
    draws, policy = stream(1, "hooks"), subject.make()
    books: set[int] = set()
    for step in range(600):
        hook = draws.choice(["inserted", "inserted", "used", "removed", "victim"])
        start = draws.randrange(60)
        run = Run(start, _alike(books, start, draws.randrange(1, 9), is_there=hook != "inserted"))
        if hook == "victim":
            yield _take_victim(subject, policy, books, draws.randrange(1, 9))
        elif run.count and hook == "removed":
            policy.removed(run)
            books -= _blocks(run)
        elif run.count:
            (policy.used if hook == "used" else policy.inserted)(run, float(step))
            books |= _blocks(run)
    while books:
        yield _take_victim(subject, policy, books, 3)
    yield _take_victim(subject, policy, books, 3)


def _alike(books: set[int], start: int, most: int, *, is_there: bool) -> int:
    """Return for how many blocks from `start` on it is so that they are, or are not, on the books."""
    return next((count for count in range(most) if (start + count in books) is not is_there), most)


def _take_victim(subject: Subject, policy: Eviction, books: set[int], need: int) -> Run | None:
    """Ask for a victim, look at it, and take what is needed from its end, as a buffer does."""
    victim = policy.victim(need)
    subject.want(victim == policy.victim(need), "asked again, it offers another victim")
    if victim is None:
        subject.want(not books, f"it offers no victim although {len(books)} blocks are evictable")
        return None
    strangers = sorted(_blocks(victim) - books)
    subject.want(victim.count > 0, f"it offers {victim}, which holds no block")
    subject.want(not strangers, f"it offers {victim}; blocks {strangers} were never inserted, or removed since")
    taken = min(need, victim.count)
    policy.removed(Run(victim.end - taken, taken))
    books -= _blocks(Run(victim.end - taken, taken))
    return victim


def _play_buffer(subject: Subject) -> Iterator[Run]:
    """Use prompts of a few growing documents through a small buffer, two at a time; yield what is evicted."""
    draws, policy = stream(2, "buffer"), subject.make()
    evicted: list[Run] = []
    prompts = [Run(100 * draws.randrange(8), draws.randrange(1, 16)) for _ in range(300)]
    if hasattr(policy, "foresee"):  # an oracle of the recorded order
        policy.foresee([(prompt,) for prompt in prompts])
    buffer = KvBuffer(40, 1, policy, lambda: 0.0, lambda run, _: evicted.append(run))
    before: Run | None = None
    for prompt in prompts:
        for resident in buffer.survey(prompt).resident:
            buffer.pin(resident)
        for gap in buffer.absent(prompt):
            subject.want(buffer.reserve(gap), "a buffer of 40 blocks with 30 in use finds no room")
            buffer.arrive(gap, pin=True)
        if before is not None:
            buffer.release(before)
        before = prompt
    yield from evicted


def _seconds_a_round(subject: Subject, runs: int) -> float:
    """Return the [s] of processor time that 100 rounds of all hooks take with so many runs; the best of 5."""
    draws, policy = stream(3, "cost"), subject.make()
    for index in range(runs):
        policy.inserted(Run(2 * index, 1), 0.0)
    best = math.inf
    for _ in range(5):
        used = [Run(2 * draws.randrange(runs), 1) for _ in range(100)]
        start_s = time.process_time()
        for run in used:
            policy.used(run, 1.0)
            victim = policy.victim(1)
            policy.removed(victim)
            policy.inserted(victim, 2.0)
        best = min(best, time.process_time() - start_s)
    return max(best, 1e-5)
