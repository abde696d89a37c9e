"""A search instead of a grid: points are proposed between the values of a sweep, and those that nothing beats are kept.

Proposals come in batches of a fixed size and are answered in their order, so that neither the number of workers nor an
interruption changes what is tried: a search that goes on asks for everything again, and finds what is known in its
journal. All points share their random numbers, as those of a sweep do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from simkv.errors import InputError
from simkv.registry import unknown
from simkv.report.front import front, loses
from simkv.report.rows import LOST, MORE_IS_BETTER, metric_names, write
from simkv.scenario import Scenario
from simkv.scenario.grid import Axis
from simkv.sweep import tables
from simkv.sweep.executors import Executor
from simkv.sweep.journal import Journal
from simkv.sweep.points import Ground, Point, Sweep, hashed, identity
from simkv.sweep.proposals import BATCHES, Proposer, import_optuna, space_of
from simkv.sweep.running import run_points, save_scenario


@dataclass(frozen=True)
class Search:
    """What is searched, for what, how.

    Attributes
    ----------
    ground : the scenario that points are made from.
    axes : the space.
    arm : whose numbers count; points have this arm alone.
    minimise : metrics of the table of a sweep.
    sampler : a name of `BATCHES`.
    base : the first point of the space.
    """

    ground: Ground = field(repr=False)
    axes: tuple[Axis, ...]
    arm: str
    minimise: tuple[str, ...]
    sampler: str
    base: Scenario = field(repr=False)

    @property
    def name(self) -> str:
        """Name of the scenario."""
        return self.base.name

    @property
    def paths(self) -> tuple[str, ...]:
        """What varies, in the order of the columns."""
        return tuple(path for axis in self.axes for path in axis.paths)

    @property
    def facts(self) -> dict[str, Any]:
        """What the journal says of a search beside what it says of every sweep."""
        return {
            "minimise": list(self.minimise),
            "arm": self.arm,
            "sampler": self.sampler,
            "optuna": import_optuna().__version__,
            "space": ["+".join(axis.paths) + ": " + ", ".join(space_of(axis)) for axis in self.axes],
        }

    @property
    def id(self) -> str:
        """Hash of all that decides what is tried and what comes of it; not of how much is tried."""
        return hashed([identity(self.base), self.facts])

    def point(self, values: dict[str, object]) -> Point:
        """Return the point of some values; values that do not go together have no scenario but an error."""
        try:
            scenario = self.ground.scenario(values).for_arm(self.arm)
        except InputError as error:
            return Point(hashed([self.id, sorted(map(str, values.items()))]), values, error)
        return Point(identity(scenario), values, scenario)


class Found(NamedTuple):
    """What came of a search; `front` has what no other point beats, by the first metric."""

    points: pd.DataFrame
    failures: pd.DataFrame
    front: pd.DataFrame


def plan_search(
    scenario: Scenario | str | Path,
    axes: Sequence[Axis] = (),
    overrides: Mapping[str, object] | None = None,
    *,
    minimise: Sequence[str],
    arm: str | None = None,
    sampler: str | None = None,
) -> Search:
    """Return a search over a scenario, once all that it names is there.

    Parameters
    ----------
    scenario, axes, overrides : as `plan` takes them; a list of values is a choice, a range all between its ends.
    minimise : metrics of the table of a sweep, such as "ttft_s.p99" and "link_bytes".
    arm : whose; None where the scenario has one only.
    sampler : "tpe", "nsga2" or "random"; None = the first for one metric, the second for several.

    Raises
    ------
    InputError : optuna is not installed; a path, value, metric, arm or sampler that is not there; a metric of which
        more is better; a path that changes nothing about the arm.

    Examples
    --------
    >>> plan_search("scenarios/ten_turns.yaml", minimise=["ttft_s.p99"], arm="threshold").sampler  # doctest: +SKIP
    'tpe'
    """
    import_optuna()
    for metric in minimise:
        if _known("metric", metric, metric_names()) in MORE_IS_BETTER:
            raise InputError("more of it is better; want a metric of which less is, such as ttft_s.p99", metric)
    if not minimise or len(set(minimise)) < len(minimise):
        raise InputError("want at least one metric to minimise, each once")
    chosen = _known("sampler", sampler or ("tpe" if len(minimise) == 1 else "nsga2"), list(BATCHES))
    ground = Ground.of(scenario, axes, overrides)
    shared = next((path for line in ground.lines for path in line.paths if path in ("seed", "replications")), None)
    if shared is not None:
        raise InputError("is nothing to choose: trials share their random numbers; want it fixed", shared)
    first = ground.scenario(_first(ground.lines))
    names = [one.name for one in first.arms]
    if arm is None and len(names) > 1:
        raise InputError(f"the scenario has several arms; want --arm, one of: {', '.join(names)}")
    base = first.for_arm(arm or names[0])
    found = Search(ground, ground.lines, base.arms[0].name, tuple(minimise), chosen, base)
    _check_effects(found)
    return found


def search(
    planned: Search,
    folder: Path,
    trials: int,
    executor: Executor | None = None,
    *,
    retry_failed: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Found:
    """Try so many proposals; write and return the tables.

    Parameters
    ----------
    folder : made when absent; one that holds the same search is gone on with, also with more trials.
    trials : proposals; one that was made before counts and is not run again.
    executor, retry_failed, progress : as `run` takes them.

    Raises
    ------
    InputError : the folder holds something else.
    """
    tried: dict[str, Point] = {}
    with Journal(folder, planned) as journal:
        tell = _counting(progress, min(len(journal.outcomes), trials), trials)
        proposer = Proposer(planned.axes, planned.sampler, len(planned.minimise), planned.base.seed)
        for begun in range(0, trials, BATCHES[planned.sampler]):
            count = min(BATCHES[planned.sampler], trials - begun)
            points = [planned.point(values) for values in proposer.ask(count)]
            new = {point.id: point for point in points if point.id not in tried}
            tried |= new
            if not begun:
                save_scenario(new.values(), folder)
            for done in run_points(journal, list(new.values()), executor, retry_failed=retry_failed):
                tell(begun + count - len(new) + done)
            proposer.answer([_answer(planned, journal.outcomes[point.id]) for point in points])
            tell(begun + count)
        grid = Sweep(planned.name, planned.paths, tuple(tried.values()))
        points_found = tables.points_frame(grid, journal.outcomes)
        found = Found(points_found, tables.failures_frame(grid, journal.outcomes), best(points_found, planned.minimise))
        for name, frame in found._asdict().items():
            write(frame, folder / f"{name}.parquet")
    return found


def best(points: pd.DataFrame, minimise: Sequence[str]) -> pd.DataFrame:
    """Return the front of the points of one arm, also of one that no real system could be."""
    return front(points[points["metric"] != "is_reference"], minimise)


def _known(what: str, name: str, known: list[str]) -> str:
    if name not in known:
        raise unknown(what, name, known)
    return name


def _first(axes: Sequence[Axis]) -> dict[str, object]:
    return {path: value for axis in axes for path, value in zip(axis.paths, axis.values[0], strict=True)}


def _check_effects(planned: Search) -> None:
    """Refuse a value that the scenario does not take, and a line that changes nothing about the arm."""
    first = _first(planned.axes)
    for axis in planned.axes:
        each = [first | dict(zip(axis.paths, value, strict=True)) for value in axis.values]
        made = {identity(planned.ground.scenario(values).for_arm(planned.arm)) for values in each}
        if len(made) == 1 < len(each):
            raise InputError(f"changes nothing about the arm {planned.arm!r}", "+".join(axis.paths))


def _answer(planned: Search, outcome: Mapping[str, Any]) -> list[float] | None:
    """Return what a point's record says of the metrics; None where it says nothing that others compare with.

    That is where the point failed, a metric is undefined, or requests were lost, as `front` has it.
    """
    values = {metric: value for arm, metric, value, *_ in outcome.get("rows", ()) if arm == planned.arm}
    found = [values[metric] for metric in planned.minimise if values.get(metric) is not None]
    lost = loses(values) and not set(LOST) & set(planned.minimise)
    return found if len(found) == len(planned.minimise) and not lost else None


def _counting(progress: Callable[[int, int], None] | None, known: int, trials: int) -> Callable[[int], None]:
    """Return what tells how many trials are done: first those that the journal may know, then those beyond."""
    if progress is None:
        return lambda _: None
    progress(known, trials)
    told = known

    def tell(done: int) -> None:
        nonlocal told
        if done > told:
            told = done
            progress(done, trials)

    return tell
