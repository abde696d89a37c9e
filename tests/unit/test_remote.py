"""Traces and series by URL: read once, known by what they hold, and refused where a URL means nothing."""

from __future__ import annotations

import gzip
import http.server
import json
import os
import pickle
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import fsspec
import pandas as pd
import pytest
from fsspec.implementations.memory import MemoryFileSystem

import simkv
from simkv.cli import main
from simkv.errors import InputError
from simkv.remote import Fetched, fetched
from simkv.scenario import from_text, resolved
from simkv.sweep import plan, read_axis
from simkv.sweep.points import identity
from simkv.workload import open_trace, read_series

ROOT = Path(__file__).resolve().parents[2]
SCENARIO = ROOT / "scenarios" / "three_turns.yaml"
TRACE = ROOT / "traces" / "three_turns.jsonl"
URL = "memory://simkv-tests/three_turns.jsonl"
SERIES = "memory://simkv-tests/steps.csv"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return an empty folder for copies; the memory file system holds a trace and a series."""
    monkeypatch.setenv("SIMKV_CACHE", str(tmp_path / "cache"))
    fsspec.filesystem("memory").store.clear()
    put(URL, TRACE.read_bytes())
    header = '# {"format": "simkv.series", "version": 1, "kind": "capacity"}'
    put(SERIES, f"{header}\nt_s,bps\n0,2000000\n5,4000000\n".encode())
    fetched.cache_clear()
    yield tmp_path / "cache"
    fetched.cache_clear()


def put(url: str, content: bytes) -> None:
    """Write what a URL names."""
    with fsspec.open(url, "wb") as file:
        file.write(content)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the paths that are opened in the memory file system, as it goes."""
    opened: list[str] = []
    real = MemoryFileSystem._open

    def noted(self: MemoryFileSystem, path: str, *how: object, **more: object) -> object:
        opened.append(path)
        return real(self, path, *how, **more)

    monkeypatch.setattr(MemoryFileSystem, "_open", noted)
    return opened


def test_a_trace_by_url_is_the_trace_by_path() -> None:
    """The same table and the same identity: numbers depend on content, wherever it lies."""
    near, far = simkv.load(SCENARIO), simkv.load(SCENARIO, {"workload.trace": URL})
    assert identity(far) == identity(near)
    pd.testing.assert_frame_equal(simkv.run(far).table, simkv.run(near).table)
    put(URL, TRACE.read_bytes() + b"\n")
    fetched.cache_clear()
    assert identity(simkv.load(SCENARIO, {"workload.trace": URL})) != identity(near)


def test_a_series_by_url_is_read_too() -> None:
    """On a link, and alone."""
    scenario = simkv.load(SCENARIO, {"links.down.capacity": f"{{series: '{SERIES}'}}"})
    assert len(simkv.run(scenario).table) == 2
    assert read_series(SERIES).rates_bps == [2e6, 4e6]


def test_a_file_is_read_once(reads: list[str], cache: Path) -> None:
    """By all points of a sweep; by the next process too, unless the file or the copy has changed."""
    plan(SCENARIO, [read_axis("seed=1,2,3")], {"workload.trace": URL})
    fetched.cache_clear()  # as in another process
    copy = fetched(URL)
    assert len(reads) == 1
    assert sorted(path.name for path in cache.iterdir()) == sorted([copy.sha256, "urls"])
    Path(copy).chmod(0o644)
    Path(copy).write_bytes(b"damaged")
    fetched.cache_clear()
    assert fetched(URL).read_bytes() == TRACE.read_bytes()
    assert len(reads) == 2
    put(URL, b"other")
    fetched.cache_clear()
    assert fetched(URL).read_bytes() == b"other"


def test_a_copy_keeps_the_name_of_its_url_in_all_that_is_told(tmp_path: Path) -> None:
    """In errors, in the scenario as resolved, in the manifest."""
    scenario = simkv.load(SCENARIO, {"workload.trace": URL})
    assert f"trace: {URL}" in resolved(scenario)
    assert from_text(resolved(scenario), tmp_path / "elsewhere.yaml") == scenario
    simkv.run(scenario).save(tmp_path)
    inputs = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))["inputs"]
    assert [(item["name"], item["size_bytes"]) for item in inputs[1:]] == [(URL, TRACE.stat().st_size)]
    put(URL, TRACE.read_bytes() + b"{broken\n")
    fetched.cache_clear()
    lines = TRACE.read_bytes().count(b"\n") + 1
    with pytest.raises(InputError, match=rf"^{URL}:{lines}: "):
        list(open_trace(URL).sessions())


