"""The command line: what is printed where, which exit code, and that a results folder is whole or absent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest

import simkv
from simkv import cli
from simkv.errors import InvariantError
from simkv.scenario import Scenario

ROOT = Path(__file__).resolve().parents[2]
STORY = str(ROOT / "scenarios" / "three_turns.yaml")


@dataclass
class FakeComparison:
    """What the command line needs of a comparison."""

    scenario: Scenario
    unfinished: int = 0
    broken: bool = False
    seen: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        arms = [{"name": "none", "requests": {"unfinished": self.unfinished}}]
        return {"schema_version": 1, "scenario": self.scenario.name, "arms": arms}

    def save(self, folder: Path) -> None:
        (folder / "manifest.json").write_text("{}")
        if self.broken:
            raise RuntimeError("disk on fire")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def fake(here: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Replace the run by one that ends at once as told; return what it was asked."""

    def install(error: BaseException | None = None, **told: Any) -> dict[str, Any]:
        seen: dict[str, Any] = {}

        def compare(scenario: Scenario, **kwargs: Any) -> FakeComparison:
            seen.update(kwargs, scenario=scenario)
            if error is not None:
                raise error
            return FakeComparison(scenario, **told)

        monkeypatch.setattr(module("simkv.compare"), "compare", compare)
        monkeypatch.setattr(module("simkv.report.tables"), "to_text", lambda comparison: "the table\n")
        monkeypatch.setattr(
            module("simkv.report.figures"), "save_all", lambda comparison, folder: (folder / "cdf.png").write_text("")
        )
        return seen

    return install


def module(name: str) -> ModuleType:
    """Import a module by name."""
    __import__(name)
    return sys.modules[name]


def names(folder: Path) -> list[str]:
    """Return everything below a folder, hidden files included."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_run_prints_the_table_and_saves(
    fake: Callable[..., Any], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """stdout is the table, stderr says where the results are, and nothing temporary is left."""
    seen = fake()
    assert cli.main(["run", STORY, "--seed", "5", "--workers", "2", "--set", "replications=3"]) == cli.DONE
    said = capsys.readouterr()
    assert (said.out, said.err) == ("the table\n", "saved to out/three-turns\n")
    assert names(here) == ["out", "out/three-turns", "out/three-turns/cdf.png", "out/three-turns/manifest.json"]
    assert (seen["seed"], seen["workers"], seen["scenario"].seed, seen["scenario"].replications) == (5, 2, 5, 3)


def test_run_prints_json(fake: Callable[..., Any], here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --json stdout is one JSON document."""
    fake()
    assert cli.main(["run", STORY, "--json", "--out", "results"]) == cli.DONE
    assert json.loads(capsys.readouterr().out)["scenario"] == "three-turns"
    assert names(here) == ["results", "results/cdf.png", "results/manifest.json"]


def test_run_replaces_earlier_results(fake: Callable[..., Any], here: Path) -> None:
    """Nothing of the earlier results stays, and nothing else is touched."""
    fake()
    assert cli.main(["run", STORY]) == cli.DONE
    (here / "out/three-turns/old.txt").write_text("")
    assert cli.main(["run", STORY]) == cli.DONE
    assert names(here / "out") == ["three-turns", "three-turns/cdf.png", "three-turns/manifest.json"]


