"""One run: one arm, one replication, one SimPy environment; facts out, conservation checked."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from simkv.build import World, build
from simkv.errors import InvariantError
from simkv.results import UNIT_COLUMNS, GpuTotals, RunResult
from simkv.scenario import Scenario


def run(
    scenario: Scenario,
    arm: str,
    replication: int = 0,
    seed: int | None = None,
    watch: Callable[[World], None] | None = None,
) -> RunResult:
    """Play one replication of one arm to the end, or to the scenario's horizon.

    Parameters
    ----------
    scenario : as `simkv.load` returns it.
    arm : name of the arm.
    replication : which one; keys all draws.
    seed : instead of the scenario's.
    watch : is shown the live objects before anything happens.

    Raises
    ------
    InputError : the scenario and its inputs do not fit together.
    InvariantError : bytes or GPU time are missing or counted twice.
    """
    world = build(scenario.for_arm(arm), replication, scenario.seed if seed is None else seed)
    if watch is not None:
        watch(world)
    horizon_s = scenario.run.horizon_s
    with _rare_collections():
        world.env.run(until=horizon_s)
    at_rest = world.env.peek() == math.inf
    for link in world.links.values():
        link.settle()
    for gpu in world.gpus.values():
        gpu.settle()
    world.ledger.settle()
    result = _result(world, arm, replication, horizon_s)
    _check(world, result)
    if at_rest:
        _check_at_rest(world, result)
    return result


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Let Python look for cyclic garbage seldom: a run makes little of it, and keeps its records to the end."""
    thresholds = gc.get_threshold()
    gc.set_threshold(100_000, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)


def _result(world: World, arm: str, replication: int, horizon_s: float | None) -> RunResult:
    requests = world.recorder.requests()
    ends = [t for t in requests["last_token_s"] if not math.isnan(t)]
    end_s = horizon_s if horizon_s is not None else max(ends, default=0.0)
    ledger = world.ledger
    return RunResult(
        arm=arm,
        replication=replication,
        requests=requests,
        transfers=world.recorder.transfers,
        speculative_units=ledger.units,
        speculative_bytes=ledger.wire_bytes,
        speculative_gpu_s=ledger.gpu_s,
        pollution_bytes=ledger.pollution_bytes,
        links={name: link.totals for name, link in world.links.items()},
        gpus={
            name: GpuTotals(gpu.demand_s, gpu.speculative_s, max(0.0, world.env.now - gpu.demand_s - gpu.speculative_s))
            for name, gpu in world.gpus.items()
        },
        end_s=end_s,
        extrapolated_time_ratio=_extrapolated_ratio(world),
        notes=world.notes(),
    )


def _extrapolated_ratio(world: World) -> float:
    """Return the share of the GPUs' busy time that was priced outside what was measured."""
    busy_s = sum(gpu.demand_s + gpu.speculative_s for gpu in world.gpus.values())
    return sum(gpu.extrapolated_s for gpu in world.gpus.values()) / busy_s if busy_s else 0.0


def _check(world: World, result: RunResult) -> None:
    """Every byte, GPU-second and block ends counted once."""
    for name, totals in result.links.items():
        by_class = sum(totals.wire_bytes_by_class.values())
        if totals.payload_bytes + totals.overhead_bytes != by_class:
            raise InvariantError(f"link {name}: payload + overhead is not what its classes carried ({by_class} bytes)")
    speculative = sum(
        totals.wire_bytes_by_class["speculative"] - totals.speculative_control_bytes for totals in result.links.values()
    )
    world.ledger.check(speculative, sum(gpu.speculative_s for gpu in result.gpus.values()))
    _check_units(result)


def _check_units(result: RunResult) -> None:
    """Every unit that a request needed was there in time, or was missing for one reason."""
    for request, (needed, *found) in enumerate(zip(*(result.requests[name] for name in UNIT_COLUMNS), strict=True)):
        if needed != sum(found):
            raise InvariantError(f"request {request} needed {needed} units, {sum(found)} were in time or have a cause")


def _check_at_rest(world: World, result: RunResult) -> None:
    """Nothing more will happen: all requests have ended, and what they held is free."""
    stuck = result.requests["status"].count("unfinished")
    if stuck:
        raise InvariantError(f"{stuck} requests wait for something that will not happen")
    for server in world.servers:
        server.check_at_rest()
    for source in world.sources.values():
        source.check_at_rest()
