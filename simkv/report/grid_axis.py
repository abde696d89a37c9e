"""One path of a swept grid as an axis: the values as numbers with a unit, and where they lie."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from simkv.errors import InputError
from simkv.units import BY_SUFFIX, Quantity

#: Of the average: an axis with a thinner cell cannot be read, so it lists its values at equal distance.
_THINNEST = 0.4


@dataclass(frozen=True, eq=False)
class Axis:
    """One path of the grid.

    Attributes
    ----------
    path : as it was swept.
    values : as in the table, ascending where they are numbers.
    labels : the values for people, without the unit.
    unit : of the labels; empty for bare numbers and words.
    scale : "log", "lin" or "list"; a list is equally spaced, whatever the values.
    places : log10 of the values, the values, or 0, 1, 2, ...; in the inside unit of the quantity.
    """

    path: str
    values: tuple[object, ...]
    labels: tuple[str, ...]
    unit: str
    scale: str
    places: NDArray[np.float64]

    @property
    def edges(self) -> NDArray[np.float64]:
        """Where cells end: half-way between places, and as far outside."""
        places = self.places
        if places.size == 1:
            return np.array([places[0] - 0.5, places[0] + 0.5])
        inner = (places[1:] + places[:-1]) / 2
        return np.concatenate([[2 * places[0] - inner[0]], inner, [2 * places[-1] - inner[-1]]])

    @property
    def title(self) -> str:
        """The path, and the unit of the labels."""
        return f"{self.path} [{self.unit}]" if self.unit else self.path


def read_axis(points: pd.DataFrame, path: str) -> Axis:
    """Return the axis of a path.

    Parameters
    ----------
    points : the tidy table of a sweep.
    path : one of its columns.

    Examples
    --------
    >>> axis = read_axis(pd.DataFrame({"rate": ["1 Mbit/s", "100 Mbit/s", "10 Mbit/s"]}), "rate")
    >>> axis.labels, axis.unit, axis.scale, axis.places.tolist()
    (('1', '10', '100'), 'Mbit/s', 'log', [6.0, 7.0, 8.0])
    """
    told = list(dict.fromkeys(points[path]))
    quantity, numbers = _numbers(told)
    if numbers is None:
        return Axis(path, tuple(told), tuple(map(str, told)), "", "list", np.arange(len(told), dtype=np.float64))
    order = sorted(range(len(told)), key=numbers.__getitem__)
    inside = np.array([numbers[place] for place in order])
    unit, factor = _unit(quantity, float(np.median(inside)))
    labels = tuple(_three_digits(number / factor) for number in inside)
    return Axis(path, tuple(told[place] for place in order), labels, unit, *_scale(inside))


def _numbers(told: list[object]) -> tuple[Quantity | None, list[float] | None]:
    """Return the values as numbers and their quantity; None for the numbers when they are words."""
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in told):
        return None, [float(value) for value in told]  # type: ignore[arg-type]
    for quantity in BY_SUFFIX.values():
        try:
            return quantity, [float(quantity.parse(value)) for value in told]
        except InputError:
            continue
    return None, None


def _unit(quantity: Quantity | None, typical: float) -> tuple[str, float]:
    """Return the largest unit in which the typical value is at least one, and its factor."""
    if quantity is None:
        return "", 1.0
    fitting = [(unit, float(factor)) for unit, factor in quantity.factors.items() if typical >= float(factor)]
    return fitting[-1] if fitting else next((unit, float(factor)) for unit, factor in quantity.factors.items())


def _three_digits(number: float) -> str:
    return f"{number:.0f}" if 100 <= abs(number) < 1e6 else f"{number:.3g}"


def _scale(numbers: NDArray[np.float64]) -> tuple[str, NDArray[np.float64]]:
    """Return the scale on which cells are most alike in size, and the places there."""
    if numbers.size < 2:
        return "list", np.zeros(numbers.size)
    scales = {"lin": numbers}
    if numbers[0] > 0:
        scales["log"] = np.array([math.log10(number) for number in numbers])
    thinnest = {name: float(np.diff(places).min() / np.diff(places).mean()) for name, places in scales.items()}
    # two values are as even on either scale; a decade or more apart they are meant as a factor
    usual = "log" if numbers[-1] >= 10 * numbers[0] else "lin"
    best = max(thinnest, key=lambda name: (round(thinnest[name], 3), name == usual))
    if thinnest[best] < _THINNEST:
        return "list", np.arange(numbers.size, dtype=np.float64)
    return best, scales[best]
