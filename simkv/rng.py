"""Named random streams: a draw is keyed by what it is for, never by when it is made.

Adding a consumer shifts nobody else's draws, and two arms of a comparison see the same numbers
(semantics G1). Keys are hashed with BLAKE2, never with `hash()`, which is salted per process.
"""

from __future__ import annotations

import hashlib
import random

_SEPARATOR = "\x1f"  # ASCII unit separator: cannot occur in names, so ("a", "bc") and ("ab", "c") differ


def stream(seed: int, *key: int | str) -> random.Random:
    """Return the generator for one purpose.

    Parameters
    ----------
    seed : the scenario's seed.
    key : replication, session, turn and purpose, as far as they apply.

    Examples
    --------
    >>> stream(7, 0, "starts").random() == stream(7, 0, "starts").random()
    True
    >>> stream(7, 0, "starts").random() == stream(7, 1, "starts").random()
    False
    """
    return random.Random(_hashed(16, seed, key))


def uniform(seed: int, *key: int | str) -> float:
    """Return one number in [0, 1) for one purpose: cheaper than a whole stream where one draw is all.

    Examples
    --------
    >>> uniform(7, 0, "jitter") == uniform(7, 0, "jitter"), 0 <= uniform(7, 1, "jitter") < 1
    (True, True)
    """
    return (_hashed(8, seed, key) >> 11) * 2.0**-53  # a float has 53 bits


def _hashed(size_bytes: int, seed: int, key: tuple[int | str, ...]) -> int:
    text = _SEPARATOR.join([str(part) for part in (seed, *key)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=size_bytes).digest(), "big")
