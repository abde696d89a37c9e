"""A recording as a picture to move in: one self-contained piece of HTML, drawn on canvases, without library or network.

The spans go in as integers, in the least power of ten of a second that the window needs, compressed; the script
(`templates/timeline.js`) unpacks them in the browser. What it shows is what the recording holds, to the microsecond.
"""

from __future__ import annotations

import base64
import gzip
import html
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simkv.results import GPU_QUANTITIES, REQUEST_LANES

if TYPE_CHECKING:
    from simkv.recording import ArmRecording, Recording

MOST_SESSION_ROWS = 64  # sessions that have a row of their own; of more, requests are packed into as few as they need
MOST_UNITS = 10**9  # of time in a window
FULL = 1000  # a sample is a share of the most there is of its kind, in so many parts

_TEMPLATES = Path(__file__).with_name("templates")
_Row = dict[str, Any]


def timeline_fragment(recording: Recording, arms: Sequence[str] = ()) -> str:
    """Return a piece of HTML that shows who did what when; put it anywhere into a page, as often as you like.

    Lanes of requests (queue, lookup, transfer, prefill, decode), of links and of GPUs, arm above arm on one axis of
    time; use of links and fill of buffers as areas. It takes its colours from the page's variables (`--ink`, `--soft`,
    `--grid`, `--paper`, `--accent`) where there are some, and hides arms when the page dispatches the event
    `simkv:arms` with `detail.hidden`, the places of arms in `arms`. At first the arms in `recording.telling` are
    shown.

    Parameters
    ----------
    recording : as `simkv.recording.record` returns it; what it leaves out is said.
    arms : names of all arms of the page, in its order; none = those of the recording.

    Examples
    --------
    >>> from simkv.recording import Recording
    >>> "tl-panels" in timeline_fragment(Recording("empty", 1, 0, [], (0.0, 1.0), 1.0, 0, 0, []))
    True
    """
    told = payload(recording, arms)
    text = json.dumps(told, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    packed = base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()
    left_out = f'<p class="tl-left">Left out: {html.escape(recording.left_out)}.</p>' if recording.left_out else ""
    page = (_TEMPLATES / "timeline.html").read_text(encoding="utf-8")
    parts = {"ROWS": told["rows_are"], "LEFT_OUT": left_out, "PAYLOAD": packed, "SCRIPT": _script()}
    for name, part in parts.items():
        page = page.replace(f"@@{name}@@", part)
    return page


def payload(recording: Recording, arms: Sequence[str] = ()) -> dict[str, Any]:
    """Return what the script draws; see `timeline_fragment`. Times are integers, in units of `unit_s` from `from_s`."""
    names = list(arms) or [arm.arm for arm in recording.arms]
    packer = _Packer(recording)
    packed = [{"place": names.index(arm.arm), **packer.arm(arm)} for arm in recording.arms]
    return {
        "from_s": packer.from_s,
        "unit_s": packer.unit_s,
        "length": packer.length,
        "rows_are": "sessions" if packer.by_session else "rows of requests",
        "times": packer.times,
        "most": packer.scale(packed),
        "shown": [index for index, arm in enumerate(packed) if arm["name"] in recording.telling],
        "arms": packed,
        "kinds": packer.kinds.values,
        "names": packer.names.values,
    }


class _Numbers:
    """Gives names numbers, in the order in which they come."""

    def __init__(self) -> None:
        self.values: list[str] = []
        self._places: dict[str, int] = {}

    def of(self, name: str) -> int:
        if name not in self._places:
            self._places[name] = len(self.values)
            self.values.append(name)
        return self._places[name]


class _Packer:
    """Turns arms into what the script reads."""

    def __init__(self, recording: Recording) -> None:
        ends_s = [end_s for arm in recording.arms for end_s in arm.spans["end_s"]]
        self.from_s, to_s = recording.window_s
        to_s = max(to_s, min(max(ends_s, default=to_s), to_s + 0.02 * (to_s - self.from_s)))
        self.unit_s = 10.0 ** max(-6, math.ceil(math.log10(max(to_s - self.from_s, 1e-9) / MOST_UNITS)))
        self.length = max(1, self._units(to_s - self.from_s))
        self.by_session = recording.sessions <= MOST_SESSION_ROWS
        times_s = recording.arms[0].samples["time_s"] if recording.arms else []
        self.times = [self._units(time_s - self.from_s) for time_s in dict.fromkeys(times_s)]
        self.kinds = _Numbers()
        self.names = _Numbers()

    def arm(self, arm: ArmRecording) -> dict[str, Any]:
        """Return one arm."""
        rows = [dict(zip(arm.spans, values, strict=True)) for values in zip(*arm.spans.values(), strict=True)]
        own = [row for row in rows if row["lane"] in REQUEST_LANES]
        requests = list({row["request_id"]: row for row in own}.values())
        numbers = {row["request_id"]: place for place, row in enumerate(requests)}
        sampled = _sampled(arm)
        return {
            "name": arm.arm,
            "ttft_s": _ttft_s(own, len(requests)),
            "sessions": [row["session"] for row in requests],
            "turns": [row["turn"] for row in requests],
            "where": [self.names.of(row["object"]) for row in requests],
            "rows": list(self._request_rows(own, numbers)),
            "links": list(self._links(rows, numbers, sampled)),
            "servers": list(self._servers(rows, sampled)),
        }

    def scale(self, arms: list[dict[str, Any]]) -> dict[str, float]:
        """Return the most of everything sampled, over all arms, and make the samples shares of it."""
        most: dict[str, float] = {}
        areas = [(f"use {link['name']}", link["use"]) for arm in arms for link in arm["links"]]
        areas += [(f"buffer {server['name']}", server["buffer"]) for arm in arms for server in arm["servers"]]
        for key, area in areas:
            stacked = key.startswith("use")
            tops = [sum(values) if stacked else max(values) for values in zip(*area.values(), strict=True)]
            most[key] = max([most.get(key, 0.0), *tops])
        for key, area in areas:
            for name, values in area.items():
                area[name] = [round(FULL * value / most[key]) if most[key] else 0 for value in values]
        return most

    def _units(self, seconds: float) -> int:
        return round(seconds / self.unit_s)

    def _track(self, rows: Sequence[_Row], **columns: Iterable[Any]) -> dict[str, list[Any]]:
        """Return spans that follow each other: differences of starts, lengths, kinds, and what else is told."""
        starts = [self._units(row["start_s"] - self.from_s) for row in rows]
        ends = [self._units(row["end_s"] - self.from_s) for row in rows]
        return {
            "s": [start - before for before, start in zip([0, *starts], starts, strict=False)],
            "d": [end - start for start, end in zip(starts, ends, strict=True)],
            "k": [self.kinds.of(row["kind"]) for row in rows],
            **{name: list(values) for name, values in columns.items()},
        }

    def _request_rows(self, own: list[_Row], numbers: dict[int, int]) -> Iterator[dict[str, Any]]:
        """Yield a row a session, or as few rows as hold all requests."""
        by_request: dict[int, list[_Row]] = {}
        for row in own:
            by_request.setdefault(row["request_id"], []).append(row)
        if self.by_session:
            sessions = sorted({row["session"] for row in own})
            found = {session: [row for row in own if row["session"] == session] for session in sessions}
        else:
            packed = _without_overlap(list(by_request.values()))
            found = {-1 - place: [row for spans in track for row in spans] for place, track in enumerate(packed)}
        for session, rows in found.items():
            told = self._track(rows, r=(numbers[row["request_id"]] for row in rows))
            yield {"name": f"s{session}" if self.by_session else f"#{-session}", "session": session, **told}

    def _links(
        self, rows: list[_Row], numbers: dict[int, int], sampled: dict[str, dict[str, list[float]]]
    ) -> Iterator[dict[str, Any]]:
        for name in (each for each, what in sampled.items() if "backlog_bytes" in what):
            sent = [row for row in rows if row["lane"] == "link" and row["object"] == name]
            wires = [row for row in rows if row["lane"] == "wire" and row["object"] == name]
            if not sent and not wires:
                continue
            tracks = [[row for (row,) in track] for track in _without_overlap([[row] for row in wires])]
            use = {quantity: sampled[name][f"{quantity}_bps"] for quantity in ("demand", "speculative", "background")}
            use["shared"] = sampled[name]["shared_bps"]
            yield {
                "name": name,
                "sent": self._track(sent),
                "wires": [
                    self._track(
                        track,
                        b=(row["wire_bytes"] for row in track),
                        r=(numbers.get(row["request_id"], -1) for row in track),
                        v=(row["session"] for row in track),
                    )
                    for track in tracks
                ],
                "use": {quantity: values for quantity, values in use.items() if any(values)},
                "backlog": [round(value) for value in sampled[name]["backlog_bytes"]],
            }

    def _servers(self, rows: list[_Row], sampled: dict[str, dict[str, list[float]]]) -> Iterator[dict[str, Any]]:
        for name in (each for each, what in sampled.items() if "used_bytes" in what):
            computed = [row for row in rows if row["lane"] == "gpu" and row["object"] == name]
            tokens, sessions = ([row[what] for row in computed] for what in ("tokens", "session"))
            area = {what: sampled[name][f"{what}_bytes"] for what in ("used", "speculative")}
            counts = {what: sampled[name].get(what, []) for what in GPU_QUANTITIES}
            yield {
                "name": name,
                "gpu": self._track(computed, t=tokens, v=sessions) if "running" in sampled[name] else None,
                "buffer": {what: values for what, values in area.items() if any(values)},
                "counts": {what: [int(each) for each in values] for what, values in counts.items() if any(values)},
            }


def _without_overlap(pieces: list[list[_Row]]) -> list[list[list[_Row]]]:
    """Put pieces, in order of their start, on as few tracks as they need."""
    tracks: list[list[list[_Row]]] = []
    ends_s: list[float] = []
    for piece in pieces:
        start_s, end_s = piece[0]["start_s"], piece[-1]["end_s"]
        track = next((place for place, free_s in enumerate(ends_s) if free_s <= start_s), len(tracks))
        if track == len(tracks):
            tracks.append([])
            ends_s.append(0.0)
        tracks[track].append(piece)
        ends_s[track] = end_s
    return tracks


def _sampled(arm: ArmRecording) -> dict[str, dict[str, list[float]]]:
    """Return what was sampled of each object: quantity -> values in order of time."""
    found: dict[str, dict[str, list[float]]] = {}
    columns = (arm.samples[name] for name in ("object", "quantity", "value"))
    for name, quantity, value in zip(*columns, strict=True):
        found.setdefault(name, {}).setdefault(quantity, []).append(value)
    return found


def _ttft_s(own: list[_Row], requests: int) -> float | None:
    """Return the mean [s] that requests spent before their first token, of what is shown."""
    spent_s = math.fsum(row["end_s"] - row["start_s"] for row in own if row["lane"] != "decode")
    return spent_s / requests if requests else None


def _script() -> str:
    return (_TEMPLATES / "timeline.js").read_text(encoding="utf-8").rstrip()
