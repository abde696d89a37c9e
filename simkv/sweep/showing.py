"""What a sweep or a search found, as text for people: as wide as the terminal, however many arms and points."""

from __future__ import annotations

import math
import shutil
import textwrap
from collections import Counter
from collections.abc import Callable, Sequence

import pandas as pd

from simkv.errors import InputError
from simkv.report.front import by_point
from simkv.report.layout import UNDEFINED, WIDTH, cut, decimals, grid
from simkv.report.winners import best_by_point
from simkv.sweep.points import Sweep, as_written
from simkv.sweep.searching import Found, Search
from simkv.units import format_bytes, format_seconds

_TTFT = "ttft_s.mean"
_LONGEST_VALUE = 24  # characters of a value of a path
_LONGEST_HEAD = 16  # of the name of an arm or path
_CERTAIN, _LOWEST = "*", "~"


def sweep_text(sweep: Sweep, points: pd.DataFrame, failures: pd.DataFrame, width: int | None = None) -> str:
    """Return points x arms of mean TTFT, the best arm of each point marked, and the failed points below.

    Parameters
    ----------
    width : [characters] to keep to, None = the terminal's. Where not all fits, cells lose their intervals, then the
        arms stand in several blocks.
    """
    count = f"{len(sweep.points)} point{'' if len(sweep.points) == 1 else 's'}"
    lines = [f"{sweep.name}: mean TTFT [s], {count}, {len(failures)} failed"]
    if len(points):
        lines += _table(sweep, points, width or _terminal())
    return "\n".join([*lines, *_failed(sweep.paths, failures)])


def search_text(planned: Search, found: Found, trials: int) -> str:
    """Return what no other point beats, and the failed points below."""
    metrics = " and ".join(planned.minimise)
    tried = found.points["point_id"].nunique() + len(found.failures)
    said = (
        f"{planned.name}, arm {planned.arm}: {len(found.front)} of {tried} points are beaten by no other in {metrics} "
        f"({trials} trials, sampler {planned.sampler}, {len(found.failures)} failed{_lost(found)})"
    )
    lines = textwrap.wrap(said, _terminal(), subsequent_indent="  ")
    if len(found.front):
        columns = _path_columns(found.front, planned.paths)
        for metric in planned.minimise:
            ends = found.front[[metric, f"{metric}_low", f"{metric}_high"]].itertuples(index=False)
            columns[metric] = [_with_unit(metric, *row) for row in ends]
        lines += grid(columns)
    return "\n".join([*lines, *_failed(planned.paths, found.failures)])


def _terminal() -> int:
    return shutil.get_terminal_size((WIDTH, 24)).columns


def _lost(found: Found) -> str:
    table = by_point(found.points, [])
    count = table[table["lost"]]["point_id"].nunique()
    return f", {count} lost requests" if count else ""


def _table(sweep: Sweep, points: pd.DataFrame, width: int) -> list[str]:
    table = by_point(points, [_TTFT])
    arms = list(dict.fromkeys(table["arm"]))
    marks, told = _winners(points)
    rows = table.drop_duplicates("point_id")
    digits = decimals(value for value in table[_TTFT] if not math.isnan(value))
    if table["lost"].any():
        told = [*told, "! lost requests (rejected, timed out, or over 1 % unfinished), which no mean includes"]
    chosen = table[["point_id", "arm", _TTFT, f"{_TTFT}_high", "lost"]]
    cells = {
        (point, arm): (value, high - value, marks.get((point, arm), "") + ("!" if lost else ""))
        for point, arm, value, high, lost in chosen.itertuples(index=False)
    }

    def block(of: Sequence[str], with_interval: bool) -> list[str]:
        columns = _path_columns(rows, sweep.paths)
        for arm in of:
            found = [cells.get((point, arm), (math.nan, math.nan, "")) for point in rows["point_id"]]
            columns[cut(arm, _LONGEST_HEAD)] = [_cell(*cell, digits, with_interval) for cell in found]
        return grid(columns)

    lines = block(arms, True)
    if max(map(len, lines)) > width:
        told = [*told, "intervals: points.parquet, or --json"]
        lines = "\n\n".join("\n".join(part) for part in _folded(block, arms, width)).split("\n")
    return [*lines, "", *(part for line in told for part in textwrap.wrap(line, width, subsequent_indent="  "))]


def _folded(block: Callable[[Sequence[str], bool], list[str]], arms: Sequence[str], width: int) -> list[list[str]]:
    """Return as few blocks as the width allows, of as many arms each."""
    for count in range(1, len(arms) + 1):
        each = math.ceil(len(arms) / count)
        parts = [block(arms[begun : begun + each], False) for begun in range(0, len(arms), each)]
        if max(len(line) for part in parts for line in part) <= width:
            return parts
    return [block([arm], False) for arm in arms]


def _winners(points: pd.DataFrame) -> tuple[dict[tuple[str, str], str], list[str]]:
    """Return the mark of each point's best arm, and what the marks mean."""
    try:
        cells = best_by_point(points, _TTFT) if points["arm"].nunique() > 1 else {}
    except InputError:  # no arm may be the best
        cells = {}
    if not cells:
        return {}, []
    sure = {point: cell.p_holm is not None and not cell.is_open for point, cell in cells.items()}
    wins = Counter(cell.best for cell in cells.values())
    certain = Counter(cell.best for point, cell in cells.items() if sure[point])
    marks = {(point, cell.best): _CERTAIN if sure[point] else _LOWEST for point, cell in cells.items()}
    told = ", ".join(f"{arm} {count} ({certain[arm]} certain)" for arm, count in wins.most_common())
    return marks, [
        f"{_LOWEST} lowest of the arms that can be built and keep the KV as it is, {_CERTAIN} at 95 % certainty",
        f"lowest at: {told}",
    ]


def _path_columns(rows: pd.DataFrame, paths: Sequence[str]) -> dict[str, list[str]]:
    """Return the columns of values, each under the shortest end of its path that is its own."""
    heads = [_head(path, paths) for path in paths]
    return {
        head: [cut(_plain(value), _LONGEST_VALUE) for value in rows[path]]
        for head, path in zip(heads, paths, strict=True)
    }


def _head(path: str, paths: Sequence[str]) -> str:
    """Return the last two words of a path, or more where another ends alike."""
    words = path.split(".")
    for count in range(2, len(words)):
        end = ".".join(words[-count:])
        if sum(other == end or other.endswith(f".{end}") for other in paths) == 1:
            return end
    return path


def _plain(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else as_written(value)


def _cell(value: float, half: float, mark: str, digits: int, with_interval: bool) -> str:
    if math.isnan(value):
        return f"{UNDEFINED}  "
    interval = f" +-{half:.{digits}f}" if with_interval and not math.isnan(half) else ""
    return f"{value:.{digits}f}{interval}{mark:<2}"


def _with_unit(metric: str, value: float, low: float, high: float) -> str:
    """Return a value and the ends of its interval for people."""
    name = metric.partition(".")[0]
    tell = format_seconds if name.endswith("_s") else format_bytes if "_bytes" in name else "{:.4g}".format
    ends = "" if math.isnan(low) else f" [{tell(low)}, {tell(high)}]"
    return tell(value) + ends


def _failed(paths: Sequence[str], failures: pd.DataFrame) -> list[str]:
    told = [
        "failed: " + ", ".join(f"{path}={row[path]}" for path in paths) + f": {row['error']}"
        for row in failures.to_dict("records")
    ]
    return [*told, "failed points are not run again, unless --retry-failed says so"] if told else []
