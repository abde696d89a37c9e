"""A sweep whose processes are killed at random moments ends with the bytes of one that nobody disturbed."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.dask_cluster import cluster
from tests.sweeps import tables

ROOT = Path(__file__).resolve().parents[2]
#: What is swept: a scenario, its grid, and how many points that is.
SHORT = ([str(ROOT / "scenarios" / "three_turns.yaml"), "-p", "seed=1..16:lin:16"], 16)
LONG = (
    [
        *(str(ROOT / "scenarios" / "5g_slice.yaml"), "--set", "replications=1", "--set", "workload.sessions=2"),
        *("-p", "seed=1..40:lin:40"),
    ],
    40,
)


def begin(words: list[str], folder: Path, *how: str) -> subprocess.Popen[bytes]:
    """Start `simkv sweep` in a session of its own."""
    command = [sys.executable, "-m", "simkv.cli", "sweep", *words, "--out", str(folder), *how]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


def kept(folder: Path) -> int:
    """Return how many points the journal has."""
    journal = folder / "journal.jsonl"
    return max(0, journal.read_bytes().count(b"\n") - 1) if journal.exists() else 0


def reaches(process: subprocess.Popen[bytes], folder: Path, points: int) -> bool:
    """Wait until the journal has so many points; return whether the sweep still runs then."""
    deadline_s = time.monotonic() + 300
    while process.poll() is None and kept(folder) < points:
        assert time.monotonic() < deadline_s, "the sweep stands still"
        time.sleep(0.005)
    return process.poll() is None


def workers_of(parent: int) -> list[psutil.Process]:
    """Return the workers: the fork server's children."""
    try:
        found = psutil.Process(parent).children(recursive=True)
        return [process for process in found if process.ppid() != parent]
    except psutil.NoSuchProcess:
        return []


def kill_at_random(rng: random.Random, process: subprocess.Popen[bytes], victim: str) -> bool:
    """Kill the parent, or one of its workers if it has any now; return whether something was killed."""
    time.sleep(rng.uniform(0, 0.1))
    if victim == "parent":
        process.kill()
        return process.wait() != 0
    workers = workers_of(process.pid)
    if workers:
        rng.choice(workers).kill()
    return bool(workers)


@contextmanager
def ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Leave nothing of a sweep behind."""
    try:
        yield
    finally:
        for left in psutil.process_iter():
            try:
                if os.getsid(left.pid) == process.pid:
                    left.kill()
            except (OSError, psutil.Error):
                continue
        process.wait()


def group_ends(group: int, within_s: float) -> bool:
    """Return whether what a killed parent leaves behind ends by itself."""
    deadline_s = time.monotonic() + within_s
    while time.monotonic() < deadline_s:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def undisturbed(words: list[str], folder: Path) -> list[bytes]:
    """Return the tables of the sweep in one process."""
    assert begin(words, folder).wait(timeout=600) == 0
    return tables(folder)


@pytest.mark.parametrize(
    ("sweep", "kills"), [(SHORT, 2), pytest.param(LONG, 10, marks=pytest.mark.evidence)], ids=["short", "long"]
)
def test_kills_at_random_moments_change_no_byte(sweep: tuple[list[str], int], kills: int, tmp_path: Path) -> None:
    """A worker and the parent in turn; the same command goes on each time, and a whole sweep begins anew."""
    words, points = sweep
    whole = undisturbed(words, tmp_path / "whole")
    rng = random.Random(20)
    victims = [("worker", "parent")[number % 2] for number in range(kills)]
    finished, resumed = 0, True
    while victims or resumed:
        folder = tmp_path / f"sweep-{finished}"
        process = begin(words, folder, "--workers", "2")
        with ended(process):
            while victims and reaches(process, folder, rng.randint(min(kept(folder) + 1, points), points)):
                if kill_at_random(rng, process, victims[0]) and victims.pop(0) == "parent":
                    assert group_ends(process.pid, 20)
            resumed = process.wait(timeout=600) != 0
        if not resumed:
            assert tables(folder) == whole
            finished += 1


@pytest.mark.evidence
def test_a_worker_of_a_cluster_that_is_killed_midway_changes_no_byte(tmp_path: Path) -> None:
    """Two workers that are processes of their own; one dies in the middle of a point and stays dead."""
    words, points = LONG
    whole = undisturbed(words, tmp_path / "whole")
    with cluster(workers=2) as running:
        process = begin(words, tmp_path / "out", "--executor", running.address.replace("tcp", "dask"))
        with ended(process):
            assert reaches(process, tmp_path / "out", points // 3)
            running.workers[0].kill()
            assert kept(tmp_path / "out") < points
            assert process.wait(timeout=600) == 0
        assert running.workers[1].poll() is None
    assert tables(tmp_path / "out") == whole
