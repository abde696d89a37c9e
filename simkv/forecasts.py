"""How true were the probabilities that prefetching went by? One replication of a saved run, played again and heard.

Nothing is asked of a predictor that a policy does not ask anyway: what it said last before a query is what counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from simkv import again
from simkv.build import World
from simkv.mind import Mind
from simkv.predictability.estimates import ratio
from simkv.predictors.question import History, Item, Outcome, Predictor
from simkv.report.reading import SavedRun
from simkv.scoring import Scorer
from simkv.statistics import Estimate

BINS = 10

#: Chains of blocks among which a forecast chooses; more are not remembered (`history.MOST_CHAINS`).
_MOVES = range(16)


@dataclass(frozen=True, slots=True)
class Reliable:
    """Forecasts of about the same probability.

    Attributes
    ----------
    count : how many.
    forecast : their mean probability.
    frequency : share of them that came true, with a 95 % interval from resampled sessions.
    """

    count: int
    forecast: float
    frequency: Estimate


@dataclass(frozen=True, slots=True)
class Reliability:
    """How true the probabilities of an arm were.

    Attributes
    ----------
    queries : that something had been said of.
    ece : expected calibration error; None where nothing was said.
    bins : about `BINS`, of equal mass, in order of probability.
    """

    arm: str
    predictor: str
    queries: int
    ece: float | None
    bins: tuple[Reliable, ...]


def reliability(saved: SavedRun, replication: int = 0) -> list[Reliability]:
    """Return what the probabilities of each arm that went by some were worth.

    Raises
    ------
    InputError : no such replication, or the results cannot be played again.
    """
    saved.check_replication(replication)
    found = []
    for told in saved.summary["arms"]:
        name, prefetch = str(told["name"]), str(told["prefetch"])
        if prefetch == "none":
            continue
        ear = Ear()
        again.play(saved, name, replication, again.stored(saved, name, replication), ear.attach)
        if ear.scorers:
            found.append(_reliability(name, str(told["predictor"]), list(ear.scorers.values()), saved.manifest["seed"]))
    return found


class Ear:
    """Hears what predictors say and what came of it; show it the run's world before anything happens.

    Attributes
    ----------
    scorers : by session, of those of which something was said.
    """

    def __init__(self) -> None:
        self.scorers: dict[int, Scorer] = {}

    def attach(self, world: World) -> None:
        """Listen to every mind of a run that has not begun."""
        for mind in _minds(world):
            mind._predictor = _Heard(mind._predictor, self.scorers)


class _Heard:
    """A predictor, and what it said last of each session."""

    def __init__(self, predictor: Predictor, scorers: dict[int, Scorer]) -> None:
        self._predictor = predictor
        self._scorers = scorers
        self._said: dict[int, tuple[Mapping[Item, float], dict[int, Item | None]]] = {}

    def predict(self, view: History) -> Mapping[Item, float]:
        """Ask, and note the answer."""
        said = self._predictor.predict(view)
        moves = {} if view.chunks else {move: view.item_after(move) for move in _MOVES}
        self._said[view.session] = dict(said), moves
        return said

    def observe(self, outcome: Outcome) -> None:
        """Compare with what was said, then learn."""
        said, moves = self._said.pop(outcome.session, (None, {}))
        if said is not None:
            asked = moves.get(outcome.move) if moves else outcome.item
            known: Any = said  # None: a chain that nobody had named
            self._scorers.setdefault(outcome.session, Scorer()).add(known, asked)
        self._predictor.observe(outcome)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._predictor, name)


def _minds(world: World) -> Iterator[Mind]:
    for server in world.servers:
        puller = server._upstream._puller if server._upstream is not None else None
        if puller is not None:
            yield puller._mind
    for source in world.sources.values():
        if source.ahead is not None and source.ahead.pusher.mind is not None:
            yield source.ahead.pusher.mind


def _reliability(arm: str, predictor: str, scorers: Sequence[Scorer], seed: int) -> Reliability:
    whole = Scorer()
    for scorer in scorers:
        whole.absorb(scorer)
    curve = whole.reliability_curve(BINS)
    bin_of = dict(_binned(whole.counts(), [found.count for found in curve]))
    parts = [[(0.0, 0.0)] * len(curve) for _ in scorers]
    for part, scorer in zip(parts, scorers, strict=True):
        for probability, count, happened in scorer.counts():
            above, below = part[bin_of[probability]]
            part[bin_of[probability]] = above + happened, below + count
    bins = tuple(
        Reliable(found.count, found.forecast, ratio([part[place] for part in parts], seed))
        for place, found in enumerate(curve)
    )
    return Reliability(arm, predictor, whole.queries, whole.calibration_error(BINS), bins)


def _binned(counts: Iterable[tuple[float, int, int]], sizes: Sequence[int]) -> Iterator[tuple[float, int]]:
    """Yield each probability and the place of its bin; a bin holds neighbours, and all of each."""
    place = filled = 0
    for probability, count, _ in counts:
        yield probability, place
        filled += count
        if filled == sizes[place]:
            place, filled = place + 1, 0
