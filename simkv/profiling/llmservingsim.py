"""The tables of LLMServingSim's profiler: per-layer kernel times of vLLM (github.com/casys-kaist/LLMServingSim, MIT).

Either as the project has them (`meta.yaml`, `tpN/dense.csv`, ...) or flattened (`meta.yaml`, `tpN_dense.csv.gz`, ...).
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import math
import zlib
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from simkv import model
from simkv.compute.calibration import SHAPE_FACTS, MeasuredProfile, Provenance, SourceFile
from simkv.compute.op_table import AXES, OpTable, Row
from simkv.errors import InputError
from simkv.registry import did_you_mean

_MICRO = 1e-6  # s in the unit of the tables
_DIGITS = 9  # of a time in a profile file; the tables have 6

#: Table -> its columns.
_COLUMNS = {
    "dense": ("layer", "tokens", "time_us"),
    "per_sequence": ("layer", "sequences", "time_us"),
    "attention": ("prefill_chunk", "kv_prefill", "n_decode", "kv_decode", "time_us"),
    "moe": ("tokens", "activated_experts", "time_us"),
    "skew": (
        *("regime", "n", "nb", "ratio", "skew", "pc", "kp", "kvs", "kv_big", "kv_mean"),
        *("t_mean_us", "t_max_us", "t_skew_us", "alpha"),
    ),
}
_REQUIRED = ("dense", "per_sequence", "attention")
#: The columns of `skew` that stand for the axes of attention_equal and attention_unequal, in their order.
_SKEW_PLACES = ("pc", "kp", "n", "nb", "kvs", "kv_big", "kv_mean")


class _Table(NamedTuple):
    """One source file.

    Attributes
    ----------
    path : of it.
    sha256 : of its content, uncompressed.
    rows : (line, cells by column).
    """

    path: Path
    sha256: str
    rows: list[tuple[int, dict[str, str]]]


def read(folder: Path, tp: int = 1) -> MeasuredProfile:
    """Return the measured times in a folder of tables.

    Parameters
    ----------
    folder : holds `meta.yaml` and the tables.
    tp : which tensor-parallel degree.

    Raises
    ------
    InputError : a file is absent, or holds something else than the tables that this reader knows.

    Examples
    --------
    >>> read(Path("absent"))
    Traceback (most recent call last):
    simkv.errors.InputError: absent/meta.yaml: no such file
    """
    meta, digest = _read_meta(folder / "meta.yaml")
    tables = {name: _read_table(path, name) for name in _COLUMNS if (path := _find(folder, tp, name))}
    absent = [name for name in _REQUIRED if name not in tables]
    if absent:
        found = sorted({path.name.partition("_")[0] for path in folder.glob("tp*")})
        wanted = f"tp{tp}_{absent[0]}.csv[.gz] or tp{tp}/{absent[0]}.csv[.gz]"
        raise InputError(f"want {wanted}; there are tables of: {', '.join(found) or 'no tp'}", str(folder))
    told_to = _switched_on(meta, "skew_fit")
    skewed = told_to and "skew" in tables
    files = [SourceFile("meta.yaml", digest)]
    files += [SourceFile(table.path.relative_to(folder).as_posix(), table.sha256) for table in tables.values()]
    name = str(meta["model"])
    profile = MeasuredProfile(
        where=str(folder),
        model_name=name,
        shape_facts=_shape_facts(name),
        device=str(meta["gpu"]),
        tp=tp,
        software={key: str(meta[f"{key}_version"]) for key in ("vllm", "cuda") if f"{key}_version" in meta},
        clock=_clock(meta),
        provenance=Provenance(
            project="casys-kaist/LLMServingSim",
            version=f"profiler {meta.get('profiler_version', 'not stated')}",
            licence="MIT",
            files=tuple(files),
            imported_by=f"simkv {version('simkv')}",
        ),
        skewed=skewed,
        notes=_notes(meta, tp, told_to, skewed),
        ops=tuple(_ops(tables, skewed)),
    )
    profile.check()
    return profile


def _find(folder: Path, tp: int, table: str) -> Path | None:
    names = (f"tp{tp}_{table}.csv.gz", f"tp{tp}_{table}.csv", f"tp{tp}/{table}.csv", f"tp{tp}/{table}.csv.gz")
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _read_bytes(path: Path) -> bytes:
    """Return the content, uncompressed."""
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw) if path.suffix == ".gz" else raw
    except FileNotFoundError:
        raise InputError("no such file", str(path)) from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"not a whole gzip file: {str(error).lower()}", str(path)) from None
    except OSError as error:
        raise InputError(f"cannot be read: {(error.strerror or str(error)).lower()}", str(path)) from None


# -- what was measured --------------------------------------------------------------------------------------------


def _read_meta(path: Path) -> tuple[dict[str, Any], str]:
    raw = _read_bytes(path)
    try:
        meta = yaml.safe_load(raw)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise InputError(f"not YAML: {str(error).splitlines()[0]}", str(path)) from None
    if not isinstance(meta, dict):
        raise InputError("want a mapping with the keys gpu and model", str(path))
    for key in ("gpu", "model"):
        if not isinstance(meta.get(key), str):
            raise InputError(f"{key}: want text, got {meta.get(key)!r}", str(path))
    return meta, hashlib.sha256(raw).hexdigest()


def _switched_on(meta: Mapping[str, Any], key: str) -> bool:
    part = meta.get(key)
    return isinstance(part, dict) and part.get("enabled") is True


def _shape_facts(name: str) -> dict[str, int]:
    built_in = model.built_in_name(name)
    return {} if built_in is None else {fact: getattr(model.get(built_in), fact) for fact in SHAPE_FACTS}


def _clock(meta: Mapping[str, Any]) -> dict[str, str]:
    told = {
        "kind": "GPU time of kernels, by vLLM's layer-wise profile",
        "iterations": meta.get("measurement_iterations"),
    }
    told |= {"profiled_at": meta.get("profiled_at"), "variant": meta.get("variant")}
    return {key: str(value) for key, value in told.items() if value is not None}


def _notes(meta: Mapping[str, Any], tp: int, told_to: bool, skewed: bool) -> dict[str, str]:
    notes = {"times": "of kernels alone: what the host adds to a step is not in them"}
    engine = meta.get("engine_effective")
    if isinstance(engine, dict) and engine.get("enforce_eager") is True:
        notes["graphs"] = "measured without CUDA graphs (enforce_eager)"
    if tp > 1:
        notes["group"] = f"times of one rank of {tp}, emulated on one GPU: all-reduces are priced by the stated link"
    if skewed:
        notes["contexts"] = "unequal contexts are priced by the source's measurements of them (skew)"
    elif told_to:
        notes["contexts"] = f"priced by their mean: the source prices unequal ones, but tp{tp}_skew is absent"
    else:
        notes["contexts"] = "priced by their mean, as the source does (skew_fit.enabled is not true)"
    return notes


# -- the times ----------------------------------------------------------------------------------------------------


def _read_table(path: Path, name: str) -> _Table:
    raw = _read_bytes(path)
    try:
        reader = csv.reader(io.StringIO(raw.decode("utf-8"), newline=""), strict=True)
        head = tuple(next(reader, ()))
        if head != _COLUMNS[name]:
            raise InputError(
                f"want the columns {','.join(_COLUMNS[name])}, got {','.join(head) or 'none'}", f"{path}:1"
            )
        rows = []
        for cells in reader:
            if len(cells) != len(head):
                raise InputError(f"want {len(head)} columns, got {len(cells)}", f"{path}:{reader.line_num}")
            rows.append((reader.line_num, dict(zip(head, cells, strict=True))))
    except UnicodeDecodeError:
        raise InputError("not UTF-8 text; want a table", str(path)) from None
    except csv.Error as error:
        raise InputError(f"not CSV: {error}", str(path)) from None
    if not rows:
        raise InputError("want at least one row, got none", str(path))
    return _Table(path, hashlib.sha256(raw).hexdigest(), rows)


def _ops(tables: Mapping[str, _Table], skewed: bool) -> Iterator[OpTable]:
    for name in ("dense", "per_sequence"):
        yield from _by_layer(tables[name])
    attention = _op("attention", tables["attention"], AXES["attention"])
    yield attention._replace(warnings=tuple(_holes(attention)))
    if "moe" in tables:
        yield _op("moe", tables["moe"], AXES["moe"])
    if skewed:
        yield _op("attention_equal", tables["skew"], _SKEW_PLACES, "t_mean_us")
        yield _op("attention_unequal", tables["skew"], _SKEW_PLACES, "t_skew_us")


def _by_layer(table: _Table) -> Iterator[OpTable]:
    """Yield one operation a layer, in the order in which they first occur."""
    axis = "tokens" if "tokens" in table.rows[0][1] else "sequences"
    known = [name for name, axes in AXES.items() if axes == (axis,)]
    by_layer: dict[str, list[tuple[int, dict[str, str]]]] = {}
    for line, cells in table.rows:
        layer = cells["layer"]
        if layer not in known:
            hint = did_you_mean(layer, known)
            raise InputError(f"unknown layer {layer!r}{hint}; known: {', '.join(known)}", f"{table.path}:{line}")
        by_layer.setdefault(layer, []).append((line, cells))
    for layer, rows in by_layer.items():
        yield _op(layer, table._replace(rows=rows), (axis,))


def _op(name: str, table: _Table, places: tuple[str, ...], time: str = "time_us") -> OpTable:
    found: dict[Row, Row] = {}
    for line, cells in table.rows:
        where = f"{table.path}:{line}"
        point = tuple(_count(cells[place], place, where) for place in places)
        if point in found:
            raise InputError(f"{name}: the point {','.join(map(str, point))} stands there twice", where)
        found[point] = (*point, _seconds(cells[time], time, where))
    return OpTable(name, list(found.values()))


def _count(text: str, column: str, where: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 12:
        raise InputError(f"{column}: want a whole number, got {text!r}", where)
    return int(text)


def _seconds(text: str, column: str, where: str) -> float:
    """Return [s] a time in microseconds, with the digits that a profile file keeps."""
    try:
        time_us = float(text)
    except ValueError:
        time_us = math.nan
    if not 0 < time_us < math.inf:
        raise InputError(f"{column}: want a finite time above 0, got {text!r}", where)
    return float(f"{time_us * _MICRO:.{_DIGITS}g}")


def _holes(attention: OpTable) -> Iterator[str]:
    pairs = {(row[0], row[2]) for row in attention.rows}
    chunks, decodes = attention.grid("prefill_chunk"), attention.grid("n_decode")
    missing = len(chunks) * len(decodes) - 1 - len(pairs)  # no prefill and no decode is no batch
    if missing:
        yield f"{missing} pairs of prefill_chunk and n_decode were not measured: the nearest two n_decode are extended"
