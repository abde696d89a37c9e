"""Scenarios: what is read, how overrides and arms change it, and that it can be written out again."""

# ruff: noqa: E501 - one case a line, with its whole message
from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from simkv.errors import InputError
from simkv.registry import Registry
from simkv.scenario import PlugIn, Scenario, Series, from_text, json_schema, load, plugins, resolved
from simkv.scenario.document import core_scalar, parse, plain, read_text
from simkv.scenario.misfit import Misfit

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = sorted((ROOT / "scenarios").glob("*.yaml"))

TEXT = """\
simkv: 1
name: tiny
model: Qwen2.5-3B
seed: 7
workload: {trace: trace.jsonl, sessions: 3, session_rate: 2 /min}
servers:
  cloud: {gpu: analytic-a100-sxm, buffers: {hbm: {size: 40 GiB}}}
  phone:
    source: cloud
    gpu: {name: fixed, prefill_per_token: 10 ms, decode_step: 1 ms}
    buffers: {hbm: {size: 1 GiB}}
links:
  down: {from: cloud, to: phone, delay: 10 ms, capacity: {series: slice.csv, mean: 100 Mbit/s}, transport: warm}
  up: {from: phone, to: cloud, delay: 10 ms, capacity: 20 Mbit/s, transport: ideal, committed_bytes: 1 kB}
policies:
  predictor: {name: markov, order: 2}
arms:
  - {name: none}
  - {name: sure, policies: {prefetch: {name: threshold, threshold: 0.9}}}
  - {name: next, policies: {prefetch: sequential}, servers: {phone: {buffers: {hbm: {size: 2 GiB}}}}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the files that TEXT names; loading looks only whether they exist."""
    for name in ("trace.jsonl", "slice.csv"):
        (tmp_path / name).write_text("")
    (tmp_path / "tiny.yaml").write_text(TEXT)
    return tmp_path


@pytest.fixture
def tiny(folder: Path) -> Scenario:
    """TEXT, loaded."""
    return load(folder / "tiny.yaml")


def changed(folder: Path, **overrides: object) -> Scenario:
    """TEXT with overrides; `__` stands for a dot."""
    return load(folder / "tiny.yaml", {key.replace("__", "."): value for key, value in overrides.items()})


def test_values_are_in_inside_units(tiny: Scenario, folder: Path) -> None:
    """Quantities lose their unit, paths become absolute, and the text of a path is kept."""
    assert tiny.servers["phone"].buffers["hbm"].size_bytes == 2**30
    assert tiny.links["down"].delay_s == 0.01
    assert tiny.links["up"].capacity == 20e6
    assert tiny.links["up"].committed_bytes == 1000
    assert (tiny.workload.session_rate_per_s, tiny.workload.starts) == (2 / 60, "poisson")
    assert (tiny.workload.trace, tiny.workload.trace_text) == (folder / "trace.jsonl", "trace.jsonl")
    capacity = tiny.links["down"].capacity
    assert isinstance(capacity, Series)
    assert (capacity.series, capacity.series_text, capacity.mean_bps) == (folder / "slice.csv", "slice.csv", 1e8)
    assert tiny.path == folder / "tiny.yaml"


def test_defaults(tiny: Scenario) -> None:
    """What the file leaves out has the stated default."""
    assert tiny.replications == 20
    assert [plugin.name for plugin in tiny.policies.__dict__.values()] == [
        "sticky",
        "chunked-fcfs",
        "always",
        "lru",
        "fetch",
        "none",
        "markov",
        "identity",
        "push",
        "semi-markov",
        "ewma",
    ]
    engine = tiny.servers["cloud"].engine
    assert (engine.token_budget, engine.max_sequences, engine.speculative_step) == (2048, 256, 256)
    assert (tiny.run.control_message_bytes, tiny.run.text_bytes_per_token, tiny.run.horizon_s) == (64, 4, None)
    assert tiny.links["down"].committed_bytes is None


def test_plug_in_parameters_are_complete(tiny: Scenario) -> None:
    """A plug-in carries every parameter under its field's name."""
    assert tiny.servers["phone"].gpu == PlugIn("fixed", {"prefill_per_token_s": 0.01, "decode_step_s": 0.001})
    sure = tiny.arms[1].policies.prefetch
    assert sure is not None
    assert sure.params["threshold"] == 0.9
    assert "kind" in sure.params


def test_one_arm_when_the_file_names_none(folder: Path) -> None:
    """A scenario without arms compares nothing and still runs."""
    found = from_text(TEXT[: TEXT.index("arms:")], folder / "tiny.yaml")
    assert [arm.name for arm in found.arms] == ["default"]
    assert found.for_arm("default").policies == found.policies


