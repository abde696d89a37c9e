"""The Chrome trace: by the rules of its format, and the same time and bytes as the spans that it is made of."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from simkv import cli
from simkv.compare import compare
from simkv.export.perfetto import trace
from simkv.recording import Recording, record
from simkv.report.reading import read_run
from simkv.results import REQUEST_LANES
from simkv.scenario import load
from tests.conftest import ROOT

SHORT = {"replications": "1", "workload.sessions": "8", "workload.session_rate": "8 /min", "servers.ue.count": "2"}
ARMS = ["text-prefetch", "sequential", "none"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight conversations on two phones, so that some wait for each other; three arms."""
    place = tmp_path_factory.mktemp("slice")
    compare(load(ROOT / "scenarios" / "5g_slice.yaml", SHORT)).save(place)
    return place


@pytest.fixture(scope="module")
def recording(folder: Path) -> Recording:
    return record(read_run(folder), ARMS)


@pytest.fixture(scope="module")
def events(recording: Recording) -> list[dict[str, Any]]:
    return trace(recording, {})["traceEvents"]


def spans(recording: Recording, arm: int, *lanes: str) -> list[dict[str, Any]]:
    columns = recording.arms[arm].spans
    rows = (dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))
    return [row for row in rows if row["lane"] in lanes]


def slices(events: list[dict[str, Any]]) -> list[tuple[int, str, str, float, float]]:
    """Return (pid, category, name, begin, end) of all pairs, and hold them to the rules on the way."""
    stacks: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    found = []
    for event in events:
        key = (
            (event["pid"], event["cat"], event["id2"]["local"])
            if event["ph"] in "be"
            else (event["pid"], event.get("tid"))
        )
        if event["ph"] in "Bb":
            stacks[key].append(event)
        elif event["ph"] in "Ee":
            begin = stacks[key].pop()  # raises where an end has no begin
            assert (begin["name"], begin["cat"]) == (event["name"], event["cat"])
            found.append((event["pid"], event["cat"], event["name"], begin["ts"], event["ts"]))
    assert not any(stacks.values())
    return found


def test_every_begin_has_its_end_and_slices_of_a_track_nest(events: list[dict[str, Any]]) -> None:
    assert all(begin_us < end_us for *_, begin_us, end_us in slices(events))


def test_requests_that_overlap_have_tracks_of_their_own(recording: Recording, events: list[dict[str, Any]]) -> None:
    """As many tracks a server as it has requests at a time, at the most."""
    tracks = [e["args"]["name"] for e in events if e["pid"] == 1 and e["name"] == "thread_name"]
    for server in ("ue-0", "ue-1"):
        lanes = [s for s in spans(recording, 0, *REQUEST_LANES) if s["object"] == server]
        at_a_time = [sum(s["start_s"] <= each["start_s"] < s["end_s"] for s in lanes) for each in lanes]
        assert sum(name.startswith(f"requests {server} ") for name in tracks) == max(at_a_time)
    assert len([name for name in tracks if name.startswith("requests")]) > 2


def test_time_never_goes_back(events: list[dict[str, Any]]) -> None:
    times = [event["ts"] for event in events if event["ph"] != "M"]
    assert times == sorted(times)
    assert {event["ph"] for event in events} == set("MBEbeC")


def test_asynchronous_ids_are_unique(events: list[dict[str, Any]]) -> None:
    begun = [(event["pid"], event["id2"]["local"]) for event in events if event["ph"] == "b"]
    assert len(begun) == len(set(begun)) > 0


def test_every_track_has_a_name_and_every_arm_a_process(events: list[dict[str, Any]]) -> None:
    named = {(e["pid"], e["tid"]): e["args"]["name"] for e in events if e["ph"] == "M" and e["name"] == "thread_name"}
    assert {(event["pid"], event["tid"]) for event in events if event["ph"] == "B"} == set(named)
    assert len(set(named)) == len({(pid, name) for (pid, _), name in named.items()})
    assert [e["args"]["name"] for e in events if e["name"] == "process_name"] == ARMS


