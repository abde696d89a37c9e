"""How do numbers and columns look in plain text? Digits, intervals, alignment, width."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from simkv.statistics import Estimate

WIDTH = 120
UNDEFINED = "-"
MOST_DECIMALS = 4


def decimals(values: Iterable[float | None], most: int = MOST_DECIMALS) -> int:
    """Return the decimals that show three digits of the typical value and two of the smallest.

    Parameters
    ----------
    most : never more than these.

    Examples
    --------
    >>> decimals([4.66, 3.6, 0.26]), decimals([1193.0, 629.0]), decimals([None])
    (2, 0, 1)
    """
    known = sorted(abs(value) for value in values if value)
    if not known:
        return min(1, most)
    typical, smallest = (math.floor(math.log10(v)) for v in (known[len(known) // 2], known[0]))
    return min(most, max(0, 2 - typical, 1 - smallest))


def number(value: float | None, digits: int, sign: str = "") -> str:
    """Return a number with fixed decimals; "-" when undefined, never "-0.0", powers of ten from a million.

    Examples
    --------
    >>> number(1.25, 1), number(-0.001, 1), number(2.0, 1, "+"), number(None, 1), number(2.5e7, 0)
    ('1.2', '0.0', '+2.0', '-', '2.5e+07')
    """
    if value is None:
        return UNDEFINED
    if abs(value) >= 1e6:
        return f"{value:{sign}.3g}"
    text = f"{value:{sign}.{digits}f}"
    return text[1:] if text.startswith("-") and float(text) == 0 else text


def numbers(values: Sequence[float | None], most: int = MOST_DECIMALS) -> list[str]:
    """Return a column of numbers with equal decimals.

    Examples
    --------
    >>> numbers([1.0, 2.345, None])
    ['1.00', '2.35', '-']
    """
    digits = decimals(values, most)
    return [number(value, digits) for value in values]


def plus_minus(estimate: Estimate, digits: int) -> str:
    """Return a mean and half its interval.

    Examples
    --------
    >>> plus_minus(Estimate(2.0, 1.5, 2.5, n=20), 1), plus_minus(Estimate(2.0, n=1), 1)
    ('2.0 +-0.5', '2.0')
    """
    text = number(estimate.value, digits)
    return text if estimate.half_width is None else f"{text} +-{estimate.half_width:.{digits}f}"


def with_interval(estimate: Estimate, digits: int, sign: str = "") -> str:
    """Return a value and both ends of its interval.

    Examples
    --------
    >>> with_interval(Estimate(2.0, 1.5, 2.75, n=20), 2)
    '2.00 [1.50, 2.75]'
    """
    text = number(estimate.value, digits, sign)
    if estimate.low is None or estimate.high is None:
        return text
    return f"{text} [{number(estimate.low, digits, sign)}, {number(estimate.high, digits, sign)}]"


def counted(count: int, noun: str) -> str:
    """Return how many there are of something.

    Examples
    --------
    >>> counted(1, "point"), counted(2, "point")
    ('1 point', '2 points')
    """
    return f"{count} {noun}{'' if count == 1 else 's'}"


def cut(name: str, longest: int) -> str:
    """Return a name that is not longer than `longest`: its beginning and its end.

    Examples
    --------
    >>> cut("threshold-with-budget-0.25", 14), cut("none", 14)
    ('thresh..t-0.25', 'none')
    """
    if len(name) <= longest:
        return name
    tail = (longest - 2) // 2
    return f"{name[: longest - 2 - tail]}..{name[-tail:]}"


def grid(columns: Mapping[str, Sequence[str]]) -> list[str]:
    """Return aligned lines: heads, a rule, rows; the first column to the left, the others to the right.

    Examples
    --------
    >>> grid({"arm": ["none", "text"], "TTFT s": ["1.5", "10.0"]})
    ['arm   TTFT s', '----  ------', 'none     1.5', 'text    10.0']
    """
    widths = [max(len(head), *map(len, cells)) for head, cells in columns.items()]
    rows = [list(columns), ["-" * width for width in widths], *zip(*columns.values(), strict=True)]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows]


def fitted(columns_with: Callable[[int], Mapping[str, Sequence[str]]]) -> list[str]:
    """Return the grid with as many decimals as the width allows.

    Parameters
    ----------
    columns_with : the columns with at most so many decimals.
    """
    lines: list[str] = []
    for most in range(MOST_DECIMALS, -1, -1):
        lines = grid(columns_with(most))
        if max(map(len, lines)) <= WIDTH:
            break
    return lines
