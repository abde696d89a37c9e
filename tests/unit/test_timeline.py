"""The picture of a recording: what is packed for the browser is what was recorded, and what a browser shows of it."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

from simkv import cli
from simkv.compare import compare
from simkv.recording import Recording, record, to_parquet
from simkv.report.reading import read_run
from simkv.report.timeline import FULL, MOST_SESSION_ROWS, timeline_fragment
from simkv.results import REQUEST_LANES
from simkv.scenario import load
from tests.browser import Browser, browser
from tests.conftest import ROOT

MOST_SCRIPT_LINES = 330


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """Eight conversations on eight phones, three arms, five minutes of them."""
    place = tmp_path_factory.mktemp("slice")
    compare(load(ROOT / "scenarios" / "5g_slice.yaml", {"replications": "1", "workload.sessions": "8"})).save(place)
    return record(read_run(place), ["text-prefetch", "none", "sequential"], window_s=(0.0, 300.0))


@pytest.fixture
def three_turns(tmp_path: Path) -> Path:
    compare(load(ROOT / "scenarios" / "three_turns.yaml")).save(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def fragment(recording: Recording) -> str:
    return timeline_fragment(recording)


def unpacked(fragment: str) -> dict[str, Any]:
    """Return what the script reads."""
    packed = re.search(r'class="tl-data">([^<]*)<', fragment)
    assert packed is not None
    return dict(json.loads(gzip.decompress(base64.b64decode(packed.group(1)))))


def spans_of(track: dict[str, Any], told: dict[str, Any]) -> list[tuple[str, float, float]]:
    starts = accumulate(track["s"])
    return [
        (told["kinds"][kind], told["from_s"] + start * told["unit_s"], length * told["unit_s"])
        for kind, start, length in zip(track["k"], starts, track["d"], strict=True)
    ]


def recorded(recording: Recording, arm: int, *lanes: str) -> list[tuple[str, float, float]]:
    spans = recording.arms[arm].spans
    rows = zip(*(spans[name] for name in ("lane", "kind", "start_s", "end_s")), strict=True)
    return [(kind, start_s, end_s - start_s) for lane, kind, start_s, end_s in rows if lane in lanes]


def test_what_is_packed_is_what_was_recorded_to_the_unit(recording: Recording, fragment: str) -> None:
    """Every span of every lane, arm by arm, to the microsecond that this window is packed in."""
    told = unpacked(fragment)
    assert told["unit_s"] == 1e-6
    for index, arm in enumerate(told["arms"]):
        tracks = {
            tuple(REQUEST_LANES): arm["rows"],
            ("link",): [link["sent"] for link in arm["links"]],
            ("wire",): [wire for link in arm["links"] for wire in link["wires"]],
            ("gpu",): [server["gpu"] for server in arm["servers"] if server["gpu"]],
        }
        for lanes, found in tracks.items():
            back = sorted(span for track in found for span in spans_of(track, told))
            want = sorted(recorded(recording, index, *lanes))
            assert [kind for kind, *_ in back] == [kind for kind, *_ in want]
            assert [each for _, *times in back for each in times] == pytest.approx(
                [each for _, *times in want for each in times], rel=0, abs=1e-6
            )


def test_spans_of_a_row_do_not_overlap(fragment: str) -> None:
    """The script finds what is in view by halving."""
    told = unpacked(fragment)
    for arm in told["arms"]:
        wires = [wire for link in arm["links"] for wire in link["wires"]]
        for track in (*arm["rows"], *wires, *(server["gpu"] for server in arm["servers"] if server["gpu"])):
            starts = list(accumulate(track["s"]))
            ends = [start + length for start, length in zip(starts, track["d"], strict=True)]
            assert all(end <= start for end, start in zip(ends, starts[1:], strict=False))


def test_samples_are_shares_of_the_most_in_any_arm(recording: Recording, fragment: str) -> None:
    told = unpacked(fragment)
    for index, arm in enumerate(told["arms"]):
        samples = recording.arms[index].samples
        rows = zip(*(samples[name] for name in ("object", "quantity", "value")), strict=True)
        want = [value for name, quantity, value in rows if (name, quantity) == ("ue-0", "used_bytes")]
        (server,) = [each for each in arm["servers"] if each["name"] == "ue-0"]
        step = told["most"]["buffer ue-0"] / FULL
        assert [share * step for share in server["buffer"]["used"]] == pytest.approx(want, abs=step)
    assert max(max(s["buffer"]["used"]) for arm in told["arms"] for s in arm["servers"] if s["name"] == "ue-0") == FULL


def test_the_mean_time_to_first_token_is_that_of_the_requests(recording: Recording, fragment: str) -> None:
    for index, arm in enumerate(unpacked(fragment)["arms"]):
        spent_s = sum(length for _, _, length in recorded(recording, index, "queue", "lookup", "transfer", "prefill"))
        assert arm["ttft_s"] == pytest.approx(spent_s / len(arm["sessions"]))
        assert len(arm["sessions"]) == len(arm["turns"]) == len(arm["where"]) > 10


def test_many_sessions_share_rows(tmp_path: Path) -> None:
    """One row a request at a time, instead of one a session."""
    sessions = MOST_SESSION_ROWS + 1
    told = {"replications": "1", "workload.sessions": str(sessions), "workload.session_rate": "30 /s"}
    scenario = load(ROOT / "scenarios" / "serving.yaml", told)
    compare(scenario, arms=["sticky"]).save(tmp_path)
    packed = unpacked(timeline_fragment(record(read_run(tmp_path), ["sticky"], window_s=(0.0, 20.0))))
    rows = packed["arms"][0]["rows"]
    assert packed["rows_are"] == "rows of requests"
    assert sum(len(row["s"]) for row in rows) > len(rows)
    assert rows[0]["name"] == "#1"


def test_it_is_small_and_asks_for_nothing(recording: Recording, fragment: str) -> None:
    """No address but those of the page itself; the same bytes each time; a script that a person can read."""
    assert timeline_fragment(recording) == fragment
    assert not re.search(r"https?:|@import|src=|href=|url\(|fetch\(|XMLHttp|WebSocket|import\(", fragment)
    assert "@@" not in fragment
    script = (ROOT / "simkv" / "report" / "templates" / "timeline.js").read_text(encoding="utf-8").splitlines()
    assert len(script) <= MOST_SCRIPT_LINES
    assert len(fragment) < 200_000
    assert "Left out: all but what begins between 0 s and 300 s" in fragment


def test_the_page_stands_beside_the_tables_that_it_shows(three_turns: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In a folder of their own: what `simkv run` wrote stays as its manifest says."""
    before = {path.name: path.read_bytes() for path in three_turns.iterdir()}
    assert cli.main(["report", str(three_turns)]) == 0
    assert capsys.readouterr().out.splitlines() == [str(three_turns / "report.html")]
    tables = {path.name: path.read_bytes() for path in (three_turns / "timeline").iterdir()}
    assert tables == to_parquet(record(read_run(three_turns)))
    assert {name: (three_turns / name).read_bytes() for name in before} == before


