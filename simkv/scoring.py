"""How good are forecasts? Proper scores of probabilities and of times, forecast before and compared after.

A `Scorer` is fed prequentially: what was predicted before a query, then what the query asked for. Of an item that a
forecast names, the event is "the query asks for it". Scores are null (None) before the first query.

The scores are proper: nobody gains, on average, by saying anything but what he believes (Gneiting and Raftery,
"Strictly proper scoring rules, prediction, and estimation", JASA 102, 2007).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from simkv.errors import InputError

K = TypeVar("K", bound=Hashable)

#: Least probability in the log score: what was ruled out and happened costs -ln 1e-6 = 13.8 nats, not infinity.
LOG_FLOOR = 1e-6

#: How far a sum of probabilities may exceed 1 by rounding.
_EPSILON = 1e-9


@dataclass(frozen=True, slots=True)
class Bin:
    """Forecasts of about the same probability.

    Attributes
    ----------
    count : how many.
    forecast : their mean probability.
    frequency : share of them that came true.
    """

    count: int
    forecast: float
    frequency: float


@dataclass(frozen=True, slots=True)
class Split:
    """Murphy's parts of the Brier score: reliability - resolution + uncertainty + within_bins.

    Attributes
    ----------
    reliability : squared distance of forecasts from the frequencies that followed; 0 = calibrated.
    resolution : squared distance of those frequencies from the mean one; larger is better.
    uncertainty : the score of the mean frequency, said of everything; a property of what was asked alone.
    within_bins : what is lost by treating the forecasts of a bin as one; 0 where they are equal.
    """

    reliability: float
    resolution: float
    uncertainty: float
    within_bins: float


@dataclass(slots=True)
class _Group:
    """Forecasts of the very same probability."""

    probability: float
    count: int = 0
    happened: int = 0


class Ranks:
    """Where in the order of a forecast what was asked for stood: what top-k counts, and nothing else.

    Attributes
    ----------
    queries : fed so far.

    Examples
    --------
    >>> ranks = Ranks()
    >>> ranks.add({"a": 0.8, "b": 0.2}, "b")
    >>> ranks.top(1), ranks.top(2)
    (0.0, 1.0)
    """

    def __init__(self) -> None:
        self.queries = 0
        self._counts: dict[
            tuple[int, int], int
        ] = {}  # (items more probable than the one asked, as probable) -> queries

    def add(self, forecast: Mapping[K, float], asked: K) -> None:
        """Take in one query."""
        given = forecast.get(asked, 0.0)
        above = equal = 0
        if given:  # else not named, or with probability 0
            for p in forecast.values():
                above += p > given
                equal += p == given
        self.queries += 1
        self._counts[above, equal] = self._counts.get((above, equal), 0) + 1

    def absorb(self, other: Ranks) -> None:
        """Take in all queries of another, which stays as it is."""
        self.queries += other.queries
        for rank, queries in other._counts.items():
            self._counts[rank] = self._counts.get(rank, 0) + queries

    def top(self, k: int) -> float | None:
        """Return the share of queries for one of the `k` most probable items; equals share the last places."""
        if not self.queries:
            return None
        shares = (
            queries * min(1.0, max(0, k - above) / equal) for (above, equal), queries in self._counts.items() if equal
        )
        return math.fsum(shares) / self.queries


class Scorer:
    """Scores of one predictor, prequentially.

    What is kept grows with the number of different probabilities, not with the number of queries.

    Parameters
    ----------
    floor : least probability in the log score.

    Attributes
    ----------
    queries : fed so far.

    Examples
    --------
    >>> scorer = Scorer()
    >>> scorer.add({"a": 0.8, "b": 0.2}, "a")
    >>> scorer.add({"a": 0.8, "b": 0.2}, "b")
    >>> round(scorer.brier(), 3), round(scorer.log_score(), 3), scorer.top(1), scorer.top(3)
    (0.68, 0.916, 0.5, 1.0)
    """

    def __init__(self, floor: float = LOG_FLOOR) -> None:
        if not 0 < floor <= 1:
            raise InputError(f"floor of the log score: want a probability above 0, got {floor}")
        self.floor = floor
        self.queries = 0
        self._groups: dict[float, _Group] = {}
        self._ranks = Ranks()

    def add(self, forecast: Mapping[K, float], asked: K, candidates: int | None = None) -> None:
        """Take in one query.

        Parameters
        ----------
        forecast : {item: P(the query asks for it)}, made before the query; the rest has probability 0.
        asked : the item that it asked for.
        candidates : how many items it could have asked for. What they add to the uncertainty they add to the
            resolution; no other score depends on them. None = those named and the one asked for.

        Raises
        ------
        InputError : not probabilities, or fewer candidates than items.
        """
        total = math.fsum(forecast.values())
        if not all(0 <= p <= 1 for p in forecast.values()) or total > 1 + _EPSILON:
            raise InputError(f"forecast: want probabilities with a sum of at most 1, got {dict(forecast)}")
        items = len(forecast) + (asked not in forecast)
        if candidates is not None and candidates < items:
            raise InputError(f"candidates: want at least the {items} items named and asked for, got {candidates}")
        self.queries += 1
        given = forecast.get(asked, 0.0)
        groups = self._groups
        for probability in forecast.values():
            (groups.get(probability) or self._group(probability)).count += 1
        self._group(0.0).count += (items if candidates is None else candidates) - len(forecast)
        self._group(given).happened += 1
        self._ranks.add(forecast, asked)

    def absorb(self, other: Scorer) -> None:
        """Take in all queries of another scorer, which stays as it is."""
        self.queries += other.queries
        for probability, found in other._groups.items():
            group = self._group(probability)
            group.count += found.count
            group.happened += found.happened
        self._ranks.absorb(other._ranks)

    def brier(self) -> float | None:
        """Return the mean over queries of the sum over items of (probability - asked)^2: 0 best, 2 worst.

        References
        ----------
        Brier, "Verification of forecasts expressed in terms of probability", Monthly Weather Review 78, 1950.
        """
        if not self.queries:
            return None
        return math.fsum(_squares(group) for group in self._groups.values()) / self.queries

    def log_score(self) -> float | None:
        """Return [nats] the mean of -ln P(what was asked), P no less than the floor; 0 is best.

        References
        ----------
        Good, "Rational decisions", J. Royal Statistical Society B 14, 1952.
        """
        if not self.queries:
            return None
        terms = (-group.happened * math.log(max(group.probability, self.floor)) for group in self._groups.values())
        return max(0.0, math.fsum(terms) / self.queries)

    def top(self, k: int) -> float | None:
        """Return the share of queries for one of the `k` most probable items; equals share the last places."""
        return self._ranks.top(k)

    def split(self, bins: int | None = None) -> Split | None:
        """Return the parts of the Brier score; their sum is `brier()` up to rounding.

        Parameters
        ----------
        bins : about how many, of equal mass, and one for probability 0; None = one for each different probability,
            which suits forecasts that take few values (`within_bins` is 0 then).

        References
        ----------
        Murphy, "A new vector partition of the probability score", J. Appl. Meteorology 12(4), 1973; within bins:
        Stephenson, Coelho and Jolliffe, Weather and Forecasting 23(4), 2008.
        """
        if not self.queries:
            return None
        groups = self._sorted()
        pairs = sum(group.count for group in groups)
        mean = self.queries / pairs  # each query asks for one item
        named = _equal_mass([g for g in groups if g.probability > 0], pairs if bins is None else bins)
        binned = [
            (members, _bin(members)) for members in ([g for g in groups if g.probability == 0], *named) if members
        ]
        made = [found for _, found in binned]
        return Split(
            reliability=math.fsum(b.count * (b.forecast - b.frequency) ** 2 for b in made) / self.queries,
            resolution=math.fsum(b.count * (b.frequency - mean) ** 2 for b in made) / self.queries,
            uncertainty=pairs * mean * (1 - mean) / self.queries,
            within_bins=math.fsum(term for members, b in binned for term in _within(members, b)) / self.queries,
        )

    def reliability_curve(self, bins: int = 10) -> list[Bin]:
        """Return how often forecasts came true, by their probability, in order.

        Only what was named with a probability above 0 counts: the rest is no forecast.

        Parameters
        ----------
        bins : about how many, of equal mass; equal probabilities stay together.
        """
        return [_bin(members) for members in _equal_mass([g for g in self._sorted() if g.probability > 0], bins)]

    def counts(self) -> list[tuple[float, int, int]]:
        """Return (probability, times it was said, times it came true) of each above 0, in order."""
        return [(g.probability, g.count, g.happened) for g in self._sorted() if g.probability > 0]

    def calibration_error(self, bins: int = 10) -> float | None:
        """Return the expected calibration error (ECE): the mean of |probability - frequency| over `reliability_curve`.

        References
        ----------
        Nguyen and O'Connor, "Posterior calibration and exploratory analysis for NLP models", EMNLP 2015.
        """
        curve = self.reliability_curve(bins)
        total = sum(b.count for b in curve)
        return math.fsum(b.count * abs(b.forecast - b.frequency) for b in curve) / total if total else None

    def _group(self, probability: float) -> _Group:
        group = self._groups.get(probability)
        if group is None:
            group = self._groups[probability] = _Group(probability)
        return group

    def _sorted(self) -> list[_Group]:
        return sorted((g for g in self._groups.values() if g.count), key=lambda g: g.probability)


def _squares(group: _Group) -> float:
    return (group.count - group.happened) * group.probability**2 + group.happened * (1 - group.probability) ** 2


def _bin(members: Sequence[_Group]) -> Bin:
    count = sum(group.count for group in members)
    forecast = math.fsum(group.count * group.probability for group in members) / count
    return Bin(count, forecast, sum(group.happened for group in members) / count)


def _within(members: Sequence[_Group], found: Bin) -> Iterator[float]:
    """Yield what each group adds to the score beyond its bin's means: variance - 2 covariance."""
    for group in members:
        off = group.probability - found.forecast
        yield group.count * off * (off - 2 * (group.happened / group.count - found.frequency))


def _equal_mass(groups: Sequence[_Group], bins: int) -> Iterator[list[_Group]]:
    """Yield neighbours in at most `bins` bins of about equal mass; a group is never cut."""
    if bins < 1:
        raise InputError(f"bins: want at least 1, got {bins}")
    total = sum(group.count for group in groups)
    members: list[_Group] = []
    mass = filled = 0
    for group in groups:
        members.append(group)
        mass += group.count
        if mass * bins // total > filled:
            filled = mass * bins // total
            yield members
            members = []
