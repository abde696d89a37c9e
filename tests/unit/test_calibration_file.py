"""Calibration files: what was written is read back, the same bytes each time; anything else is refused in one line."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from simkv.compute import calibration_file
from simkv.compute.calibration import SHAPE_FACTS, MeasuredProfile, Provenance, SourceFile
from simkv.compute.measured import MeasuredStepTime
from simkv.compute.op_table import OpTable
from simkv.compute.two_table import TwoTableStepTime
from simkv.errors import InputError
from simkv.profiling import open_profile
from simkv.profiling.writing import write
from tests.unit.measured_tables import MOE, SHAPE, ops

PROVENANCE = Provenance("toy/tables", "1", "MIT", (SourceFile("a.csv", "0" * 64),), "simkv")


def profile(tables: list[OpTable], skewed: bool = False, tp: int = 1, facts: bool = True) -> MeasuredProfile:
    """Return a profile of the toy model."""
    shape = MOE if any(op.name == "moe" for op in tables) else SHAPE
    return MeasuredProfile(
        *("memory", f"toys/{shape.name}", {fact: getattr(shape, fact) for fact in SHAPE_FACTS} if facts else {}),
        *("a GPU", tp, {"vllm": "1"}, {"kind": "none"}, PROVENANCE, skewed, {"a": "note"}, tuple(tables)),
    )


PASSES = [
    OpTable("prefill_pass", [(1, 0.01), (100, 0.02)], "derived"),
    OpTable("decode_pass", [(kv, of, 0.01 + kv / 1e6) for kv in (1, 100) for of in (1, 2.5)], "derived", ("coarse",)),
]


@pytest.mark.parametrize("tables", [ops(), ops(experts=True, skewed=True), PASSES])
def test_what_was_written_is_read(tables: list[OpTable], tmp_path: Path) -> None:
    """All of it, and the prices are the same to the last bit."""
    told = profile(tables, skewed=any(op.name == "attention_equal" for op in tables))
    write(told, tmp_path / "a.json")
    read = calibration_file.read(tmp_path / "a.json")
    for name in MeasuredProfile.__dataclass_fields__:
        assert name == "where" or getattr(read, name) == getattr(told, name), name
    shape = MOE if "moe" in {op.name for op in tables} else SHAPE
    prices, again = told.step_time(shape), read.step_time(shape)
    assert isinstance(again, TwoTableStepTime if tables is PASSES else MeasuredStepTime)
    assert [prices.step([(17, 5)], 3, n, 4, n) for n in range(3, 999)] == [
        again.step([(17, 5)], 3, n, 4, n) for n in range(3, 999)
    ]


def test_equal_profiles_are_equal_files(tmp_path: Path) -> None:
    """No time of day and no file name inside."""
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        write(profile(ops()), folder / "x.json")
    for name in ("x.json", "x.csv.gz"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_profile_is_whole_or_absent(tmp_path: Path) -> None:
    """What cannot be written leaves nothing."""
    with pytest.raises(InputError, match=r"want a name that ends in \.json"):
        write(profile(ops()), tmp_path / "a.txt")
    with pytest.raises(InputError, match=r"absent/a\.csv\.gz: cannot be written: no such file"):
        write(profile(ops()), tmp_path / "absent" / "a.json")
    assert list(tmp_path.iterdir()) == []


# -- hostile files --------------------------------------------------------------------------------------------------

Told = dict[str, Any]


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """Return a good file."""
    write(profile(ops()), tmp_path / "a.json")
    return tmp_path / "a.json"


def rewrite(path: Path, change: Callable[[Told], object]) -> None:
    """Change what the JSON file says."""
    told = json.loads(path.read_text())
    change(told)
    path.write_text(json.dumps(told))


def retable(path: Path, change: Callable[[list[str]], object], raw: Callable[[bytes], bytes] = lambda raw: raw) -> None:
    """Change lines of the table, or its packed bytes, and bind the JSON file to it again."""
    data = path.with_suffix(".csv.gz")
    lines = gzip.decompress(data.read_bytes()).decode().split("\n")
    change(lines)
    data.write_bytes(raw(gzip.compress("\n".join(lines).encode(), mtime=0)))
    digest = hashlib.sha256(data.read_bytes()).hexdigest()
    rewrite(path, lambda told: told["data"].update(sha256=digest))


def set_in(*keys: Any, value: Any) -> Callable[[Told], object]:
    """Return the change of one value."""

    def change(told: Any) -> None:
        for key in keys[:-1]:
            told = told[key]
        told[keys[-1]] = value

    return change


SCHEMA = "want schema 'simkv.calibration' version 1, got"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_in("schema_version", value=2), f": {SCHEMA} 'simkv.calibration' version 2"),
        (set_in("schema_version", value=True), ": schema_version: want a whole number, got true"),
        (set_in("schema", value="simkv.profile.analytic"), f": {SCHEMA} 'simkv.profile.analytic' version 1"),
        (set_in("kind", value="measured"), ": quality: the key is missing"),
        (set_in("kind", value="guessed"), ": kind: want one of imported, derived, measured, got 'guessed'"),
        (set_in("tp", value=1), ": tp: unknown key; known: schema, schema_version,"),
        (
            set_in("provenance", "licens", value="x"),
            ": provenance.licens: unknown key; did you mean 'licence'?; known:",
        ),
        (lambda told: told.pop("clock"), ": clock: the key is missing"),
        (lambda told: told["ops"][0].pop("points"), ": ops[0].points: the key is missing"),
        (set_in("device", value=[]), ": device: want an object with the keys name, tp"),
        (set_in("device", "tp", value=0), ": device.tp: want at least 1 GPU, got 0"),
        (set_in("device", "tp", value=1.0), ": device.tp: want a whole number, got 1.0"),
        (set_in("notes", value="none"), ': notes: want an object, got "none"'),
        (set_in("ops", 0, "warnings", value="none"), ': ops[0].warnings: want a list, got "none"'),
        (set_in("software", value={"vllm": 1}), ": software.vllm: want text, got 1"),
        (set_in("model", "shape", value={"layers": 3}), ": model.shape: want none, or exactly layers, hidden,"),
        (set_in("ops", value=[]), ": ops: want at least one operation"),
        (set_in("ops", 0, "name", value="qkv_pro"), ": ops: unknown operation 'qkv_pro'; did you mean 'qkv_proj'?"),
        (set_in("ops", 0, "source", value="guess"), ": ops: qkv_proj: want a source of silicon, mixed,"),
        (set_in("ops", 0, "axes", 0, "unit", value="s"), ": ops: qkv_proj: tokens: want the unit tokens, got 's'"),
        (set_in("ops", 0, "axes", value=[]), ": ops: qkv_proj: want the axes tokens, got none"),
        (set_in("ops", 0, "axes", 0, "max", value=4096), ": ops: qkv_proj: tokens: max is not what the rows of the"),
        (set_in("ops", 1, "rows", value=[6, 12]), ": ops: rotary_emb: want rows [7, 12] for 6 points, got [6, 12]"),
        (set_in("data", "rows", value=7), ": data.rows: want 175, the last row of the operations, got 7"),
        (set_in("data", "file", value="../a.csv.gz"), ": data.file: want the name of a .csv.gz file beside it, got"),
        (set_in("data", "sha256", value="0" * 64), ".csv.gz: not the file that was written: want SHA-256 00000"),
        (set_in("data", "file", value="b.csv.gz"), "b.csv.gz: no such file"),
    ],
)
def test_a_header_that_is_not_as_it_was_written(good: Path, change: Callable[[Told], object], message: str) -> None:
    rewrite(good, change)
    refused(good, message)


def refused(path: Path, message: str) -> None:
    """One line that names the file and goes on with the message."""
    with pytest.raises(InputError) as error:
        calibration_file.read(path)
    text = str(error.value)
    assert "\n" not in text
    assert text.startswith(str(path.parent))
    assert message in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a.json:1:1: not JSON: Expecting value"),
        ("[]", "a.json: calibration: want an object with the keys schema, schema_version,"),
        ('{"schema": "a", "schema": "a"}', "a.json: key 'schema' stands there twice; want it once"),
        ('{"schema": NaN}', "a.json: want finite numbers, got NaN"),
        ("[" * 100_000, "a.json: not a calibration file: maximum recursion depth"),
        ('{"schema": ' + "9" * 5_000 + "}", "a.json: not a calibration file: "),
        (" " * 1_000_001, "a.json: larger than 1000000 bytes; want a calibration"),
    ],
)
def test_what_is_no_json_object(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.json").write_text(text)
    refused(tmp_path / "a.json", message)


def test_what_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"\xff\xfe")
    refused(tmp_path / "a.json", "a.json: not UTF-8 text; want a calibration file")
    (tmp_path / "b.json").mkdir()
    refused(tmp_path / "b.json", "b.json: cannot be read: is a directory")


def cell(line: int, column: int, text: str) -> Callable[[list[str]], None]:
    """Return the change of one cell."""

    def change(lines: list[str]) -> None:
        cells = lines[line].split(",")
        cells[column] = text
        lines[line] = ",".join(cells)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (cell(3, -1, "0"), ".csv.gz:4: t_s: want a time above 0, got 0"),
        (cell(3, -1, "-1e-6"), ".csv.gz:4: t_s: want a finite number, not negative, got '-1e-6'"),
        (cell(3, -1, "nan"), ".csv.gz:4: t_s: want a finite number, not negative, got 'nan'"),
        (cell(3, -1, "inf"), ".csv.gz:4: t_s: want a finite number, not negative, got 'inf'"),
        (cell(3, -1, "1e999"), ".csv.gz:4: t_s: want a finite number, not negative, got '1e999'"),
        (cell(3, -1, "9" * 5_000), ".csv.gz:4: t_s: want a finite number, not negative, got '9999"),
        (cell(3, -1, ""), ".csv.gz:4: t_s: want a finite number, not negative, got ''"),
        (cell(3, 1, "few"), ".csv.gz:4: tokens: want a finite number, not negative, got 'few'"),
        (cell(3, 1, "2"), ".csv.gz:4: qkv_proj: the point 2 stands there twice"),
        (cell(3, 1, "9"), "a.json: ops: qkv_proj: tokens: grid is not what the rows of the table say"),
        (cell(3, 0, "o_proj"), ".csv.gz:4: want a row of qkv_proj, got 'o_proj,"),
        (cell(3, 2, "7"), ".csv.gz:4: want a row of qkv_proj, got 'qkv_proj,8,7,"),
        (cell(0, 1, "token"), ".csv.gz:1: want the columns op,tokens,sequences,prefill_chunk,"),
        (lambda lines: lines.pop(3), ".csv.gz: want 175 rows, each with its line end, got 174"),
        (lambda lines: lines.insert(3, lines[3]), ".csv.gz: want 175 rows, each with its line end, got 176"),
        (lambda lines: lines.pop(), ".csv.gz: want 175 rows, each with its line end, got 174"),
        (lambda lines: lines.__setitem__(3, "qkv_proj,8"), ".csv.gz:4: want a row of qkv_proj, got 'qkv_proj,8'"),
    ],
)
def test_a_table_that_is_not_as_it_was_written(good: Path, change: Callable[[list[str]], object], message: str) -> None:
    """Though the header is bound to it."""
    retable(good, change)
    refused(good, message)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (lambda raw: raw[:-20], ".csv.gz: not a whole gzip file: compressed file ended before"),
        (lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]), ".csv.gz: not a whole gzip file: incorrect length"),
        (lambda raw: b"op,tokens\n", ".csv.gz: not a whole gzip file: not a gzipped file"),
        (lambda raw: gzip.compress(b"\xff" * 99, mtime=0), ".csv.gz: not a table of numbers: it is not ASCII text"),
    ],
)
def test_a_table_that_is_not_whole(good: Path, raw: Callable[[bytes], bytes], message: str) -> None:
    retable(good, lambda lines: None, raw)
    refused(good, message)


def test_bytes_that_changed_by_themselves(good: Path) -> None:
    data = good.with_suffix(".csv.gz")
    data.write_bytes(data.read_bytes()[:-1])
    refused(good, ".csv.gz: not the file that was written: want SHA-256 ")


def test_a_bomb_is_not_unpacked(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration_file, "_MOST_CSV_BYTES", 15_000)
    retable(good, lambda lines: lines.append("x" * 20_000))
    refused(good, ".csv.gz: larger than 15000 bytes unpacked; want a table of times")


# -- what is asked of a profile -------------------------------------------------------------------------------------


def test_another_model_is_refused() -> None:
    """By the first fact that differs; where the source's model is not known, by its name."""
    with pytest.raises(InputError, match=r"^memory: its times are those of toys/toy: experts 0 against 16 of toy-moe$"):
        profile(ops()).step_time(MOE)
    unknown = profile(ops(), facts=False)
    assert unknown.step_time(SHAPE).step([], 1, 100, 1) > 0
    with pytest.raises(InputError, match=r"^memory: its times are those of toys/toy, not of toy-moe$"):
        unknown.step_time(MOE)


