"""A saved run, played again and recorded: who did what when in one replication, arm by arm.

What comes of it is bounded: a window of time that all arms share, the sessions asked for, and so many spans in all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from simkv import again
from simkv.busy import Span
from simkv.errors import InputError
from simkv.report.reading import SavedRun
from simkv.results import OBJECT_LANES, REQUEST_LANES, SAMPLE_COLUMNS, SPAN_COLUMNS
from simkv.sampling import Sample
from simkv.spans import Spans
from simkv.units import SECONDS

MOST_SPANS = 60_000  # of all arms together: about 0.5 MB in a page
MOST_INSTANTS = 301  # at which an arm is sampled


@dataclass(slots=True)
class ArmRecording:
    """What one arm did: one list a column of `results.SPAN_COLUMNS` and `SAMPLE_COLUMNS` but the first two."""

    arm: str
    replication: int
    spans: dict[str, list[Any]]
    samples: dict[str, list[Any]]


@dataclass(slots=True)
class Recording:
    """What one replication did, arm by arm.

    Attributes
    ----------
    window_s : [s] what begins outside it is left out.
    end_s : [s] when the last request of any arm ended.
    sessions, all_sessions : how many are shown, and how many there are.
    telling : names of the arms to look at first.
    left_out : in words; "" = nothing.
    """

    scenario: str
    seed: int
    replication: int
    arms: list[ArmRecording]
    window_s: tuple[float, float]
    end_s: float
    sessions: int
    all_sessions: int
    telling: list[str]

    @property
    def left_out(self) -> str:
        """What the recording does not hold, for whoever looks at it."""
        start_s, end_s = self.window_s
        told = []
        if start_s > 0 or end_s < self.end_s:
            told.append(f"all but what begins between {start_s:.6g} s and {end_s:.6g} s of {self.end_s:.6g} s")
        if self.sessions < self.all_sessions:
            told.append(f"requests and transfers of all but {self.sessions} of {self.all_sessions} sessions")
        return "; ".join(told)


def record(
    saved: SavedRun,
    arms: Sequence[str] = (),
    replication: int = 0,
    *,
    sessions: int | None = None,
    window_s: tuple[float, float] | None = None,
    most_spans: int = MOST_SPANS,
) -> Recording:
    """Play one replication of a saved run again and return what everybody did.

    Parameters
    ----------
    arms : names; none = all.
    sessions : show the requests of so many, those that came first; None = all. Links and GPUs are shown whole.
    window_s : [s] from when to when; None = from the start, as far as `most_spans` reaches.
    most_spans : of all arms together; a window that holds more ends sooner.

    Raises
    ------
    InputError : no such arm or replication, an empty window; or the results cannot be played again.
    """
    names = list(dict.fromkeys(saved.check_arm(name) for name in arms)) or saved.arms
    saved.check_replication(replication)
    expected = {name: again.stored(saved, name, replication) for name in names}
    end_s = max((_end_s(rows) for rows in expected.values()), default=0.0)
    window_s = _checked(window_s, end_s)
    came = dict.fromkeys(row["session"] for row in expected[names[0]])
    shown = set(list(came)[:sessions])
    found: dict[str, tuple[list[Span], list[Sample]]] = {}
    for name in names:
        spans, samples = _play(saved, name, replication, expected[name], window_s)
        spans = _chosen(spans, shown, window_s)
        if not found and (fits_s := _fits(spans, most_spans // len(names), window_s)) < window_s[1]:
            window_s = window_s[0], fits_s
            spans, samples = _play(saved, name, replication, expected[name], window_s)
        found[name] = spans, samples
    window_s = window_s[0], _fits((span for spans, _ in found.values() for span in spans), most_spans, window_s)
    return Recording(
        scenario=saved.scenario.name,
        seed=int(saved.manifest["seed"]),
        replication=replication,
        arms=[
            ArmRecording(
                name,
                replication,
                _columns(_chosen(spans, shown, window_s), SPAN_COLUMNS),
                _columns([each for each in samples if each.time_s <= window_s[1]], SAMPLE_COLUMNS),
            )
            for name, (spans, samples) in found.items()
        ],
        window_s=window_s,
        end_s=end_s,
        sessions=len(shown),
        all_sessions=len(came),
        telling=[name for name in again.telling(saved) if name in found] or names[:2],
    )


def parse_window(text: str) -> tuple[float, float]:
    """Return [s] from when to when, as a person writes it.

    Raises
    ------
    InputError : not two times.

    Examples
    --------
    >>> parse_window("90 s..5 min")
    (90.0, 300.0)
    """
    start, separator, end = text.partition("..")
    if not separator:
        raise InputError(f"want FROM..TO such as '90 s..5 min', got {text!r}", "--window")
    try:
        return SECONDS.parse(start), SECONDS.parse(end)
    except InputError as error:
        raise InputError(error.message, "--window") from None


def to_parquet(recording: Recording) -> dict[str, bytes]:
    """Return `spans.parquet` and `samples.parquet`: file name -> content."""
    from simkv.report.folder import write_table  # noqa: PLC0415 - pyarrow comes in when it is needed

    lanes = {"lane": [*REQUEST_LANES, *OBJECT_LANES], "arm": [arm.arm for arm in recording.arms]}
    with TemporaryDirectory() as folder:
        spans, samples = Path(folder) / "spans.parquet", Path(folder) / "samples.parquet"
        write_table(spans, SPAN_COLUMNS, ((arm, arm.spans) for arm in recording.arms), lanes)
        write_table(samples, SAMPLE_COLUMNS, ((arm, arm.samples) for arm in recording.arms), lanes)
        return {path.name: path.read_bytes() for path in (spans, samples)}


def _end_s(rows: list[dict[str, Any]]) -> float:
    times = ("arrival_s", "scheduled_s", "first_token_s", "last_token_s")
    return max((row[name] for row in rows for name in times if row[name] is not None), default=0.0)


def _checked(window_s: tuple[float, float] | None, end_s: float) -> tuple[float, float]:
    if window_s is None:
        return 0.0, end_s
    start_s, stop_s = window_s
    if not 0 <= start_s < min(stop_s, end_s):
        raise InputError(f"holds nothing: {start_s:g} to {stop_s:g} s; the run has 0 to {end_s:g} s", "--window")
    return start_s, min(stop_s, end_s)


def _play(
    saved: SavedRun, arm: str, replication: int, expected: list[dict[str, Any]], window_s: tuple[float, float]
) -> tuple[list[Span], list[Sample]]:
    """Return what an arm did, in order of time, and what was sampled in the window."""
    (start_s, end_s), steps = window_s, MOST_INSTANTS - 1
    watch = Spans([start_s + (end_s - start_s) * step / steps for step in range(steps + 1)])
    result = again.play(saved, arm, replication, expected, watch.attach)
    spans = [*watch.of_requests(result), *watch.of_objects()]
    return sorted(spans, key=lambda span: span.start_s), watch.samples


def _chosen(spans: Iterable[Span], sessions: set[int], window_s: tuple[float, float]) -> list[Span]:
    """Return what begins in the window, and belongs to a session that is shown or to none."""
    start_s, end_s = window_s
    wanted = {*sessions, -1}
    return [
        span
        for span in spans
        if start_s <= span.start_s <= end_s and (span.lane in ("link", "gpu") or span.session in wanted)
    ]


def _fits(spans: Iterable[Span], most: int, window_s: tuple[float, float]) -> float:
    """Return [s] where the window must end, at the latest, to hold no more spans than so many."""
    starts_s = sorted(span.start_s for span in spans)
    if len(starts_s) <= most:
        return window_s[1]
    return max((start_s for start_s in starts_s[:most] if start_s < starts_s[most]), default=window_s[0])


def _columns(rows: Sequence[Span] | Sequence[Sample], columns: dict[str, str]) -> dict[str, list[Any]]:
    return {name: [getattr(row, name) for row in rows] for name in columns if name not in ("arm", "replication")}
