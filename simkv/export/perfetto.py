"""Who did what when, as Chrome-trace JSON: opens in the Perfetto UI (https://ui.perfetto.dev) and in chrome://tracing.

A process is an arm. Its threads are tracks on which nothing overlaps: each link, each GPU, and for each server as many
as it has requests at a time, a slice for a request with what it went through inside. Transfers, which do overlap, are
pairs of asynchronous events. What is sampled becomes counters.

Format: "Trace Event Format" (Google, 2016), JSON object form; times are microseconds with three decimals.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator
from typing import Any

from simkv.errors import InputError
from simkv.export.chosen import ADVICE, facts
from simkv.export.target import Choice
from simkv.recording import ArmRecording, Recording, record
from simkv.report.reading import SavedRun, SavedSweep
from simkv.results import REQUEST_LANES, SCHEMA_VERSION
from simkv.units import microseconds

FILE = "timeline.json.gz"

#: Threads are shown in this order; within a kind by name.
_KINDS = ("link", "gpu", "requests")

#: Samples that are drawn over each other: quantity suffix -> name of the counter.
_COUNTERS = {"_bps": "use [bit/s]", "backlog_bytes": "backlog [bytes]", "_bytes": "buffer [bytes]", "": "sequences"}

_Event = dict[str, Any]


def make(saved: SavedRun | SavedSweep, choice: Choice) -> dict[str, bytes]:
    """Play a replication again and return it as `timeline.json.gz`.

    Raises
    ------
    InputError : a sweep; no such arm or replication; or the results cannot be played again.
    """
    if not isinstance(saved, SavedRun):
        raise InputError("holds a sweep, and perfetto is about one run; want a folder of `simkv run`", str(saved.path))
    arms = [choice.arm] if choice.arm is not None else []
    recording = record(saved, arms, choice.replication, sessions=choice.sessions, window_s=choice.window_s)
    about = {**facts(saved, choice.arm or "all", choice.replication), "note": ADVICE}
    text = json.dumps(trace(recording, about), separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return {FILE: gzip.compress(text.encode(), mtime=0)}


def trace(recording: Recording, about: dict[str, Any]) -> dict[str, Any]:
    """Return a recording as a Chrome trace.

    Parameters
    ----------
    about : where it comes from.

    Examples
    --------
    >>> trace(Recording("empty", 1, 0, [], (0.0, 1.0), 1.0, 0, 0, []), {})["traceEvents"]
    []
    """
    names: list[_Event] = []
    events: list[_Event] = []
    for pid, arm in enumerate(recording.arms, start=1):
        tracks = _Tracks(pid)
        found = [*_of_objects(arm, tracks), *_of_requests(arm, tracks), *_transfers(arm, pid), *_counters(arm, pid)]
        names += [_name("process_name", pid, 0, name=arm.arm), _name("process_sort_index", pid, 0, sort_index=pid)]
        names += tracks.names()
        events += found
    # what ends at an instant comes before what begins there, and the outer slice begins first and ends last
    events.sort(key=lambda event: (event["ts"], event["ph"] in "bBC", event.pop("depth")))
    return {
        "traceEvents": names + events,
        "displayTimeUnit": "ms",
        "otherData": {"schema_version": SCHEMA_VERSION, **about, "left_out": recording.left_out},
    }


class _Tracks:
    """The threads of one process, numbered as they are first asked for."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._numbers: dict[tuple[int, str], int] = {}

    def number(self, kind: str, name: str) -> int:
        """Return the `tid` of a track."""
        return self._numbers.setdefault((_KINDS.index(kind), name), len(self._numbers) + 1)

    def names(self) -> Iterator[_Event]:
        """Yield the events that name the tracks and say in which order they are shown."""
        for place, ((kind, name), tid) in enumerate(sorted(self._numbers.items()), start=1):
            yield _name("thread_name", self.pid, tid, name=f"{_KINDS[kind]} {name}")
            yield _name("thread_sort_index", self.pid, tid, sort_index=place)


