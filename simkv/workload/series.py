"""What can a link carry from when on? Reads and writes bandwidth series, a header line and CSV.

A rate holds from its time to the next one; the last holds on. What becomes of a series on a link (rescaled,
looped, started at an offset) is the link's business.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from simkv.errors import InputError
from simkv.remote import local
from simkv.workload.output import write_lines
from simkv.workload.readers import fields
from simkv.workload.readers.lines import numbered_lines

NAME = "simkv.series"
VERSION = 1
COLUMNS = "t_s,bps"
KINDS = ("capacity", "achieved")

SeriesKind = Literal["capacity", "achieved"]


@dataclass(frozen=True, slots=True)
class Series:
    """Rates over time.

    Attributes
    ----------
    times_s : [s] strictly increasing, the first is 0.
    rates_bps : [bit/s] what holds from each time on; 0 is an outage.
    kind : "capacity" = what the link can carry; "achieved" = what one transfer got out of it (semantics E1).
    provenance : where it comes from: free-form, JSON-able.
    """

    times_s: list[float]
    rates_bps: list[float]
    kind: SeriesKind
    provenance: dict[str, object] = field(default_factory=dict)


def read_series(path: Path | str) -> Series:
    """Read a bandwidth series; plain, gzip or xz.

    Raises
    ------
    InputError : `file:line: ...` at the first line that is wrong.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "steps.csv"
    >>> write_series(Series([0.0, 2.5], [1e6, 0.0], "capacity"), path)
    >>> read_series(path).rates_bps
    [1000000.0, 0.0]
    """
    path = local(path)
    with closing(numbered_lines(path)) as lines:
        kind, provenance = _located(path, *next(lines, (1, b"")), _header)
        _located(path, *next(lines, (2, b"")), _columns)
        times_s: list[float] = []
        rates_bps: list[float] = []
        for number, line in lines:
            try:
                time_s, rate_bps = _row(line)
                _check_time(time_s, times_s)
            except ValueError as error:
                raise InputError(str(error), f"{path}:{number}") from error
            times_s.append(time_s)
            rates_bps.append(rate_bps)
    if not times_s:
        raise InputError("the series has no rows", str(path))
    if not any(rates_bps):
        raise InputError("every rate of the series is 0: nothing could ever be sent", str(path))
    return Series(times_s, rates_bps, kind, provenance)


def _located(path: Path, number: int, line: bytes, parse: Any) -> Any:
    try:
        return parse(line)
    except ValueError as error:
        raise InputError(str(error), f"{path}:{number}") from error


def _header(line: bytes) -> tuple[SeriesKind, dict[str, object]]:
    """Return kind and provenance of the `# {...}` line."""
    if not line.startswith(b"#"):
        example = f'# {{"format": "{NAME}", "version": {VERSION}, "kind": "capacity"}}'
        raise ValueError(f"want a first line such as {example}; `simkv trace convert` makes a series of other files")
    record = fields.parse_object(line[1:])
    fields.check_keys(record, ("format", "version", "kind"), ("provenance",))
    if record["format"] != NAME:
        raise ValueError(f"format: want {NAME!r}, got {fields.shown(record['format'])}")
    if type(record["version"]) is not int or record["version"] != VERSION:
        raise ValueError(f"version: this simkv reads version {VERSION}, got {fields.shown(record['version'])}")
    kind = fields.one_of(record["kind"], KINDS, "kind")
    return cast("SeriesKind", kind), fields.provenance(record.get("provenance", {}))


def _columns(line: bytes) -> None:
    if line != COLUMNS.encode():
        raise ValueError(f"want the line {COLUMNS!r}, got {fields.shown(line.decode(errors='replace'))}")


def _row(line: bytes) -> tuple[float, float]:
    """Return time and rate of one row."""
    time, comma, rate = line.partition(b",")
    if not comma or b"," in rate:
        raise ValueError(f"want two columns, {COLUMNS}, got {fields.shown(line.decode(errors='replace'))}")
    return _number(time, "t_s"), _number(rate, "bps")


def _number(text: bytes, column: str) -> float:
    """Return a finite number that is not negative; Python's own extras (`1_000`, `inf`) are refused."""
    try:
        value = float(text) if b"_" not in text else math.nan
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        shown = fields.shown(text.decode(errors="replace"))
        raise ValueError(f"{column}: want a finite number of at least 0, got {shown}")
    return value


def _check_time(time_s: float, before: list[float]) -> None:
    if not before and time_s != 0:
        raise ValueError(f"t_s: a series starts at 0, got {time_s:g}")
    if before and time_s <= before[-1]:
        raise ValueError(f"t_s: must increase, got {time_s:g} after {before[-1]:g}")


def write_series(series: Series, path: Path) -> None:
    """Write a series; gzip or xz when the name ends so. Equal series give equal bytes."""
    write_lines(path, _lines(series))


def _lines(series: Series) -> Iterator[str]:
    header: dict[str, object] = {"format": NAME, "version": VERSION, "kind": series.kind}
    if series.provenance:
        header["provenance"] = series.provenance
    yield f"# {json.dumps(header)}"
    yield COLUMNS
    for time_s, rate_bps in zip(series.times_s, series.rates_bps, strict=True):
        yield f"{_short(time_s)},{_short(rate_bps)}"


def _short(value: float) -> str:
    """Return a number without the `.0` of a whole one; it reads back to the same number."""
    return str(int(value)) if value == int(value) else repr(value)


def mean_bps(series: Series) -> float:
    """Return [bit/s] the mean over time; the last rate counts for as long as the one before it.

    Examples
    --------
    >>> mean_bps(Series([0.0, 1.0, 2.0], [0.0, 3e6, 3e6], "capacity"))
    2000000.0
    """
    spans_s = _spans(series.times_s)
    return math.fsum(rate * span for rate, span in zip(series.rates_bps, spans_s, strict=True)) / math.fsum(spans_s)


def _spans(times_s: list[float]) -> list[float]:
    """Return [s] how long each rate holds."""
    if len(times_s) == 1:
        return [1.0]
    spans = [after - before for before, after in itertools.pairwise(times_s)]
    return [*spans, spans[-1]]


def check(path: Path) -> dict[str, object]:
    """Read a whole series and return facts about it: kind, rows, length, mean, extremes and outage share."""
    series = read_series(path)
    spans_s = _spans(series.times_s)
    outage_s = math.fsum(span for rate, span in zip(series.rates_bps, spans_s, strict=True) if rate == 0)
    return {
        "format": NAME,
        "kind": series.kind,
        "rows": len(series.times_s),
        "duration_s": math.fsum(spans_s),
        "mean_bps": mean_bps(series),
        "min_bps": min(series.rates_bps),
        "max_bps": max(series.rates_bps),
        "outage_ratio": outage_s / math.fsum(spans_s),
        "provenance": series.provenance,
    }
