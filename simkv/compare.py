"""Run the same traffic under several policies, in as many processes as wanted.

Every run is a pure function of (scenario, arm, replication, seed), so where and when it runs changes
nothing: results come back in a fixed order and are byte-identical for any number of workers.
"""

# ruff: noqa: PLC0415 - policies and the simulation come in when a comparison starts, not when it is imported

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from simkv.errors import InputError, SimkvError
from simkv.registry import unknown
from simkv.regret import with_references
from simkv.report.comparison import ArmInfo, Comparison
from simkv.results import RunResult

__all__ = ["ArmInfo", "Comparison", "compare"]

#: What one run is made from.
Task = tuple[Any, str, int, int]

KNOWS_NEXT_TURN = "reference point: knows the next turn"
KNOWS_NEXT_TIME = "reference point: knows when the next turn comes"
KNOWS_RATE = "reference point: knows the true rate of the link"
KNOWS_RECORDED_ORDER = "reference point: evicts by the recorded order of use"
INFEASIBLE = "infeasible reference"


def compare(
    scenario: Any,
    arms: Sequence[str] | None = None,
    *,
    seed: int | None = None,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Run every arm of a scenario on the same random numbers, and compare.

    Parameters
    ----------
    scenario : as `simkv.load` returns it.
    arms : names of the arms to run, None = all; the table keeps the scenario's order.
    seed : instead of the scenario's.
    workers : processes; 1 runs everything in this one. A script that asks for more needs the usual
        `if __name__ == "__main__":` guard.
    progress : called with (runs done, runs in all) after each.

    Raises
    ------
    InputError : unknown or repeated arm, no arm, or fewer than one worker.

    Examples
    --------
    >>> comparison = compare(simkv.load("scenarios/three_turns.yaml"))  # doctest: +SKIP
    >>> comparison.table[["arm", "ttft_s_mean"]]  # doctest: +SKIP
    """
    if workers < 1:
        raise InputError(f"want at least 1 worker, got {workers}")
    names = _chosen([arm.name for arm in scenario.arms], arms)
    infos = with_references(scenario, [describe(name, scenario.for_arm(name).policies) for name in names])
    used_seed = scenario.seed if seed is None else seed
    tasks = [(scenario, name, replication, used_seed) for name in names for replication in range(scenario.replications)]
    results: list[RunResult | None] = [None] * len(tasks)
    for done, (place, result) in enumerate(_run_all(_run_one, tasks, workers), start=1):
        results[place] = result
        if progress is not None:
            progress(done, len(tasks))
    return Comparison(scenario, infos, [r for r in results if r is not None], used_seed, scenario.replications)


def describe(name: str, policies: Any) -> ArmInfo:
    """Return what an arm is made of, and whether a real system could be it.

    Parameters
    ----------
    policies : the arm's own, one attribute a question, each with a `name`.
    """
    from simkv.kv.codec import CODEC
    from simkv.policies import ACQUISITION, ESTIMATORS, EVICTION, PREFETCH
    from simkv.predictors import PREDICTORS
    from simkv.predictors.timing import TIMING

    prefetch, eviction = policies.prefetch.name, policies.eviction.name
    predictor, acquisition = policies.predictor.name, policies.acquisition.name
    # without prefetch nobody asks a predictor
    knows_next = PREFETCH.is_oracle(prefetch) or (prefetch != "none" and PREDICTORS.is_oracle(predictor))
    marks = {
        INFEASIBLE: ACQUISITION.is_oracle(acquisition),
        KNOWS_NEXT_TURN: knows_next,
        KNOWS_NEXT_TIME: prefetch != "none" and TIMING.is_oracle(policies.timing.name),
        KNOWS_RATE: prefetch != "none" and ESTIMATORS.is_oracle(policies.estimator.name),
        KNOWS_RECORDED_ORDER: EVICTION.is_oracle(eviction),
    }
    reference = "; ".join(mark for mark, holds in marks.items() if holds)
    is_exact = bool(getattr(CODEC.get(policies.codec.name), "exact", False))
    ahead = "none" if prefetch == "none" else policies.prefetch.params.get("kind", "kv")
    sends_text = acquisition == "text" and ahead != "kv"
    return ArmInfo(
        name, prefetch, eviction, predictor, acquisition, reference, is_exact=is_exact, moves_kv=not sends_text
    )


def _chosen(known: list[str], wanted: Sequence[str] | None) -> list[str]:
    if wanted is None:
        return known
    for name in wanted:
        if name not in known:
            raise unknown("arm", name, known)
    if len(set(wanted)) != len(wanted):
        raise InputError(f"want each arm once, got {', '.join(wanted)}")
    if not wanted:
        raise InputError(f"want at least one arm, got none; known: {', '.join(known)}")
    return [name for name in known if name in wanted]


def _run_one(task: Task) -> RunResult:
    from simkv import simulation

    scenario, arm, replication, seed = task
    return simulation.run(scenario, arm, replication, seed)


def _run_all(
    run_one: Callable[[Task], RunResult], tasks: Sequence[Task], workers: int
) -> Iterator[tuple[int, RunResult]]:
    """Yield (place, result) as runs finish; the first failure ends everything that has not begun."""
    if workers == 1:
        for place, task in enumerate(tasks):
            yield place, run_one(task)
        return
    # spawn: a forked child inherits threads' locks, and its memory differs by what ran before
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(tasks)), mp_context=context, initializer=_end_quietly) as pool:
        places: dict[Future[RunResult], int] = {pool.submit(run_one, task): i for i, task in enumerate(tasks)}
        try:
            for future in as_completed(places):
                yield places[future], future.result()
        except BrokenProcessPool as error:
            raise SimkvError("a worker process died (out of memory?); try fewer workers") from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _end_quietly() -> None:
    """Let Ctrl-C end a worker at once and without a traceback; the parent reports it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
