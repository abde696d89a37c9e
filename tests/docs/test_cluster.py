"""docs/cluster.md tells the truth: its commands run as they stand, and its table names what there is."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import simkv.sweep as sweeps
from simkv.cli_executor import chosen
from tests.docs.test_readme import ROOT, blocks

PAGE = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
ADDRESS = "127.0.0.1:8786"


def test_the_commands_run_as_they_stand(tmp_path: Path) -> None:
    """A scheduler, a worker and a sweep, on another port; nothing is left running."""
    (commands,) = blocks("sh", PAGE)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name in ("scenarios", "traces"):
        (tmp_path / name).symlink_to(ROOT / name)
    env = {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": str(ROOT),
        "DASK_TEMPORARY_DIRECTORY": str(tmp_path),
    }
    done = subprocess.run(
        ["bash", "-ec", commands.replace("8786", str(port)).replace("--nworkers 2", "--nworkers 1")],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "saved to out/by-hand" in done.stderr, done.stderr
    found = pd.read_parquet(tmp_path / "out" / "by-hand" / "points.parquet")
    alone = sweeps.sweep(ROOT / "scenarios" / "three_turns.yaml", {"seed": "1,2,3"})
    assert found["value"].tolist() == pytest.approx(alone["value"].tolist(), rel=0, abs=0, nan_ok=True)


def test_the_python_runs_as_it_stands(scheduler: str) -> None:
    """With the address of another scheduler."""
    (code,) = blocks("python", PAGE)
    namespace: dict[str, object] = {}
    exec(compile(code.replace(f"tcp://{ADDRESS}", scheduler), "page", "exec"), namespace)
    assert len(namespace["table"]) > 0  # type: ignore[arg-type]


def test_the_table_of_executors_is_true() -> None:
    """What the command line says is what Python says."""
    rows = re.findall(r"^\| `([^`]+)` \| `([^`]+)` \|", PAGE, flags=re.MULTILINE)
    assert len(rows) == 4
    for option, python in rows:
        workers = 4 if "4" in python else None
        made = chosen(option.replace("HOST:PORT", ADDRESS), workers, None)
        assert made == eval(python.replace("HOST:PORT", ADDRESS), vars(sweeps))
