"""Is a cell of a table what a trace column must be? As `fields`, for text."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from simkv.units import NS_PER_S
from simkv.workload.readers.fields import MAX_COUNT, check_keys, shown

_WHOLE = re.compile(r"[0-9]{1,13}(?:\.0*)?")
_MOMENT = re.compile(
    r"(?P<whole>\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d)(?:\.(?P<part>\d{1,9}))?(?P<zone>Z|[+-]\d\d:?\d\d)?", re.ASCII
)


def cell(row: Mapping[str, Any], column: str) -> str:
    """Return the text of a column, without blanks around it."""
    if column not in row:
        raise ValueError(f"column {column!r} is missing; there are {', '.join(map(repr, row))}")
    return str(row[column]).strip()


def whole(row: Mapping[str, Any], column: str, least: int = 0) -> int:
    """Return a whole number of at least `least`; some writers put `.0` behind it.

    Examples
    --------
    >>> whole({"tokens": "12.0"}, "tokens")
    12
    """
    text = cell(row, column)
    if not _WHOLE.fullmatch(text) or not text.isascii() or (value := int(text.partition(".")[0])) < least:
        raise ValueError(f"{column}: want a whole number of at least {least}, got {shown(text)}")
    if value > MAX_COUNT:
        raise ValueError(f"{column}: want at most {MAX_COUNT}, got {shown(text)}")
    return value


def seconds(row: Mapping[str, Any], column: str) -> float:
    """Return [s] a finite time that is not negative."""
    text = cell(row, column)
    try:
        value = float(text) if "_" not in text else math.nan
    except ValueError:
        value = math.nan
    if not 0 <= value <= MAX_COUNT:
        raise ValueError(f"{column}: want seconds, a number of at least 0, got {shown(text)}")
    return value


def moment_ns(row: Mapping[str, Any], column: str) -> int:
    """Return [ns since 1970, UTC] a date and time with up to nine digits of a second; without a zone it is UTC.

    Examples
    --------
    >>> at = [moment_ns({"t": text}, "t") for text in ("2023-11-16 18:15:46.6805900", "2023-11-16T18:15:47+00:00")]
    >>> at[1] - at[0]
    319410000
    """
    text = cell(row, column)
    found = _MOMENT.fullmatch(text)
    try:
        if not found:
            raise ValueError
        zone = (found["zone"] or "Z").replace("Z", "+00:00")
        at = datetime.fromisoformat(found["whole"] + zone) - datetime.fromtimestamp(0, UTC)
    except (ValueError, OverflowError):
        wanted = "a date and time such as 2023-11-16 18:15:46.6805900"
        raise ValueError(f"{column}: want {wanted}, got {shown(text)}") from None
    whole_s = at.days * 86_400 + at.seconds
    return whole_s * NS_PER_S + int((found["part"] or "").ljust(9, "0"))


def has(row: Mapping[str, Any], column: str) -> bool:
    """Return whether a row has something in a column."""
    return bool(str(row.get(column, "")).strip())


def check_columns(first: Mapping[str, Any], required: tuple[str, ...], optional: tuple[str, ...]) -> None:
    """Refuse a table without a column or with one that is not known.

    Examples
    --------
    >>> check_columns({"Time": ""}, ("Timestamp",), ())
    Traceback (most recent call last):
    ValueError: column 'Timestamp' is missing; there are 'Time'
    """
    for column in required:
        cell(first, column)
    check_keys(first, required, optional, "columns")
