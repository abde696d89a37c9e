"""What is promised of prefetch policies: they name things that exist, each once, and see no future."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from simkv.kv.block import Run
from simkv.kv.prefix import Part
from simkv.policies.prefetch import LinkView, Moment, Prefetch, PrefetchView, Record, moments_of
from simkv.predictors import Item
from simkv.rng import stream
from simkv.testing.subject import Subject

_CHUNKS = 10


class _Future:
    """What an oracle foresees here."""

    def __init__(self, items: Sequence[Item]) -> None:
        self._items = items

    def next_parts(self, count: int) -> dict[Item, tuple[Part, ...]]:
        """Return the items of the next turns; what they need is nothing that a policy may care for."""
        return dict.fromkeys(self._items[:count], ())

    def next_gap_s(self) -> float | None:
        """Return [s] a think time."""
        return 5.0

    def earliest_s(self, count: int) -> dict[Item, float]:
        """Return [s] a think time after the other."""
        return {item: 5.0 * number for number, item in enumerate(self._items[:count], 1)}


def prefetch_answers(subject: Subject) -> str:
    """Show histories and predictions, of chunks and of block runs; return all decisions."""
    draws, said = stream(5, "prefetch"), []
    for case in range(60):
        chunks = _CHUNKS if subject.needs_chunks or case % 2 else 0
        items: list[Item] = [*range(chunks)] or [Run(100 * chain, 7) for chain in range(_CHUNKS)]
        draws.shuffle(items)
        shares = [draws.random() for _ in range(case % 6)]
        chances = {item: share / sum(shares) for item, share in zip(items, shares, strict=False)}
        policy = subject.make()
        moment = sorted(moments_of(policy))[case % len(moments_of(policy))]
        view = _view(chances, items[: case % 4], chunks, _Future(items[4:8]) if subject.is_oracle else None, moment)
        answer = policy.decide(view)
        subject.want(answer == policy.decide(view), "asked again, it decides something else")
        _check_moves(subject, answer, items)
        said.append(str(answer))
    return "\n".join(said)


def check_threshold(subject: Subject) -> None:
    """Check, where there is a `threshold`, that what equals it stays, and that 0 and 1 mean all and nothing."""
    if "threshold" not in subject.registry.fields(subject.name):
        return
    for threshold, chance, moves in ((0.5, 0.5, 0), (0.5, 0.5000001, 1), (0.0, 0.0, 0), (0.0, 1e-9, 1), (1.0, 1.0, 0)):
        answer = subject.make(threshold=threshold).decide(_view({3: chance}, [2], _CHUNKS, None))
        found = f"at threshold {threshold} it moves {len(answer)} items of probability {chance}; want {moves}"
        subject.want(len(answer) == moves, found)


def _check_moves(subject: Subject, answer: Sequence[object], items: list[Item]) -> None:
    subject.want(isinstance(answer, list), f"it returns {answer!r}; want a list")
    named = []
    for move in answer:
        if not isinstance(move, Prefetch):
            raise AssertionError(f"{subject.label}: it moves {move!r}; want Prefetch(item, kind)")
        subject.want(move.item in items, f"it moves {move.item!r}, which is no item of the session")
        subject.want(move.kind in ("kv", "text", "compute"), f"it moves {move.kind!r}; want 'kv', 'text' or 'compute'")
        subject.want(move.item not in named, f"it moves {move.item!r} twice")
        named.append(move.item)


def _view(
    chances: Mapping[Item, float],
    asked: Sequence[Item],
    chunks: int,
    future: _Future | None,
    moment: Moment = "query",
) -> PrefetchView:
    return PrefetchView(
        now_s=1.0,
        moment=moment,
        asked=tuple(asked),
        chunks=chunks,
        probabilities=lambda: dict(chances),
        hinted=tuple(chances)[:1] if moment == "hint" else (),
        held=lambda item: item in asked,
        item_bytes=lambda _: 4096,
        compute_s=lambda _: 0.01,
        until_next=lambda: None,
        link=LinkView(lambda: 1e6, lambda: 0.2, lambda: 0, 0.01),
        buffer_bytes=40_960,
        record=Record(8, 6, 1, 8, 4, 1),
        lacking_bytes=lambda item, kind: 0 if item in asked or kind == "compute" else 4096,
        foresight=future,
    )
