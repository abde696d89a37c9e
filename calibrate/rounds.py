"""Rounds over all points in shuffled order, with anchors between: drift and neighbours spread evenly."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from statistics import median
from typing import NamedTuple, Protocol

from simkv.rng import stream

from .journal import Burst, Journal
from .ops import OPS
from .plan import Case, Plan
from .stopping import Stop, stands

#: Rounds at least (calibration study, section 3.3), and at most, whatever the budget.
LEAST_ROUNDS, MOST_ROUNDS = 6, 60
_ANCHOR = "anchor:"
_VISITS = 4  # of the anchors in each round


class Bench(Protocol):
    """What can be measured: a device with its probes, or a fake of them."""

    @property
    def anchors(self) -> Sequence[str]:
        """Fixed kernels whose time tells how fast the machine is at the moment."""

    def measure(self, case: Case) -> Burst:
        """Visit a point."""

    def anchor(self, name: str) -> Burst:
        """Visit an anchor."""


class Samples(NamedTuple):
    """What the rounds gave.

    Attributes
    ----------
    by_key : values [s] of each point, one a round, over the round's anchor factor.
    bursts : the same as they were measured.
    factors : by round, how slow the machine was against its own median.
    anchors : anchor -> its value [s] in each round.
    """

    by_key: Mapping[str, list[float]]
    bursts: Mapping[str, Mapping[int, Burst]]
    factors: Mapping[int, float]
    anchors: Mapping[str, list[float]]


Progress = Callable[[float, float, str], None]


def run(
    plan: Plan, bench: Bench, journal: Journal, budget_s: float, seed: int, progress: Progress | None = None
) -> tuple[Stop, float]:
    """Visit all points round after round until they are certain enough, or the budget has been spent.

    Parameters
    ----------
    plan : the points.
    bench : what is measured.
    journal : where bursts are kept; what is there already is not measured again.
    budget_s : [s] of wall time, earlier runs of the same journal included.
    seed : of the order.
    progress : told (spent [s], budget [s], what is done).

    Returns
    -------
    Where the run stands, and what it has spent [s].
    """
    began = time.perf_counter() - journal.elapsed_s
    spent = journal.elapsed_s
    for turn in range(MOST_ROUNDS):
        for key, visit in _visits(plan, bench, seed, turn):
            if journal.has(key, turn):
                continue
            if spent >= budget_s:
                return _stands(plan, journal, f"the budget of {budget_s:g} s was spent"), spent
            burst = visit()
            spent = time.perf_counter() - began
            journal.add(key, turn, burst, spent)
            if progress is not None:
                progress(spent, budget_s, f"round {turn + 1}, {key.partition(':')[0]}")
        stop = _stands(plan, journal, "")
        if turn + 1 >= LEAST_ROUNDS and stop.converged:
            return stop, spent
    return _stands(plan, journal, f"{MOST_ROUNDS} rounds are the most"), spent


def _visits(plan: Plan, bench: Bench, seed: int, turn: int) -> Iterator[tuple[str, Callable[[], Burst]]]:
    """Return what a round visits, in its order: (key, how)."""
    cases = list(plan.cases)
    stream(seed, "calibrate", "order", turn).shuffle(cases)
    every = -(-len(cases) // _VISITS)
    for index, case in enumerate(cases):
        if index % every == 0:
            for name in bench.anchors:
                yield f"{_ANCHOR}{name}:{index // every}", partial(bench.anchor, name)
        yield case.key, partial(bench.measure, case)


def _stands(plan: Plan, journal: Journal, why: str) -> Stop:
    found = normalised(journal.bursts)
    keys = [case.key for case in plan.cases]
    stop = stands({key: found.by_key.get(key, []) for key in keys})
    return stop._replace(unmet=f"{stop.unmet}; {why}") if stop.unmet and why else stop


def normalised(bursts: Mapping[str, Mapping[int, Burst]]) -> Samples:
    """Return what was measured over the speed of the machine in its round.

    Examples
    --------
    >>> slow, fast = Burst(2.0, 2.0, 0.0, 1), Burst(1.0, 1.0, 0.0, 1)
    >>> found = normalised({"anchor:a:0": {0: fast, 1: slow}, "gather:64,8": {0: fast, 1: slow}})
    >>> [round(value, 6) for value in found.by_key["gather:64,8"]]
    [1.5, 1.5]
    """
    anchors = _anchors(bursts)
    reference = {name: median(rounds.values()) for name, rounds in anchors.items()}
    turns = sorted({turn for rounds in bursts.values() for turn in rounds})
    factors = {}
    for turn in turns:
        ratios = [rounds[turn] / reference[name] for name, rounds in anchors.items() if turn in rounds]
        factors[turn] = median(ratios) if ratios else 1.0
    by_key = {}
    for key, visited in bursts.items():
        name = key.partition(":")[0]
        if name in OPS:
            waits = OPS[name].io  # the anchors say nothing of disks and sockets
            values = [(burst.value_s, turn) for turn, burst in sorted(visited.items()) if not burst.error]
            by_key[key] = [value / (1.0 if waits else factors[turn]) for value, turn in values]
    return Samples(by_key, bursts, factors, {name: [*rounds.values()] for name, rounds in anchors.items()})


def _anchors(bursts: Mapping[str, Mapping[int, Burst]]) -> dict[str, dict[int, float]]:
    """Return the median visit [s] of each anchor, by round."""
    visits: dict[str, dict[int, list[float]]] = {}
    for key, rounds in bursts.items():
        if key.startswith(_ANCHOR):
            name = key.split(":")[1]
            for turn, burst in rounds.items():
                visits.setdefault(name, {}).setdefault(turn, []).append(burst.value_s)
    return {name: {turn: median(values) for turn, values in rounds.items()} for name, rounds in visits.items()}
