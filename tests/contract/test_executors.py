"""What every executor of sweeps keeps: each item once, at its place, and failures that stay where they are."""

from __future__ import annotations

import pytest

from simkv.sweep import Dask, Executor, InProcess, Processes
from simkv.sweep.executors import Outcome

EXECUTORS = {
    "in-process": lambda _: InProcess(),
    "one process": lambda _: Processes(1),
    "two, limited": lambda _: Processes(2, time_limit_s=60.0),
    "dask": lambda request: Dask(request.getfixturevalue("scheduler")),
    "dask, limited": lambda request: Dask(request.getfixturevalue("scheduler"), time_limit_s=60.0),
}


@pytest.fixture(params=EXECUTORS)
def executor(request: pytest.FixtureRequest) -> Executor:
    """Return each of them; the cluster is started when it is asked for."""
    return EXECUTORS[request.param](request)


def doubled(number: int) -> Outcome:
    """Return twice the number."""
    return {"status": "finished", "rows": [number * 2]}


def failed(number: int) -> Outcome:
    """Say that every point failed."""
    return {"status": "failed", "error": f"point {number}"}


def test_each_item_comes_back_once_at_its_place(executor: Executor) -> None:
    """In any order."""
    found = list(executor.run(doubled, range(7)))
    assert sorted(place for place, _ in found) == list(range(7))
    assert all(outcome == doubled(place) for place, outcome in found)


def test_a_failure_is_an_outcome(executor: Executor) -> None:
    """It does not end the others."""
    assert dict(executor.run(failed, [4, 5])) == {0: failed(4), 1: failed(5)}


def test_nothing_to_run_is_nothing_done(executor: Executor) -> None:
    """No process starts."""
    assert list(executor.run(doubled, [])) == []