def test_recorded_starts_without_a_rate(folder: Path) -> None:
    """A trace is replayed as it stands unless a rate is given."""
    found = from_text(TEXT.replace(", sessions: 3, session_rate: 2 /min", ""), folder / "tiny.yaml")
    assert (found.workload.starts, found.workload.session_rate_per_s) == ("recorded", None)


def test_generator_parameters_stand_beside_its_name(folder: Path) -> None:
    """They are told from the workload's own keys, and carry units."""
    text = TEXT.replace(
        "trace: trace.jsonl, sessions: 3, session_rate: 2 /min",
        "generator: independent-trigger, p: 0.4, request_rate: 30 /min",
    )
    found = from_text(text, folder / "tiny.yaml").workload.generator
    assert found is not None
    assert (found.name, found.params["p"], found.params["request_rate_per_s"]) == ("independent-trigger", 0.4, 0.5)


def test_for_arm_merges_policies_and_buffers(tiny: Scenario) -> None:
    """An arm changes what it names and nothing else; asking twice changes nothing more."""
    arm = tiny.for_arm("next")
    assert arm.policies.prefetch.name == "sequential"
    assert arm.policies.predictor == tiny.policies.predictor
    assert (arm.servers["phone"].buffers["hbm"].size_bytes, arm.servers["phone"].gpu) == (
        2**31,
        tiny.servers["phone"].gpu,
    )
    assert arm.servers["cloud"] == tiny.servers["cloud"]
    assert [one.name for one in arm.arms] == ["next"]
    assert arm.for_arm("next") == arm
    assert arm.path == tiny.path
    assert tiny.servers["phone"].buffers["hbm"].size_bytes == 2**30


def test_unknown_arm(tiny: Scenario) -> None:
    """The error lists the arms."""
    with pytest.raises(InputError, match=r"no arm 'nxt'; did you mean 'next'\?; arms: none, sure, next"):
        tiny.for_arm("nxt")


def test_scenarios_travel_to_workers(tiny: Scenario) -> None:
    """Pickling keeps everything, the path included."""
    back = pickle.loads(pickle.dumps(tiny))
    assert (back, back.path, back.workload.trace_text) == (tiny, tiny.path, "trace.jsonl")


def test_scenarios_are_frozen(tiny: Scenario) -> None:
    """Nobody changes a scenario after loading."""
    with pytest.raises(ValueError, match="frozen"):
        tiny.seed = 8


# --- plug-ins ---


@dataclass
class Shape:
    """A shape."""

    lead_s: float
    sides: tuple[int, ...] = (3, 4)
    sizes_bytes: tuple[int, ...] = (1000,)
    limit_bps: float | None = None
    colour: Literal["red", "blue"] = "red"
    label_s: str = "text, whatever its suffix"
    names: list[str] = field(default_factory=list)


SHAPES: Registry[Shape] = Registry("shape", "")
SHAPES.register("shape")(Shape)


@pytest.fixture
def shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plug-ins of every type of parameter."""
    monkeypatch.setattr(SHAPES, "_entry_points_loaded", True)
    monkeypatch.setattr(plugins, "registry", lambda kind: SHAPES)


@pytest.mark.usefixtures("shapes")
def test_parameters_of_every_type_are_read_and_written() -> None:
    """Units by the field's suffix, inside tuples and optionals too."""
    told = {"lead": "20 ms", "sides": (5,), "sizes": ("1 KiB", "2 B"), "limit": "8 kbit/s", "label_s": "x"}
    found = plugins.read("shape", {"name": "shape", **told})
    assert found.params | {"names": None} == {
        "lead_s": 0.02,
        "sides": (5,),
        "sizes_bytes": (1024, 2),
        "limit_bps": 8000.0,
        "colour": "red",
        "label_s": "x",
        "names": None,
    }
    written = plugins.write("shape", found)
    assert isinstance(written, dict)
    assert (written["lead"], written["sizes"], written["limit"]) == ("20 ms", ("1 KiB", "2 B"), "8 kbit/s")
    none = plugins.read("shape", {"name": "shape", "lead": "1 s", "limit": None})
    assert none.params["limit_bps"] is None


