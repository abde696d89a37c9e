"""Reads aiconfigurator's measured tables of one GPU: from its wheel, or from a filtered conversion of it to CSV.

Both give the same numbers, to the six digits that the conversion keeps, and so the same profiles byte by byte.
"""

from __future__ import annotations

import csv
import hashlib
import zlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from simkv.compute.calibration import SourceFile
from simkv.errors import InputError

#: What the tables were taken from.
PROJECT, VERSION, LICENCE = "ai-dynamo/aiconfigurator", "aiconfigurator-core 0.12.0", "Apache-2.0"

#: Family and table of the wheel -> the conversion's name of it.
_TABLES = {
    "gemm": "gemm/{vllm}/gemm_perf",
    "context_attention": "attention/{vllm}/context_attention_perf",
    "generation_attention": "attention/{vllm}/generation_attention_perf",
    "nccl": "comm/nccl/{nccl}/nccl_perf",
}
#: The columns that are used, of each.
_COLUMNS = {
    "gemm": ("gemm_dtype", "m", "n", "k"),
    "context_attention": (
        *("kernel_source", "kv_cache_dtype", "head_dim", "num_heads", "num_key_value_heads", "batch_size", "isl"),
    ),
    "generation_attention": (
        *("kernel_source", "kv_cache_dtype", "head_dim", "num_heads", "num_key_value_heads", "batch_size", "step"),
    ),
    "nccl": ("op_name", "nccl_dtype", "num_gpus", "message_size"),
}
_DIGITS = 6  # of a time in the conversion


@dataclass(frozen=True)
class GpuTables:
    """Measured times of one GPU; `latency_ms` [ms] is a column of each table.

    Attributes
    ----------
    system : aiconfigurator's name of the GPU.
    flop_per_s : [flop/s] dense 16-bit peak of the data sheet.
    memory_bytes_per_s : [bytes/s] of the data sheet.
    gemm : 16-bit matrix products, over m (tokens), n (outputs), k (inputs).
    context_attention : prefill without anything cached, 16-bit.
    generation_attention : decodes, 16-bit; `step` + 1 [tokens] of KV each.
    nccl : collectives between the GPUs of a node; `message_size` in elements of 2 bytes.
    files : what was read, as the wheel names it, with the SHA-256 of the wheel's file.
    """

    system: str
    flop_per_s: float
    memory_bytes_per_s: float
    gemm: pd.DataFrame
    context_attention: pd.DataFrame
    generation_attention: pd.DataFrame
    nccl: pd.DataFrame
    files: tuple[SourceFile, ...]


def read(source: str, system: str) -> GpuTables:
    """Return the tables of a GPU.

    Parameters
    ----------
    source : "aic": the installed wheel; else the folder of the conversion, which holds MANIFEST.csv and aic/.
    system : aiconfigurator's name of the GPU.

    Raises
    ------
    InputError : the wheel is not installed or of another version, a file is absent or is not what it should be.

    Examples
    --------
    >>> read("absent", "h100_sxm")
    Traceback (most recent call last):
    simkv.errors.InputError: absent: want 'aic' or a folder that holds MANIFEST.csv and aic/
    """
    tables, files, spec = _from_wheel(system) if source == "aic" else _from_folder(Path(source), system)
    return GpuTables(
        system,
        float(spec["gpu"]["bfloat16_tc_flops"]),
        float(spec["gpu"]["mem_bw"]),
        **{name: _sixteen_bit(name, table) for name, table in tables.items()},
        files=tuple(files),
    )


