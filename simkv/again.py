"""Playing a saved run again: equal scenario and seed give equal bytes, so what was not recorded can be found later."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from simkv import __version__, simulation
from simkv.build import World
from simkv.compare import describe
from simkv.errors import InputError
from simkv.report.reading import SavedRun, read_columns
from simkv.results import REQUEST_COLUMNS, RunResult

#: Columns that tell requests of one arm and replication apart, or what became of them.
COLUMNS = tuple(name for name in REQUEST_COLUMNS if name not in ("arm", "replication"))


def telling(saved: SavedRun) -> list[str]:
    """Return the two arms that tell most of a run: the baseline and the fastest other that a real system could be."""
    baseline = "none" if "none" in saved.arms else saved.arms[0]
    ttft_s = {arm["name"]: arm["metrics"]["ttft_s"]["mean"] for arm in saved.summary["arms"]}
    others = [
        (mean_s, name)
        for name, mean_s in ttft_s.items()
        if name != baseline
        and mean_s is not None
        and not describe(name, saved.scenario.for_arm(name).policies).reference
    ]
    return [baseline, *(name for _, name in sorted(others)[:1])]


def stored(saved: SavedRun, arm: str, replication: int) -> list[dict[str, Any]]:
    """Return the saved requests of one arm and replication, in order of arrival; what did not happen is None.

    Raises
    ------
    InputError : the table cannot be read, or an older simkv wrote it.
    """
    table = read_columns(saved.path / "requests.parquet", REQUEST_COLUMNS, replication)
    return [row for row in table.to_pylist() if row["arm"] == arm]


def rows(result: RunResult) -> list[dict[str, Any]]:
    """Return the requests of a run as dicts, as `stored` does."""
    columns = [result.requests[name] for name in COLUMNS]
    return [
        {
            name: None if isinstance(value, float) and math.isnan(value) else value
            for name, value in zip(COLUMNS, values, strict=True)
        }
        for values in zip(*columns, strict=True)
    ]


def play(
    saved: SavedRun, arm: str, replication: int, expected: list[dict[str, Any]], watch: Callable[[World], None]
) -> RunResult:
    """Play one arm and replication of a saved run again, watched.

    Parameters
    ----------
    expected : what `stored` returns.
    watch : is shown the live objects before anything happens.

    Raises
    ------
    InputError : it does not give the requests that were saved.
    """
    result = simulation.run(saved.scenario, arm, replication, int(saved.manifest["seed"]), watch=watch)
    if rows(result) != [{name: row[name] for name in COLUMNS} for row in expected]:
        written = saved.manifest["simkv"]
        other = (
            f"simkv {written} wrote it and this is {__version__}"
            if written != __version__
            else "another simkv wrote it"
        )
        raise InputError(
            f"arm {arm!r} played again does not give the requests that requests.parquet holds: {other}, or the trace,"
            " a profile or a series has changed since; run the scenario again",
            str(saved.path),
        )
    return result
