"""The ranges a policy's parameters may lie in, checked when it is made; the message is what `simkv run` prints."""

from __future__ import annotations

import math


def check_ratio(name: str, ratio: float) -> None:
    """Raise ValueError unless a parameter is a probability or a part of a whole: from 0 to 1.

    Examples
    --------
    >>> check_ratio("threshold", 1.5)
    Traceback (most recent call last):
    ValueError: threshold must be in [0, 1], got 1.5
    """
    if not 0 <= ratio <= 1:
        raise ValueError(f"{name} must be in [0, 1], got {ratio}")


def check_inside(name: str, ratio: float) -> None:
    """Raise ValueError unless a parameter is above 0 and below 1, as the level of a quantile is."""
    if not 0 < ratio < 1:
        raise ValueError(f"{name} must be above 0 and below 1, got {ratio}")


def check_share(name: str, share: float) -> None:
    """Raise ValueError unless a parameter is a share of the room: above 0, at most 1."""
    if not 0 < share <= 1:
        raise ValueError(f"{name} must be above 0 and at most 1, got {share}")


def check_positive(name: str, value: float) -> None:
    """Raise ValueError unless a parameter is above 0 and finite."""
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be above 0, got {value}")


def check_not_negative(name: str, value: float) -> None:
    """Raise ValueError unless a parameter is 0 or more, and finite."""
    if not 0 <= value < math.inf:
        raise ValueError(f"{name} must be 0 or more, got {value}")
