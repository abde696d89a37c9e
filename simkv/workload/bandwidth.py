"""What do recorded bandwidth files of other makes say? Read here, for `trace convert` to write as a series.

Two kinds of file: stamps of delivery opportunities (mahimahi, Saturator), and tables of a time and a rate. What a file
does not say (whether it measured what the link can carry, or what one transfer got) is asked for, never guessed.
"""

from __future__ import annotations

import csv
import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from simkv.errors import InputError
from simkv.registry import did_you_mean
from simkv.units import BITS_PER_BYTE, MS_PER_S, parse_bps, parse_seconds
from simkv.workload.readers import fields
from simkv.workload.readers.lines import numbered_lines
from simkv.workload.series import KINDS, Series, SeriesKind

#: [bytes] of one delivery opportunity: "each line represents an opportunity for one MTU-sized packet" (mm-link(1)).
OPPORTUNITY_BYTES = 1500
_BITS = BITS_PER_BYTE * OPPORTUNITY_BYTES

#: How long a step of a series made from stamps is, unless told otherwise.
DEFAULT_STEP = "100 ms"
PARAMS = ("step", "trace", "column", "kind")

_STAMP = re.compile(rb"\s*([0-9]{1,12})\s*")  # 30 years of milliseconds
_TIMES = ("t_s", "time_s", "timestamp", "Timestamp")
_DATES = ("%Y-%m-%d %H:%M:%S", "%Y.%m.%d_%H.%M.%S")
#: Columns that hold a rate, and [bit/s] one of it. `DL_bitrate` and `UL_bitrate` count kbit/s (Raca et al., MMSys'20).
_RATES = {
    **{"bps": parse_bps("1 bit/s"), "kbps": parse_bps("1 kbit/s"), "mbps": parse_bps("1 Mbit/s")},
    **{"dl_mbps": parse_bps("1 Mbit/s"), "ul_mbps": parse_bps("1 Mbit/s")},
    **{"DL_bitrate": parse_bps("1 kbit/s"), "UL_bitrate": parse_bps("1 kbit/s")},
}
_MISSING = ("", "-")
_FASTEST_BPS = 1e15  # a thousand times the fastest link there is: a mistake in the unit
_SHOWN_TRACES = 3


def read_foreign(path: Path, params: Mapping[str, str]) -> Series:
    r"""Read a bandwidth file that is not simkv's own; plain, gzip or xz, its form told from its first line.

    Parameters
    ----------
    params : of stamps `step`, as in "20 ms"; of a table `column`, the rate wanted, `trace`, where it holds several,
        and `kind`, "capacity" or "achieved".

    Returns
    -------
    A series whose provenance says what was assumed.

    Raises
    ------
    InputError : neither form, a line that is wrong, or a choice that only a person can make.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "three.down"
    >>> _ = path.write_text("0\n50\n200\n")
    >>> read_foreign(path, {"step": "100 ms"}).rates_bps  # the last stamp is the first of the next round
    [360000.0, 0.0]
    """
    for key in params:
        if key not in PARAMS:
            raise InputError(
                f"a bandwidth file has no parameter {key!r}{did_you_mean(key, list(PARAMS))};"
                f" it takes: {', '.join(PARAMS)}"
            )
    with closing(numbered_lines(path)) as lines:
        number, first = next(lines, (0, b""))
        if not number:
            raise InputError("the file is empty", str(path))
        if first.startswith(b"#"):
            raise InputError("is a series of simkv's own already", str(path))
        if _STAMP.fullmatch(first):
            _refuse(path, params, ("trace", "column", "kind"), "stamps of delivery opportunities")
            step_s = _step(params.get("step", DEFAULT_STEP))
            return from_stamps(_stamps(path, itertools.chain([(number, first)], lines)), step_s, path.name)
        _refuse(path, params, ("step",), "a table of rates")
        return _Table(path, first, params).series(lines)


def from_stamps(stamps_ms: Iterable[int], step_s: float, name: str) -> Series:
    """Return the capacity that delivery opportunities are, in equal steps that fill the recording exactly.

    Over any whole steps the series carries 1,500 bytes for each stamp in them. The recording is as long as its last
    stamp, which is the first moment of the next round.

    Parameters
    ----------
    stamps_ms : [ms] in order, with repetitions.
    step_s : [s] about how long a step is.
    name : of where they come from, for messages and the provenance.

    Raises
    ------
    InputError : no time passes.

    Examples
    --------
    >>> from_stamps([5, 5, 10], 0.005, "a").rates_bps
    [2400000.0, 4800000.0]
    """
    counts: dict[int, int] = {}
    for stamp in stamps_ms:
        counts[stamp] = counts.get(stamp, 0) + 1
    length_ms = max(counts, default=0)
    if not length_ms:
        raise InputError("all stamps are 0: the recording takes no time", name)
    steps = max(1, round(length_ms / (step_s * MS_PER_S)))
    in_step: dict[int, int] = {}
    for stamp, count in counts.items():
        step = (stamp % length_ms) * steps // length_ms
        in_step[step] = in_step.get(step, 0) + count
    length_s = length_ms / MS_PER_S
    changes = sorted(_changes(in_step, steps))
    provenance: dict[str, object] = {
        "converted_from": name,
        "format": "mahimahi",
        "stamps": sum(counts.values()),
        "step_s": length_s / steps,
        "assumed": f"a line is an opportunity to send {OPPORTUNITY_BYTES} bytes on the wire; the recording repeats",
    }
    return Series(
        [step * length_s / steps for step in changes],
        [in_step.get(step, 0) * _BITS * steps / length_s for step in changes],
        "capacity",
        provenance,
    )


