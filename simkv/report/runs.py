"""What each run found out beside its two tables: one line a run, enough to have the whole comparison again.

With `requests.parquet` and `transfers.parquet` these lines give back every number of a comparison, so that a saved
folder is shown by the same code as a fresh one, without its scenario, trace or plug-ins.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simkv.errors import InputError
from simkv.report.comparison import ArmInfo, Comparison
from simkv.report.reading import read_columns
from simkv.results import REQUEST_COLUMNS, SCHEMA_VERSION, TRANSFER_COLUMNS, GpuTotals, LinkTotals, RunResult

if TYPE_CHECKING:
    from simkv.report.reading import SavedRun

NAME = "runs.jsonl"
_FORMAT = "simkv.runs"
_KEYS = ("arm", "replication")
#: Fields of a run that the tables hold.
_TABLES = ("requests", "transfers")


@dataclasses.dataclass(frozen=True, slots=True)
class _Gpu:
    name: str


@dataclasses.dataclass(frozen=True, slots=True)
class _Server:
    gpu: _Gpu | None


@dataclasses.dataclass(frozen=True, slots=True)
class SavedScenario:
    """As much of a scenario as a comparison is shown with.

    Attributes
    ----------
    servers : by name; of each, its GPU's profile.
    """

    name: str
    servers: dict[str, _Server]


def lines(comparison: Comparison) -> Iterator[str]:
    """Yield what was compared, then one JSON object a run, arm by arm."""
    servers = comparison.scenario.servers
    yield _dumped(
        {
            "format": _FORMAT,
            "schema_version": SCHEMA_VERSION,
            "arms": [dataclasses.asdict(arm) for arm in comparison.arms],
            "gpus": {name: server.gpu.name if server.gpu is not None else None for name, server in servers.items()},
        }
    )
    for run in comparison.results:
        told = {field.name: getattr(run, field.name) for field in dataclasses.fields(run) if field.name not in _TABLES}
        told["links"] = {name: dataclasses.asdict(link) for name, link in run.links.items()}
        told["gpus"] = {name: dataclasses.asdict(gpu) for name, gpu in run.gpus.items()}
        yield _dumped(told)


def comparison(saved: SavedRun) -> Comparison:
    """Return the comparison that a folder holds; its summary is the one that was saved.

    Raises
    ------
    InputError : the folder was written by a simkv that did not keep this, or not wholly.
    """
    path = saved.path / NAME
    if not path.is_file():
        raise InputError(f"holds no {NAME}: an older simkv wrote it; run the scenario again", str(saved.path))
    header, *rest = [_record(line, f"{path}:{number}") for number, line in enumerate(_text(path), start=1)] or [{}]
    if header.get("format") != _FORMAT:
        raise InputError("is no list of runs", f"{path}:1")
    requests = _parts(saved.path / "requests.parquet", REQUEST_COLUMNS)
    transfers = _parts(saved.path / "transfers.parquet", TRANSFER_COLUMNS)
    try:
        arms = tuple(_arm(told) for told in header["arms"])
        servers = {name: _Server(_Gpu(gpu) if gpu else None) for name, gpu in header["gpus"].items()}
        runs = [_run(told, requests, transfers) for told in rest]
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"is not a list of runs as simkv writes it: {error}", str(path)) from None
    wanted = [(arm.name, replication) for arm in arms for replication in range(saved.replications)]
    if [(run.arm, run.replication) for run in runs] != wanted:
        raise InputError(f"want one line for each of {len(wanted)} runs, in order", str(path))
    scenario = SavedScenario(str(saved.summary["scenario"]), servers)
    return Comparison(scenario, arms, runs, int(saved.manifest["seed"]), saved.replications)


def _dumped(told: dict[str, Any]) -> str:
    return json.dumps(told, default=str)


def _text(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read: {error}", str(path)) from None


def _record(line: str, where: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"is not JSON: {error}", where) from None
    if not isinstance(found, dict):
        raise InputError("want an object", where)
    return found


def _arm(told: dict[str, Any]) -> ArmInfo:
    fields: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in told.items()}
    return ArmInfo(**fields)


def _run(
    told: dict[str, Any],
    requests: dict[tuple[str, int], dict[str, list[Any]]],
    transfers: dict[tuple[str, int], dict[str, list[Any]]],
) -> RunResult:
    which = told["arm"], told["replication"]
    fields = dict(told)
    fields["links"] = {name: LinkTotals(**link) for name, link in told["links"].items()}
    fields["gpus"] = {name: GpuTotals(**gpu) for name, gpu in told["gpus"].items()}
    empty: dict[str, list[Any]] = {}
    return RunResult(
        **fields,
        requests=requests.get(which) or {name: [] for name in REQUEST_COLUMNS if name not in _KEYS},
        transfers=transfers.get(which, empty) or {name: [] for name in TRANSFER_COLUMNS if name not in _KEYS},
    )


def _parts(path: Path, columns: dict[str, str]) -> dict[tuple[str, int], dict[str, list[Any]]]:
    """Return the columns of each run, its rows in the order in which they were written."""
    table = read_columns(path, columns)
    rows = zip(table["arm"].to_pylist(), table["replication"].to_pylist(), strict=True)
    found: dict[tuple[str, int], dict[str, list[Any]]] = {}
    start = 0
    for which, group in groupby(rows):
        part = table.slice(start, sum(1 for _ in group))
        found[which] = {name: part[name].to_pylist() for name in columns if name not in _KEYS}
        start += part.num_rows
    return found