def _of_objects(arm: ArmRecording, tracks: _Tracks) -> Iterator[_Event]:
    for span in _rows(arm.spans):
        if span["lane"] in ("link", "gpu"):
            where = {"pid": tracks.pid, "tid": tracks.number(span["lane"], span["object"]), "cat": span["lane"]}
            told = {"session": span["session"]} if span["session"] >= 0 else {}
            told |= {"tokens": span["tokens"]} if span["lane"] == "gpu" else {}
            yield from _pair(span["kind"], _when(span, span), where, told)


def _of_requests(arm: ArmRecording, tracks: _Tracks) -> Iterator[_Event]:
    """Yield a slice for each request, on the first track of its server that is free, with its lanes inside."""
    lanes: dict[int, list[dict[str, Any]]] = {}
    for span in _rows(arm.spans):
        if span["lane"] in REQUEST_LANES:
            lanes.setdefault(span["request_id"], []).append(span)
    free_us: dict[str, list[float]] = {}  # by server: when each of its tracks is free again
    for request_id, spans in lanes.items():  # in order of arrival, as spans are in order of their start
        first, when = spans[0], _when(spans[0], spans[-1])
        ends = free_us.setdefault(first["object"], [])
        track = next((index for index, free in enumerate(ends) if free <= when[0]), len(ends))
        ends[track : track + 1] = [when[1]]
        tid = tracks.number("requests", f"{first['object']} {track + 1:03}")
        where = {"pid": tracks.pid, "tid": tid, "cat": "request"}
        who = {"request": request_id, "session": first["session"], "turn": first["turn"]}
        yield from _pair(f"session {first['session']} turn {first['turn']}", when, where, who)
        for span in spans:
            yield from _pair(span["kind"], _when(span, span), where | {"cat": span["lane"]}, {}, depth=1)


def _transfers(arm: ArmRecording, pid: int) -> Iterator[_Event]:
    for number, span in enumerate(_rows(arm.spans)):
        if span["lane"] == "wire":
            where = {"pid": pid, "tid": 0, "cat": f"wire {span['object']}", "id2": {"local": str(number)}}
            told = {"request": span["request_id"], "session": span["session"], "turn": span["turn"]}
            told = {name: value for name, value in told.items() if value >= 0}
            told |= {"wire_bytes": span["wire_bytes"], "class": span["kind"].removesuffix("_text")}
            yield from _pair(span["kind"], _when(span, span), where, told)


def _counters(arm: ArmRecording, pid: int) -> Iterator[_Event]:
    """Yield what was sampled, quantities of one kind together, whenever one of them is not as it was."""
    sampled: dict[tuple[str, str], dict[float, dict[str, float]]] = {}
    for sample in _rows(arm.samples):
        suffix = next(suffix for suffix in _COUNTERS if sample["quantity"].endswith(suffix))
        name = sample["quantity"].removesuffix(suffix).strip("_") or "all"
        instants = sampled.setdefault((sample["object"], suffix), {})
        instants.setdefault(sample["time_s"], {})[name] = sample["value"]
    for (name, suffix), instants in sampled.items():
        used = {each for values in instants.values() for each, value in values.items() if value}
        last: dict[str, float] = {}
        for time_s, values in instants.items():
            told = {each: value for each, value in values.items() if each in used}
            if told != last:
                where = {"pid": pid, "tid": 0, "ts": microseconds(time_s), "depth": 0}
                yield {"ph": "C", "name": f"{name} {_COUNTERS[suffix]}", "args": told} | where
                last = told


def _when(first: dict[str, Any], last: dict[str, Any]) -> tuple[float, float]:
    return microseconds(first["start_s"]), microseconds(last["end_s"])


def _pair(name: str, when: tuple[float, float], where: _Event, told: _Event, depth: int = 0) -> Iterator[_Event]:
    """Yield begin and end of a slice, asynchronous if it has an identity; one shorter than a nanosecond is left out."""
    begin, end = "be" if "id2" in where else "BE"
    if when[1] > when[0]:
        yield {"ph": begin, "name": name, "ts": when[0], "depth": depth, "args": told} | where
        yield {"ph": end, "name": name, "ts": when[1], "depth": -depth} | where


def _name(what: str, pid: int, tid: int, **told: object) -> _Event:
    return {"ph": "M", "name": what, "pid": pid, "tid": tid, "args": told}


def _rows(columns: dict[str, list[Any]]) -> Iterable[dict[str, Any]]:
    return (dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))
