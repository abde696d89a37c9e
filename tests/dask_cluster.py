"""A Dask cluster of processes of its own on loopback, as a person starts one by hand; all of it ends with the block."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass
class Cluster:
    """A scheduler and workers without nannies: what dies stays dead."""

    address: str
    scheduler: subprocess.Popen[bytes]
    workers: list[subprocess.Popen[bytes]]


@contextmanager
def cluster(workers: int) -> Iterator[Cluster]:
    """Start a scheduler and workers; return when the scheduler answers."""
    started: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "address"
        words = ["scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--dashboard-address"]
        started.append(_start([*words, "127.0.0.1:0", "--scheduler-file", str(told)], folder))
        try:
            deadline_s = time.monotonic() + 30
            while not told.exists() or not told.read_bytes():
                assert started[0].poll() is None, "the scheduler ended"
                assert time.monotonic() < deadline_s, "the scheduler is silent"
                time.sleep(0.05)
            address = "tcp://" + told.read_text(encoding="utf-8").partition('"address": "tcp://')[2].partition('"')[0]
            words = ["worker", address, "--host", "127.0.0.1", "--nthreads", "1", "--no-nanny", "--no-dashboard"]
            words += ["--dashboard-address", "127.0.0.1:0", "--local-directory", folder]
            started += [_start(words, folder) for _ in range(workers)]
            yield Cluster(address, started[0], started[1:])
        finally:
            for process in reversed(started):
                process.kill()
                process.wait()


def _start(words: list[str], folder: str) -> subprocess.Popen[bytes]:
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "SIMKV_CACHE": f"{folder}/cache",
        "DASK_LOGGING__DISTRIBUTED": "critical",
        # What idle processes do many times a second for a dashboard that nobody looks at:
        "DASK_DISTRIBUTED__ADMIN__TICK__INTERVAL": "2s",
        "DASK_DISTRIBUTED__ADMIN__SYSTEM_MONITOR__INTERVAL": "10s",
        "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
    }
    command = [sys.executable, "-m", "dask", *words]
    return subprocess.Popen(command, env=env, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