def _changes(in_step: Mapping[int, int], steps: int) -> set[int]:
    """Return the steps that begin a row: where the count changes, and the last two, which say how long the last is."""
    found = {0, max(0, steps - 2), steps - 1}
    for step, count in in_step.items():
        if in_step.get(step - 1) != count:
            found.add(step)
        if step + 1 < steps:
            found.add(step + 1)
    return found


def _stamps(path: Path, lines: Iterable[tuple[int, bytes]]) -> Iterator[int]:
    before = 0
    for number, line in lines:
        match = _STAMP.fullmatch(line)
        if match is None:
            got = fields.shown(line.decode(errors="replace"))
            raise InputError(f"want a whole number of milliseconds, got {got}", f"{path}:{number}")
        stamp = int(match[1])
        if stamp < before:
            raise InputError(f"stamps must not decrease, got {stamp} after {before}", f"{path}:{number}")
        before = stamp
        yield stamp


def _step(text: str) -> float:
    try:
        step_s = parse_seconds(text)
    except InputError as error:
        raise InputError(error.message, "step") from None
    if not step_s >= 1 / MS_PER_S:
        raise InputError(f"want at least the 1 ms of the stamps, got {text!r}", "step")
    return step_s


def _refuse(path: Path, params: Mapping[str, str], without_use: tuple[str, ...], what: str) -> None:
    for key in without_use:
        if key in params:
            raise InputError(f"holds {what}, which take no {key!r}", str(path))


@dataclass(slots=True)
class _Spread:
    """What a table left to be decided, as it turned out."""

    rows: int = 0
    without_rate: int = 0
    at_one_instant: int = 0
    longest_step_s: float = 0.0