@pytest.mark.usefixtures("shapes")
@pytest.mark.parametrize(
    ("told", "at", "message"),
    [
        ({}, (), "shape 'shape' needs the parameter 'lead'"),
        ({"lead_s": "1 s"}, ("lead_s",), "shape 'shape' has no parameter 'lead_s'; did you mean 'lead'?; it takes: lead, sides, sizes, limit, colour, label_s, names"),
        ({"lead": "1 s", "sides": 3}, ("sides",), "want a list, got 3"),
        ({"lead": "1 s", "sides": (3, "x")}, ("sides",), "want a whole number, got 'x'"),
        ({"lead": "1 s", "colour": "rad"}, ("colour",), "want one of: red, blue, got 'rad'; did you mean 'red'?"),
        ({"lead": "1 s", "names": ("a",)}, ("names",), "this parameter cannot be given in a scenario"),
    ],
)  # fmt: skip
def test_parameters_that_do_not_fit(told: dict[str, object], at: tuple[str, ...], message: str) -> None:
    """The place is the parameter."""
    with pytest.raises(Misfit) as caught:
        plugins.read("shape", {"name": "shape", **told})
    assert (caught.value.message, caught.value.at) == (message, at)


# --- overrides ---


def test_overrides_are_read_as_yaml(folder: Path) -> None:
    """Text, numbers and mappings; keys that the file leaves out; bare plug-in names that gain a parameter."""
    found = changed(
        folder,
        seed="9",
        replications=3,
        links__down__capacity__mean="50 Mbit/s",
        run__horizon="60 s",
        servers__phone__engine__token_budget=512,
        servers__cloud__gpu__overhead="2 ms",
        links__up__capacity="{series: slice.csv}",
    )
    assert (found.seed, found.replications, found.run.horizon_s) == (9, 3, 60.0)
    assert isinstance(found.links["down"].capacity, Series)
    assert found.links["down"].capacity.mean_bps == 50e6
    assert found.servers["phone"].engine.token_budget == 512
    assert found.servers["cloud"].gpu is not None
    assert found.servers["cloud"].gpu.params["overhead_s"] == 0.002
    assert isinstance(found.links["up"].capacity, Series)


def test_a_policy_parameter_reaches_every_arm_that_has_it(folder: Path) -> None:
    """Only the threshold arm has a threshold."""
    found = changed(folder, policies__prefetch__threshold=0.5)
    assert [arm.policies.prefetch.params.get("threshold") for arm in found.arms if arm.policies.prefetch] == [0.5, None]
    assert found.policies.prefetch == PlugIn("none", {})


def test_a_policy_parameter_reaches_the_shared_policy(folder: Path) -> None:
    """No arm names a predictor, so all use the scenario's."""
    assert changed(folder, policies__predictor__order=1).policies.predictor.params == {"order": 1}


def test_a_policy_sets_the_default(folder: Path) -> None:
    """Arms with a policy of their own keep it."""
    found = changed(folder, policies__prefetch="oracle")
    assert [found.for_arm(arm.name).policies.prefetch.name for arm in found.arms] == [
        "oracle",
        "threshold",
        "sequential",
    ]


def test_overrides_of_one_arm(folder: Path) -> None:
    """A parameter of a policy that the arm inherits is set on a copy of its own."""
    found = changed(folder, arms__none__policies__predictor__order=3, arms__sure__policies__prefetch__threshold="0.1")
    assert found.for_arm("none").policies.predictor == PlugIn("markov", {"order": 3})
    assert found.for_arm("sure").policies.predictor == PlugIn("markov", {"order": 2})
    assert found.for_arm("sure").policies.prefetch.params["threshold"] == 0.1


