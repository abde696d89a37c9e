"""Write a comparison down: the results folder, byte for byte the same for the same comparison.

No file holds a wall-clock time, a host name or an absolute path. `manifest.json` names the versions and the
input files that the bytes depend on.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import platform
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import simkv
from simkv.remote import Fetched
from simkv.report import runs
from simkv.report.rows import points_of, write
from simkv.results import OUTCOMES, REQUEST_COLUMNS, SCHEMA_VERSION, STATUSES, TRANSFER_COLUMNS

if TYPE_CHECKING:
    from simkv.report.comparison import Comparison

#: Packages whose versions can move a number or a byte of the results.
PACKAGES = ("matplotlib", "networkx", "numpy", "pandas", "pyarrow", "pydantic", "PyYAML", "scipy", "simpy")

#: Rows of a Parquet row group; small runs are gathered up to it, so that 1,000 runs are not 1,000 groups.
BATCH_ROWS = 65_536

#: Name suffix -> unit that a Parquet field carries.
UNITS = {
    "_s": "s",
    "_bytes": "bytes",
    "tokens": "tokens",
    "_units": "units",
    "value": "of its quantity, by suffix: bps = bit/s, bytes; a count where there is none",
}

_ARROW: dict[str, pa.DataType] = {
    "category": pa.dictionary(pa.int32(), pa.string()),
    "string": pa.string(),
    "bool": pa.bool_(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float64": pa.float64(),
}


class Played(Protocol):
    """What rows of a table belong to."""

    arm: str
    replication: int


def save(comparison: Comparison, folder: Path) -> None:
    """Write manifest.json, resolved.yaml, summary.json, run.log, runs.jsonl and requests, transfers, metrics (Parquet).

    Parameters
    ----------
    folder : made when absent; files of these names in it are replaced.
    """
    from simkv.scenario import resolved  # noqa: PLC0415 - reading a results folder's schema needs no YAML

    folder.mkdir(parents=True, exist_ok=True)
    arms = [arm.name for arm in comparison.arms]
    requests = ((run, run.requests) for run in comparison.results)
    transfers = ((run, run.transfers) for run in comparison.results)
    write_table(folder / "requests.parquet", REQUEST_COLUMNS, requests, {"arm": arms, "status": STATUSES})
    write_table(folder / "transfers.parquet", TRANSFER_COLUMNS, transfers, {"arm": arms, "outcome": OUTCOMES})
    write(points_of(comparison).drop(columns="point_id"), folder / "metrics.parquet")
    texts = {
        "resolved.yaml": f"# schema_version: {SCHEMA_VERSION}\n{resolved(comparison.scenario)}",
        "summary.json": _json(comparison.to_json()),
        "run.log": "".join(f"{line}\n" for line in log_lines(comparison)),
        runs.NAME: "".join(f"{line}\n" for line in runs.lines(comparison)),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
    written = ("requests.parquet", "transfers.parquet", "metrics.parquet", *texts)
    (folder / "manifest.json").write_text(_json(manifest(comparison, folder, written)), encoding="utf-8", newline="\n")


def manifest(comparison: Comparison, folder: Path, written: Iterable[str]) -> dict[str, Any]:
    """Return what the results depend on, and the SHA-256 of every file written."""
    return {
        "schema_version": SCHEMA_VERSION,
        "simkv": simkv.__version__,
        "python": platform.python_version(),
        "platform": {"system": platform.system(), "machine": platform.machine()},
        "packages": {name: _version(name) for name in PACKAGES},
        "scenario": comparison.scenario.name,
        "seed": comparison.seed,
        "replications": comparison.replications,
        "arms": [arm.name for arm in comparison.arms],
        "inputs": list(_inputs(comparison.scenario)),
        "files": {name: _sha256(folder / name) for name in sorted(written)},
    }


def log_lines(comparison: Comparison) -> Iterator[str]:
    """Yield one line a run: how its requests ended, when, and what it noted.

    Yields
    ------
    `arm=none replication=0 finished=3 rejected=0 timed_out=0 unfinished=0 end_s=31.2 notes={...}`
    """
    yield f"# simkv run log, schema_version {SCHEMA_VERSION}"
    for run in comparison.results:
        statuses = run.requests["status"]
        counts = " ".join(f"{status}={statuses.count(status)}" for status in STATUSES)
        notes = json.dumps(run.notes, sort_keys=True, default=str)
        yield f"arm={run.arm} replication={run.replication} {counts} end_s={run.end_s!r} notes={notes}"


def schema(columns: Mapping[str, str]) -> pa.Schema:
    """Return the Parquet schema of a result table: types from `results.py`, units as field metadata.

    Examples
    --------
    >>> schema({"stall_s": "float64"}).field("stall_s").metadata
    {b'unit': b's'}
    """
    fields = [pa.field(name, _ARROW[kind], metadata=_unit(name)) for name, kind in columns.items()]
    return pa.schema(fields, metadata={"schema_version": str(SCHEMA_VERSION)})


def write_table(
    path: Path,
    columns: Mapping[str, str],
    parts: Iterable[tuple[Played, dict[str, list[Any]]]],
    categories: Mapping[str, Iterable[str]],
) -> None:
    """Write one table as Parquet, in batches, so that memory grows with a batch and not with the table.

    Parameters
    ----------
    columns : name -> type, as in `results.py`.
    parts : each run and its columns, in order.
    categories : order of the categories of a column, where one is known.
    """
    known = {name: list(values) for name, values in categories.items()}
    layout = schema(columns)
    waiting: list[pa.RecordBatch] = []
    with pq.ParquetWriter(path, layout, compression="zstd") as writer:
        for run, part in parts:
            waiting.append(_batch(layout, columns, run, part, known))
            if sum(batch.num_rows for batch in waiting) >= BATCH_ROWS:
                writer.write_table(_table(waiting, layout))
                waiting.clear()
        if any(batch.num_rows for batch in waiting):
            writer.write_table(_table(waiting, layout))


def _batch(
    layout: pa.Schema,
    columns: Mapping[str, str],
    run: Played,
    part: dict[str, list[Any]],
    known: dict[str, list[str]],
) -> pa.RecordBatch:
    rows = len(next(iter(part.values()), []))
    own: dict[str, list[Any]] = {"arm": [run.arm] * rows, "replication": [run.replication] * rows}
    arrays = [_array(name, kind, (own | part)[name] if rows else [], known) for name, kind in columns.items()]
    return pa.RecordBatch.from_arrays(arrays, schema=layout)


def _array(name: str, kind: str, values: list[Any], known: dict[str, list[str]]) -> pa.Array:
    if kind == "float64":  # what did not happen is NaN or None in a run, null in the file
        numbers = np.array(values, dtype=np.float64)
        return pa.array(numbers, mask=np.isnan(numbers))
    if kind != "category":
        return pa.array(values, type=_ARROW[kind])
    order = known.setdefault(name, [])
    order += [value for value in dict.fromkeys(values) if value not in order]
    places = {value: place for place, value in enumerate(order)}
    indices = pa.array([places[value] for value in values], type=pa.int32())
    return pa.DictionaryArray.from_arrays(indices, pa.array(order, type=pa.string()))


def _table(batches: list[pa.RecordBatch], layout: pa.Schema) -> pa.Table:
    return pa.Table.from_batches(batches, layout).unify_dictionaries().combine_chunks()


def _unit(name: str) -> dict[str, str] | None:
    unit = next((unit for suffix, unit in UNITS.items() if name.endswith(suffix)), None)
    return {"unit": unit} if unit else None


def _json(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _inputs(scenario: Any) -> Iterator[dict[str, Any]]:
    """Yield every file that the scenario names, itself first, named as seen from its folder."""
    base = Path(scenario.path).resolve().parent
    named = (path if isinstance(path, Fetched) else path.resolve() for path in _paths(scenario))
    for path in dict.fromkeys([Path(scenario.path).resolve(), *sorted(named)]):
        if path.is_file():
            name = str(path) if isinstance(path, Fetched) else Path(os.path.relpath(path, base)).as_posix()
            yield {"name": name, "sha256": _sha256(path), "size_bytes": path.stat().st_size}


def _paths(value: Any) -> Iterator[Path]:
    """Yield every path inside nested models, dataclasses, mappings and sequences."""
    if isinstance(value, Path):
        yield value
        return
    if isinstance(value, Mapping):
        inside: Iterable[Any] = value.values()
    elif isinstance(value, list | tuple):
        inside = value
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        inside = [getattr(value, field.name) for field in dataclasses.fields(value)]
    else:
        inside = [getattr(value, name) for name in getattr(type(value), "model_fields", ())]
    for item in inside:
        yield from _paths(item)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
