"""Whatever a file holds, every reader reads it or refuses it in one line, soon, and in bounded memory."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from simkv.errors import InputError
from simkv.workload import FORMATS, Trace, info, open_trace
from tests.damage import BYTES, with_bytes_changed
from tests.unit.miniatures import FILES

INPUTS = 100
#: [s of CPU] For one small file; a usual one takes 1 ms.
MOST_S = 2.0
#: [bytes] A process may hold while it refuses a bomb: itself, a line, and what a line may become.
MOST_BYTES = 500 << 20

VALUES = (
    *(
        "null",
        "true",
        '""',
        '"x"',
        "[]",
        "{}",
        "-1",
        "0",
        "1.5",
        "1e999",
        "-1e308",
        "NaN",
        "Infinity",
        "9" * 20,
        "9" * 5000,
    ),
    *(
        '"\\ud800"',
        '"\\u0000"',
        '"' + "a" * 5000 + '"',
        "[" * 3000,
        "[" * 400 + "]" * 400,
        '{"a":' * 3000,
        "[[0,4294967295]]",
    ),
)
CELLS = (
    b"",
    b"-1",
    b"1e999",
    b"nan",
    b"inf",
    b"9" * 400,
    b'"',
    b'"a,b"',
    b"\x00",
    b"\xff",
    b"0x10",
    b"1_0",
    b"9999-99-99",
)


def with_digits_changed(data: bytes, draw: random.Random) -> bytes:
    """Return data with one or two other digits: a form that is right, and numbers that may not fit together."""
    out = bytearray(data)
    digits = [place for place, byte in enumerate(out) if byte in b"0123456789"]
    for _ in range(draw.randint(1, 2) if digits else 0):
        out[draw.choice(digits)] = ord(str(draw.randrange(10)))
    return bytes(out)


def with_values_changed(data: bytes, draw: random.Random) -> bytes:
    """Return JSON with some values, keys or whole members replaced, given twice or taken away; a table with cells."""
    text = data.decode()
    if not text.startswith(("{", "[")):
        rows = [row.split(b",") for row in data.split(b"\n")]
        for _ in range(draw.randint(1, 2)):
            row = rows[draw.randrange(len(rows))]
            row[draw.randrange(len(row))] = draw.choice(CELLS)
        return b"\n".join(b",".join(row) for row in rows)
    records = json.loads(text) if text.startswith("[") else _lines(text)
    for _ in range(draw.randint(1, 2)):
        holder, key = draw.choice(list(_places(records)))
        kind = draw.randrange(4)
        if kind == 0 and isinstance(holder, dict):
            del holder[key]
        elif kind == 1 and isinstance(holder, list):
            holder[key:key] = holder[key : key + 1] * draw.randint(1, 50)
        elif kind == 2 and isinstance(holder, dict):
            holder[f"{key}s"] = holder.pop(key)
        else:
            holder[key] = f"@{draw.randrange(len(VALUES))}@"
    if text.startswith("["):
        return _filled(json.dumps(records))
    return b"\n".join(_filled(json.dumps(record)) for record in records)


def _lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Return every place in nested lists and objects that holds a value."""
    found = []
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        found.append((value, key))
        if isinstance(value[key], dict | list):
            found.extend(_places(value[key]))
    return found


def _filled(text: str) -> bytes:
    for number, value in enumerate(VALUES):
        text = text.replace(f'"@{number}@"', value)
    return text.encode(errors="surrogatepass")


def noise(name: str, draw: random.Random) -> bytes:
    """Return what is no trace, or the front of one and then none."""
    front = FILES[name].split(b"\n")[0] + b"\n" if draw.random() < 0.5 else b""
    kind = draw.randrange(6)
    if kind == 0:
        return front + draw.randbytes(draw.randrange(300))
    if kind == 1:
        return front + draw.choice(VALUES).encode(errors="surrogatepass")
    if kind == 2:
        return (front + FILES[name]).decode().encode(draw.choice(["utf-16", "utf-32", "utf-8-sig", "utf-7"]))
    if kind == 3:
        return draw.choice([bz2.compress, gzip.compress, lzma.compress])(front + draw.randbytes(50))
    if kind == 4:
        packed = draw.choice([gzip.compress, lzma.compress])(FILES[name])
        return packed[: draw.randrange(len(packed))]
    return front + b"".join(draw.choice(BYTES) for _ in range(draw.randrange(200)))


