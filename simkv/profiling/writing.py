"""How does a calibration come to stand in two files, the same bytes each time?"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from simkv.compute.calibration import MeasuredProfile
from simkv.compute.calibration_file import SCHEMA, SCHEMA_VERSION, axis_of, columns
from simkv.compute.op_table import OpTable
from simkv.errors import InputError
from simkv.workload.output import write_lines

_DIGITS = 9  # of a time; imported ones have 6


def write(profile: MeasuredProfile, path: Path) -> None:
    """Write NAME.json and, beside it, NAME.csv.gz.

    The table appears first, and the JSON file that is bound to it only when both are complete; were the second to fail,
    an older JSON file would refuse the new table.

    Raises
    ------
    InputError : not the name of a .json file, or a folder that cannot be written.

    Examples
    --------
    >>> from simkv.compute.calibration import Provenance
    >>> of = Provenance("none", "0", "none", (), "simkv")
    >>> write(MeasuredProfile("", "toy", {}, "none", 1, {}, {}, of, False, {}, ()), Path("toy.txt"))
    Traceback (most recent call last):
    simkv.errors.InputError: toy.txt: want a name that ends in .json
    """
    if path.suffix != ".json":
        raise InputError("want a name that ends in .json", str(path))
    data = path.with_suffix(".csv.gz")
    write_lines(data, _lines(profile))
    told = header(profile, data.name, hashlib.sha256(data.read_bytes()).hexdigest())
    write_lines(path, [json.dumps(told, indent=1, ensure_ascii=False, allow_nan=False, sort_keys=True)])


def header(profile: MeasuredProfile, data: str, sha256: str) -> dict[str, Any]:
    """Return what the JSON file says.

    Parameters
    ----------
    data : name of the file of times.
    sha256 : of it.
    """
    ops, last = [], 0
    for op in profile.ops:
        ops.append(
            {
                "name": op.name,
                "axes": [axis_of(op, axis) for axis in op.axes],
                "points": len(op.rows),
                "rows": [last + 1, last + len(op.rows)],
                "source": op.source,
                "warnings": list(op.warnings),
            }
        )
        last += len(op.rows)
    known = {} if profile.quality is None else {"quality": dict(profile.quality)}
    return {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "kind": profile.kind,
        "model": {"name": profile.model_name, "shape": dict(profile.shape_facts)},
        "device": {"name": profile.device, "tp": profile.tp},
        "software": dict(profile.software),
        "clock": dict(profile.clock),
        "provenance": asdict(profile.provenance),
        "unequal_contexts": profile.skewed,
        "notes": dict(profile.notes),
        "ops": ops,
        "data": {"file": data, "rows": last, "sha256": sha256},
        **known,
    }


def _lines(profile: MeasuredProfile) -> Iterator[str]:
    head = columns([op.name for op in profile.ops])
    yield ",".join(head)
    for op in profile.ops:
        yield from _rows(op, head)


def _rows(op: OpTable, head: list[str]) -> Iterator[str]:
    places = [head.index(axis) for axis in op.axes]
    for *point, time_s in op.rows:
        cells = [op.name, *[""] * (len(head) - 2), f"{time_s:.{_DIGITS}g}"]
        for place, value in zip(places, point, strict=True):
            cells[place] = repr(value)
        yield ",".join(cells)