def test_a_copy_travels_as_its_url(tmp_path: Path) -> None:
    """To a machine with another cache; where the URL names something else by then, it is refused."""
    there = tmp_path / "there.jsonl.gz"
    there.write_bytes(gzip.compress(TRACE.read_bytes()))
    scenario = simkv.load(SCENARIO, {"workload.trace": there.as_uri()})
    assert isinstance(scenario.workload.trace, Fetched)
    sent = tmp_path / "sent.pickle"
    sent.write_bytes(pickle.dumps(scenario))
    script = f"import pickle; print(pickle.load(open({str(sent)!r}, 'rb')).workload.trace.__fspath__())"
    env = {**os.environ, "PYTHONPATH": str(ROOT), "SIMKV_CACHE": str(tmp_path / "other")}
    command = [sys.executable, "-W", "ignore", "-c", script]
    came = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout.strip()
    assert came.startswith(str(tmp_path / "other"))
    assert Path(came).read_bytes() == there.read_bytes()
    shutil.rmtree(tmp_path / "cache")
    there.write_bytes(gzip.compress(b""))
    fetched.cache_clear()
    with pytest.raises(InputError, match=r"there.jsonl.gz: holds something else than where the sweep was started"):
        pickle.loads(sent.read_bytes())


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("memory://simkv-tests/absent.jsonl", "memory://simkv-tests/absent.jsonl: no such file"),
        ("memory://simkv-tests", "is a folder; want a file"),
        ("s4://bucket/x.jsonl", "s4://bucket/x.jsonl: cannot be read: Protocol not known: s4"),
        ("https://me:secret@example.org/x.jsonl", "https://example.org/x.jsonl: holds a password"),
        ("https://token@example.org/x.jsonl", "https://example.org/x.jsonl: holds a password"),
    ],
)
def test_a_url_that_cannot_be_read_is_told(
    url: str, told: str, capsys: pytest.CaptureFixture[str], cache: Path
) -> None:
    """Exit code 2, from the command line and at its place in a scenario; nothing is left half-written."""
    assert main(["trace", "info", url]) == 2
    assert told in capsys.readouterr().err
    assert main(["check", str(SCENARIO), "--set", f"workload.trace={url}"]) == 2
    err = capsys.readouterr().err
    assert "workload.trace: " in err
    assert told in err
    assert not list(cache.glob(".*"))


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but URLs wants it."""
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(InputError, match=r"pip install 'simkv\[remote\]'"):
        fetched(URL)


def test_a_cache_that_cannot_be_written_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And how to have another."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SIMKV_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match=r"file: cannot be written: .*SIMKV_CACHE"):
        fetched(URL)


@pytest.mark.parametrize(
    "words",
    [
        ["run", "memory://simkv-tests/x.yaml"],
        ["sweep", "memory://simkv-tests/x.yaml", "-p", "seed=1,2"],
        ["check", "memory://simkv-tests/three_turns.jsonl"],
        ["check", str(SCENARIO), "--set", "model=memory://simkv-tests/config.json"],
        [
            "check",
            str(SCENARIO),
            "--set",
            "servers.receiver.gpu={name: measured, path: 'memory://simkv-tests/x.json'}",
        ],
    ],
)
def test_a_url_is_refused_where_it_means_nothing(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, and where it would mean something."""
    assert main(words) == 2
    assert (
        "only a scenario's trace and series, and simkv trace info, convert and mrc, take URLs"
        in capsys.readouterr().err
    )


def test_commands_on_traces_take_urls(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Over HTTP, as a server of this machine gives them."""
    handler = partial(Quiet, directory=str(TRACE.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/three_turns.jsonl"
        assert main(["trace", "info", url]) == 0
        told = capsys.readouterr().out
        assert main(["trace", "convert", url, str(tmp_path / "out.jsonl")]) == 0
        assert main(["trace", "mrc", url, "--policy", "lru"]) == 0
        server.shutdown()
    capsys.readouterr()
    assert main(["trace", "info", str(TRACE)]) == 0
    assert told == capsys.readouterr().out.replace(str(TRACE), url)
    assert '"converted_from": "three_turns.jsonl"' in (tmp_path / "out.jsonl").read_text(encoding="utf-8")


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files and says nothing of it."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""
