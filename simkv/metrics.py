"""What do the records of one run say? Records in, numbers out; nothing else computes a percentile.

One `RunResult` is one arm and one replication, and gives one number a metric, or None where the metric is
undefined (never inf, never NaN). Intervals over replications are made in `statistics.py`.

The percentile rule, everywhere: linear interpolation between order statistics (Hyndman and Fan's type 7,
NumPy's default): percentile p of n sorted values lies at index (n - 1) p / 100, counted from 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simkv.errors import InvariantError
from simkv.results import MISS_CAUSES, STATUSES, WASTED, RunResult
from simkv.units import parse_bytes

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

#: Numbers of one replication by name; `ttft_s.p90` is the 90th percentile of TTFT.
Metrics = dict[str, float | None]

PERCENTILES = (50, 90, 95, 99)

#: What is measured of every request that finished.
TIMES = ("ttft_s", "tpot_s", "e2e_s")

#: [bytes] in the megabyte of net efficiency and of the tables.
MB_BYTES = parse_bytes("1 MB")

#: Room for the turns of one session in the key that pairs requests.
_MOST_TURNS = 2**31


@dataclass(frozen=True, eq=False)
class Observed:
    """The request table of one run as arrays, one element a request.

    Attributes
    ----------
    key : session and turn in one number; unique in a run, equal in all arms (semantics G1).
    first_turn, finished, ready : flags.
    ttft_s : [s] first token - arrival; NaN where the request did not get there, as in the next three.
    tpot_s : [s] (last token - first token) / (output tokens - 1); NaN for an answer of one token.
    e2e_s : [s] last token - arrival.
    stall_s : [s] waiting for KV that the GPU did not hide.
    needed, in_time, late : prefetchable units that the query needed, and what speculation brought of them.
    missed : those not there in time, by cause.
    """

    key: Ints
    first_turn: Flags
    finished: Flags
    ready: Flags
    ttft_s: Floats
    tpot_s: Floats
    e2e_s: Floats
    stall_s: Floats
    needed: Ints
    in_time: Ints
    late: Ints
    missed: dict[str, Ints]

    @classmethod
    def of(cls, result: RunResult) -> Observed:
        """Read a run's records.

        Raises
        ------
        InvariantError : a turn occurs twice, has an unknown status, or finished without its times.
        """
        columns = result.requests
        turn = np.asarray(columns["turn"], dtype=np.int64)
        key = np.asarray(columns["session"], dtype=np.int64) * _MOST_TURNS + turn
        finished = np.array([status == "finished" for status in columns["status"]], dtype=bool)
        arrival_s = _floats(columns["arrival_s"])
        first_s, last_s = _floats(columns["first_token_s"]), _floats(columns["last_token_s"])
        gaps = np.asarray(columns["output_tokens"], dtype=np.int64) - 1
        decode_s = np.where(gaps > 0, last_s - first_s, np.nan)
        observed = cls(
            key=key,
            first_turn=turn == (turn.min() if turn.size else 0),
            finished=finished,
            ready=np.asarray(columns["ready_at_arrival"], dtype=bool),
            ttft_s=first_s - arrival_s,
            tpot_s=decode_s / np.maximum(gaps, 1),
            e2e_s=last_s - arrival_s,
            stall_s=_floats(columns["stall_s"]),
            needed=np.asarray(columns["needed_units"], dtype=np.int64),
            in_time=np.asarray(columns["in_time_units"], dtype=np.int64),
            late=np.asarray(columns["late_units"], dtype=np.int64),
            missed={cause: np.asarray(columns[f"{cause}_units"], dtype=np.int64) for cause in MISS_CAUSES},
        )
        _check(result, observed)
        return observed

    @cached_property
    def all_times(self) -> Metrics:
        """`times` of every request that finished."""
        return self.times(self.finished)

    def times(self, among: Flags) -> Metrics:
        """Return mean and percentiles of every time, mean stall and summed TTFT of finished requests."""
        found: Metrics = {}
        for name in TIMES:
            found |= spread(name, getattr(self, name)[among])
        found["ttft_s.sum"] = float(self.ttft_s[among].sum()) if among.any() else None
        found["stall_s.mean"] = _mean(self.stall_s[among])
        return found


def spread(name: str, values: Floats) -> Metrics:
    """Return mean and percentiles of some values, NaN left out, None where none remain.

    Examples
    --------
    >>> spread("ttft_s", np.array([1.0, 2.0, 3.0, 4.0]))["ttft_s.p50"]
    2.5
    """
    known = values[~np.isnan(values)]
    names = (f"{name}.mean", *(f"{name}.p{p}" for p in PERCENTILES))
    if not known.size:
        return dict.fromkeys(names)
    return dict(zip(names, [float(known.mean()), *percentiles(known, PERCENTILES)], strict=True))


def percentiles(values: Floats, wanted: Sequence[int]) -> list[float]:
    """Return the percentiles of some values, none of them NaN and at least one there.

    Examples
    --------
    >>> percentiles(np.array([4.0, 1.0]), (0, 50, 100))
    [1.0, 2.5, 4.0]
    """
    return [float(cut) for cut in np.percentile(values, wanted, method="linear")]


def replication_metrics(result: RunResult, observed: Observed | None = None) -> Metrics:
    """Return every metric of one run.

    Parameters
    ----------
    result : one arm, one replication.
    observed : its records, where they have been read already.

    Returns
    -------
    Times in seconds over finished requests; ratios in [0, 1]; bytes on the wire, `link_bytes` all that links carried.

    Notes
    -----
    A query counts in `any_hit_ratio` when it needed a prefetchable unit that demand reuse had not brought.

    Examples
    --------
    >>> from simkv.results import REQUEST_COLUMNS
    >>> row = dict.fromkeys(REQUEST_COLUMNS, 0) | {"status": "finished", "first_token_s": 0.5, "last_token_s": 2.0}
    >>> row |= {"output_tokens": 4, "needed_units": 2, "in_time_units": 1}
    >>> found = replication_metrics(RunResult("none", 0, {name: [value] for name, value in row.items()}, {}))
    >>> found["ttft_s.mean"], found["tpot_s.mean"], found["any_hit_ratio"], found["complete_hit_ratio"]
    (0.5, 0.5, 1.0, 0.0)
    """
    seen = observed or Observed.of(result)
    first = _mean(seen.ttft_s[seen.first_turn & seen.finished])
    later = _mean(seen.ttft_s[~seen.first_turn & seen.finished])
    return (
        seen.all_times
        | {"ttft_s.first_turns": first, "ttft_s.later_turns": later}
        | _hits(seen)
        | _prefetching(seen, result)
    )


def _hits(seen: Observed) -> Metrics:
    asked = seen.needed > 0
    hit = asked & (seen.in_time > 0)
    complete = asked & (seen.in_time == seen.needed)
    return {
        "any_hit_ratio": _share(hit, asked),
        "any_hit_ratio_all_queries": _share(hit, np.ones_like(asked)),
        "any_hit_ratio_first_turns": _share(hit, asked & seen.first_turn),
        "any_hit_ratio_later_turns": _share(hit, asked & ~seen.first_turn),
        "complete_hit_ratio": _share(complete, asked),
        "readiness": _share(seen.ready, np.ones_like(asked)),
    }


def _prefetching(seen: Observed, result: RunResult) -> Metrics:
    needed, in_time, late = int(seen.needed.sum()), int(seen.in_time.sum()), int(seen.late.sum())
    units = result.speculative_units
    used = units["used_in_time"] + units["used_late"]
    return {
        "coverage": _ratio(in_time + late, needed),
        "accuracy": _ratio(used, sum(units.values())),
        "timeliness": _ratio(in_time, in_time + late),
        "in_time": _ratio(in_time, needed),
        **{f"missed.{cause}": _ratio(int(units.sum()), needed) for cause, units in seen.missed.items()},
        "wasted_bytes": float(wasted_bytes(result)),
        "link_bytes": float(sum(sum(link.wire_bytes_by_class.values()) for link in result.links.values())),
        "wasted_gpu_s": sum(result.speculative_gpu_s[outcome] for outcome in WASTED),
        "extrapolated_time_ratio": result.extrapolated_time_ratio,
    }


def wasted_bytes(result: RunResult) -> int:
    """Return [bytes] what speculation sent for nothing: cancelled + evicted + never used (semantics F1).

    Examples
    --------
    >>> run = RunResult("sequential", 0, {}, {})
    >>> run.speculative_bytes |= {"evicted": 30, "cancelled": 10, "used_late": 5}
    >>> wasted_bytes(run)
    40
    """
    return sum(result.speculative_bytes[outcome] for outcome in WASTED)


def request_counts(results: Sequence[RunResult]) -> dict[str, int]:
    """Return how many requests of all these runs ended in each way (semantics F5).

    Examples
    --------
    >>> request_counts([RunResult("none", 0, {"status": ["finished", "rejected", "finished"]}, {})])
    {'finished': 2, 'rejected': 1, 'timed_out': 0, 'unfinished': 0}
    """
    return {status: sum(result.requests["status"].count(status) for result in results) for status in STATUSES}


@dataclass(frozen=True, slots=True)
class Paired:
    """Two arms of one replication over the turns that finished in both.

    Attributes
    ----------
    arm, baseline : the metrics of `Observed.times` over those turns.
    saved_s : [s] sum over them of baseline TTFT - arm TTFT; negative where the arm is slower. None without pairs.
    pairs : how many turns these are.
    unpaired : turns that either arm saw, but that did not finish in both.
    """

    arm: Metrics
    baseline: Metrics
    saved_s: float | None
    pairs: int
    unpaired: int


def paired(arm: Observed, baseline: Observed) -> Paired:
    """Compare two arms of one replication turn by turn (semantics F3, G1, G3)."""
    in_arm, in_baseline = _common(arm, baseline)
    saved = baseline.ttft_s[in_baseline] - arm.ttft_s[in_arm]  # (pairs,)
    seen = np.union1d(arm.key, baseline.key).size
    return Paired(
        arm=_times_of(arm, in_arm),
        baseline=_times_of(baseline, in_baseline),
        saved_s=float(saved.sum()) if saved.size else None,
        pairs=int(saved.size),
        unpaired=int(seen - saved.size),
    )


def mean_ttft_of_common(arms: Sequence[Observed]) -> list[float | None]:
    """Return [s] each arm's mean TTFT over the turns that finished in all of them.

    Arms that lose different turns can be ranked only over what they share: the survivors of an arm that
    turns away long requests look fast.
    """
    common = arms[0].key[arms[0].finished]
    for arm in arms[1:]:
        common = np.intersect1d(common, arm.key[arm.finished], assume_unique=True)
    return [_mean(arm.ttft_s[np.isin(arm.key, common)]) for arm in arms]


def net_efficiency(saved_s: float | None, any_hit_ratio: float | None, wasted: float | None) -> float | None:
    """Return [s/MB] latency saved x any-hit ratio / wasted megabytes (semantics F3).

    Parameters
    ----------
    saved_s : [s] paired TTFT saved, negative where it was lost.
    any_hit_ratio : share of the queries that speculation helped.
    wasted : [bytes] as `wasted_bytes`.

    Returns
    -------
    None when nothing was wasted or a factor is undefined. Nothing is ranked by it.

    Examples
    --------
    >>> net_efficiency(12.0, 0.5, 3_000_000)
    2.0
    >>> net_efficiency(12.0, 0.5, 0) is None
    True
    """
    if saved_s is None or any_hit_ratio is None or not wasted:
        return None
    return saved_s * any_hit_ratio / (wasted / MB_BYTES)


def _check(result: RunResult, seen: Observed) -> None:
    where = f"arm {result.arm!r}, replication {result.replication}"
    unknown = sorted(set(result.requests["status"]) - set(STATUSES))
    if unknown:
        raise InvariantError(f"{where}: unknown request status {unknown[0]!r}")
    if np.unique(seen.key).size != seen.key.size:
        raise InvariantError(f"{where}: a (session, turn) occurs twice")
    if np.isnan(seen.e2e_s[seen.finished] + seen.ttft_s[seen.finished]).any():
        raise InvariantError(f"{where}: a finished request has no first or last token time")


def _common(a: Observed, b: Observed) -> tuple[Ints, Ints]:
    """Return where the turns that finished in both stand in each, in the order of their keys."""
    in_a, in_b = np.flatnonzero(a.finished), np.flatnonzero(b.finished)
    _, at_a, at_b = np.intersect1d(a.key[in_a], b.key[in_b], assume_unique=True, return_indices=True)
    return in_a[at_a], in_b[at_b]


def _times_of(seen: Observed, chosen: Ints) -> Metrics:
    if chosen.size == seen.finished.sum():  # most runs finish alike: their times are known already
        return seen.all_times
    flags = np.zeros(seen.key.size, dtype=bool)
    flags[chosen] = True
    return seen.times(flags)


def _floats(column: Sequence[Any]) -> Floats:
    """Return a column as floats; None, "did not happen", becomes NaN."""
    return np.array(column, dtype=np.float64)


def _mean(values: Floats) -> float | None:
    return float(np.nanmean(values)) if values.size and not np.isnan(values).all() else None


def _share(which: Flags, among: Flags) -> float | None:
    return _ratio(int((which & among).sum()), int(among.sum()))


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
