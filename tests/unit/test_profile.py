"""Device profiles: what their files must say, and what is refused."""

from __future__ import annotations

import json
from dataclasses import fields
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from simkv.compute.profile import PROFILES, Analytic, read_folder, read_profile
from simkv.compute.steptime import FixedStepTime, RooflineStepTime
from simkv.errors import InputError
from simkv.model import get

FOLDER = Path(str(resources.files("simkv.profiles")))
FILES = sorted(FOLDER.glob("*.json"))
GOOD = json.loads((FOLDER / "analytic-l40s.json").read_text())


# -- what is shipped ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_shipped_profile_says_where_its_numbers_come_from(path: Path) -> None:
    """Every parameter that a table may rest on is in the file, with a sentence of its own."""
    told = read_profile(path)
    assert set(told) == {"schema", "schema_version", "name", "doc", "parameters", "sources"}
    assert set(told["sources"]) == set(told["parameters"]) == {field.name for field in fields(Analytic)}
    assert all(len(source) > 10 or source.startswith("same") for source in told["sources"].values())
    assert "analytic" in told["doc"]
    assert "Source:" in told["doc"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_shipped_profile_is_registered_as_its_file_says(path: Path) -> None:
    told = json.loads(path.read_text())
    profile: Any = PROFILES.create(told["name"])
    assert {name: getattr(profile, name) for name in told["parameters"]} == told["parameters"]
    assert profile.label == "analytic"
    assert type(profile).__doc__ == told["doc"]
    assert isinstance(profile.step_time(get("Qwen2.5-3B")), RooflineStepTime)


def test_every_profile_of_data_sheets_says_analytic() -> None:
    """What rests on data sheets alone says so in its name and in its label."""
    named = {path.stem for path in FILES}
    assert named == {name for name in PROFILES if name.startswith("analytic-")}
    assert {PROFILES.get(name).label for name in named} == {"analytic"}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "flop_per_s", "memory_bytes_per_s"),
    [
        ("analytic-a100-sxm", 312e12, 2039e9),
        ("analytic-h100-sxm", 989e12, 3350e9),
        ("analytic-l40s", 362e12, 864e9),
        ("analytic-jetson-orin-nano", 10e12, 68e9),
    ],
)
def test_peaks_are_those_of_the_data_sheets(name: str, flop_per_s: float, memory_bytes_per_s: float) -> None:
    """Dense 16-bit arithmetic, without sparsity, and memory bandwidth, from NVIDIA's data sheets."""
    profile: Any = PROFILES.create(name)
    assert (profile.peak_flop_per_s, profile.peak_memory_bytes_per_s) == (flop_per_s, memory_bytes_per_s)


def test_a_parameter_of_a_shipped_profile_may_be_overridden() -> None:
    a100, slower = PROFILES.create("analytic-a100-sxm"), PROFILES.create("analytic-a100-sxm", {"flop_efficiency": 0.25})
    shape = get("Llama-3.1-8B")
    prefill = ([(2_000, 0)], 0, 0, 1)
    ratio = (slower.step_time(shape).step(*prefill) - 1e-3) / (a100.step_time(shape).step(*prefill) - 1e-3)
    assert ratio == pytest.approx(2)


# -- constructors -------------------------------------------------------------------------------------------------

PEAKS = {"peak_flop_per_s": 1e12, "peak_memory_bytes_per_s": 1e11}


def test_analytic_is_peaks_times_shares() -> None:
    shape = get("Qwen2.5-3B")
    whole = PROFILES.create("analytic", PEAKS | {"flop_efficiency": 1.0, "memory_efficiency": 1.0})
    half = PROFILES.create("analytic", PEAKS | {"flop_efficiency": 0.5, "memory_efficiency": 0.5})
    for work in (([(1_000, 0)], 0, 0, 1), ([], 1, 1_000, 1)):
        assert half.step_time(shape).step(*work) == pytest.approx(2 * whole.step_time(shape).step(*work))


@pytest.mark.parametrize("value", [0.0, -1.0, float("inf"), float("nan")])
@pytest.mark.parametrize("name", ["peak_flop_per_s", "peak_memory_bytes_per_s"])
def test_analytic_refuses_peaks(name: str, value: float) -> None:
    with pytest.raises(InputError, match=f"^GPU profile 'analytic': {name}: want a finite rate above 0, got"):
        PROFILES.create("analytic", PEAKS | {name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, value) for name in ("flop_efficiency", "memory_efficiency") for value in (0.0, -0.1, 1.01)),
        ("flop_efficiency", float("nan")),
        *(("overhead_s", value) for value in (-1e-9, float("inf"), float("nan"))),
        *(("weight_bits", value) for value in (0, 2, 32)),
    ],
)
def test_analytic_refuses(name: str, value: float) -> None:
    with pytest.raises(InputError, match=f"^GPU profile 'analytic': {name}: want .*, got {value}$"):
        PROFILES.create("analytic", PEAKS | {name: value})


@pytest.mark.parametrize("name", ["prefill_per_token_s", "decode_step_s"])
@pytest.mark.parametrize("value", [-1.0, float("inf"), float("nan")])
def test_fixed_refuses(name: str, value: float) -> None:
    with pytest.raises(InputError, match=f"^GPU profile 'fixed': {name}: want a finite time"):
        PROFILES.create("fixed", {name: value})


def test_fixed_prices_any_model_alike() -> None:
    fixed = PROFILES.create("fixed", {"prefill_per_token_s": 0.01, "decode_step_s": 0.02})
    assert fixed.step_time(get("Qwen2.5-3B")) == FixedStepTime(0.01, 0.02) == fixed.step_time(get("Llama-3.1-70B"))


