"""How many turns does simkv play in a second of CPU time, and how much memory does it take?

Plays one replication of the two recorded-trace scenarios with prefetching on, at two lengths of the trace, each
in a process of its own, and compares with a limit measured in the same round: bare SimPy, firing as many
callbacks as the run fired events and doing nothing in them. CPU seconds; medians of paired rounds.

    python bench/turns.py [--rounds 3]

Needs the traces that the scenarios name (docs/data.md); without them it says so and stops.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import simpy

from simkv.build import build
from simkv.errors import InputError
from simkv.scenario import load

ROOT = Path(__file__).resolve().parent.parent
#: scenario, arm, what sets the length of the trace, two lengths
CASES = [
    ("agent_sessions", "threshold", "workload.sessions", (60, 240)),
    ("mooncake", "oracle", "workload.limit", (2000, 7851)),
]


def play(name: str, arm: str, path: str, length: int) -> dict[str, float]:
    """Play one case in this process; return turns, CPU seconds, events and peak memory."""
    scenario = load(ROOT / "scenarios" / f"{name}.yaml", {path: length}).for_arm(arm)
    began_s = time.process_time()
    world = build(scenario, 0, scenario.seed)
    world.env.run()
    turns = len(world.recorder.requests()["turn"])
    return {
        "turns": turns,
        "cpu_s": time.process_time() - began_s,
        "events": next(world.env._eid),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,  # kilobytes on Linux
    }


def bare_simpy_s(events: int) -> float:
    """Return CPU seconds that SimPy takes to fire that many callbacks that do nothing."""
    env = simpy.Environment()
    left = [events]

    def again(_: object) -> None:
        if left[0]:
            left[0] -= 1
            env.timeout(1.0).callbacks.append(again)

    env.timeout(1.0).callbacks.append(again)
    began_s = time.process_time()
    env.run()
    return time.process_time() - began_s


def measured(name: str, arm: str, path: str, length: int) -> dict[str, float]:
    """Run `play` and the limit in a fresh process."""
    command = [sys.executable, __file__, "--case", json.dumps([name, arm, path, length])]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Print one line a case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        facts = play(*json.loads(options.case))
        print(json.dumps({**facts, "bare_s": bare_simpy_s(int(facts["events"]))}))
        return
    for name, arm, path, lengths in CASES:
        try:
            load(ROOT / "scenarios" / f"{name}.yaml")
        except InputError as error:
            print(f"{name}: skipped: {error}")
            continue
        for length in lengths:
            rounds = [measured(name, arm, path, length) for _ in range(options.rounds)]
            rate = statistics.median(r["turns"] / r["cpu_s"] for r in rounds)
            ratio = statistics.median(r["cpu_s"] / r["bare_s"] for r in rounds)
            events = rounds[0]["events"] / rounds[0]["turns"]
            print(
                f"{name} ({arm}, {path}={length}): {rounds[0]['turns']:.0f} turns, {rate:.0f} turns per CPU s with the"
                f" reading of the trace, {events:.0f} events a turn, {ratio:.1f} x the time of bare SimPy for as many"
                f" callbacks, peak memory {max(r['peak_mb'] for r in rounds):.0f} MB"
            )


if __name__ == "__main__":
    main()