class _Table:
    """A table with a column of times and at least one of rates."""

    def __init__(self, path: Path, first: bytes, params: Mapping[str, str]) -> None:
        self._path = path
        self._params = params
        self._names = _cells(path, 1, first)
        self._time = self._one(_TIMES, "time", None)
        self._rate = self._one(tuple(_RATES), "rate", params.get("column"))
        self._id = self._names.index("trace_id") if "trace_id" in self._names else None
        if self._id is None and "trace" in params:
            raise InputError("has no column 'trace_id' to choose a trace by", f"{path}:1")

    def _one(self, known: tuple[str, ...], what: str, wanted: str | None) -> int:
        """Return where the one column of a kind is."""
        there = [name for name in known if name in self._names]
        if wanted is not None and wanted not in there:
            got = f"{did_you_mean(wanted, there)}; there are: {', '.join(there)}" if there else ""
            raise InputError(f"has no column {wanted!r} of a {what}{got}", f"{self._path}:1")
        if not there:
            raise InputError(
                "no bandwidth file that simkv knows: want whole milliseconds, one a line (mahimahi), or a table with a"
                f" column {' or '.join(_TIMES)} and one of {', '.join(_RATES)}",
                f"{self._path}:1",
            )
        if wanted is None and len(there) > 1 and what == "rate" and there[0].lower().startswith("dl"):
            there = there[:1]  # the downlink is what KV comes over; the provenance names it
        if wanted is None and len(there) > 1:
            raise InputError(
                f"has several columns of a {what}; want column= one of {', '.join(there)}", str(self._path)
            )
        return self._names.index(wanted or there[0])

    def series(self, lines: Iterable[tuple[int, bytes]]) -> Series:
        """Return the rates of one trace from its first row on."""
        kind = self._kind()
        spread = _Spread()
        times_s: list[float] = []
        rates: list[list[float]] = []
        for time_s, rate_bps in self._rows(lines, spread):
            if times_s and time_s == times_s[-1]:
                rates[-1].append(rate_bps)
                spread.at_one_instant += 1
                continue
            times_s.append(time_s)
            rates.append([rate_bps])
        if not times_s:
            raise InputError("holds no row with a rate", str(self._path))
        begin_s = times_s[0]
        times_s = [time_s - begin_s for time_s in times_s]
        rates_bps = [math.fsum(found) / len(found) for found in rates]
        if not any(rates_bps):
            raise InputError("every rate of the series is 0: nothing could ever be sent", str(self._path))
        spread.longest_step_s = max((b - a for a, b in itertools.pairwise(times_s)), default=0.0)
        return Series(times_s, rates_bps, kind, self._provenance(spread))

    def _kind(self) -> SeriesKind:
        """Return what the rates measure, which only the Irish data tells by itself (semantics H3)."""
        told = self._params.get("kind")
        if told is not None:
            try:
                return cast("SeriesKind", fields.one_of(told, KINDS, "kind"))
            except ValueError as error:
                raise InputError(str(error)) from None
        if {"network_mode", "dl_mbps"} <= set(self._names):
            saturated = self._names[self._rate] == "dl_mbps" and self._params.get("trace", "").startswith("Download")
            return "capacity" if saturated else "achieved"
        raise InputError(
            "does not say what it measured; want kind=capacity (what the link can carry: a saturating sender) or"
            " kind=achieved (what one transfer got out of it)",
            str(self._path),
        )

    def _rows(self, lines: Iterable[tuple[int, bytes]], spread: _Spread) -> Iterator[tuple[float, float]]:
        """Yield [s] time and [bit/s] rate of each row of the trace that is wanted."""
        seen: dict[str, None] = {}  # a dict keeps the order of the names
        before_s, before = -math.inf, ""
        for number, line in lines:
            cells = _cells(self._path, number, line)
            try:
                if not self._is_wanted(cells, seen):
                    continue
                spread.rows += 1
                if cells[self._rate].strip() in _MISSING:
                    spread.without_rate += 1
                    continue
                time_s = _time(cells[self._time], self._names[self._time])
                if time_s < before_s:
                    raise ValueError(f"times must not decrease, got {cells[self._time]} after {before}")
                before_s, before = time_s, cells[self._time]
                yield time_s, _rate(cells[self._rate], self._names[self._rate])
            except ValueError as error:
                raise InputError(str(error), f"{self._path}:{number}") from None
        self._check_chosen(list(seen))

    def _is_wanted(self, cells: list[str], seen: dict[str, None]) -> bool:
        """Return whether a row is of the trace that is wanted, or of the first, and add its name to those seen."""
        if len(cells) != len(self._names):
            raise ValueError(f"want {len(self._names)} columns, got {len(cells)}")
        if self._id is None:
            return True
        seen.setdefault(cells[self._id])
        return cells[self._id] == self._params.get("trace", next(iter(seen)))

    def _check_chosen(self, seen: list[str]) -> None:
        wanted = self._params.get("trace")
        shown = ", ".join(map(repr, seen[:_SHOWN_TRACES]))  # in full: they are there to be copied
        if wanted is None and len(seen) > 1:
            raise InputError(f"holds {len(seen)} traces; want trace= one of them, such as {shown}", str(self._path))
        if wanted is not None and wanted not in seen:
            hint = did_you_mean(wanted, seen) or f"; there are {len(seen)}, such as {shown}"
            raise InputError(f"holds no trace {fields.shown_text(wanted)}{hint}", str(self._path))

    def _provenance(self, spread: _Spread) -> dict[str, object]:
        facts: dict[str, object] = {"converted_from": self._path.name, "format": "table"}
        facts |= {key: self._params[key] for key in ("trace",) if key in self._params}
        facts |= {"column": self._names[self._rate], "rows": spread.rows, "longest_step_s": spread.longest_step_s}
        if spread.without_rate:
            facts["rows_without_rate"] = spread.without_rate
        if spread.at_one_instant:
            facts["rows_at_one_instant"] = spread.at_one_instant
        facts["assumed"] = "a rate holds until the next row; rows of one instant count as their mean"
        return facts


def _cells(path: Path, number: int, line: bytes) -> list[str]:
    try:
        text = line.decode()
        if '"' not in text:
            return text.split(",")
        return next(csv.reader([text], strict=True), [])
    except UnicodeDecodeError as error:
        raise InputError(f"not UTF-8 at byte {error.start + 1} of the line", f"{path}:{number}") from None
    except csv.Error as error:
        raise InputError(f"no row of a table: {error}", f"{path}:{number}") from None


def _time(text: str, column: str) -> float:
    """Return [s] a time: a number, or a date and time, of which only differences count."""
    value = _number(text)
    if value is not None:
        return value
    for form in _DATES:
        try:
            return datetime.strptime(text.strip(), form).replace(tzinfo=UTC).timestamp()
        except ValueError:
            continue
    raise ValueError(f"{column}: want seconds or a date such as 2025-04-06 08:30:00, got {fields.shown(text)}")


def _rate(text: str, column: str) -> float:
    value = _number(text)
    if value is None or value * _RATES[column] > _FASTEST_BPS:
        raise ValueError(f"{column}: want a finite rate of at least 0, got {fields.shown(text)}")
    return value * _RATES[column]


def _number(text: str) -> float | None:
    """Return a finite number that is not negative; None = it is none, or one of Python's own extras."""
    try:
        value = float(text) if "_" not in text else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None
