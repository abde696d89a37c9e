"""Run what a journal does not know yet, and return the table: the same bytes whatever was interrupted."""

from __future__ import annotations

import tempfile
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from simkv.errors import InputError, SimkvError
from simkv.report.rows import rows_of, write
from simkv.results import SCHEMA_VERSION
from simkv.scenario import Scenario, resolved
from simkv.scenario.grid import from_mapping
from simkv.sweep import tables
from simkv.sweep.executors import Executor, InProcess
from simkv.sweep.journal import Journal
from simkv.sweep.points import Point, Sweep, plan

#: The scenario, beside the journal.
RESOLVED = "resolved.yaml"


class Ended(NamedTuple):
    """What came of a sweep."""

    points: pd.DataFrame
    failures: pd.DataFrame


def sweep(
    scenario: Scenario | str | Path, grid: Mapping[str, object] | None = None, executor: Executor | None = None
) -> pd.DataFrame:
    """Run a scenario at every point of a grid, on the same random numbers.

    Parameters
    ----------
    scenario : as `simkv.load` returns it, or its file.
    grid : dotted path -> values, as a list or as text in the grammar of `simkv sweep -p`; a path that the scenario's
        own `sweep` varies takes that line's place. None = the scenario's own.
    executor : where points run; None = in this process, one after another.

    Returns
    -------
    One row a point, arm and metric: point_id, one column a path, arm, metric, value, ci_low, ci_high.

    Raises
    ------
    SimkvError : a point failed. `simkv sweep` keeps the others and says which did.

    Examples
    --------
    >>> sweep("scenarios/three_turns.yaml", {"links.down.capacity": "1..4 Mbit/s:log:3"})  # doctest: +SKIP
    """
    planned = plan(scenario, from_mapping(grid or {}))
    with tempfile.TemporaryDirectory() as folder:
        ended = run(planned, Path(folder), executor)
    if len(ended.failures):
        first = ended.failures.iloc[0]
        told = ", ".join(f"{path}={first[path]}" for path in planned.paths)
        raise SimkvError(
            f"{len(ended.failures)} of {len(planned.points)} points failed; first {told}: {first['error']}"
        )
    return ended.points


def run(
    planned: Sweep,
    folder: Path,
    executor: Executor | None = None,
    *,
    retry_failed: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Ended:
    """Run the points that the folder's journal does not know; write and return the tables.

    Parameters
    ----------
    folder : made when absent; one that holds the same sweep is resumed.
    retry_failed : run again what failed before.
    progress : called with (points done, points in all) at the start and after each.

    Raises
    ------
    InputError : the folder holds another sweep or something else.
    """
    with Journal(folder, planned) as journal:
        kept = len(planned.points) - len(_left(journal, planned.points, retry_failed))
        if progress is not None:
            progress(kept, len(planned.points))
        save_scenario(planned.points, folder)
        for done in run_points(journal, planned.points, executor, retry_failed=retry_failed):
            if progress is not None:
                progress(kept + done, len(planned.points))
        ended = Ended(tables.points_frame(planned, journal.outcomes), tables.failures_frame(planned, journal.outcomes))
        write(ended.points, folder / "points.parquet")
        write(ended.failures, folder / "failures.parquet")
    return ended


def save_scenario(points: Iterable[Point], folder: Path) -> None:
    """Write `resolved.yaml`, the scenario of the first point that has one: `-p` on it gives every other point too."""
    first = next((point.scenario for point in points if not isinstance(point.scenario, InputError)), None)
    if first is None:
        return
    made = folder / f".{RESOLVED}.new"
    made.write_text(f"# schema_version: {SCHEMA_VERSION}\n{resolved(first)}", encoding="utf-8", newline="\n")
    made.replace(folder / RESOLVED)


def run_points(
    journal: Journal, points: Sequence[Point], executor: Executor | None = None, *, retry_failed: bool = False
) -> Iterator[int]:
    """Run the points that a journal does not know and write down what came of each; yield how many are done."""
    left = _left(journal, points, retry_failed)
    able = [point for point in left if not isinstance(point.scenario, InputError)]
    for point in left:
        if isinstance(point.scenario, InputError):
            journal.write({"point": point.id, "status": "failed", "error": str(point.scenario)})
    outcomes = (executor or InProcess()).run(run_point, [point.scenario for point in able])
    for done, (place, outcome) in enumerate(outcomes, start=1 + len(left) - len(able)):
        journal.write({"point": able[place].id, **outcome})
        yield done


def _left(journal: Journal, points: Sequence[Point], retry_failed: bool) -> list[Point]:
    settled = {"finished"} if retry_failed else {"finished", "failed"}
    return [point for point in points if journal.outcomes.get(point.id, {}).get("status") not in settled]


def run_point(scenario: Any) -> dict[str, Any]:
    """Return the record of one point: its rows, or why there are none. Every error is one: a sweep goes on."""
    from simkv.compare import compare  # noqa: PLC0415 - the simulation comes in where it runs

    try:
        return {"status": "finished", "rows": rows_of(compare(scenario, seed=scenario.seed))}
    except SimkvError as error:
        return {"status": "failed", "error": str(error)}
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(last.filename).name}:{last.lineno}"
        return {"status": "failed", "error": f"bug in simkv, at {place}: {type(error).__name__}: {error}"}
