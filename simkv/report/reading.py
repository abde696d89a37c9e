"""What `simkv run` or `simkv sweep` saved, read back in one place; nothing is simulated here."""

# ruff: noqa: PLC0415 - pandas and the scenario reader come in when they are asked for

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simkv.errors import InputError
from simkv.registry import unknown
from simkv.report.rows import MEASURES

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from simkv.report.comparison import Comparison
    from simkv.scenario import Scenario

#: What makes a folder one of a run, and one of a sweep.
RUN_FILES = ("manifest.json", "resolved.yaml", "summary.json", "requests.parquet", "transfers.parquet")
SWEEP_FILES = ("journal.jsonl", "points.parquet", "failures.parquet")


@dataclass(eq=False)
class SavedRun:
    """A folder that `simkv run` saved.

    Attributes
    ----------
    manifest : versions, seed, replications, arms, inputs and files with their SHA-256.
    summary : as `simkv run --json` prints it.
    """

    path: Path
    manifest: dict[str, Any]
    summary: dict[str, Any]

    @property
    def arms(self) -> list[str]:
        """Names, in the scenario's order."""
        return [str(name) for name in self.manifest["arms"]]

    @property
    def replications(self) -> int:
        """How often each arm was run."""
        return int(self.manifest["replications"])

    @cached_property
    def scenario(self) -> Scenario:
        """What was run, with every default filled in."""
        from simkv.scenario import load

        return load(self.path / "resolved.yaml")

    @cached_property
    def requests(self) -> pd.DataFrame:
        """One row a request, typed as `results.REQUEST_COLUMNS`."""
        return _table(self.path / "requests.parquet")

    @cached_property
    def transfers(self) -> pd.DataFrame:
        """One row a transfer, typed as `results.TRANSFER_COLUMNS`."""
        return _table(self.path / "transfers.parquet")

    @cached_property
    def points(self) -> pd.DataFrame:
        """One row an arm and metric, as the table of a sweep whose only point this is."""
        table = _table(self.path / "metrics.parquet")
        table.insert(0, "point_id", str(self.summary["scenario"]))
        return table

    @cached_property
    def comparison(self) -> Comparison:
        """All runs, with every view of a fresh comparison, from the folder's files alone."""
        from simkv.report.runs import comparison

        return comparison(self)

    def check_arm(self, name: str) -> str:
        """Return an arm's name as given, or refuse one that was not run."""
        if name not in self.arms:
            raise unknown("arm", name, self.arms, str(self.path))
        return name

    def check_replication(self, number: int) -> int:
        """Return a replication's number as given, or refuse one that was not run."""
        if not 0 <= number < self.replications:
            raise InputError(f"unknown replication {number}; want 0 to {self.replications - 1}", str(self.path))
        return number


@dataclass(eq=False)
class SavedSweep:
    """A folder that `simkv sweep` saved.

    Attributes
    ----------
    header : first line of the journal: version, scenario's name, paths, identity of the sweep.
    """

    path: Path
    header: dict[str, Any]

    @property
    def paths(self) -> list[str]:
        """What varied, in the order of the columns of `points`."""
        return [str(path) for path in self.header["paths"]]

    @property
    def minimised(self) -> list[str]:
        """The metrics that a search minimised; of a grid none."""
        return [str(metric) for metric in self.header.get("minimise", ())]

    @cached_property
    def points(self) -> pd.DataFrame:
        """One row a point, arm and metric."""
        return _with_columns(self.path / "points.parquet", ("point_id", *self.paths, *MEASURES))

    @cached_property
    def failures(self) -> pd.DataFrame:
        """One row a failed point, with its error."""
        return _with_columns(self.path / "failures.parquet", (*self.paths, "error"))


def read(folder: Path) -> SavedRun | SavedSweep:
    """Return what a folder holds; its tables are read when they are asked for.

    Raises
    ------
    InputError : no such folder, a file is missing, or one is not what its name says.

    Examples
    --------
    >>> read(Path("nowhere"))
    Traceback (most recent call last):
    simkv.errors.InputError: nowhere: no such folder
    """
    if not folder.is_dir():
        raise InputError("no such folder" if not folder.exists() else "is a file; want a results folder", str(folder))
    if (folder / SWEEP_FILES[0]).is_file():
        return read_sweep(folder)
    if not any((folder / name).is_file() for name in RUN_FILES):
        raise InputError("holds no results; want a folder that `simkv run` or `simkv sweep` saved", str(folder))
    return read_run(folder)


def read_run(folder: Path) -> SavedRun:
    """Return a folder of `simkv run`; raises as `read` does."""
    _want_files(folder, RUN_FILES, "want a folder that `simkv run` saved")
    manifest = _keys(folder / "manifest.json", ("simkv", "seed", "replications", "arms", "inputs"))
    return SavedRun(folder, manifest, _keys(folder / "summary.json", ("scenario", "arms", "comparisons")))


def read_sweep(folder: Path) -> SavedSweep:
    """Return a folder of `simkv sweep`; raises as `read` does."""
    _want_files(folder, SWEEP_FILES, "want a folder in which `simkv sweep` has come to its end")
    with (folder / SWEEP_FILES[0]).open(encoding="utf-8", errors="replace") as file:
        header = _object(file.readline(), f"{folder / SWEEP_FILES[0]}:1", ("simkv", "scenario", "paths", "sweep"))
    return SavedSweep(folder, header)


def read_columns(path: Path, columns: Iterable[str], replication: int | None = None) -> pa.Table:
    """Return the rows of a table that must have some columns.

    Parameters
    ----------
    replication : whose rows; None = all.

    Raises
    ------
    InputError : it cannot be read, or an older simkv wrote it.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        there = set(pq.read_schema(path).names)
        missing = next((name for name in columns if name not in there), None)
        if missing is not None:
            raise InputError(f"has no column {missing!r}: an older simkv wrote it; run the scenario again", str(path))
        return pq.read_table(path, filters=None if replication is None else [("replication", "=", replication)])
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"is no Parquet table: {error}", str(path)) from None


def _want_files(folder: Path, names: tuple[str, ...], wanted: str) -> None:
    if not folder.is_dir():
        raise InputError("no such folder" if not folder.exists() else "is a file; want a results folder", str(folder))
    for name in names:
        if not (folder / name).is_file():
            raise InputError(f"holds no {name}; {wanted}", str(folder))


def _keys(path: Path, wanted: tuple[str, ...]) -> dict[str, Any]:
    try:
        return _object(path.read_text(encoding="utf-8"), str(path), wanted)
    except UnicodeDecodeError as error:
        raise InputError(f"is not UTF-8 text: {error.reason}", str(path)) from None


def _object(text: str, where: str, wanted: tuple[str, ...]) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"is not JSON: {error}", where) from None
    missing = [key for key in wanted if not isinstance(found, dict) or key not in found]
    if missing:
        raise InputError(f"holds no {', '.join(missing)}; it was not written by simkv, or not wholly", where)
    return dict(found)


def _with_columns(path: Path, wanted: tuple[str, ...]) -> pd.DataFrame:
    table = _table(path)
    missing = [name for name in wanted if name not in table]
    if missing:
        raise InputError(
            f"has no column {', '.join(missing)}; it was not written by simkv, or changed since", str(path)
        )
    return table


def _table(path: Path) -> pd.DataFrame:
    import pandas as pd
    import pyarrow as pa

    try:
        return pd.read_parquet(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"is no Parquet table: {error}", str(path)) from None