def test_a_group_of_gpus_needs_its_link() -> None:
    """No default: what the GPUs tell each other is not in the tables."""
    two = profile(ops(), tp=2)
    with pytest.raises(InputError, match=r"times of one of 2 GPUs, .*: want link_bandwidth, such as '32 GB/s'$"):
        two.step_time(SHAPE)
    with pytest.raises(InputError, match=r"want link_latency, such as '10 us'$"):
        two.step_time(SHAPE, 32e9)
    alone, group = profile(ops()).step_time(SHAPE), two.step_time(SHAPE, 32e9, 1e-5)
    assert alone.step([], 1, 9, 1) < group.step([], 1, 9, 1)


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ([op for op in ops() if op.name != "attention"], "no times of attention"),
        ([op for op in ops() if op.name != "lm_head"], "no times of lm_head"),
        (PASSES[:1], "no times of decode_pass"),
        ([PASSES[0], PASSES[1]._replace(rows=PASSES[1].rows[1:])], "decode_pass: want 2 x 2 different points, got 3"),
    ],
)
def test_a_missing_operation_is_no_default(tables: list[OpTable], message: str, tmp_path: Path) -> None:
    """Readable, and refused before a step is priced."""
    write(profile(tables), tmp_path / "a.json")
    with pytest.raises(InputError) as error:
        open_profile(tmp_path / "a.json")
    assert str(error.value) == f"{tmp_path / 'a.json'}: {message}"


def test_unequal_contexts_without_their_times(tmp_path: Path) -> None:
    write(profile(ops(), skewed=True), tmp_path / "a.json")
    with pytest.raises(InputError, match="no times of attention_equal, attention_unequal"):
        open_profile(tmp_path / "a.json")


def test_another_tp_is_refused(good: Path) -> None:
    with pytest.raises(InputError, match=r"a\.json: times of tp 1; want tp 2"):
        open_profile(good, tp=2)
    with pytest.raises(InputError, match=r"want a profile \(\.json\) or a folder of tables, got \.npz"):
        open_profile(good.with_suffix(".npz"))
