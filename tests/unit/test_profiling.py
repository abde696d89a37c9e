"""Importers of measured times, `simkv profile`, and a scenario that names a measured profile."""

from __future__ import annotations

import gzip
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import simkv
from simkv import cli, model
from simkv.compute.profile import PROFILES, read_calibration
from simkv.errors import InputError
from simkv.profiling import dynamo_npz, llmservingsim, open_profile
from simkv.profiling.writing import write
from simkv.scenario.plugins import read
from simkv.scenario.plugins import write as written
from tests.unit.measured_tables import npz, ops, tables


@pytest.mark.parametrize("form", ["tp{tp}_{name}.csv.gz", "tp{tp}_{name}.csv", "tp{tp}/{name}.csv"])
def test_both_forms_of_a_folder(form: str, tmp_path: Path) -> None:
    """Flattened and packed, flattened, or as the project has it: the same times from differently named files."""
    told = llmservingsim.read(tables(tmp_path / "a", form))
    assert (told.model_name, told.device, told.tp, told.shape_facts) == ("toys/none-known", "NVIDIA Toy", 1, {})
    assert told.skewed
    assert {op.name for op in told.ops} == {op.name for op in ops(skewed=True)}
    for op in told.ops:
        known = next(item for item in ops(skewed=True) if item.name == op.name)
        assert [row[:-1] for row in op.rows] == [row[:-1] for row in known.rows]
        assert [row[-1] for row in op.rows] == pytest.approx([row[-1] for row in known.rows], rel=1e-5)
    assert [item.file for item in told.provenance.files][1] == form.format(tp=1, name="dense")
    attention = next(op for op in told.ops if op.name == "attention")
    assert attention.warnings == (
        "3 pairs of prefill_chunk and n_decode were not measured: the nearest two n_decode are extended",
    )


def test_the_digest_is_that_of_the_unpacked_file(tmp_path: Path) -> None:
    """So that it can be compared with the file of the source project, packed or not."""
    packed, plain = (tables(tmp_path / form[-3:], form) for form in ("tp{tp}_{name}.csv.gz", "tp{tp}_{name}.csv"))
    digests = [[item.sha256 for item in llmservingsim.read(folder).provenance.files] for folder in (packed, plain)]
    assert digests[0] == digests[1]
    assert len(set(digests[0])) == 5


@pytest.mark.parametrize(
    ("enabled", "present", "skewed", "note"),
    [
        (True, True, True, "unequal contexts are priced by the source's measurements of them (skew)"),
        (True, False, False, "priced by their mean: the source prices unequal ones, but tp1_skew is absent"),
        (False, True, False, "priced by their mean, as the source does (skew_fit.enabled is not true)"),
    ],
)
def test_unequal_contexts_as_the_source_says(
    enabled: bool, present: bool, skewed: bool, note: str, tmp_path: Path
) -> None:
    folder = tables(tmp_path / "a", skew_fit={"enabled": enabled})
    if not present:
        (folder / "tp1_skew.csv.gz").unlink()
    told = llmservingsim.read(folder)
    assert told.skewed is skewed
    assert any(op.name == "attention_equal" for op in told.ops) is skewed
    assert told.notes["contexts"] == note


def lines_of(folder: Path, table: str, change: Callable[[list[str]], object]) -> Path:
    """Change lines of one table."""
    path = folder / f"tp1_{table}.csv.gz"
    lines = gzip.decompress(path.read_bytes()).decode().split("\n")
    change(lines)
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    return path


def put(place: int, text: str) -> Callable[[list[str]], None]:
    """Return the change of one line."""
    return lambda lines: lines.__setitem__(place, text)