def test_read_back_it_is_the_spans(recording: Recording, events: list[dict[str, Any]]) -> None:
    """Sum, number and place of what is on each kind of track, arm by arm; and all bytes of transfers."""
    found = slices(events)
    for arm in range(3):
        for lanes in [("link",), ("gpu",), *((lane,) for lane in REQUEST_LANES), ("wire",)]:
            told = [s for s in spans(recording, arm, *lanes) if s["end_s"] - s["start_s"] > 1e-9]
            category = "wire slice" if lanes == ("wire",) else lanes[0]
            back = [each for each in found if each[0] == arm + 1 and each[1].startswith(category)]
            assert sorted(name for _, _, name, _, _ in back) == sorted(s["kind"] for s in told)
            begins = sorted((begin_us, end_us) for *_, begin_us, end_us in back)
            assert begins == sorted((round(s["start_s"] * 1e9) / 1e3, round(s["end_s"] * 1e9) / 1e3) for s in told)
    told_bytes = sum(s["wire_bytes"] for arm in range(3) for s in spans(recording, arm, "wire"))
    assert sum(event["args"]["wire_bytes"] for event in events if event["ph"] == "b") == told_bytes > 0


def test_a_request_encloses_its_lanes(recording: Recording, events: list[dict[str, Any]]) -> None:
    wholes = sorted(end - begin for pid, category, _, begin, end in slices(events) if (pid, category) == (3, "request"))
    times_s: dict[int, float] = defaultdict(float)
    for span in spans(recording, 2, *REQUEST_LANES):
        times_s[span["request_id"]] += span["end_s"] - span["start_s"]
    assert wholes == pytest.approx(sorted(each * 1e6 for each in times_s.values()), rel=1e-6)


def test_counters_hold_what_was_sampled(recording: Recording, events: list[dict[str, Any]]) -> None:
    """A counter keeps its value until the next, so the last before an instant is the value there."""
    samples = recording.arms[1].samples
    rows = zip(*(samples[name] for name in ("time_s", "object", "quantity", "value")), strict=True)
    told = {time_s: value for time_s, name, what, value in rows if (name, what) == ("slice", "speculative_bps")}
    counted = [
        (e["ts"], e["args"]["speculative"]) for e in events if e["pid"] == 2 and e["name"] == "slice use [bit/s]"
    ]
    assert any(told.values())
    for time_s, value in told.items():
        assert [each for ts, each in counted if ts <= time_s * 1e6 + 1e-3][-1] == value


def test_the_command_writes_what_perfetto_opens(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--export", "perfetto", "--arm", "none", "--sessions", "2", "--window", "0 s..10 min"]
    for out in ("a", "b"):
        assert cli.main(["report", str(folder), *options, "--out", str(tmp_path / out)]) == 0
    assert capsys.readouterr().out.splitlines()[0] == str(tmp_path / "a" / "timeline.json.gz")
    one, two = ((tmp_path / out / "timeline.json.gz").read_bytes() for out in ("a", "b"))
    assert one == two
    told = json.loads(gzip.decompress(one))
    assert told["otherData"]["left_out"].endswith("requests and transfers of all but 2 of 8 sessions")
    assert told["otherData"]["manifest_sha256"] == hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
    assert {event["pid"] for event in told["traceEvents"]} == {1}


def test_a_sweep_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scenario = str(ROOT / "scenarios" / "three_turns.yaml")
    assert cli.main(["sweep", scenario, "-p", "seed=1,2", "--out", str(tmp_path / "out")]) == 0
    assert cli.main(["report", str(tmp_path / "out"), "--export", "perfetto"]) == 2
    assert "holds a sweep, and perfetto is about one run; want a folder of `simkv run`" in capsys.readouterr().err
