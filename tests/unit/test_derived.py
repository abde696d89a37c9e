"""Ready-made profiles: what they say, what they refuse, and how they were put together."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simkv.compute import calibration_file, shipped
from simkv.compute.attention import Attention
from simkv.compute.profile import PROFILES
from simkv.errors import InputError
from simkv.model import get
from simkv.profiling.derived import derive, elementwise
from simkv.profiling.derived.gpus import GPUS
from simkv.profiling.derived.kernels import Heads, Prefill
from simkv.profiling.derived.matrices import Matrices
from simkv.profiling.derived.shipping import cases
from simkv.profiling.derived.tables import read
from simkv.profiling.writing import write

FILES = sorted(shipped.FOLDER.glob("*/*.json"))


# -- what is shipped ----------------------------------------------------------------------------------------------


def test_each_gpu_has_the_files_that_the_command_writes() -> None:
    assert set(GPUS) == set(shipped.SHIPPED)
    for name, gpu in GPUS.items():
        assert shipped.available(name) == sorted(cases(gpu))
        assert shipped.SHIPPED[name][0] == gpu.device


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_shipped_file_is_whole_and_says_derived(path: Path) -> None:
    """It prices a step of its model inside its range, and is some tens of kB."""
    profile = shipped.read(path)
    assert profile.kind == "derived"
    assert "derived" in profile.notes
    assert path.stat().st_size + (path.parent / f"{path.stem}.csv.gz").stat().st_size < 40_000
    model_name, tp = path.stem.rsplit("-tp", 1)
    prices = PROFILES.create(path.parent.name, {"tp": int(tp), "strict": True}).step_time(get(model_name))
    alone_s = prices.step([], 8, 8 * 1024, 8)
    assert 0 < alone_s < prices.step([(512, 1024)], 8, 8 * 1024, 9) < 10


def test_notices_lie_beside_the_files() -> None:
    named = {path.name for path in shipped.FOLDER.glob("*.txt")}
    assert {"NOTICE.txt", *(f"LICENSE-{of}.txt" for of in ("aiconfigurator-Apache-2.0", "llmservingsim-MIT"))} <= named


def test_a_model_without_a_file_is_refused_with_those_that_have_one() -> None:
    message = "^GPU profile 'rtx-4090' has no times of Qwen3-8B at tp 1; it has: Llama-3.1-8B \\(tp 1\\)$"
    with pytest.raises(InputError, match=message):
        PROFILES.create("rtx-4090").step_time(get("Qwen3-8B"))
    with pytest.raises(InputError, match=r"has no times of Qwen3-30B-A3B at tp 1; it has: Llama-3\.1-70B"):
        PROFILES.create("h100-sxm").step_time(get("Qwen3-30B-A3B"))


def test_a_group_without_files_is_refused() -> None:
    with pytest.raises(InputError, match=r"^GPU profile 'h100-sxm': tp: want 1 or 2 or 4 or 8, got 3$"):
        PROFILES.create("h100-sxm", {"tp": 3})


def test_groups_hold_their_all_reduces() -> None:
    """Twice the GPUs take less time for a long prefill, and not half of it; a stated link stands in their place."""
    alone, pair = (PROFILES.create("h100-sxm", {"tp": tp}).step_time(get("Llama-3.1-8B")) for tp in (1, 2))
    chunk = ([(8192, 0)], 0, 0, 1)
    assert 0.5 < pair.step(*chunk) / alone.step(*chunk) < 0.8
    free = {"tp": 2, "link_bandwidth_bytes_per_s": 1e18, "link_latency_s": 0.0}
    ideal = PROFILES.create("h100-sxm", free).step_time(get("Llama-3.1-8B"))
    assert ideal.step(*chunk) < pair.step(*chunk)
    slow = PROFILES.create("h100-sxm", free | {"link_latency_s": 1e-3}).step_time(get("Llama-3.1-8B"))
    assert slow.step(*chunk) - ideal.step(*chunk) == pytest.approx(32 * 2 * 2 * 1e-3)
    half = PROFILES.create("h100-sxm", {"tp": 2, "link_latency_s": 0.0})
    with pytest.raises(
        InputError, match="half of a link in place of its all-reduces: want link_bandwidth, such as '32 GB/s'"
    ):
        half.step_time(get("Llama-3.1-8B"))


# -- damaged files ------------------------------------------------------------------------------------------------


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of one shipped file, read as the shipped ones are."""
    folder = tmp_path / "h100-sxm"
    folder.mkdir()
    for path in (shipped.FOLDER / "h100-sxm").glob("Llama-3.1-8B-tp1.*"):
        shutil.copy(path, folder)
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    return folder / "Llama-3.1-8B-tp1.json"


def edited(path: Path, change: Any) -> None:
    told = json.loads(path.read_text())
    change(told)
    path.write_text(json.dumps(told))


def price() -> None:
    PROFILES.create("h100-sxm").step_time(get("Llama-3.1-8B"))


def test_a_truncated_table_is_refused(copied: Path) -> None:
    data = copied.parent / "Llama-3.1-8B-tp1.csv.gz"
    data.write_bytes(data.read_bytes()[:-10])
    with pytest.raises(InputError, match="not the file that was written: want SHA-256"):
        price()


