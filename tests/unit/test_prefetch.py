"""Which items each prefetch policy moves, and in which order."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from simkv.errors import InputError
from simkv.kv.block import Run
from simkv.kv.prefix import Part
from simkv.policies.prefetch import PREFETCH, Prefetch, PrefetchView
from simkv.predictors import Item


class Recorded:
    """A future, one item a turn."""

    def __init__(self, *items: Item) -> None:
        self._items = items

    def next_parts(self, count: int) -> dict[Item, tuple[Part, ...]]:
        """Return the items of the next turns."""
        return dict.fromkeys(self._items[:count], ())


def view(
    probabilities: dict[Item, float] | None = None,
    asked: Sequence[Item] = (),
    chunks: int = 10,
    foresight: Recorded | None = None,
) -> PrefetchView:
    """Return a view; the receiver holds nothing."""
    return PrefetchView(
        now_s=0.0,
        asked=tuple(asked),
        chunks=chunks,
        probabilities=lambda: probabilities or {},
        held=lambda item: False,
        item_bytes=lambda item: 1,
        foresight=foresight,
    )


def moved(name: str, params: dict[str, object] | None = None, **seen: object) -> list[Item]:
    """Return the items that a policy moves."""
    return [prefetch.item for prefetch in PREFETCH.create(name, params).decide(view(**seen))]  # type: ignore[arg-type]


def test_none_moves_nothing() -> None:
    """The baseline, however sure the predictor is."""
    assert moved("none", probabilities={1: 1.0}, asked=[0]) == []


@pytest.mark.parametrize(
    ("threshold", "wanted"),
    [(0.0, [4, 3, 2, 1]), (0.1, [4, 3, 2]), (0.25, [4, 3]), (0.3, [4]), (0.35, []), (1.0, [])],
)
def test_the_threshold_is_strict(threshold: float, wanted: list[Item]) -> None:
    """Equal is not above; 0 moves all that is possible at all; most probable first."""
    probabilities: dict[Item, float] = {0: 0.0, 1: 0.1, 2: 0.25, 3: 0.3, 4: 0.35}
    assert moved("threshold", {"threshold": threshold}, probabilities=probabilities) == wanted


def test_certainty_is_not_above_1() -> None:
    """A threshold of 1 moves nothing, not even what is certain."""
    assert moved("threshold", {"threshold": 1.0}, probabilities={1: 1.0}) == []


def test_equally_probable_items_go_in_their_order() -> None:
    """Chunk 9 before chunk 10; runs by their first block."""
    assert moved("threshold", {"threshold": 0.1}, probabilities={10: 0.3, 9: 0.3, 1: 0.2}) == [9, 10, 1]
    runs: dict[Item, float] = {Run(100, 1): 0.5, Run(20, 7): 0.5}
    assert moved("threshold", {"threshold": 0.1}, probabilities=runs) == [Run(20, 7), Run(100, 1)]


@pytest.mark.parametrize(
    ("asked", "ahead", "wanted"),
    [([], 1, [0]), ([3], 1, [4]), ([3], 3, [4, 5, 6]), ([8], 3, [9]), ([9], 2, []), ([9, 0], 1, [1])],
)
def test_sequential_moves_what_follows(asked: list[Item], ahead: int, wanted: list[Item]) -> None:
    """As many chunks as it looks ahead, up to the end of the document, from the last one asked."""
    assert moved("sequential", {"ahead": ahead}, asked=asked) == wanted


def test_sequential_has_no_next_among_block_runs() -> None:
    """A run of blocks has no chunk after it."""
    assert moved("sequential", asked=[Run(0, 4)], chunks=0) == []


def test_the_oracle_moves_what_comes_soonest_first() -> None:
    """As many turns as it sees ahead, each item once."""
    future = Recorded(7, 2, 7, 5)
    assert moved("oracle", {"ahead": 3}, foresight=future) == [7, 2]
    with pytest.raises(ValueError, match="without the future"):
        moved("oracle")


@pytest.mark.parametrize("name", ["threshold", "sequential", "oracle"])
def test_text_or_kv_is_said_with_each_item(name: str) -> None:
    """The kind that the policy was made with is the kind of all that it moves."""
    seen = view({4: 0.9}, asked=[3], foresight=Recorded(4))
    assert PREFETCH.create(name, {"kind": "text"}).decide(seen) == [Prefetch(4, "text")]
    assert PREFETCH.create(name).decide(seen) == [Prefetch(4, "kv")]


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("threshold", {"threshold": 1.01}, "threshold must be in"),
        ("threshold", {"threshold": -0.01}, "threshold must be in"),
        ("threshold", {"threshold": float("nan")}, "threshold must be in"),
        ("sequential", {"ahead": 0}, "ahead must be at least 1"),
        ("oracle", {"ahead": 0}, "ahead must be at least 1"),
        ("threshold", {"treshold": 0.5}, "did you mean 'threshold'"),
    ],
)
def test_bad_parameters_are_refused(name: str, params: dict[str, object], message: str) -> None:
    """One line: what, what is wanted."""
    with pytest.raises(InputError, match=message):
        PREFETCH.create(name, params)
