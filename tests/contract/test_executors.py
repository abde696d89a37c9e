"""What every executor of sweeps keeps: each item once, at its place, and failures that stay where they are."""

from __future__ import annotations

import pytest

from simkv.sweep import Executor, InProcess, Processes
from simkv.sweep.executors import Outcome

EXECUTORS = [InProcess(), Processes(1), Processes(2, time_limit_s=60.0)]


def doubled(number: int) -> Outcome:
    """Return twice the number."""
    return {"status": "finished", "rows": [number * 2]}


def failed(number: int) -> Outcome:
    """Say that every point failed."""
    return {"status": "failed", "error": f"point {number}"}


@pytest.mark.parametrize("executor", EXECUTORS, ids=str)
def test_each_item_comes_back_once_at_its_place(executor: Executor) -> None:
    """In any order."""
    found = list(executor.run(doubled, range(7)))
    assert sorted(place for place, _ in found) == list(range(7))
    assert all(outcome == doubled(place) for place, outcome in found)


@pytest.mark.parametrize("executor", EXECUTORS, ids=str)
def test_a_failure_is_an_outcome(executor: Executor) -> None:
    """It does not end the others."""
    assert dict(executor.run(failed, [4, 5])) == {0: failed(4), 1: failed(5)}


@pytest.mark.parametrize("executor", EXECUTORS, ids=str)
def test_nothing_to_run_is_nothing_done(executor: Executor) -> None:
    """No process starts."""
    assert list(executor.run(doubled, [])) == []
