"""A calibration as two files: NAME.json says what it is, NAME.csv.gz holds the times and is bound to it by SHA-256.

Read strictly: whatever is not exactly as it was written is refused in one line that says what was found and what is
wanted. What writes them is `profiling.writing`.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import math
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from simkv.compute import calibration_quality as quality
from simkv.compute.calibration import SHAPE_FACTS, MeasuredProfile, Provenance, SourceFile
from simkv.compute.op_table import AXES, SOURCES, UNITS, OpTable, Row
from simkv.errors import InputError
from simkv.registry import did_you_mean

#: What a calibration file says of itself.
SCHEMA, SCHEMA_VERSION = "simkv.calibration", 1
#: Times that others published, derived from times of single operations, and those that `simkv calibrate` measured.
MEASURED = "measured"
KINDS = ("imported", "derived", MEASURED)

#: Grids with more places than this are told by their ends alone.
MOST_PLACES = 256

_MOST_JSON_BYTES = 1_000_000  # five times what calibration.md allows
_MOST_CSV_BYTES = 256_000_000  # uncompressed; the largest imported bundle has 2 MB

_NUMBER = (int, float)
_ANY_TEXTS = Mapping[str, str]
_ANY_COUNTS = Mapping[str, int]

#: Every key of the file and the type of its value; a list holds items of one form.
FORM: Mapping[str, Any] = {
    "schema": str,
    "schema_version": int,
    "kind": str,
    "model": {"name": str, "shape": _ANY_COUNTS},
    "device": {"name": str, "tp": int},
    "software": _ANY_TEXTS,
    "clock": _ANY_TEXTS,
    "provenance": {
        "project": str,
        "version": str,
        "licence": str,
        "files": [{"file": str, "sha256": str}],
        "imported_by": str,
    },
    "unequal_contexts": bool,
    "notes": _ANY_TEXTS,
    "ops": [
        {
            "name": str,
            "axes": [{"name": str, "unit": str, "min": _NUMBER, "max": _NUMBER, "grid": [_NUMBER]}],
            "points": int,
            "rows": [int],
            "source": str,
            "warnings": [str],
        }
    ],
    "data": {"file": str, "rows": int, "sha256": str},
}

#: The same of a measured one.
MEASURED_FORM: Mapping[str, Any] = {**FORM, "quality": quality.QUALITY_FORM}

_WORDS = {str: "text", int: "a whole number", bool: "true or false", _NUMBER: "a number"}


def read(path: Path) -> MeasuredProfile:
    """Return the calibration that a JSON file and the times beside it hold.

    Parameters
    ----------
    path : NAME.json.

    Raises
    ------
    InputError : anything that is not as it was written; one line that names the file.

    Examples
    --------
    >>> read(Path("absent.json"))
    Traceback (most recent call last):
    simkv.errors.InputError: absent.json: no such file
    """
    told = _read_json(path)
    try:
        measured = isinstance(told, dict) and told.get("kind") == MEASURED
        _check_form(told, MEASURED_FORM if measured else FORM, "")
        _check_header(told)
    except InputError as error:
        raise InputError(str(error), str(path)) from None
    data = path.parent / told["data"]["file"]
    ops = _read_times(data, told)
    try:
        _check_ops(told["ops"], ops)
        if measured:
            _check_samples(path.parent, told["quality"]["samples"])
            quality.laws(told["quality"], ops)
    except InputError as error:
        raise InputError(str(error), str(path)) from None
    source = told["provenance"]
    return MeasuredProfile(
        where=str(path),
        model_name=told["model"]["name"],
        shape_facts=told["model"]["shape"],
        device=told["device"]["name"],
        tp=told["device"]["tp"],
        software=told["software"],
        clock=told["clock"],
        provenance=Provenance(**source | {"files": tuple(SourceFile(**item) for item in source["files"])}),
        skewed=told["unequal_contexts"],
        notes=told["notes"],
        ops=ops,
        kind=told["kind"],
        quality=told.get("quality"),
    )


def _read_json(path: Path) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise InputError(f"key {key!r} stands there twice; want it once", str(path))
            found[key] = value
        return found

    def refuse(constant: str) -> NoReturn:
        raise InputError(f"want finite numbers, got {constant}", str(path))

    try:
        text = _read_bytes(path, _MOST_JSON_BYTES).decode("utf-8")
        return json.loads(text, object_pairs_hook=once, parse_constant=refuse)
    except UnicodeDecodeError:
        raise InputError("not UTF-8 text; want a calibration file", str(path)) from None
    except json.JSONDecodeError as error:
        raise InputError(f"not JSON: {error.msg}", f"{path}:{error.lineno}:{error.colno}") from None
    except (RecursionError, ValueError) as error:  # nested too deep; an integer of thousands of digits
        raise InputError(f"not a calibration file: {error}", str(path)) from None


def _read_bytes(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            raw = file.read(most + 1)
    except FileNotFoundError:
        raise InputError("no such file", str(path)) from None
    except OSError as error:
        raise InputError(f"cannot be read: {(error.strerror or str(error)).lower()}", str(path)) from None
    if len(raw) > most:
        raise InputError(f"larger than {most} bytes; want a calibration", str(path))
    return raw


# -- the form -----------------------------------------------------------------------------------------------------


def _check_form(value: Any, wanted: Any, at: str) -> None:
    """Refuse a value that is not of the wanted form; `at` is where it stands."""
    if wanted in (_ANY_TEXTS, _ANY_COUNTS):
        _check_items(value, str if wanted is _ANY_TEXTS else int, at)
    elif isinstance(wanted, Mapping):
        _check_keys(value, wanted, at)
    elif isinstance(wanted, list):
        if not isinstance(value, list):
            raise InputError(f"{at}: want a list, got {json.dumps(value)[:40]}")
        for index, item in enumerate(value):
            _check_form(item, wanted[0], f"{at}[{index}]")
    elif type(value) not in (wanted if isinstance(wanted, tuple) else (wanted,)):
        raise InputError(f"{at}: want {_WORDS[wanted]}, got {json.dumps(value)[:40]}")


def _check_keys(value: Any, wanted: Mapping[str, Any], at: str) -> None:
    if not isinstance(value, dict):
        raise InputError(f"{at or 'calibration'}: want an object with the keys {', '.join(wanted)}")
    if not at and (value.get("schema"), value.get("schema_version")) != (SCHEMA, SCHEMA_VERSION):
        found = f"{value.get('schema')!r} version {value.get('schema_version')!r}"
        raise InputError(f"want schema {SCHEMA!r} version {SCHEMA_VERSION}, got {found}")
    inside = f"{at}." if at else ""
    for key in value:
        if key not in wanted:
            hint = did_you_mean(key, list(wanted))
            raise InputError(f"{inside}{key}: unknown key{hint}; known: {', '.join(wanted)}")
    for key, form in wanted.items():
        if key not in value:
            raise InputError(f"{inside}{key}: the key is missing")
        _check_form(value[key], form, f"{inside}{key}")


def _check_items(value: Any, kind: type, at: str) -> None:
    if not isinstance(value, dict):
        raise InputError(f"{at}: want an object, got {json.dumps(value)[:40]}")
    for key, item in value.items():
        if type(item) is not kind:
            raise InputError(f"{at}.{key}: want {_WORDS[kind]}, got {json.dumps(item)[:40]}")


def _check_header(told: Mapping[str, Any]) -> None:
    if told["kind"] not in KINDS:
        raise InputError(f"kind: want one of {', '.join(KINDS)}, got {told['kind']!r}")
    if told["device"]["tp"] < 1:
        raise InputError(f"device.tp: want at least 1 GPU, got {told['device']['tp']}")
    shape = told["model"]["shape"]
    if shape and set(shape) != set(SHAPE_FACTS):
        raise InputError(f"model.shape: want none, or exactly {', '.join(SHAPE_FACTS)}")
    file = told["data"]["file"]
    if not file.endswith(".csv.gz") or file != Path(file).name:
        raise InputError(f"data.file: want the name of a .csv.gz file beside it, got {file!r}")
    if not told["ops"]:
        raise InputError("ops: want at least one operation")
    _check_all_ops(told)


def _check_all_ops(told: Mapping[str, Any]) -> None:
    last = 0
    for op in told["ops"]:
        last = _check_op(op, last)
    if last != told["data"]["rows"]:
        raise InputError(f"data.rows: want {last}, the last row of the operations, got {told['data']['rows']}")
    if "quality" in told:
        quality.check(told["quality"], [op["name"] for op in told["ops"]])


def _check_op(op: Mapping[str, Any], last: int) -> int:
    """Refuse an operation that no table is known for, or whose rows do not follow those before; return its last row."""
    name = op["name"]
    if name not in AXES:
        raise InputError(f"ops: unknown operation {name!r}{did_you_mean(name, list(AXES))}; known: {', '.join(AXES)}")
    axes = tuple(axis["name"] for axis in op["axes"])
    if axes != AXES[name]:
        raise InputError(f"ops: {name}: want the axes {', '.join(AXES[name])}, got {', '.join(axes) or 'none'}")
    for axis in op["axes"]:
        if axis["unit"] != UNITS[axis["name"]]:
            raise InputError(f"ops: {name}: {axis['name']}: want the unit {UNITS[axis['name']]}, got {axis['unit']!r}")
    if op["source"] not in SOURCES:
        raise InputError(f"ops: {name}: want a source of {', '.join(SOURCES)}, got {op['source']!r}")
    wanted = [last + 1, last + op["points"]]
    if op["points"] < 1 or op["rows"] != wanted:
        raise InputError(f"ops: {name}: want rows {wanted} for {op['points']} points, got {op['rows']}")
    return int(wanted[1])


def _check_samples(folder: Path, told: Mapping[str, Any]) -> None:
    """Refuse a file of samples that is not the one that was written."""
    if told["file"] != Path(told["file"]).name:
        raise InputError(f"quality.samples.file: want the name of a file beside it, got {told['file']!r}")
    found = hashlib.sha256(_read_bytes(folder / told["file"], _MOST_CSV_BYTES)).hexdigest()
    if found != told["sha256"]:
        raise InputError(f"{told['file']}: not the file that was written: want SHA-256 {told['sha256']}, got {found}")


# -- the times ----------------------------------------------------------------------------------------------------


def columns(ops: Sequence[str]) -> list[str]:
    """Return the columns of the table of times that holds these operations.

    Examples
    --------
    >>> columns(["act_fn", "lm_head"])
    ['op', 'tokens', 'sequences', 't_s']
    """
    used = {axis for op in ops for axis in AXES[op]}
    return ["op", *(axis for axis in UNITS if axis in used), "t_s"]


def _read_times(path: Path, told: Mapping[str, Any]) -> tuple[OpTable, ...]:
    raw = _read_bytes(path, _MOST_CSV_BYTES)
    found, wanted = hashlib.sha256(raw).hexdigest(), told["data"]["sha256"]
    if found != wanted:
        raise InputError(f"not the file that was written: want SHA-256 {wanted}, got {found}", str(path))
    lines = _unpacked(path, raw).split("\n")
    head = columns([op["name"] for op in told["ops"]])
    if lines[0] != ",".join(head):
        raise InputError(f"want the columns {','.join(head)}, got {lines[0][:200]!r}", f"{path}:1")
    rows = told["data"]["rows"]
    if len(lines) != rows + 2 or lines[-1]:
        raise InputError(f"want {rows} rows, each with its line end, got {len(lines) - 2}", str(path))
    return tuple(_read_op(op, lines, head, path) for op in told["ops"])


def _unpacked(path: Path, raw: bytes) -> str:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(raw)) as file:
            text = file.read(_MOST_CSV_BYTES + 1)
        if len(text) > _MOST_CSV_BYTES:
            raise InputError(f"larger than {_MOST_CSV_BYTES} bytes unpacked; want a table of times", str(path))
        return text.decode("ascii")
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"not a whole gzip file: {str(error).lower()}", str(path)) from None
    except UnicodeDecodeError:
        raise InputError("not a table of numbers: it is not ASCII text", str(path)) from None


def _read_op(op: Mapping[str, Any], lines: Sequence[str], head: Sequence[str], path: Path) -> OpTable:
    name, (first, last) = op["name"], op["rows"]
    places = [head.index(axis) for axis in AXES[name]]
    blank = [place for place in range(1, len(head) - 1) if place not in places]
    rows: dict[Row, Row] = {}
    for line in range(first, last + 1):
        cells = lines[line].split(",")
        if len(cells) != len(head) or cells[0] != name or any(cells[place] for place in blank):
            raise InputError(f"want a row of {name}, got {lines[line][:80]!r}", f"{path}:{line + 1}")
        point = tuple([_number(cells[place], head[place], path, line) for place in places])
        time_s = _number(cells[-1], "t_s", path, line)
        if time_s <= 0:
            raise InputError(f"t_s: want a time above 0, got {cells[-1]}", f"{path}:{line + 1}")
        if point in rows:
            raise InputError(f"{name}: the point {','.join(map(str, point))} stands there twice", f"{path}:{line + 1}")
        rows[point] = (*point, time_s)
    return OpTable(name, list(rows.values()), op["source"], tuple(op["warnings"]))


def _number(text: str, column: str, path: Path, line: int) -> float:
    """Return a number that is finite and not negative; whole ones as int."""
    if text.isdigit() and len(text) < 19:  # longer ones do not fit the columns of any result
        return int(text)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise InputError(f"{column}: want a finite number, not negative, got {text!r}", f"{path}:{line + 1}")
    return value


def axis_of(op: OpTable, axis: str) -> dict[str, Any]:
    """Return what the header says of one axis of an operation; the grid is empty where it has too many places.

    Examples
    --------
    >>> axis_of(OpTable("act_fn", [(1, 1e-6), (4, 2e-6)]), "tokens")
    {'name': 'tokens', 'unit': 'tokens', 'min': 1, 'max': 4, 'grid': [1, 4]}
    """
    grid = op.grid(axis)
    told = grid if len(grid) <= MOST_PLACES else []
    return {"name": axis, "unit": UNITS[axis], "min": grid[0], "max": grid[-1], "grid": told}


def _check_ops(told: Sequence[Mapping[str, Any]], ops: Sequence[OpTable]) -> None:
    for said, op in zip(told, ops, strict=True):
        for axis in said["axes"]:
            found = axis_of(op, axis["name"])
            if axis != found:
                wrong = next(key for key in found if axis[key] != found[key])
                raise InputError(f"ops: {op.name}: {axis['name']}: {wrong} is not what the rows of the table say")