def test_an_override_reaches_one_use_of_an_alias(folder: Path) -> None:
    """Aliases are copies: changing one leaves the other."""
    text = TEXT.replace("buffers: {hbm: {size: 40 GiB}}", "buffers: &b {hbm: {size: 40 GiB}}").replace(
        "buffers: {hbm: {size: 1 GiB}}", "buffers: *b"
    )
    found = from_text(text, folder / "tiny.yaml", {"servers.phone.buffers.hbm.size": "1 GiB"})
    assert [server.buffers["hbm"].size_bytes for server in found.servers.values()] == [40 * 2**30, 2**30]


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("links.dwn.delay", "1 s", "unknown link 'dwn'; did you mean 'down'?; known: down, up"),
        ("links.down.dely", "1 s", "links.down: unknown key 'dely'; did you mean 'delay'?; known: from, to, delay, capacity, transport, discipline, committed_bytes"),
        ("servers.fone.count", "2", "unknown server 'fone'; did you mean 'phone'?; known: cloud, phone"),
        ("arms.shure.policies.prefetch", "none", "unknown arm 'shure'; did you mean 'sure'?; known: none, sure, next"),
        ("polices.prefetch", "none", "unknown key 'polices'; did you mean 'policies'?; known: simkv, name, model, seed, replications, workload, servers, links, policies, arms, run, sweep"),
        ("policies.prefetch.depth", "2", "no arm's prefetch takes 'depth'; they are: none, sequential, threshold"),
        ("policies.prefech.depth", "2", "unknown policy 'prefech'; did you mean 'prefetch'?; known: routing, batching, admission, eviction, acquisition, prefetch, predictor, codec, initiator, timing, estimator"),
        ("policies.prefetch.threshold", "2", "arms.sure.policies.prefetch.threshold: prefetch policy 'threshold': threshold must be in [0, 1], got 2.0"),
        ("links.up.capacity.mean", "1 Mbit/s", "links.up.capacity is '20 Mbit/s' and has no keys"),
        ("links.up.capacity", "1 MB/s", "links.up.capacity: want a rate such as '100 Mbit/s', got '1 MB/s'"),
        ("seed", "", "seed: want a value, got nothing"),
        ("seed", "[1", "not valid YAML: expected ',' or ']', but got '<stream end>'"),
        ("arms.sure", "x", "want what to change of the arm: 'arms.sure.policies.prefetch', say"),
        ("seed.", "1", "want a dotted path such as 'links.slice.delay'"),
        ("seed", object(), "want text, a number, a list or a mapping, got object"),
    ],
)  # fmt: skip
def test_overrides_that_lead_nowhere(folder: Path, path: str, value: object, message: str) -> None:
    """The error names the override, what was found, and what there is."""
    with pytest.raises(InputError) as caught:
        load(folder / "tiny.yaml", {path: value})
    assert str(caught.value) == f"override {path}: {message}"


# --- writing out, and the schema ---


def test_resolved_loads_again_to_an_equal_scenario(tiny: Scenario, tmp_path: Path) -> None:
    """From any folder, because its paths are absolute."""
    text = resolved(tiny)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "resolved.yaml").write_text(text)
    again = load(elsewhere / "resolved.yaml")
    assert again == tiny
    assert resolved(again) == text
    for words in ("delay: 10 ms", "mean: 100 Mbit/s", "session_rate: 2 /min", "replications: 20", "codec: identity"):
        assert words in text


@pytest.mark.parametrize("name", ["on", "1e6", "010", "null", "12:30:45", "a: b", "ünï ☃", "0x1F", "~"])
def test_resolved_quotes_what_yaml_would_read_otherwise(folder: Path, name: str) -> None:
    """A trace may have any name."""
    (folder / name).write_text("")
    found = load(folder / "tiny.yaml", {"workload": {"trace": f"'{name}'"}})
    assert from_text(resolved(found), folder / "again.yaml") == found


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_scenarios(path: Path) -> None:
    """They load, they fit the schema for editors, and they can be written out and read again."""
    fits(plain(parse(read_text(path), path.name)), json_schema())
    try:
        found = load(path)
    except InputError as error:
        if "no such file" in str(error) and "/data/" in str(error):
            pytest.skip("the real trace that it names is absent")
        raise
    assert from_text(resolved(found), path) == found
    fits(plain(parse(resolved(found), path.name)), json_schema())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("seed: 7", "seed: seven"),
        ("delay: 10 ms", "delay: 10"),
        ("100 Mbit/s", "100 MB/s"),
        ("order: 2", "ordr: 2"),
        ("transport: ideal", "transport: idle"),
        ("seed: 7", "seed: 7\nsede: 7"),
        ("from: cloud, ", ""),
        ("name: threshold, threshold", "name: threshhold, threshold"),
        ("hbm: {size: 1 GiB}", "dram: {size: 1 GiB}"),
        ("name: tiny", "name: tiny\nsweep: {}"),
        ("name: tiny", "name: tiny\nsweep: {seed: {a: 1}}"),
    ],
)
def test_the_schema_refuses_what_loading_refuses(old: str, new: str) -> None:
    """An editor underlines the same mistakes."""
    assert old in TEXT
    fits(plain(parse(TEXT, "x")), json_schema())
    with pytest.raises(AssertionError):
        fits(plain(parse(TEXT.replace(old, new), "x")), json_schema())


