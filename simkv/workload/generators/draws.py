"""How does a uniform or normal draw become a choice, a length or a think time? Shared by the generators of sessions."""

from __future__ import annotations

import math

# Shapes of the length distributions in words: least, nine deciles, greatest (quac_canard, 1,715 questions as typed
# and 1,469 answers; printed by traces/measure.py). Their scale is set by the parameters' means.
QUESTION_WORDS = (1, 4, 5, 5, 6, 6, 7, 7, 8, 9, 17)
ANSWER_WORDS = (1, 3, 3, 7, 10, 14, 16, 18, 21, 25, 30)
#: [s] Think times are kept to a millisecond; the data has whole seconds.
_THINK_DIGITS = 3


def pick(place: float, count: int) -> int:
    """Return 0 .. count - 1, each as likely, for a uniform draw.

    Examples
    --------
    >>> pick(0.5, 4), pick(0.999, 4)
    (2, 3)
    """
    return min(count - 1, math.floor(place * count))


def length(draw: float, table: tuple[int, ...], mean_tokens: float) -> int:
    """Return [tokens] a length for a uniform draw, at least 1.

    Parameters
    ----------
    table : the shape: least, deciles and greatest, in any unit.
    mean_tokens : [tokens] the mean that the shape is scaled to.

    Examples
    --------
    >>> length(0.5, (0, 10, 20), 5.0), length(1.0, (0, 10, 20), 5.0)
    (5, 10)
    """
    place = draw * (len(table) - 1)
    step = min(math.floor(place), len(table) - 2)
    value = table[step] + (table[step + 1] - table[step]) * (place - step)
    mean = (sum(table) - (table[0] + table[-1]) / 2) / (len(table) - 1)
    return max(1, round(value / mean * mean_tokens))


def think_s(normal: float, median_s: float, sigma: float) -> float:
    """Return [s] a log-normal think time for a standard normal draw.

    Examples
    --------
    >>> think_s(0.0, 11.1, 1.08), think_s(1.0, 10.0, 0.5)
    (11.1, 16.487)
    """
    return round(median_s * math.exp(sigma * normal), _THINK_DIGITS)
