"""What would simple prefetch policies hit, with a network that moves everything in time and a buffer without end?

An upper bound for each policy: links, buffers and late arrivals only take from it (`simkv run` tells how much).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from simkv.predictability.estimates import Ratio, told
from simkv.predictability.follow import Asked, Sees, follow
from simkv.predictors import PREDICTORS, Item

#: What a policy is shown: forecast, last item, chunks of the document (0 = items have no order).
Shown = tuple[Mapping[Item, float], Item, int]
Policy = Callable[[Shown], set[Item]]


def _top(shown: Shown, k: int) -> set[Item]:
    forecast = shown[0]
    return set(sorted(forecast, key=lambda item: (-forecast[item], str(item)))[:k])


def _next(shown: Shown) -> set[Item]:
    _, last, chunks = shown
    return {last + 1} if isinstance(last, int) and last + 1 < chunks else set()


def _above(shown: Shown, threshold: float) -> set[Item]:
    return {item for item, probability in shown[0].items() if probability > threshold}


POLICIES: Mapping[str, Policy] = {
    "none": lambda _: set(),
    "always-next": _next,
    "repeat-last": lambda shown: {shown[1]},
    "top-1": lambda shown: _top(shown, 1),
    "top-3": lambda shown: _top(shown, 3),
    "threshold-0.5": lambda shown: _above(shown, 0.5),
    "threshold-0.2": lambda shown: _above(shown, 0.2),
}


@dataclass(slots=True)
class _Played:
    """One policy in one dialogue."""

    moved: set[Item] = field(default_factory=set)
    asked_of_moved: set[Item] = field(default_factory=set)
    named: int = 0
    in_time: int = 0


@dataclass(slots=True)
class _Tally:
    """One policy in all dialogues: sums by dialogue."""

    named: Ratio = field(default_factory=Ratio)
    coverage: Ratio = field(default_factory=Ratio)
    accuracy: Ratio = field(default_factory=Ratio)

    def told(self, seed: int) -> dict[str, Any]:
        moved = sum(below for _, below in self.accuracy.parts)
        used = sum(above for above, _ in self.accuracy.parts)
        return {
            "named_next": told(self.named.estimate(seed)),
            "coverage": told(self.coverage.estimate(seed)),
            "accuracy": told(self.accuracy.estimate(seed)),
            "moved": int(moved),
            "wasted_per_hit": round((moved - used) / used, 6) if used else None,
        }


def prefetching(sequences: Sequence[Asked], sees: Sees, seed: int) -> dict[str, Any]:
    """Return what each policy names, moves and wastes; forecasts are those of `markov`, learning as it goes.

    named_next : share of later queries whose item was in the set named just before.
    coverage : share of items asked for the first time (the first query's apart) that had been moved by then.
    accuracy : share of moved items that their dialogue asked for later.
    wasted_per_hit : moved in vain over moved and used; None where nothing was used.

    An item that the dialogue asked for is there from then on, and is not moved again.
    """
    has_chunks = any(sequence.chunks for sequence in sequences)
    tallies = {name: _Tally() for name in POLICIES if has_chunks or name != "always-next"}
    predictor = PREDICTORS.create("markov")
    for index, sequence in enumerate(sequences):
        played = {name: _Played() for name in tallies}
        needed = 0
        seen: set[Item] = set()
        for shown, asked in _steps(sequence, index, sees, predictor):
            needed += asked not in seen and bool(seen)
            if shown is not None:
                for name, one in played.items():
                    _move(one, POLICIES[name](shown), asked, seen)
            seen.add(asked)
        later = max(0, len(sequence.numbers) - 1)
        for name, one in played.items():
            tallies[name].named.add(one.named, later)
            tallies[name].coverage.add(one.in_time, needed)
            tallies[name].accuracy.add(len(one.asked_of_moved), len(one.moved))
    found: dict[str, Any] = {name: tally.told(seed) for name, tally in tallies.items()}
    if not has_chunks:
        found["always-next"] = {"n/a": "items have no order"}
    return {"predictor": "markov-1", "sees": sees, "policies": {name: found[name] for name in POLICIES}}


def _move(one: _Played, chosen: set[Item], asked: Item, seen: set[Item]) -> None:
    """Move what is chosen and not there, then let the query ask."""
    one.named += asked in chosen
    one.moved |= chosen - seen
    if asked not in seen and asked in one.moved:
        one.in_time += 1
        one.asked_of_moved.add(asked)


def _steps(sequence: Asked, index: int, sees: Sees, predictor: Any) -> Iterator[tuple[Shown | None, Item]]:
    """Yield what policies see before each query, None before the first, and what it asks for."""
    dialogue = follow(sequence, index, sees)
    last: Item | None = None
    for _ in sequence.numbers:
        shown = None if last is None else (dict(predictor.predict(dialogue.view())), last, sequence.chunks)
        asked, outcome = dialogue.learn()
        predictor.observe(outcome)
        last = asked
        yield shown, asked
