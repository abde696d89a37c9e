"""What does a sweep cost beside its points? 400 points on two workers, against two processes that share nothing.

Each round plays the same 20 x 20 points twice: once as `simkv sweep --workers 2`, once as two
`simkv sweep` of half the grid each, started together and serial inside. The ratio is points per second of the first
over those of the other two together, start-up, plan, journal and tables included on both sides; 1 is an ideal pool.
A point is the 5G slice with one replication of two conversations, all arms: about 0.1 s. Medians of paired rounds, each
side first in turn, for the machine may be busy; CPU seconds beside them, which mind less.

    python bench/sweep.py [--rounds 5]
"""

from __future__ import annotations

import argparse
import ctypes
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHORT = ["--set", "replications=1", "--set", "workload.sessions=2"]
THRESHOLDS = "policies.prefetch.threshold=0.05..0.95:lin:20"
#: The same 20 rates, and the two halves of them.
RATES = [f"{20 + 20 * place} Mbit/s" for place in range(20)]
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


def command(folder: Path, rates: list[str], *how: str) -> list[str]:
    """Return the words of one sweep."""
    words = [sys.executable, "-m", "simkv.cli", "sweep", str(ROOT / "scenarios" / "5g_slice.yaml"), *SHORT]
    return [*words, "-p", f"links.slice.capacity.mean={','.join(rates)}", "-p", THRESHOLDS, "--out", str(folder), *how]


def measured(commands: list[list[str]]) -> tuple[list[float], float]:
    """Run commands together; return [s] that each took, and [s] of CPU time of them and of what they started."""
    before = cpu_s()
    began_s = time.monotonic()
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    running = {
        subprocess.Popen(words, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).pid for words in commands
    }
    took_s = []
    while True:  # until the last descendant has ended, for its time counts when it is waited for
        try:
            pid, status = os.wait()
        except ChildProcessError:
            return took_s, cpu_s() - before
        if pid in running:
            if status:
                raise SystemExit(f"a sweep ended with status {status}")
            took_s.append(time.monotonic() - began_s)


def cpu_s() -> float:
    """Return [s] of CPU time of all descendants that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Print one line a round, and the median."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    if sys.platform == "linux":  # workers whose parent has ended become ours, so that their CPU time is known
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    ratios, cpu_ratios = [], []
    for number in range(1, rounds + 1):
        with tempfile.TemporaryDirectory() as name:
            folder, half = Path(name), len(RATES) // 2
            sides = [
                [command(folder / "pool", RATES, "--workers", "2")],
                [command(folder / "one", RATES[:half]), command(folder / "other", RATES[half:])],
            ]
            turn = 1 if number % 2 else -1  # who goes first, so that a machine that grows busier favours neither
            ((pool_s,), pool_cpu_s), (alone_s, alone_cpu_s) = [measured(side) for side in sides[::turn]][::turn]
        ratios.append((400 / pool_s) / sum(200 / each for each in alone_s))
        cpu_ratios.append(alone_cpu_s / pool_cpu_s)
        print(
            f"round {number}: two workers {400 / pool_s:.2f} points/s, {pool_cpu_s:.1f} CPU s; two processes alone"
            f" {sum(200 / each for each in alone_s):.2f} points/s, {alone_cpu_s:.1f} CPU s;"
            f" ratio {ratios[-1]:.3f}, of CPU s {cpu_ratios[-1]:.3f}",
            flush=True,
        )
    print(f"median of {rounds}: {statistics.median(ratios):.3f}, of CPU s {statistics.median(cpu_ratios):.3f}")


if __name__ == "__main__":
    main()
