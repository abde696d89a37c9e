"""What does a sweep cost beside its points? Two workers of one sweep, against two processes that share nothing.

Each round starts both sides at once on the same 20 x 20 points: `simkv sweep --workers 2`, and two `simkv sweep` of
half the grid each, serial inside. When the first side is through, it counts the points that each has on the disk: their
ratio is the throughput of two workers over that of two processes alone, start-up, plan, journal and tables included on
both sides; 1 is an ideal pool. Both sides meet the same machine at the same moment, so that it may be busy. A point is
the 5G slice with one replication of two conversations, all arms: about 0.1 s. CPU time is that of all processes of a
side, over its points.

    python bench/sweep.py [--rounds 5]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
SHORT = ["--set", "replications=1", "--set", "workload.sessions=2"]
THRESHOLDS = "policies.prefetch.threshold=0.05..0.95:lin:20"
RATES = [f"{20 + 20 * place} Mbit/s" for place in range(20)]
#: [s] between two looks at the CPU time of processes, which is gone when they are.
LOOK_S = 0.25


class Side:
    """Some sweeps that run together, each in a folder of its own."""

    def __init__(self, folder: Path, parts: list[list[str]], *how: str) -> None:
        self.folders = [folder / str(place) for place in range(len(parts))]
        self.cpu_s: dict[int, float] = {}
        self.running = [self._begin(out, rates, how) for out, rates in zip(self.folders, parts, strict=True)]

    def _begin(self, folder: Path, rates: list[str], how: tuple[str, ...]) -> psutil.Popen:
        words = [sys.executable, "-m", "simkv.cli", "sweep", str(ROOT / "scenarios" / "5g_slice.yaml"), *SHORT, *how]
        words += ["-p", f"links.slice.capacity.mean={','.join(rates)}", "-p", THRESHOLDS, "--out", str(folder)]
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        return psutil.Popen(words, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def look(self) -> bool:
        """Note the CPU time of every process; return whether the side still runs."""
        for process in self.running:
            if process.poll() not in (None, 0):
                raise SystemExit(f"a sweep ended with status {process.returncode}")
            try:
                for each in [process, *process.children(recursive=True)]:
                    used = each.cpu_times()
                    self.cpu_s[each.pid] = used.user + used.system
            except psutil.Error:  # it ended while we looked
                continue
        return any(process.poll() is None for process in self.running)

    def points(self) -> int:
        """Return how many points are on the disk."""
        journals = [folder / "journal.jsonl" for folder in self.folders]
        return sum(max(0, journal.read_bytes().count(b"\n") - 1) for journal in journals if journal.exists())

    def end(self) -> None:
        """Stop what still runs."""
        for process in self.running:
            if process.poll() is None:
                process.terminate()
            process.wait()


def measured(folder: Path) -> tuple[Side, int, Side, int, float]:
    """Run both sides until one is through; return them, their points, and how long that took."""
    half = len(RATES) // 2
    began_s = time.monotonic()
    pool = Side(folder / "pool", [RATES], "--workers", "2")
    alone = Side(folder / "alone", [RATES[:half], RATES[half:]])
    try:
        while pool.look() & alone.look():
            time.sleep(LOOK_S)
        return pool, pool.points(), alone, alone.points(), time.monotonic() - began_s
    finally:
        pool.end()
        alone.end()


def main() -> None:
    """Print one line a round, and the median."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    ratios, cpu_ratios = [], []
    for number in range(1, rounds + 1):
        with tempfile.TemporaryDirectory() as name:
            pool, pool_points, alone, alone_points, took_s = measured(Path(name))
        each = [1000 * sum(side.cpu_s.values()) / n for side, n in ((pool, pool_points), (alone, alone_points))]
        ratios.append(pool_points / alone_points)
        cpu_ratios.append(each[1] / each[0])
        print(
            f"round {number}: in {took_s:.0f} s two workers {pool_points} points, {each[0]:.0f} CPU ms each;"
            f" two processes alone {alone_points} points, {each[1]:.0f} CPU ms each;"
            f" ratio {ratios[-1]:.3f}, of CPU {cpu_ratios[-1]:.3f}",
            flush=True,
        )
    print(f"median of {rounds}: {statistics.median(ratios):.3f}, of CPU {statistics.median(cpu_ratios):.3f}")


if __name__ == "__main__":
    main()
