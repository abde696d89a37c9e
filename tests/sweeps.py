"""What tests of sweeps share: their tables, a scenario elsewhere, and points that go wrong."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

from simkv.sweep.executors import Outcome, Work
from tests.conftest import ROOT


def tables(folder: Path) -> list[bytes]:
    """Return the bytes of both tables."""
    return [(folder / name).read_bytes() for name in ("points.parquet", "failures.parquet")]


def copied(folder: Path) -> Path:
    """Return the scenario copied to another folder, with its trace."""
    for name in ("scenarios/three_turns.yaml", "traces/three_turns.jsonl"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    return folder / "scenarios" / "three_turns.yaml"


def dies_once(marker: Path, work: Work, scenario: Any) -> Outcome:
    """Kill this process the first time."""
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return work(scenario)


def dies_at_seed(seed: int, work: Work, scenario: Any) -> Outcome:
    """Kill this process at one point."""
    if scenario.seed == seed:
        os.kill(os.getpid(), signal.SIGKILL)
    return work(scenario)


def sleeps(duration_s: float) -> Outcome:
    """Take so long."""
    time.sleep(duration_s)
    return {"status": "finished"}
