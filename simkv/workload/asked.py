"""Requests of an open loop, as an engine gets them: one at a time, in order of arrival.

For replays of many: a request is a tuple, and a file is read line by line. A line that looks as it should is taken
as it is; whatever looks unusual is judged by the reader of its format, which knows what is wrong with it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from simkv.errors import InputError
from simkv.kv.block import Run
from simkv.workload.readers.fields import MAX_COUNT, parse_object
from simkv.workload.readers.lines import numbered_lines
from simkv.workload.readers.mooncake import BLOCK_TOKENS, MooncakeFormat, runs_of

_MS_PER_S = 1000  # Mooncake's timestamps
_INTS = {int}
_scan = json.JSONDecoder().scan_once


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


def in_blocks(runs: Iterable[Run], block_tokens: int, engine_block_tokens: int, input_tokens: int) -> tuple[Run, ...]:
    """Return runs of a trace's blocks in an engine's smaller ones; only those that the prompt fills.

    Parameters
    ----------
    block_tokens : [tokens] a block of the trace, a multiple of the next.
    engine_block_tokens : [tokens] a block of the engine.
    input_tokens : [tokens] of the prompt; the last block of the trace may be partly filled.

    Examples
    --------
    >>> in_blocks([Run(0, 1), Run(7, 2)], 64, 16, 150)
    (Run(start=0, count=4), Run(start=28, count=5))
    """
    times, left = block_tokens // engine_block_tokens, input_tokens // engine_block_tokens
    found: list[Run] = []  # most prompts have one run or few
    for start, count in runs:
        taken = min(count * times, left)
        if taken:
            found.append(Run(start * times, taken))
        left -= taken
    return tuple(found)


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
    if BLOCK_TOKENS % engine_block_tokens:
        raise InputError(f"want a block that divides Mooncake's {BLOCK_TOKENS} tokens, got {engine_block_tokens}")
    path, judge, last_ms = Path(path), MooncakeFormat(), 0
    with closing(numbered_lines(path)) as lines:
        for number, line in lines:
            try:
                text = line.decode()
                record, end = _scan(text, 0)  # as json.loads, without what looks for space around it
                if end != len(text) or not _is_usual(record, line, last_ms):
                    judge.last_timestamp = last_ms
                    judge.session(parse_object(line), number)  # it may be right all the same
                last_ms, input_tokens = record["timestamp"], record["input_length"]
                ids = record["hash_ids"]
                are_whole = set(map(type, ids)) == _INTS and ids[0] >= 0
                is_one_run = are_whole and ids == list(range(ids[0], ids[0] + len(ids)))
                runs = (Run(ids[0], len(ids)),) if is_one_run else runs_of(ids)
                runs = in_blocks(runs, BLOCK_TOKENS, engine_block_tokens, input_tokens)
            except (ValueError, LookupError, TypeError, AttributeError, RecursionError, StopIteration) as error:
                raise _judged(error, line, number, path, last_ms) from None
            yield Asked(last_ms / _MS_PER_S, input_tokens, record["output_length"] or 1, runs)


def _is_usual(record: Any, line: bytes, last_ms: float) -> bool:
    """Return whether a line has Mooncake's four keys, once each, with whole numbers that fit together."""
    timestamp, tokens = record["timestamp"], record["input_length"]
    output, ids = record["output_length"], record["hash_ids"]
    return (
        type(timestamp) is type(tokens) is type(output) is int
        and type(ids) is list
        and len(record) == line.count(b'":') == 4
        and last_ms <= timestamp < MAX_COUNT
        and 0 < tokens < MAX_COUNT
        and 0 <= output < MAX_COUNT
        and -(-tokens // BLOCK_TOKENS) == len(ids)
    )


def _judged(error: Exception, line: bytes, number: int, path: Path, last_ms: float) -> InputError:
    """Return what the format's own reader has against a line."""
    judge = MooncakeFormat()
    judge.last_timestamp = last_ms
    try:
        judge.session(parse_object(line), number)
    except ValueError as found:
        error = found
    return InputError(str(error), f"{path}:{number}")