def test_an_edited_time_is_refused(copied: Path) -> None:
    data = copied.parent / "Llama-3.1-8B-tp1.csv.gz"
    data.write_bytes(gzip.compress(gzip.decompress(data.read_bytes()).replace(b"e-05", b"e-06", 1)))
    with pytest.raises(InputError, match="not the file that was written"):
        price()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda told: told["device"].update(tp=2), "want derived times of Llama-3.1-8B, tp 1, as its name says; got"),
        (lambda told: told["model"].update(name="Qwen3-8B"), "got derived times of Qwen3-8B, tp 1"),
        (lambda told: told.update(kind="imported"), "got imported times of Llama-3.1-8B, tp 1"),
        (lambda told: told.update(kind="measured"), "quality: the key is missing"),
        (lambda told: told["model"]["shape"].update(layers=31), "layers 31 against 32 of Llama-3.1-8B"),
        (lambda told: told["ops"].pop(), "data.rows: want"),
        (lambda told: told.pop("ops"), "ops: the key is missing"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_refused(copied: Path, change: Any, message: str) -> None:
    edited(copied, change)
    with pytest.raises(InputError, match=message) as error:
        price()
    assert "\n" not in str(error.value)


def test_a_file_cut_short_is_refused(copied: Path) -> None:
    copied.write_text(copied.read_text()[:500])
    with pytest.raises(InputError, match="not JSON"):
        price()


# -- how they are put together ------------------------------------------------------------------------------------


def test_where_nobody_timed_both_prefill_and_decodes_cost_their_sum() -> None:
    table = Attention([(16, 0, 0, 0, 1e-6), (32, 0, 0, 0, 3e-6), (0, 0, 1, 8, 1e-6), (0, 0, 2, 8, 2e-6)])
    seen: list[Any] = []
    assert table.at(24, 0, 2, 8, seen) == pytest.approx(4e-6)
    assert not seen


@pytest.fixture(scope="module")
def tables() -> Path:
    from tests.conftest import DATA

    folder = DATA / "gpu_profiles"
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder} (set SIMKV_DATA)")
    return folder


@pytest.mark.parametrize(("gpu", "model", "tp"), [("h100-sxm", "Qwen2.5-32B", 2), ("rtx-4090", "Llama-3.1-8B", 1)])
def test_the_command_writes_the_shipped_bytes_again(
    tables: Path, tmp_path: Path, gpu: str, model: str, tp: int
) -> None:
    name = shipped.file_name(model, tp)
    write(derive(gpu, model, str(tables), tp), tmp_path / name)
    for suffix in (".json", ".csv.gz"):
        file = name.replace(".json", suffix)
        assert (tmp_path / file).read_bytes() == (shipped.FOLDER / gpu / file).read_bytes()


def test_elementwise_numbers_are_those_of_their_tables(tables: Path) -> None:
    told = elementwise._told()
    found = elementwise.measured(tables)
    assert {key: told[key] for key in found} == json.loads(json.dumps(found))


def test_measured_matrices_are_returned_as_measured(tables: Path) -> None:
    of = read(str(tables), "h100_sxm")
    rows = of.gemm[(of.gemm["n"] == 6144) & (of.gemm["k"] == 4096)]
    assert len(rows) > 50
    times_s = Matrices(of).times_s(rows["m"].tolist(), 6144, 4096)
    assert np.allclose(times_s, rows["latency_ms"].to_numpy() * 1e-3, rtol=1e-12)


def test_the_serial_walk_stands_for_cached_tokens(tables: Path) -> None:
    """A few tokens behind many take as long as walking over those."""
    prefill = Prefill(read(str(tables), "a100_sxm"), Heads(32, 8, 128))
    assert prefill.walk_s == pytest.approx(24.3e-9, rel=0.01)
    assert prefill.time_s(16, 8192) == pytest.approx(prefill.floor_s + prefill.walk_s * 8208)
    assert prefill.time_s(2048, 0) == prefill.alone_s(2048)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("h100-sxm", "Qwen3-30B-A3B", 1), "the tables hold no times of experts"),
        (("h100-sxm", "Qwen2.5-7B", 8), "its 4 KV heads cannot be split over tp 8"),
        (("a100-sxm", "Qwen2.5-0.5B", 1), "no times of attention for 14 query heads of 64 over 2 KV heads"),
        (("rtx-4090", "Qwen3-8B", 1), "measured for Llama-3.1-8B alone, tp 1; not for Qwen3-8B"),
    ],
)
def test_what_the_tables_do_not_reach_is_refused(tables: Path, arguments: tuple[str, str, int], message: str) -> None:
    gpu, model, tp = arguments
    with pytest.raises(InputError, match=message):
        derive(gpu, model, str(tables), tp)


def test_damaged_tables_are_refused(tables: Path, tmp_path: Path) -> None:
    shutil.copy(tables / "MANIFEST.csv", tmp_path)
    (tmp_path / "aic").mkdir()
    for path in (tables / "aic").glob("a100_sxm*"):
        shutil.copy(path, tmp_path / "aic")
    path = tmp_path / "aic" / "a100_sxm_gemm.csv.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"a100_sxm_gemm\.csv\.gz: not a whole table"):
        read(str(tmp_path), "a100_sxm")
    text = gzip.decompress((tables / "aic" / path.name).read_bytes()).splitlines(keepends=True)
    path.write_bytes(gzip.compress(b"".join(text[:-3])))
    with pytest.raises(InputError, match=r"want \d+ rows, as MANIFEST.csv says, got \d+"):
        read(str(tmp_path), "a100_sxm")
    path.write_bytes(gzip.compress(b"".join(text).replace(b"latency_ms", b"latency", 1)))
    with pytest.raises(InputError, match="want the column latency_ms"):
        read(str(tmp_path), "a100_sxm")


def test_a_calibration_that_is_derived_reads_back(tmp_path: Path) -> None:
    profile = shipped.read(FILES[0])
    write(profile, tmp_path / "copy.json")
    assert calibration_file.read(tmp_path / "copy.json").kind == "derived"