# -- files --------------------------------------------------------------------------------------------------------


def written(folder: Path, told: object, name: str = "analytic-l40s") -> Path:
    """Write a profile file."""
    path = folder / f"{name}.json"
    path.write_text(told if isinstance(told, str) else json.dumps(told), encoding="utf-8")
    return path


def without(key: str, part: str | None = None) -> dict[str, Any]:
    """Return the good file less a key of it or of one of its parts."""
    told: dict[str, Any] = json.loads(json.dumps(GOOD))
    del (told if part is None else told[part])[key]
    return told


def having(key: str, value: object, part: str | None = None) -> dict[str, Any]:
    """Return the good file with another value."""
    told: dict[str, Any] = json.loads(json.dumps(GOOD))
    (told if part is None else told[part])[key] = value
    return told


def test_a_folder_gives_classes_by_name(tmp_path: Path) -> None:
    written(tmp_path, GOOD)
    written(tmp_path, having("name", "analytic-b") | {"doc": "B."}, "analytic-b")
    (tmp_path / "notes.txt").write_text("not a profile")
    found = read_folder(tmp_path)
    assert list(found) == ["analytic-b", "analytic-l40s"]
    assert issubclass(found["analytic-b"], Analytic)
    assert (found["analytic-b"]().peak_flop_per_s, found["analytic-b"].__doc__) == (362e12, "B.")  # type: ignore[call-arg]


def test_whole_numbers_become_floats(tmp_path: Path) -> None:
    path = written(tmp_path, having("peak_flop_per_s", 362_000_000_000_000, "parameters"))
    assert type(read_profile(path)["parameters"]["peak_flop_per_s"]) is float


def test_parameters_with_a_default_may_be_left_out(tmp_path: Path) -> None:
    told = without("overhead_s", "parameters")
    del told["sources"]["overhead_s"]
    written(tmp_path, told)
    assert read_folder(tmp_path)["analytic-l40s"]().overhead_s == 0.0  # type: ignore[call-arg]


SCHEMA = "'simkv.profile.analytic' version 1"


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ("", ":1:1: not JSON: Expecting value"),
        ('{"schema": }', ":1:12: not JSON: Expecting value"),
        ('{\n "schema": "x",\n}', ":3:1: not JSON: Expecting property name enclosed in double quotes"),
        ("[" * 100_000, ": not JSON: nested too deeply"),
        ("[]", ": want an object with the keys schema, schema_version, name, doc, parameters, sources"),
        ("null", ": want an object with the keys schema, schema_version, name, doc, parameters, sources"),
        (without("sources"), ": key 'sources' is missing"),
        (having("source", {}), ": unknown key 'source'; did you mean 'sources'?; known: schema, schema_version, name,"),
        (having("schema", "simkv.profile.measured"), f": want schema {SCHEMA}, got 'simkv.profile.measured' version 1"),
        (having("schema_version", 2), f": want schema {SCHEMA}, got 'simkv.profile.analytic' version 2"),
        (having("schema_version", True), ": schema_version: want a whole number, got true"),
        (having("name", "analytic-l40"), ": name: want the name of the file, and that to begin with 'analytic-', got"),
        (having("parameters", []), ": parameters: want an object, got []"),
        (having("doc", " "), ': doc: want a sentence that says where it comes from, got " "'),
        (without("peak_flop_per_s", "parameters"), ": parameter 'peak_flop_per_s' is missing"),
        (having("peak_flops", 1.0, "parameters"), ": unknown parameter 'peak_flops'; did you mean 'peak_flop_per_s'?"),
        (having("peak_flop_per_s", "1e12", "parameters"), ': peak_flop_per_s: want a number, got "1e12"'),
        (having("weight_bits", 16.0, "parameters"), ": weight_bits: want a whole number, got 16.0"),
        (having("weight_bits", True, "parameters"), ": weight_bits: want a whole number, got true"),
        (having("weight_bits", 5, "parameters"), ": weight_bits: want 4, 8 or 16, got 5"),
        (having("flop_efficiency", 1.5, "parameters"), ": flop_efficiency: want a share above 0 and up to 1, got 1.5"),
        (
            having("peak_flop_per_s", float("nan"), "parameters"),
            ": peak_flop_per_s: want a finite rate above 0, got nan",
        ),
        (without("weight_bits", "sources"), ": source 'weight_bits' is missing"),
        (having("bits", "x", "sources"), ": unknown source 'bits'"),
        (having("weight_bits", "", "sources"), ': weight_bits: want a sentence that says where it comes from, got ""'),
        (having("weight_bits", 16, "sources"), ": weight_bits: want a sentence that says where it comes from, got 16"),
    ],
)
def test_a_broken_file_is_refused_in_one_line(told: object, message: str, tmp_path: Path) -> None:
    """Where, what was found, what is wanted."""
    path = written(tmp_path, told)
    with pytest.raises(InputError) as error:
        read_folder(tmp_path)
    assert str(error.value).startswith(f"{path}{message}")
    assert "\n" not in str(error.value)


def test_a_name_must_say_analytic(tmp_path: Path) -> None:
    """What was not measured never passes for a measurement."""
    written(tmp_path, having("name", "l40s"), "l40s")
    with pytest.raises(InputError, match="begin with 'analytic-', got 'l40s'"):
        read_folder(tmp_path)


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "analytic-l40s.json").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"analytic-l40s\.json: cannot be read: "):
        read_profile(tmp_path / "analytic-l40s.json")
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(InputError, match=r"folder\.json: cannot be read: "):
        read_profile(tmp_path / "folder.json")
