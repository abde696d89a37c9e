"""The same dialogue in a random order: what is asked stays, the order goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from simkv.rng import stream

T = TypeVar("T")


def mixed(items: Sequence[T], seed: int, draw: int, dialogue: int) -> list[T]:
    """Return the items of one dialogue in a random order.

    Parameters
    ----------
    draw : which of the shuffles.
    dialogue : its number in the set; each has draws of its own.

    Examples
    --------
    >>> sorted(mixed([3, 1, 2], seed=1, draw=0, dialogue=0))
    [1, 2, 3]
    """
    made = list(items)
    stream(seed, "shuffle", draw, dialogue).shuffle(made)
    return made