@pytest.mark.parametrize(
    ("table", "change", "message"),
    [
        ("dense", put(0, "layer,token,time_us"), ":1: want the columns layer,tokens,time_us, got layer,token,time_us"),
        ("dense", put(2, "qkv_pro,2,1"), ":3: unknown layer 'qkv_pro'; did you mean 'qkv_proj'?; known: qkv_proj,"),
        ("dense", put(2, "lm_head,2,1"), ":3: unknown layer 'lm_head'"),
        ("dense", put(2, "qkv_proj,2"), ":3: want 3 columns, got 2"),
        ("dense", put(2, "qkv_proj,2.5,1"), ":3: tokens: want a whole number, got '2.5'"),
        ("dense", put(2, "qkv_proj,-2,1"), ":3: tokens: want a whole number, got '-2'"),
        ("dense", put(2, "qkv_proj,1,1"), ":3: qkv_proj: the point 1 stands there twice"),
        ("dense", put(2, "qkv_proj,2,0"), ":3: time_us: want a finite time above 0, got '0'"),
        ("dense", put(2, "qkv_proj,2,nan"), ":3: time_us: want a finite time above 0, got 'nan'"),
        ("dense", put(2, 'qkv_proj,"2,1'), ": not CSV: unexpected end of data"),
        ("attention", put(2, "0,0,1,x,1"), ":3: kv_decode: want a whole number, got 'x'"),
        ("skew", put(2, "pure,2,1,0.5,4,0,0,400,1000,1200,0,1,1,1"), ":3: t_mean_us: want a finite time above 0, got"),
        ("per_sequence", lambda lines: lines.clear(), ":1: want the columns layer,sequences,time_us, got none"),
        ("per_sequence", lambda lines: lines.__delitem__(slice(1, None)), ": want at least one row, got none"),
    ],
)
def test_a_broken_table(table: str, change: Callable[[list[str]], object], message: str, tmp_path: Path) -> None:
    """File, line, what was found, what is wanted."""
    path = lines_of(tables(tmp_path / "a"), table, change)
    with pytest.raises(InputError) as error:
        llmservingsim.read(tmp_path / "a")
    assert str(error.value).startswith(f"{path}{message}")


def test_an_operation_without_times(tmp_path: Path) -> None:
    folder = tables(tmp_path / "a")
    lines_of(folder, "dense", lambda lines: lines.__setitem__(slice(None), [x for x in lines if "o_proj" not in x]))
    with pytest.raises(InputError, match=r"a: no times of o_proj$"):
        llmservingsim.read(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "not YAML: while parsing"),
        ("[]", "want a mapping with the keys gpu and model"),
        ("gpu: 7\nmodel: x\n", "gpu: want text, got 7"),
        ("gpu: a\n", "model: want text, got None"),
        ("gpu: !!python/object/apply:os.system [true]\n", "not YAML: could not determine a constructor"),
    ],
)
def test_a_broken_meta(text: str, message: str, tmp_path: Path) -> None:
    folder = tables(tmp_path / "a")
    (folder / "meta.yaml").write_text(text)
    with pytest.raises(InputError, match=rf"meta\.yaml: {message}"):
        llmservingsim.read(folder)


def test_what_is_absent(tmp_path: Path) -> None:
    """The degree that is not there is told with those that are."""
    folder = tables(tmp_path / "a")
    with pytest.raises(InputError, match=r"want tp2_dense\.csv\[\.gz\] or tp2/dense.*; there are tables of: tp1$"):
        llmservingsim.read(folder, 2)
    (folder / "tp1_dense.csv.gz").write_bytes(b"\x1f\x8b")
    with pytest.raises(InputError, match=r"tp1_dense\.csv\.gz: not a whole gzip file"):
        llmservingsim.read(folder)
    with pytest.raises(InputError, match=r"nowhere/meta\.yaml: no such file"):
        llmservingsim.read(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("bundle", "tp", "skewed"), [("rtx4090_llama-3.1-8b", 1, False), ("rtxpro6000_qwen3-32b", 2, True)]
)
def test_published_bundles(bundle: str, tp: int, skewed: bool, data: Path, tmp_path: Path) -> None:
    """Their digests are those of the manifest; written and read again, they price the same."""
    folder = data / "gpu_profiles" / "llmservingsim" / bundle
    told = open_profile(folder, tp)
    assert told.skewed is skewed
    manifest = (data / "gpu_profiles" / "MANIFEST.csv").read_text()
    for item in told.provenance.files:
        assert f"llmservingsim/{bundle}/{item.file}" in manifest or "skew" in item.file
        assert item.sha256 in manifest or "skew" in item.file
    write(told, tmp_path / "a.json")
    assert (tmp_path / "a.json").stat().st_size < 200_000
    again = open_profile(tmp_path / "a.json", tp)
    assert again.ops == told.ops
    shape = model.get(told.model_name)
    link = (16e9, 1e-5) if tp > 1 else ()
    one, other = (of.step_time(shape, *link) for of in (told, again))
    for context in range(100, 90_000, 997):
        assert one.span(30, 30 * context, 40, math.inf, 9_000) == other.span(30, 30 * context, 40, math.inf, 9_000)
    with pytest.raises(InputError, match="its times are those of"):
        told.step_time(model.get("Qwen2.5-3B"), *link)