def test_places_of_arms_are_those_of_the_page(recording: Recording) -> None:
    names = ["text", "none", "text-prefetch", "sequential"]
    assert [arm["place"] for arm in unpacked(timeline_fragment(recording, names))["arms"]] == [2, 1, 3]


# -- in a browser ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def window(fragment: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    folder = tmp_path_factory.mktemp("page")
    policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    head += f'<meta http-equiv="Content-Security-Policy" content="{policy}"><link rel="icon" href="data:,">'
    page = folder / "page.html"
    page.write_text(f"<!doctype html><html><head>{head}</head><body>{fragment}</body></html>", encoding="utf-8")
    with browser(folder / "profile", (900, 1200)) as opened:
        opened.open(page)
        yield opened


def settled(window: Browser, act: str = "") -> dict[str, str]:
    """Let the page do something, and return what the timeline says that it shows two frames later."""
    script = f"""(async () => {{
        const root = document.querySelector(".tl"), frame = () => new Promise(requestAnimationFrame);
        const shown = () => [...document.querySelectorAll(".tl canvas")].filter((each) => each.clientWidth);
        const press = (key) => shown()[0].dispatchEvent(new KeyboardEvent("keydown", {{key, bubbles: true}}));
        const mouse = (type, at, told) => shown()[0].dispatchEvent(new (type === "wheel" ? WheelEvent : PointerEvent)(
          type, {{clientX: shown()[0].getBoundingClientRect().left + at[0], pointerId: 1,
                  clientY: shown()[0].getBoundingClientRect().top + at[1], bubbles: true, cancelable: true, ...told}}));
        while (root.dataset.from === "") await frame();
        {act};
        await frame(); await frame();
        const tip = root.querySelector(".tl-tip:not([hidden])")?.innerText ?? "";
        return {{...root.dataset, width: document.documentElement.scrollWidth, tip}};
    }})()"""
    told = window.tools("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
    return dict(told["result"]["value"])


def touch(window: Browser, what: str, *xs: float) -> None:
    """Put fingers on the first canvas that is shown, at so many pixels from its left edge; or move or lift them."""
    script = (
        "return [...document.querySelectorAll('.tl canvas')].find((each) => each.clientWidth).getBoundingClientRect()"
    )
    box = window.run(script)
    points = [{"x": box["left"] + x, "y": box["top"] + 60, "id": finger} for finger, x in enumerate(xs)]
    window.tools("Input.dispatchTouchEvent", type=what, touchPoints=points)


def span_s(told: dict[str, str]) -> float:
    return float(told["to"]) - float(told["from"])


def test_a_browser_draws_it_without_an_error_or_a_request(window: Browser) -> None:
    told = settled(window)
    assert (float(told["from"]), told["shown"]) == (0.0, "none,sequential")
    assert span_s(told) == pytest.approx(300, rel=0.03)
    assert window.said() == []
    assert [url for url in window.requested() if not url.startswith(("file://", "data:"))] == []
    drawn = "return document.querySelectorAll('.tl canvas')[1].getContext('2d').getImageData(0, 0, 900, 300).data"
    assert window.run(f"return new Set([...({drawn[7:]})]).size") > 20


def test_it_zooms_and_pans_by_key_wheel_and_finger(window: Browser) -> None:
    whole = settled(window, "press('0')")
    near = settled(window, "press('+')")
    assert span_s(near) == pytest.approx(0.6 * span_s(whole))
    right = settled(window, "press('ArrowRight')")
    assert float(right["from"]) - float(near["from"]) == pytest.approx(0.2 * span_s(near))
    wheeled = settled(window, "mouse('wheel', [500, 60], {deltaY: -300, ctrlKey: true})")
    assert span_s(wheeled) < 0.5 * span_s(right)
    touch(window, "touchStart", 300, 400)
    touch(window, "touchMove", 300, 600)
    touch(window, "touchEnd")
    assert span_s(settled(window)) == pytest.approx(span_s(wheeled) / 3)
    before = settled(window)
    touch(window, "touchStart", 300)
    touch(window, "touchMove", 400)
    touch(window, "touchEnd")
    wide = window.run("return document.querySelectorAll('.tl canvas')[1].clientWidth") - 104
    assert float(before["from"]) - float(settled(window)["from"]) == pytest.approx(100 / wide * span_s(before))
    assert settled(window, "press('0')") | {"tip": ""} == whole | {"tip": ""}


def test_arms_are_chosen_here_and_by_the_page(window: Browser) -> None:
    click = "document.querySelectorAll('.tl-arms button')[{}].click()".format
    assert settled(window, click(0))["shown"] == "text-prefetch,none,sequential"
    assert settled(window, click(0))["shown"] == "none,sequential"
    filtered = "document.dispatchEvent(new CustomEvent('simkv:arms', {detail: {hidden: [%s]}}))"
    assert settled(window, filtered % "1")["shown"] == "sequential"
    assert settled(window, filtered % "")["shown"] == "none,sequential"


def test_a_span_tells_its_numbers_when_it_is_pointed_at(window: Browser, recording: Recording) -> None:
    """Of the first request in view: what it did last, for how long, and whose it is."""
    columns = recording.arms[1].spans
    place = next(i for i, lane in enumerate(columns["lane"]) if lane == "decode")
    start_s, end_s, session = (columns[name][place] for name in ("start_s", "end_s", "session"))
    zoomed = settled(
        window, "press('0'); for (let i = 0; i < 60; i++) mouse('wheel', [104, 60], {deltaY: -60, ctrlKey: true})"
    )
    assert span_s(zoomed) < 1.0
    settled(window, "press('0')")
    find = f"""
        const wide = shown()[0].clientWidth, whole = {span_s(settled(window))};
        const x = 104 + (wide - 104) * {(start_s + end_s) / 2} / whole;
        for (let y = 30; y < 300 && !document.querySelector(".tl-tip").innerText.startsWith("decode"); y += 2)
          mouse('pointermove', [x, y], {{}})
    """
    tip = settled(window, find)["tip"].splitlines()
    assert tip[0] == "decode"
    assert tip[2] == f"session {session}, turn 0"
    assert settled(window, "press('Escape')")["tip"] == ""


def test_it_fits_a_phone(window: Browser) -> None:
    window.tools("Emulation.setDeviceMetricsOverride", width=360, height=800, deviceScaleFactor=2, mobile=True)
    assert settled(window)["width"] == 360
    assert window.said() == []
