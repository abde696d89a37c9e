"""Results folders that no simulation made: what the report is tested on."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

import pandas as pd

from simkv.report.comparison import Comparison
from simkv.report.reading import SavedRun, SavedSweep, read_run, read_sweep
from simkv.report.rows import MEASURES, rows_of
from tests.unit.synthetic_runs import comparison


def save_run(found: Comparison, folder: Path) -> SavedRun:
    """Save a comparison whose scenario cannot be written as YAML, and read the folder."""
    with mock.patch("simkv.scenario.resolved", lambda scenario: f"name: {scenario.name!r}\n"):
        found.save(folder)
    return read_run(folder)


def save_sweep(
    folder: Path,
    points: dict[str, Comparison],
    failed: dict[str, str] | None = None,
    path: str = "links.slice.capacity",
) -> SavedSweep:
    """Save a sweep over one path; of failed points, what went wrong."""
    folder.mkdir(parents=True)
    rows: list[list[Any]] = []
    for number, (value, found) in enumerate(points.items()):
        rows += [[f"id{number}", value, *row] for row in rows_of(found)]
    frame = pd.DataFrame(rows, columns=["point_id", path, *MEASURES]).astype(MEASURES)
    frame.to_parquet(folder / "points.parquet")
    failures = [[f"bad{number}", value, error] for number, (value, error) in enumerate((failed or {}).items())]
    pd.DataFrame(failures, columns=["point_id", path, "error"]).to_parquet(folder / "failures.parquet")
    header = '{"format": "simkv.sweep", "simkv": "0.1.0", "scenario": "synthetic", "paths": ["%s"], "sweep": "abc"}\n'
    (folder / "journal.jsonl").write_text(header % path)
    return read_sweep(folder)


def sweep_of(folder: Path, values: tuple[str, ...], **fields: Any) -> SavedSweep:
    """Save a sweep of synthetic comparisons, all alike."""
    return save_sweep(folder, {value: comparison(**fields) for value in values})