def _sixteen_bit(name: str, table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of 16-bit numbers, with one time a point: the mean where it was measured twice."""
    column = {"gemm": "gemm_dtype", "nccl": None}.get(name, "kv_cache_dtype")
    if column is not None:
        table = table[table[column] == "bfloat16"]
    by = list(_COLUMNS[name])
    return table.groupby(by, observed=True)["latency_ms"].mean().reset_index()


# -- the conversion -----------------------------------------------------------------------------------------------


def _from_folder(folder: Path, system: str) -> tuple[dict[str, pd.DataFrame], list[SourceFile], Any]:
    manifest = folder / "MANIFEST.csv"
    if not manifest.is_file():
        raise InputError("want 'aic' or a folder that holds MANIFEST.csv and aic/", str(folder))
    with manifest.open(encoding="utf-8", newline="") as lines:
        rows = {row["file"]: row for row in csv.DictReader(lines)}
    tables, files = {}, []
    for name, columns in _COLUMNS.items():
        file = f"aic/{system}_{name}.csv.gz"
        path = folder / file
        if file not in rows or not path.is_file():
            raise InputError("no such table", str(path))
        tables[name] = _table(_read_csv(path), columns, path)
        if len(tables[name]) != int(rows[file]["rows"]):
            raise InputError(
                f"want {rows[file]['rows']} rows, as MANIFEST.csv says, got {len(tables[name])}", str(path)
            )
        files.append(SourceFile(rows[file]["source"], rows[file]["source_sha256"]))
    return tables, files, _spec(folder / "aic" / f"{system}.system.yaml")


def _read_csv(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise InputError(f"not a whole table: {str(error).lower()}", str(path)) from None


def _table(found: pd.DataFrame, columns: tuple[str, ...], path: Path) -> pd.DataFrame:
    absent = [name for name in (*columns, "latency_ms") if name not in found]
    if absent:
        raise InputError(f"want the column {absent[0]}, got {', '.join(map(str, found))}", str(path))
    times = found["latency_ms"]
    if not ((times > 0) & (times < float("inf"))).all():
        raise InputError("latency_ms: want finite times above 0", str(path))
    return found[[*columns, "latency_ms"]]


def _spec(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError("no such file", str(path)) from None


# -- the wheel ----------------------------------------------------------------------------------------------------


def _from_wheel(system: str) -> tuple[dict[str, pd.DataFrame], list[SourceFile], Any]:
    found = find_spec("aiconfigurator_core")
    if found is None or found.origin is None:
        raise InputError("aiconfigurator-core is not installed: pip install 'simkv[aic]', or --from a folder of tables")
    root = Path(found.origin).parent
    data = root / "systems" / "data" / system
    tables, files = {}, []
    for name, columns in _COLUMNS.items():
        path = data / f"{_TABLES[name].format(**_newest(data))}.parquet"
        if not path.is_file():
            raise InputError("no such table", str(path))
        tables[name] = _table(_filtered(name, pd.read_parquet(path)), columns, path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        files.append(SourceFile(path.relative_to(root).as_posix(), digest))
    return tables, files, _spec(root / "systems" / f"{system}.yaml")


def _newest(data: Path) -> dict[str, str]:
    """Return the versions of vLLM and NCCL whose tables are taken: the newest that are there."""

    def last(folder: Path) -> str:
        versions = [path.name for path in folder.glob("*") if path.name.replace(".", "").isdigit()]
        if not versions:
            raise InputError("no tables of it", str(folder))
        return max(versions, key=lambda name: tuple(map(int, name.split("."))))

    return {"vllm": f"vllm/{last(data / 'gemm' / 'vllm')}", "nccl": last(data / "comm" / "nccl")}


def _filtered(name: str, table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that the conversion keeps, times with its digits."""
    table = table.rename(columns={"latency": "latency_ms"})
    if name == "gemm":
        table = table[(table["n"] >= 256) & (table["k"] >= 256) & table["gemm_dtype"].isin(["bfloat16", "fp8"])]
    elif name == "nccl":
        table = table[table["nccl_dtype"] == "half"]
    else:
        table = table[table["head_dim"].isin([64, 128])]
        if "window_size" in table:
            table = table[table["window_size"].fillna(0) == 0]
    return table.assign(latency_ms=[float(f"{value:.{_DIGITS}g}") for value in table["latency_ms"]])