# --- YAML 1.2 ---


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),
        ("NO", "NO"),
        ("y", "y"),
        ("010", 10),
        ("0o17", 15),
        ("0x1F", 31),
        ("12:30:45", "12:30:45"),
        ("1_000", "1_000"),
        ("1e6", 1e6),
        ("1.", 1.0),
        (".5", 0.5),
        ("-.inf", float("-inf")),
        ("True", True),
        ("Null", None),
        ("2001-01-01", "2001-01-01"),
        ("20 ms", "20 ms"),
    ],
)
def test_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    """No Norway problem, no sexagesimals, no octal by a leading zero."""
    found = core_scalar(text)
    assert (found, type(found)) == (value, type(value))


def test_quoted_scalars_are_text() -> None:
    """Quotes switch meaning off."""
    assert plain(parse("{a: '1', b: \"true\", c: 1}", "x")) == {"a": "1", "b": "true", "c": 1}


def fits(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any] | None = None, at: str = "$") -> None:
    """Assert that a value fits a JSON Schema, by the keywords that ours uses, and no others."""
    root = root or schema
    known = {"$schema", "$defs", "title", "description", "default", "examples", "required", "additionalProperties"}
    for word, wanted in schema.items():
        if word not in known and isinstance(value, _APPLIES.get(word, object)):
            _KEYWORDS[word](value, wanted, schema, root, at)
    if isinstance(value, dict):
        missing = set(schema.get("required", ())) - set(value)
        assert not missing, f"{at}: missing {missing}"
        patterns = schema.get("patternProperties", {})
        extra = {key for key in value if not any(re.search(pattern, key) for pattern in patterns)}
        extra -= set(schema.get("properties", ()))
        allowed = schema.get("additionalProperties", True)
        if isinstance(allowed, dict):
            for key in extra:
                fits(value[key], allowed, root, f"{at}.{key}")
        assert allowed or not extra, f"{at}: unknown {extra}"


_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (tuple,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


def _is_type(value: Any, wanted: Any, schema: Any, root: Any, at: str) -> None:
    assert isinstance(value, _TYPES[wanted]), f"{at}: no {wanted}"
    assert wanted == "boolean" or not isinstance(value, bool), f"{at}: no {wanted}"


def _any_of(value: Any, wanted: Any, schema: Any, root: Any, at: str) -> None:
    faults = []
    for option in wanted:
        try:
            fits(value, option, root, at)
        except AssertionError as fault:
            faults.append(str(fault))
        else:
            return
    raise AssertionError(f"{at}: {faults}")


def _reference(value: Any, wanted: Any, schema: Any, root: Any, at: str) -> None:
    fits(value, root["$defs"][wanted.rpartition("/")[2]], root, at)


def _properties(value: Any, wanted: Any, schema: Any, root: Any, at: str) -> None:
    for key in set(wanted) & set(value):
        fits(value[key], wanted[key], root, f"{at}.{key}")


def _patterns(value: Any, wanted: Any, schema: Any, root: Any, at: str) -> None:
    for pattern, inner in wanted.items():
        for key in value:
            if re.search(pattern, key):
                fits(value[key], inner, root, f"{at}.{key}")


def _items(value: Any, wanted: Any, schema: Any, root: Any, at: str) -> None:
    for index, item in enumerate(value):
        fits(item, wanted, root, f"{at}[{index}]")


def _names(value: Any, wanted: Any, schema: Any, root: Any, at: str) -> None:
    for key in value:
        fits(key, wanted, root, f"{at} key")


def _check(test: Any) -> Any:
    def keyword(value: Any, wanted: Any, schema: Any, root: Any, at: str) -> None:
        assert test(value, wanted), f"{at}: {value!r} against {wanted!r}"

    return keyword


#: A keyword says nothing about values of other types.
_APPLIES: dict[str, Any] = {
    "properties": dict,
    "patternProperties": dict,
    "propertyNames": dict,
    "items": tuple,
    "minimum": (int, float),
    "minLength": str,
    "minProperties": dict,
    "pattern": str,
}
_KEYWORDS: dict[str, Any] = {
    "$ref": _reference,
    "anyOf": _any_of,
    "oneOf": _any_of,
    "properties": _properties,
    "patternProperties": _patterns,
    "items": _items,
    "propertyNames": _names,
    "type": _is_type,
    "not": _check(lambda value, wanted: False),
    "enum": _check(lambda value, wanted: value in wanted),
    "const": _check(lambda value, wanted: value == wanted and type(value) is type(wanted)),
    "minimum": _check(lambda value, wanted: value >= wanted),
    "minLength": _check(lambda value, wanted: len(value) >= wanted),
    "minProperties": _check(lambda value, wanted: len(value) >= wanted),
    "pattern": _check(lambda value, wanted: re.search(wanted, value) is not None),
}
