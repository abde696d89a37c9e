"""Do measured transfers of KV follow alpha + descriptors x delta + bytes / B? Any CSV of them, row by row left out."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from simkv.errors import InputError
from simkv.registry import did_you_mean
from simkv.validate.leave_one_out import fitted, foretold

_COLUMNS = ("bytes", "seconds", "descriptors", "label")
_REQUIRED = ("bytes", "seconds")
_FEWEST = 3  # rows of a label: a line through two is exact, and foretells nothing


class Transfer(NamedTuple):
    """One measured transfer.

    Attributes
    ----------
    label : rows of one label share a law; "" where the file has none.
    size : [bytes]
    descriptors : pieces that it was posted in; 0 where the file does not say.
    seconds : [s]
    """

    label: str
    size: float
    descriptors: float
    seconds: float


@dataclass(frozen=True)
class Fits:
    """What was fitted to each label, and how well it foretells what was left out.

    Attributes
    ----------
    rows : one a measurement: label, bytes, descriptors, measured_s, foretold_s, error_ratio.
    cells : one a label: rows, alpha_s, delta_s, bytes_per_s, errors.
    summary : errors over all rows.
    """

    rows: list[dict[str, Any]]
    cells: list[dict[str, Any]]
    summary: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON prints it."""
        return {"schema_version": 1, "rows": self.rows, "summary": self.summary, "cells": self.cells}


def validate(path: Path) -> Fits:
    """Fit each label of a CSV file, and foretell each of its rows from the others.

    Parameters
    ----------
    path : columns `bytes` and `seconds`, and optionally `descriptors` and `label`, in any order.

    Raises
    ------
    InputError : another column, a number that is none, or too few rows of a label.

    Examples
    --------
    >>> validate(Path("absent.csv"))
    Traceback (most recent call last):
    simkv.errors.InputError: absent.csv: no such file
    """
    by_label: dict[str, list[Transfer]] = {}
    for transfer in _read(path):
        by_label.setdefault(transfer.label, []).append(transfer)
    rows: list[dict[str, Any]] = []
    cells: list[dict[str, Any]] = []
    for label, transfers in by_label.items():
        found, cell = _fit(label, transfers, path)
        rows += found
        cells.append(cell)
    return Fits(rows, cells, _errors([row["error_ratio"] for row in rows]))


def _fit(label: str, transfers: list[Transfer], path: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    pieces = len({transfer.descriptors for transfer in transfers}) > 1
    wanted = _FEWEST + pieces
    if len(transfers) < wanted:
        of = f" of {label!r}" if label else ""
        raise InputError(f"want at least {wanted} rows{of} to leave one out, got {len(transfers)}", str(path))
    terms = [[1.0, each.size, *([each.descriptors] if pieces else [])] for each in transfers]
    times = [each.seconds for each in transfers]
    rows: list[dict[str, Any]] = [
        {
            "label": label,
            "bytes": each.size,
            "descriptors": each.descriptors,
            "measured_s": each.seconds,
            "foretold_s": float(said),
            "error_ratio": float(said) / each.seconds - 1.0,
        }
        for each, said in zip(transfers, foretold(terms, times), strict=True)
    ]
    law = fitted(terms, times)
    cell = {
        "label": label,
        "alpha_s": float(law[0]),
        "delta_s": float(law[2]) if pieces else None,
        "bytes_per_s": 1.0 / float(law[1]) if law[1] else None,
        **_errors([row["error_ratio"] for row in rows]),
    }
    return rows, cell


def _errors(ratios: list[float]) -> dict[str, float]:
    absolute = np.abs(ratios)
    return {
        "n": len(ratios),
        "median_abs_error_ratio": float(np.median(absolute)),
        "p95_abs_error_ratio": float(np.percentile(absolute, 95)),
        "max_abs_error_ratio": float(absolute.max()),
    }


def _read(path: Path) -> list[Transfer]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            _check_columns(list(reader.fieldnames or ()), path)
            found = [_transfer(row, f"{path}:{reader.line_num}") for row in reader]
    except FileNotFoundError:
        raise InputError("no such file", str(path)) from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot be read as CSV: {str(error).lower()}", str(path)) from None
    if not found:
        raise InputError("want at least one row, got none", str(path))
    return found


def _check_columns(names: list[str], path: Path) -> None:
    for name in names:
        if name not in _COLUMNS:
            hint = did_you_mean(name, list(_COLUMNS))
            raise InputError(f"unknown column {name!r}{hint}; known: {', '.join(_COLUMNS)}", f"{path}:1")
    for name in _REQUIRED:
        if name not in names:
            raise InputError(f"want the column {name!r}, got {', '.join(names) or 'none'}", f"{path}:1")


def _transfer(row: dict[str, str], where: str) -> Transfer:
    if None in row or None in row.values():
        raise InputError("want as many cells as columns", where)
    descriptors = _number(row, "descriptors", where) if "descriptors" in row else 0.0
    seconds = _number(row, "seconds", where)
    if not seconds:
        raise InputError("seconds: want a time above 0, got 0", where)
    return Transfer(row.get("label", ""), _number(row, "bytes", where), descriptors, seconds)


def _number(row: dict[str, str], column: str, where: str) -> float:
    try:
        value = float(row[column])
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise InputError(f"{column}: want a finite number, not negative, got {row[column]!r}", where)
    return value
