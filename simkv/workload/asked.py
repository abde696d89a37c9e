"""Requests of an open loop, as an engine gets them: one at a time, in order of arrival.

For replays of many: a request is a tuple, and a file is read line by line. A line that looks as it should is taken
as it is; whatever looks unusual is judged by the reader of its format, which knows what is wrong with it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from simkv.errors import InputError
from simkv.kv.block import Run
from simkv.kv.runmap import REGION_BLOCKS
from simkv.units import MS_PER_S
from simkv.workload.readers.fields import MAX_COUNT, parse_object
from simkv.workload.readers.lines import numbered_lines
from simkv.workload.readers.mooncake import BLOCK_TOKENS, MooncakeFormat

_INTS = {int}
_LINES_AT_ONCE = 256


class Asked(NamedTuple):
    """One request.

    Attributes
    ----------
    arrival_s : [s] when the engine gets it.
    input_tokens, output_tokens : [tokens] of prompt and answer, >= 1.
    runs : ids of the full blocks of the prompt, in blocks of the engine.
    priority : lower is more urgent.
    """

    arrival_s: float
    input_tokens: int
    output_tokens: int
    runs: tuple[Run, ...] = ()
    priority: int = 0


def mooncake(path: Path, engine_block_tokens: int = 16) -> Iterator[Asked]:
    """Yield the requests of a trace in Mooncake's format, at the times that it records.

    Parameters
    ----------
    engine_block_tokens : [tokens] a block of the engine; divides the trace's 512.

    Raises
    ------
    InputError : `file:line: ...`, at the first line that is wrong.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "two.jsonl"
    >>> line = '{"timestamp": 1500, "input_length": 600, "output_length": 20, "hash_ids": [0, 4]}'
    >>> _ = path.write_text(line)
    >>> [(asked.arrival_s, asked.runs) for asked in mooncake(path)]
    [(1.5, (Run(start=0, count=32), Run(start=128, count=5)))]
    """
    if engine_block_tokens < 1 or BLOCK_TOKENS % engine_block_tokens:
        raise InputError(f"want a block that divides Mooncake's {BLOCK_TOKENS} tokens, got {engine_block_tokens}")
    reader = _Mooncake(Path(path), engine_block_tokens)
    with closing(numbered_lines(reader.path)) as lines:
        some = list(islice(lines, _LINES_AT_ONCE))
        if not some:
            raise InputError("the file is empty", str(path))
        while some:
            yield from reader.read(some)
            some = list(islice(lines, _LINES_AT_ONCE))


class _Mooncake:
    """Reads lines of one file, in order."""

    def __init__(self, path: Path, engine_block_tokens: int) -> None:
        self.path = path
        self._engine_block_tokens = engine_block_tokens
        self._last_ms: float = 0

    def read(self, lines: list[tuple[int, bytes]]) -> Iterator[Asked]:
        """Yield the requests of some lines: parsed together, which is faster, or where that fails one by one."""
        try:
            records = json.loads(b"[%b]" % b",".join([line for _, line in lines]))
        except (ValueError, RecursionError):
            records = []
        if len(records) != len(lines):
            records = [{}] * len(lines)
        size = self._engine_block_tokens
        for record, (number, line) in zip(records, lines, strict=True):
            try:
                is_usual = _is_usual(record, line, self._last_ms)
            except (TypeError, LookupError):
                is_usual = False
            if not is_usual:
                record = self._judged(line, number)  # noqa: PLW2901 - the same line, looked at with care
            self._last_ms, tokens = record["timestamp"], record["input_length"]
            runs = _engine_runs(record["hash_ids"], BLOCK_TOKENS // size, tokens // size)
            yield Asked(self._last_ms / MS_PER_S, tokens, record["output_length"] or 1, runs)

    def _judged(self, line: bytes, number: int) -> dict[str, Any]:
        """Return a line that only looks unusual; the format's own reader says what is wrong with others."""
        judge = MooncakeFormat()
        judge.last_timestamp = self._last_ms
        try:
            record = parse_object(line)
            judge.session(record, number)
        except ValueError as error:
            raise InputError(str(error), f"{self.path}:{number}") from None
        return record


def _is_usual(record: Any, line: bytes, last_ms: float) -> bool:
    """Return whether a line has Mooncake's four keys, once each, with whole numbers that fit together."""
    timestamp, tokens = record["timestamp"], record["input_length"]
    output, ids = record["output_length"], record["hash_ids"]
    return (
        type(timestamp) is type(tokens) is type(output) is int
        and type(ids) is list
        and set(map(type, ids)) == _INTS
        and len(record) == line.count(b'":') == 4
        and last_ms <= timestamp < MAX_COUNT
        and 0 < tokens < MAX_COUNT
        and 0 <= output < MAX_COUNT
        and -(-tokens // BLOCK_TOKENS) == len(ids) == len(set(ids))
        and min(ids) >= 0
        and max(ids) < REGION_BLOCKS
    )


def _engine_runs(ids: list[int], times: int, blocks: int) -> tuple[Run, ...]:
    """Return the first `blocks` engine blocks, as runs, of trace blocks that are so many times as large."""
    if not ids or not blocks:
        return ()
    start = ids[0]
    if ids[-1] - start == len(ids) - 1 and ids == list(range(start, start + len(ids))):
        return (Run(start * times, min(blocks, len(ids) * times)),)
    runs, end, left = [], start, blocks
    for block in ids:
        if block != end:
            taken = min((end - start) * times, left)
            runs.append(Run(start * times, taken))
            left -= taken
            start = block
        end = block + 1
    if left:  # the last block may be partly filled, or not named
        runs.append(Run(start * times, min((end - start) * times, left)))
    return tuple(runs)