# -- Dynamo ---------------------------------------------------------------------------------------------------------


def test_a_timing_profile(tmp_path: Path) -> None:
    told = dynamo_npz.read(npz(tmp_path / "a.npz"), "meta-llama/Llama-3.1-8B", "H100", "aic 0.12.0", "mixed")
    assert told.of_passes
    assert [op.source for op in told.ops] == ["mixed", "mixed"]
    prices = told.step_time(model.get("Llama-3.1-8B"))
    assert prices.step([(1_000, 0)], 0, 0, 0) == 0.05
    assert prices.step([], 10, 90_000 - 10, 10) == 0.0225
    with pytest.raises(InputError, match=r"its times are those of meta-llama/Llama-3\.1-8B: layers 32 against 36"):
        told.step_time(model.get("Qwen2.5-3B"))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"decode_itl": None}, "want the arrays prefill_isl, .*, got prefill_isl, prefill_ttft_ms, decode_active"),
        ({"more": [1]}, "want the arrays .*, got .*more"),
        ({"prefill_ttft_ms": [7.0, 50.0, 60.0]}, r"prefill_ttft_ms: want the shape \(2,\), got \(3,\)"),
        ({"decode_itl": [[6.0, 7.0], [7.0, 8.0]]}, r"decode_itl: want the shape \(3, 2\), got \(2, 2\)"),
        ({"prefill_isl": [1_000.0, 16.0]}, "prefill_isl: want places that ascend"),
        ({"prefill_isl": [16.0, math.nan]}, "prefill_isl: want finite numbers from 0"),
        ({"prefill_ttft_ms": [0.0, 1.0]}, "prefill_ttft_ms: want finite numbers above 0"),
        ({"prefill_isl": ["16", "17"]}, "prefill_isl: want 1 axes of numbers, at least two of them, got 1 axes of <U2"),
        ({"prefill_isl": [16.0]}, "prefill_isl: want 1 axes of numbers, at least two of them, got 1 axes of float64"),
        ({"decode_itl": [1.0, 2.0]}, "decode_itl: want 2 axes of numbers, at least two of them, got 1 axes"),
    ],
)
def test_a_broken_timing_profile(changed: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = npz(tmp_path / "a.npz", **changed)
    with pytest.raises(InputError, match=rf"a\.npz: {message}"):
        dynamo_npz.read(path, "Llama-3.1-8B")


def test_what_is_no_timing_profile(tmp_path: Path) -> None:
    """Other bytes, a truncated archive, an array of objects (which would be code), a model that is not known."""
    for name, raw in (("a", b"hello"), ("b", npz(tmp_path / "whole.npz").read_bytes()[:-30]), ("c", b"")):
        path = tmp_path / f"{name}.npz"
        path.write_bytes(raw)
        with pytest.raises(InputError, match=rf"{name}\.npz: not a \.npz file of numbers"):
            dynamo_npz.read(path, "Llama-3.1-8B")
    path = npz(tmp_path / "d.npz", prefill_isl=np.array([{}, {}], dtype=object))
    with pytest.raises(InputError, match=r"d\.npz: not a \.npz file of numbers: Object arrays cannot be loaded"):
        dynamo_npz.read(path, "Llama-3.1-8B")
    with pytest.raises(InputError, match="unknown model 'gpt2'"):
        dynamo_npz.read(path, "gpt2")


# -- commands -------------------------------------------------------------------------------------------------------


@pytest.fixture
def imported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """Return the toy's profile, of a model that is built in, as the command writes it."""
    folder = tables(tmp_path / "tables", model="Qwen/Qwen2.5-3B")
    assert cli.main(["profile", "import", "llmservingsim", str(folder), "--out", str(tmp_path / "gpu.json")]) == 0
    assert "Qwen/Qwen2.5-3B on NVIDIA Toy, tp 1, " in capsys.readouterr().out
    return tmp_path / "gpu.json"


def test_show(imported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The table names each operation, its range and source; the figure is drawn."""
    figure = tmp_path / "a.png"
    assert cli.main(["profile", "show", str(imported), "--plot", str(figure)]) == 0
    out = capsys.readouterr().out
    assert "model: Qwen/Qwen2.5-3B" in out
    row = next(line for line in out.splitlines() if line.startswith("attention "))
    assert row.split()[2] == "silicon"
    assert row.endswith("prefill_chunk 0 to 2048; kv_prefill 0 to 4096; n_decode 0 to 64; kv_decode 0 to 8192")
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert cli.main(["profile", "show", str(imported), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["ops"][0]["range"] == {"tokens": [1, 2048]}
    assert cli.main(["profile", "show", str(tmp_path / "tables")]) == 0
    assert cli.main(["check", str(imported)]) == 0
    assert "unequal_contexts: priced" in capsys.readouterr().out


def test_show_of_what_is_registered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figure = tmp_path / "a.svg"
    assert cli.main(["profile", "show", "analytic-l40s", "--plot", str(figure), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["weight_bits"] == 16
    assert figure.stat().st_size > 1_000


def test_import_of_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "h100.json"
    words = ["dynamo-npz", str(npz(tmp_path / "a.npz")), "--model", "Llama-3.1-8B", "--device", "H100"]
    assert cli.main(["profile", "import", *words, "--out", str(out)]) == 0
    assert cli.main(["profile", "show", str(out), "--plot", str(tmp_path / "a.pdf")]) == 0
    assert "decode_pass        6  derived   6000 us  2.25e+04 us  kv_tokens 64 to 90000;" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["import", "llmservingsim", "nowhere", "--out", "a.json"], "nowhere/meta.yaml: no such file"),
        (["import", "llmservingsim", "TABLES", "--out", "a.txt"], "a.txt: want a name that ends in .json"),
        (["import", "llmservingsim", "TABLES", "--tp", "4", "--out", "a.json"], "there are tables of: tp1"),
        (["import", "llmservingsim", "TABLES"], "Missing option '--out'"),
        (["import", "dynamo-npz", "nowhere.npz", "--model", "Llama-3.1-8B", "--out", "a.json"], "no such file"),
        (["show", "nowhere.json"], "nowhere.json: no such file"),
        (["show", "analytic-l40"], "did you mean 'analytic-l40s'?"),
        (["show", "measured"], "missing 1 required positional argument: 'path'"),
        (["show", "analytic-l40s", "--plot", "a.gif"], "--plot wants a name that ends in .png, .pdf or .svg"),
        (["show", "analytic-l40s", "--plot", "nowhere/a.png"], "--plot: there is no folder nowhere"),
        (["show", "TABLES", "--plot", "a.png", "--model", "Qwen2.5-7B"], "its times are those of Qwen/Qwen2.5-3B"),
        (["show", "TABLES", "--plot", "a.png", "--link-latency", "10"], "want a time such as '20 ms', got '10'"),
    ],
)
def test_bad_input_exits_with_2(
    words: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    tables(tmp_path / "TABLES", model="Qwen/Qwen2.5-3B")
    assert cli.main(["profile", *words]) == 2
    assert says in capsys.readouterr().err


# -- scenarios ------------------------------------------------------------------------------------------------------


def test_a_scenario_names_a_file_beside_it(imported: Path, tmp_path: Path) -> None:
    """A relative path starts at the scenario; what is resolved is absolute, and read again means the same."""
    (tmp_path / "deep").mkdir()
    plugin = read("gpu", {"name": "measured", "path": "../gpu.json"}, tmp_path / "deep")
    assert plugin.params == {
        "path": imported,
        "tp": 1,
        "link_bandwidth_bytes_per_s": None,
        "link_latency_s": None,
        "strict": False,
    }
    assert read("gpu", written("gpu", plugin)) == plugin
    linked = {"name": "measured", "path": str(imported), "link_bandwidth": "32 GB/s", "link_latency": "10 us"}
    params = read("gpu", linked).params
    assert (params["link_bandwidth_bytes_per_s"], params["link_latency_s"]) == (32e9, 1e-5)


def test_a_link_that_nothing_crosses_is_refused(imported: Path) -> None:
    """It would change no price."""
    alone = PROFILES.create("measured", {"path": imported, "link_bandwidth_bytes_per_s": 1e9, "link_latency_s": 0.0})
    with pytest.raises(InputError, match="its times are of one GPU, which use no link: want neither"):
        alone.step_time(model.get("Qwen2.5-3B"))


def test_a_scenario_runs_on_measured_times(imported: Path, tmp_path: Path) -> None:
    """End to end; the table says that times are measured."""
    source = Path(__file__).resolve().parents[2] / "scenarios"
    text = (source / "5g_slice.yaml").read_text()
    shutil.copytree(source.parent / "traces", tmp_path / "traces")
    (tmp_path / "scenarios").mkdir()
    path = tmp_path / "scenarios" / "a.yaml"
    path.write_text(text)
    settings: dict[str, object] = {"model": "Qwen/Qwen2.5-3B", "replications": 2}
    told = simkv.load(path, settings)
    for name, server in told.servers.items():
        if server.gpu is not None:
            settings[f"servers.{name}.gpu"] = "{name: measured, path: ../gpu.json}"
    told = simkv.load(path, settings)
    assert {server.gpu.name for server in told.servers.values() if server.gpu} == {"measured"}
    comparison = simkv.run(told)
    assert comparison.table["arm"].tolist()


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({}, "needs the parameter 'path'"),
        ({"path": 7}, "want the path of a file, got 7"),
        ({"path": "absent.json"}, "absent.json: no such file"),
        ({"path": "gpu.csv.gz"}, "gpu.csv.gz: not UTF-8 text; want a calibration file"),
        ({"path": "gpu.json", "tp": 2}, "tp: want 1, of which"),
        ({"path": "gpu.json", "link_bandwidth": "32"}, "want a memory rate such as '2 TB/s', got '32' (no unit)"),
        ({"path": "gpu.json", "link_bandwidth": "0 B/s"}, "link_bandwidth_bytes_per_s: want a finite rate above 0"),
        ({"path": "gpu.json", "strict": "yes"}, "want true or false, got 'yes'"),
    ],
)
def test_a_scenario_that_names_it_wrongly(params: dict[str, object], says: str, imported: Path) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - a Misfit, which pydantic collects as a ValueError
        read("gpu", {"name": "measured", **params}, imported.parent)
    assert says in str(error.value)


def test_strict_prices_refuse_in_a_run(imported: Path) -> None:
    strict = PROFILES.create("measured", {"path": imported, "strict": True}).step_time(model.get("Qwen2.5-3B"))
    with pytest.raises(InputError, match="prefill_chunk 15 is outside 16 to 2048, and the profile is strict"):
        strict.step([(15, 0)], 0, 0, 0)


def test_a_file_is_read_once_until_it_changes(imported: Path) -> None:
    told = read_calibration(imported)
    assert read_calibration(imported) is told
    write(told, imported)
    assert read_calibration(imported) is not told
