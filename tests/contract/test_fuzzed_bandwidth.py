"""A hundred damaged bandwidth files of each kind: read or refused in one line, in bounded time and memory."""

from __future__ import annotations

import gzip
import lzma
import random
import time
import tracemalloc
from pathlib import Path

import pytest

from simkv.errors import InputError
from simkv.workload.bandwidth import read_foreign
from simkv.workload.series import read_series, write_series

DRAWS = random.Random(4)
STAMPS = "".join(f"{stamp}\n" for stamp in sorted(DRAWS.choices(range(9_000), k=600)))
TABLE = "trace_id,t_s,mbps\n" + "".join(f"{'ab'[at > 90]},{at},{DRAWS.random() * 50:.3f}\n" for at in range(180))
DATES = "Timestamp,DL_bitrate,UL_bitrate,State\n" + "".join(
    f"2019.12.16_13.{at // 60:02d}.{at % 60:02d},{DRAWS.randrange(90_000)},7,D\n" for at in range(180)
)
VALID: dict[str, tuple[bytes, dict[str, str]]] = {
    "stamps": (STAMPS.encode(), {}),
    "stamps, gzip": (gzip.compress(STAMPS.encode()), {"step": "20 ms"}),
    "table": (TABLE.encode(), {"trace": "b", "kind": "capacity"}),
    "table, xz": (lzma.compress(TABLE.encode()), {"trace": "a", "kind": "achieved"}),
    "dates": (DATES.encode(), {"kind": "capacity"}),
}
#: Memory that a file may take, whatever it says: its own size is some 5 kB, the dictionary of xz 8 MiB.
MOST_BYTES = 16 << 20


def mutated(content: bytes, draws: random.Random) -> bytes:
    """Return a valid file with some damage: bytes changed, doubled, left out, cut, or its numbers made absurd."""
    found = bytearray(content)
    for _ in range(draws.randint(1, 4)):
        at = draws.randrange(len(found) + 1) if found else 0
        kind = draws.randrange(6)
        if kind == 0 and found:
            found[at % len(found)] = draws.randrange(256)
        elif kind == 1:
            found[at:at] = found[at : at + draws.randrange(200)]
        elif kind == 2:
            del found[at : at + draws.randrange(200)]
        elif kind == 3:
            del found[at:]
        elif kind == 4:
            found[at:at] = draws.choice(
                [b"9" * 5_000, b"1e308", b"-1", b"nan", b"\n\n", b'"', b",", b"\xff\x00", b"0x9"]
            )
        else:
            found[at:at] = b"9" * draws.randint(1, 12)
    return bytes(found)


def noise(draws: random.Random) -> bytes:
    """Return a file that is none."""
    kind = draws.randrange(4)
    if kind == 0:
        return draws.randbytes(draws.randrange(3_000))
    if kind == 1:
        return "".join(draws.choices('0123456789\n,.-eE_ \t"abc', k=draws.randrange(3_000))).encode()
    if kind == 2:
        return b"t_s,mbps\n" + "".join(draws.choices('0123456789\n,.-eE"', k=draws.randrange(3_000))).encode()
    return "".join(f"{draws.randrange(10 ** draws.randint(1, 12))}\n" for _ in range(draws.randrange(300))).encode()


@pytest.mark.parametrize("name", VALID)
def test_a_damaged_file_is_read_or_refused_in_one_line(name: str, tmp_path: Path) -> None:
    """Half are valid files with damage, half are noise; what is read can be written and read again."""
    content, params = VALID[name]
    path = tmp_path / "mutant"
    errors: list[str] = []
    tracemalloc.start()
    try:
        for seed in range(100):
            draws = random.Random(f"{name} {seed}")
            path.write_bytes(mutated(content, draws) if seed % 2 else noise(draws))
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            started_s = time.process_time()
            try:
                series = read_foreign(path, params)
                write_series(series, tmp_path / "again.csv")
                assert read_series(tmp_path / "again.csv") == series
            except InputError as error:
                errors.append(str(error))
            assert time.process_time() - started_s < 1
            assert tracemalloc.get_traced_memory()[1] - before < MOST_BYTES
    finally:
        tracemalloc.stop()
    assert 30 < len(errors) <= 100
    assert all(str(path) in error and "\n" not in error for error in errors)


@pytest.mark.parametrize("name", VALID)
def test_the_files_are_valid_before_they_are_damaged(name: str, tmp_path: Path) -> None:
    content, params = VALID[name]
    (tmp_path / "valid").write_bytes(content)
    assert len(read_foreign(tmp_path / "valid", params).times_s) > 50
