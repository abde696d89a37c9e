"""A device that is arithmetic: what calibration measures without PyTorch, with known laws and chosen noise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from simkv.calibrate import ops, plan, profile_of, rounds, saving
from simkv.calibrate.journal import Burst, Journal
from simkv.calibrate.plan import Case, Plan

from simkv.compute.calibration import MeasuredProfile
from simkv.model import ModelShape, get
from simkv.rng import stream

SHAPE = get("Qwen2.5-0.5B")

#: [s] of one call, by the places on its axes.
LAWS: dict[str, Callable[..., float]] = {
    "prefill_layer": lambda new, cached: 1e-4 + 2e-5 * new + 3e-9 * new * (new + 2 * cached),
    "decode_layer": lambda batch, context: 2e-4 + 1e-5 * batch + 4e-9 * batch * context,
    "mixed_layer": lambda new, cached, batch, context: (
        0.9 * (LAWS["prefill_layer"](new, cached) + LAWS["decode_layer"](batch, context))
    ),
    "unequal_layer": lambda batch, mean, longest: (
        0.5 * (LAWS["decode_layer"](batch, mean) + LAWS["decode_layer"](batch, longest))
    ),
    "embedding": lambda tokens: 1e-6 + 1e-8 * tokens,
    "lm_head": lambda sequences: 1e-3 + 1e-5 * sequences,
    "quantise_int8_token": lambda tokens: 1e-5 + 1e-8 * tokens,
    "tcp_send": lambda size: 1e-5 + 1e-9 * size,
}


class FakeBench:
    """Times by `LAWS`, slower by what `slow` says of each visit, with noise of a share.

    Parameters
    ----------
    noise : standard deviation, as a share.
    slow : factor of the n-th visit.
    broken : an operation that fails.
    """

    def __init__(
        self, noise: float = 0.0, slow: Callable[[int], float] = lambda visit: 1.0, broken: str | None = None
    ) -> None:
        self.visits = 0
        self.anchors = ["one", "two"]
        self._noise, self._slow, self._broken = noise, slow, broken
        self._random = stream(7, "bench")

    def _burst(self, time_s: float) -> Burst:
        self.visits += 1
        value_s = time_s * self._slow(self.visits) * (1 + self._noise * self._random.gauss(0, 1))
        return Burst(value_s, value_s, 0.25, 10)

    def anchor(self, name: str) -> Burst:
        """Visit an anchor."""
        return self._burst({"one": 1e-3, "two": 2e-3}[name])

    def measure(self, case: Case) -> Burst:
        """Visit a point."""
        if case.op == self._broken:
            return Burst(0.0, 0.0, 0.0, 0, "no such kernel")
        return self._burst(LAWS[case.op](*case.point))


def small_plan(names: str = "", budget_s: float = 60.0) -> Plan:
    """Return the quick plan of what the fake device can do."""
    wanted = [name for name in (names.split(",") if names else ops.OPS) if name in LAWS]
    return plan.make(wanted, "cpu", budget_s, 1, {"dtype": "bfloat16"})


def run_of(todo: Plan, stop: rounds.Stop, seconds: float = 1.0, shape: ModelShape = SHAPE) -> profile_of.Run:
    """Return all that is known of a run beside its bursts."""
    device = {"name": "a fake", "cores": "2", "threads": "1"}
    software = {"simkv": "0", "torch": "none"}
    return profile_of.Run(todo, shape, "thread_cpu", device, software, "f" * 64, 1, stop, seconds, 0, (0.5, 1.5))


def calibrated(
    folder: Path, names: str = "", bench: FakeBench | None = None, budget_s: float = 60.0
) -> MeasuredProfile:
    """Measure the fake device and write a.json."""
    todo = small_plan(names, budget_s)
    with Journal(folder / "a.journal.jsonl", {"plan": todo.sha256}) as journal:
        stop, seconds = rounds.run(todo, bench or FakeBench(), journal, budget_s, 1)
        found = profile_of.profile(run_of(todo, stop, seconds), journal.bursts, str(folder / "a.json"))
        whole = saving.save(found, todo, journal.bursts, folder / "a.json")
        journal.remove()
    return whole