MAKERS: tuple[Callable[[str, random.Random], bytes], ...] = (
    lambda name, draw: with_bytes_changed(FILES[name], draw),
    lambda name, draw: with_values_changed(FILES[name], draw),
    lambda name, draw: with_digits_changed(FILES[name], draw),
    lambda name, draw: (
        noise(name, draw) if draw.random() < 0.8 else with_bytes_changed(gzip.compress(FILES[name]), draw)
    ),
)


def fuzz(name: str, inputs: int, seed: str, path: Path) -> tuple[int, int]:
    """Read so many inputs as a format, told or found; return how many were refused, and how many were read."""
    refused = read = 0
    for number in range(inputs):
        draw = random.Random(f"{seed} {name} {number}")
        path.write_bytes(MAKERS[number % len(MAKERS)](name, draw))
        started_s = time.process_time()
        refusal = outcome(path, name if number % 3 else None)
        assert time.process_time() - started_s < MOST_S, number
        if refusal is None:
            read += 1
            continue
        refused += 1
        assert refusal.startswith(str(path)), (number, refusal)
        assert "\n" not in refusal, (number, refusal)
        assert len(refusal) < 1000, (number, refusal)
    return refused, read


def outcome(path: Path, format: str | None) -> str | None:
    """Return why a file is refused; None if all of it was read, and is read alike by `info`."""
    trace = open_trace_or_refusal(path, format)
    if isinstance(trace, str):
        return trace
    try:
        requests = sum(len(session.turns) for session in trace.sessions())
    except InputError as error:
        return str(error)
    assert info(trace)["requests"] == requests
    return None


def open_trace_or_refusal(path: Path, format: str | None) -> Trace | str:
    """Return the trace that a file is, or why it is none."""
    try:
        return open_trace(path, format=format)
    except InputError as error:
        return str(error)


@pytest.mark.parametrize("name", FORMATS.names())
def test_fuzzed_files_are_read_or_refused(tmp_path: Path, name: str) -> None:
    """A hundred files of each format; among them are some that can be read, or nothing is learned."""
    refused, read = fuzz(name, INPUTS, "fast", tmp_path / "fuzzed")
    assert refused > INPUTS // 3
    assert read > 2


@pytest.mark.evidence
@pytest.mark.parametrize("name", FORMATS.names())
def test_many_fuzzed_files_are_read_or_refused(tmp_path: Path, name: str) -> None:
    """Three thousand more of each."""
    fuzz(name, 3000, "long", tmp_path / "fuzzed")


def bombs() -> dict[str, bytes]:
    """Return small files that unpack to much: of them no reader may hold much more than a line."""
    zeros = b"\x00" * (80 << 20)
    objects = b'{"messages": [' + b'{"a":1},' * (7 << 20)
    lists = b"[" + b'{"conversations": [' + b"[]," * (5 << 20)
    return {
        "zeros in gzip": gzip.compress(zeros, 1),
        "zeros in xz": lzma.compress(zeros, preset=0),
        "one object of objects": gzip.compress(objects, 1),
        "one conversation of lists": gzip.compress(lists, 1),
        "blanks in an array": gzip.compress(b"[" + b" " * (40 << 20), 1),
        "a cell": gzip.compress(b"TIMESTAMP,ContextTokens,GeneratedTokens\n" + b"9" * (30 << 20), 1),
        "what a user says": gzip.compress(b"user: " + b"a" * (20 << 20) + b"\n", 1),
    }


READ = """
import sys, time
from simkv.errors import InputError
from simkv.workload import open_trace
for path in sys.argv[1:]:
    started_s = time.process_time()
    try:
        list(open_trace(path).sessions())
        print("read")
    except InputError as error:
        print(f"{time.process_time() - started_s:.2f} {error}")
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a process is read from Linux's /proc")
def test_bombs_are_refused_in_bounded_memory(tmp_path: Path) -> None:
    """A few kilobytes that unpack to much are refused like anything else, in a process that holds little."""
    paths = []
    for number, content in enumerate(bombs().values()):
        paths.append(tmp_path / f"bomb-{number}")
        paths[-1].write_bytes(content)
    done = subprocess.run([sys.executable, "-c", READ, *map(str, paths)], capture_output=True, text=True, check=True)
    *told, peak_kib = done.stdout.splitlines()
    assert len(told) == len(paths)
    for line, path in zip(told, paths, strict=True):
        took_s, _, refusal = line.partition(" ")
        assert refusal.startswith(str(path))
        assert float(took_s) < MOST_S
        assert len(refusal) < 1000
    assert int(peak_kib) << 10 < MOST_BYTES, told