def test_run_refuses_a_folder_of_something_else(
    fake: Callable[..., Any], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A slip in --out must not cost anybody a folder; and it is told before the run."""
    seen = fake()
    (here / "thesis").mkdir()
    (here / "thesis/chapter1.tex").write_text("")
    assert cli.main(["run", STORY, "--out", "thesis"]) == cli.INVALID
    assert capsys.readouterr().err == "error: thesis: holds something else than results; want an empty or new folder\n"
    assert (seen, names(here)) == ({}, ["thesis", "thesis/chapter1.tex"])


def test_run_refuses_a_file_as_folder(fake: Callable[..., Any], here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And a parent that is a file."""
    fake()
    (here / "file").write_text("")
    assert cli.main(["run", STORY, "--out", "file"]) == cli.INVALID
    assert capsys.readouterr().err == "error: file: is a file; want a folder for the results\n"
    assert cli.main(["run", STORY, "--out", "file/below"]) == cli.INVALID
    assert capsys.readouterr().err.startswith("error: file/below: cannot be written: ")


def test_a_failed_save_leaves_the_earlier_results(
    fake: Callable[..., Any], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whole or absent: never half-written."""
    fake(broken=True)
    assert cli.main(["run", STORY]) == cli.UNEXPECTED
    assert names(here) == ["out"]
    assert "disk on fire" in capsys.readouterr().err
    fake()
    assert cli.main(["run", STORY]) == cli.DONE
    fake(broken=True)
    assert cli.main(["run", STORY]) == cli.UNEXPECTED
    assert names(here / "out") == ["three-turns", "three-turns/cdf.png", "three-turns/manifest.json"]


def test_unfinished_requests_are_told(fake: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 3, unless a horizon made it so."""
    fake(unfinished=4)
    assert cli.main(["run", STORY]) == cli.UNFINISHED
    assert "warning: unfinished requests: none 4\n" in capsys.readouterr().err
    assert cli.main(["run", STORY, "--set", "run.horizon=10 s"]) == cli.DONE
    assert "warning: unfinished requests: none 4\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (InvariantError("bytes lost"), cli.UNFINISHED, "an invariant does not hold"),
        (KeyboardInterrupt(), cli.INTERRUPTED, "to start again: simkv run"),
        (click.Abort(), cli.INTERRUPTED, "nothing was written"),
        (ZeroDivisionError("boom"), cli.UNEXPECTED, "this is a bug in simkv"),
        (BrokenPipeError(), cli.UNEXPECTED, ""),
    ],
)
def test_exit_codes(
    fake: Callable[..., Any],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    code: int,
    words: str,
) -> None:
    """Each way to fail has its code, says so on stderr, and leaves nothing behind."""
    fake(error)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", sys.stdout)  # a broken pipe takes stdout away
        assert cli.main(["run", STORY]) == code
    said = capsys.readouterr()
    assert words in said.err
    assert said.out == ""
    assert names(Path.cwd()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run"], "Missing argument 'SCENARIO'"),
        (["rnu"], "No such command 'rnu'"),
        (["run", STORY, "--set", "seed"], "--set wants NAME=VALUE, got 'seed'"),
        (["run", STORY, "--set", "seed=1", "--set", "seed=2"], "--set seed stands twice"),
        (["run", STORY, "--set", "seed=1", "--seed", "2"], "want either --seed or --set seed=..., not both"),
        (["run", STORY, "--workers", "0"], "0 is not in the range"),
        (["run", STORY, "--set", "links.dwn.delay=1 s"], "override links.dwn.delay: unknown link 'dwn'; did you mean"),
        (["check"], "want a FILE to check, or --schema"),
        (["check", str(ROOT / "traces" / "three_turns.jsonl"), "--resolved"], "--set and --resolved are for scenarios"),
        (["check", "nowhere.yaml"], "error: nowhere.yaml: no such file"),
        (["check", str(ROOT / "Makefile")], "want a scenario (.yaml), a trace, a series (.csv)"),
        (["list", "evicton"], "unknown kind 'evicton'; did you mean 'eviction'?"),
        (["trace", "info", "nowhere.jsonl"], "nowhere.jsonl"),
        (["trace", "convert", "generator:log-ar2", "a.csv"], "unknown generator 'log-ar2'; did you mean 'log-ar1'?"),
    ],
)
def test_usage_and_input_errors(here: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    """Exit code 2, the reason on stderr, nothing on stdout, nothing written."""
    assert cli.main(words) == cli.INVALID
    said = capsys.readouterr()
    assert message in said.err
    assert (said.out, names(here)) == ("", [])


def test_check_resolved_prints_a_scenario_that_checks(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is printed can be saved and checked again."""
    assert cli.main(["check", STORY, "--resolved", "--set", "seed=3"]) == cli.DONE
    text = capsys.readouterr().out
    (here / "again.yaml").write_text(text)
    assert cli.main(["check", "again.yaml", "--resolved"]) == cli.DONE
    assert capsys.readouterr().out == text
    assert "seed: 3" in text


def test_check_prints_the_figures(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """One item a figure; warnings are marked; as JSON, each with its number."""
    from simkv import feasibility

    told = [
        feasibility.Figure("offered load", "slice", 0.3, "", "load 0.3"),
        feasibility.Figure("offered load", "uplink", None, "", "overload " * 20, warning=True),
    ]
    monkeypatch.setattr(feasibility, "figures", lambda scenario: told)
    assert cli.main(["check", STORY]) == cli.DONE
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["three-turns: valid; 2 arms, 1 replication", "  load 0.3"]
    assert lines[2].startswith("  warning: overload overload")
    assert lines[3].startswith("      overload")
    assert max(map(len, lines)) <= 110
    assert cli.main(["check", STORY, "--json"]) == cli.DONE
    found = json.loads(capsys.readouterr().out)
    assert (found["scenario"], len(found["figures"])) == ("three-turns", 2)
    first = {"name": "offered load", "of": "slice", "value": 0.3, "unit": "", "text": "load 0.3", "warning": False}
    assert found["figures"][0] == first


def test_check_builds_every_arm(capsys: pytest.CaptureFixture[str]) -> None:
    """A scenario is valid only if each of its arms can be built."""
    assert cli.main(["check", STORY, "--set", "servers.sender.buffers.hbm.size=1 KiB"]) == cli.INVALID
    said = capsys.readouterr()
    assert said.err.startswith("error: servers.sender.buffers.hbm.size: arm 'none': want room for at least one block")
    assert said.out == ""


def test_check_tells_traces_series_profiles_and_models(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each kind of file by its suffix."""
    (here / "series.csv").write_text(
        '# {"format": "simkv.series", "version": 1, "kind": "capacity"}\nt_s,bps\n0,8\n1,4\n'
    )
    config = {"model_type": "qwen2", "hidden_act": "silu", "num_hidden_layers": 2, "hidden_size": 8, "vocab_size": 9}
    config |= {"num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 16, "torch_dtype": "bfloat16"}
    config |= {"tie_word_embeddings": True, "architectures": ["Qwen2ForCausalLM"]}
    (here / "config.json").write_text(json.dumps(config))
    told = {
        str(ROOT / "traces" / "three_turns.jsonl"): "block_tokens",
        "series.csv": "mean_bps",
        str(ROOT / "simkv" / "profiles" / "analytic-a100-sxm.json"): "peak_flop_per_s",
        "config.json": "kv_bytes_per_token",
    }
    for file, word in told.items():
        assert cli.main(["check", file, "--json"]) == cli.DONE, capsys.readouterr().err
        assert word in json.loads(capsys.readouterr().out)
        assert cli.main(["check", file]) == cli.DONE
        assert capsys.readouterr().out.startswith(f"{file}: valid\n  ")


def test_check_refuses_a_wrong_profile(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not JSON, another schema, and values that no device has."""
    told = {
        "{": "not valid JSON",
        '{"schema": "simkv.profile.magic"}': "want schema 'simkv.profile.analytic'",
        '{"schema": "simkv.profile.analytic", "parameters": {"peak": 1}}': "has no parameter 'peak'",
        "[" * 100_000: "not valid JSON",
    }
    for text, message in told.items():
        (here / "bad.json").write_text(text)
        assert cli.main(["check", "bad.json"]) == cli.INVALID
        assert message in capsys.readouterr().err


def test_check_schema(capsys: pytest.CaptureFixture[str]) -> None:
    """The schema is JSON and needs no file."""
    assert cli.main(["check", "--schema"]) == cli.DONE
    assert json.loads(capsys.readouterr().out)["title"] == "Scenario"


def test_list_names_every_plug_in(capsys: pytest.CaptureFixture[str]) -> None:
    """By kind, with parameters as they are written; oracles are marked."""
    assert cli.main(["list"]) == cli.DONE
    text = capsys.readouterr().out
    for words in ("eviction\n", "  lru ", "[oracle", "prefill_per_token: time such as '20 ms', default 0 s"):
        assert words in text
    assert cli.main(["list", "prefetch", "--json"]) == cli.DONE
    found = {plugin["name"]: plugin for plugin in json.loads(capsys.readouterr().out)["prefetch"]}
    assert (found["oracle"]["oracle"], found["none"]["oracle"]) == (True, False)
    assert found["threshold"]["parameters"][0]["name"] == "threshold"


def test_trace_convert_and_info(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A generator's output can be described; equal seeds give equal bytes."""
    words = ["trace", "convert", "generator:sequential-reading", "-p", "conversations=3", "--seed", "4"]
    assert cli.main([*words, "a.jsonl"]) == cli.DONE
    assert cli.main([*words, "b.jsonl"]) == cli.DONE
    assert (here / "a.jsonl").read_bytes() == (here / "b.jsonl").read_bytes()
    capsys.readouterr()
    assert cli.main(["trace", "info", "a.jsonl", "--json"]) == cli.DONE
    assert json.loads(capsys.readouterr().out)["sessions"] == 3


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (
            ["convert", "a.jsonl", "b.jsonl", "--seed", "4"],
            "--seed is of a generator, and nothing in 'a.jsonl' is random",
        ),
        (["fetch", "irish-5g", "--list"], "want a NAME or --list, not both"),
    ],
)
def test_what_a_trace_command_would_ignore_is_refused(
    here: Path, capsys: pytest.CaptureFixture[str], words: list[str], problem: str
) -> None:
    assert cli.main(["trace", *words]) == cli.INVALID
    assert problem in capsys.readouterr().err
    assert names(here) == []


def test_help_is_quick() -> None:
    """`simkv --help` imports none of the heavy libraries and costs under 0.3 CPU seconds."""
    program = (
        "import sys, time; from simkv import cli; code = cli.main(['--help']);"
        "heavy = {'pydantic', 'pandas', 'numpy', 'simpy', 'yaml', 'matplotlib', 'pyarrow', 'rich'} & set(sys.modules);"
        "print(code, sorted(heavy), time.process_time(), file=sys.stderr)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment, timeout=60
    )
    code, heavy, cpu_s = done.stderr.split()
    assert (code, heavy) == ("0", "[]")
    assert float(cpu_s) < 0.3
    assert "Usage: simkv" in done.stdout


def test_the_front_door(monkeypatch: pytest.MonkeyPatch) -> None:
    """`simkv.compare` is a module and a function, whoever imports it first; `load` and `run` are there."""
    monkeypatch.setattr(module("simkv.compare"), "compare", lambda scenario, seed=None: (scenario, seed))
    scenario: Any = "scenario"
    called: list[Any] = [simkv.compare(scenario), simkv.run(scenario, 3)]
    assert called == [("scenario", None), ("scenario", 3)]
    assert simkv.load(STORY).name == "three-turns"
    assert {"load", "run", "compare", "__version__"} <= set(dir(simkv))
    with pytest.raises(AttributeError, match="has no attribute 'lode'"):
        simkv.lode  # noqa: B018


def test_mrc_prints_exactly_the_keys_that_are_promised(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """JSON for machines, a table for people, and a figure."""
    reading = str(ROOT / "traces" / "reading.jsonl.gz")
    chosen = [
        "trace",
        "mrc",
        reading,
        "--policy",
        "lru,belady",
        "--policy",
        "fifo",
        "--blocks",
        "40",
        "--blocks",
        "9,9",
    ]
    assert cli.main([*chosen, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert list(told) == ["accesses", "unique", "infinite_hits", "results"]
    assert [(row["policy"], row["blocks"]) for row in told["results"]] == [
        (policy, blocks) for policy in ("lru", "belady", "fifo") for blocks in (9, 40, None)
    ]
    assert all(list(row) == ["policy", "blocks", "hits", "prefix_hits"] for row in told["results"])
    assert cli.main([*chosen, "--plot", str(tmp_path / "hits.svg")]) == 0
    assert "unlimited" in capsys.readouterr().out
    assert "belady" in (tmp_path / "hits.svg").read_text()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--policy", "lruu"], "did you mean 'lru'"),
        (["--blocks", "0"], "--blocks wants whole numbers of at least 1, got '0'"),
        (["--blocks", "1k"], "got '1k'"),
        (["--warmup", "1000000"], "want a warm-up of fewer than"),
        (["--plot", "hits.txt"], "ends in .png, .pdf or .svg"),
        (["--plot", "/nowhere/hits.png"], "there is no folder /nowhere"),
        (["--policy", "ttl:tl=3 s"], "eviction policy 'ttl' has no parameter 'tl'"),
        (["--policy", "ttl:ttl=3"], "--policy ttl:ttl=3"),
    ],
)
def test_mrc_refuses_what_it_cannot_do(options: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2 and one line."""
    reading = str(ROOT / "traces" / "reading.jsonl.gz")
    assert cli.main(["trace", "mrc", reading, *options]) == 2
    assert says in capsys.readouterr().err


def test_mrc_takes_parameters_of_policies(capsys: pytest.CaptureFixture[str]) -> None:
    """Behind the name, as in YAML; the row carries all of it."""
    reading = str(ROOT / "traces" / "reading.jsonl.gz")
    chosen = ["--policy", "belady:bypass=true,ttl:ttl=30 s:renew=false", "--blocks", "50"]
    assert cli.main(["trace", "mrc", reading, *chosen, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["results"]
    assert [row["policy"] for row in rows[::2]] == ["belady:bypass=true", "ttl:ttl=30 s:renew=false"]
