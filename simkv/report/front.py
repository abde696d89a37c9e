"""Which ways of serving are beaten by no other in some metrics together? The front, as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from simkv.errors import InputError
from simkv.registry import did_you_mean
from simkv.report.rows import LOST, MEASURES

#: Metrics that say of an arm what it is: 1 where it is that.
MARKS = ("is_reference", "is_lossy")
#: Metrics that count requests which were turned away: the means are of the others, and look the better for it.
TURNED_AWAY = ("requests_rejected", "requests_timed_out")
_UNFINISHED = "requests_unfinished"
_COUNTS = ("requests_finished", *LOST)
#: Share of unfinished requests from which even a P99 may be all of theirs. A horizon cuts a few in any arm.
MOST_UNFINISHED = 0.01


def front(
    points: pd.DataFrame, minimise: Sequence[str] = ("ttft_s.p99", "link_bytes"), within: Sequence[str] = ()
) -> pd.DataFrame:
    """Return what no other row beats in all of some metrics.

    One row beats another that is nowhere smaller and somewhere larger; equal rows stay together. These take no part:
    references, which no real system could be; rows where a metric is undefined; rows that lost requests (see `loses`),
    whose means are of the others alone, unless the number of those is minimised too.

    Parameters
    ----------
    points : table of a sweep: a row a point, arm and metric.
    minimise : metrics, at least one; smaller is better.
    within : paths that nobody chooses, such as a link's capacity: rows compete where these are equal.

    Returns
    -------
    A row a point and arm, by the first metric: point_id, one column a path, arm, then each metric with `_low` and
    `_high`, the ends of its interval.

    Raises
    ------
    InputError : a metric or path that the table does not have.

    Examples
    --------
    >>> rows = [("p", "slow", "ttft_s.p99", 3.0), ("p", "slow", "link_bytes", 1.0), ("p", "fast", "ttft_s.p99", 1.0),
    ...         ("p", "fast", "link_bytes", 9.0), ("p", "bad", "ttft_s.p99", 3.0), ("p", "bad", "link_bytes", 9.0)]
    >>> table = pd.DataFrame(rows, columns=["point_id", "arm", "metric", "value"]).assign(ci_low=None, ci_high=None)
    >>> front(table)["arm"].tolist()
    ['fast', 'slow']
    """
    metrics = list(minimise)
    table = by_point(points, metrics)
    unknown = next((path for path in within if path not in table or path in (*metrics, *MARKS, "lost")), None)
    if unknown is not None:
        raise InputError(f"no path {unknown!r} in the table{did_you_mean(unknown, [str(name) for name in table])}")
    out = table["is_reference"] | (table["lost"] & (not set(LOST) & set(metrics)))
    able = table[~out].dropna(subset=metrics).drop(columns=[*MARKS, "lost"])
    groups = [group for _, group in able.groupby(list(within), sort=False)] if within else [able]
    kept = [group[non_dominated(group[metrics].to_numpy(dtype=np.float64))].sort_values(metrics) for group in groups]
    return pd.concat(kept, ignore_index=True) if kept else able


def non_dominated(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which rows no other row beats; O(n log n) for two columns.

    Parameters
    ----------
    values : (n, metrics), smaller is better, no NaN.

    Examples
    --------
    >>> non_dominated(np.array([[1.0, 2.0], [2.0, 1.0], [2.0, 2.0]])).tolist()
    [True, True, False]
    """
    if not len(values):
        return np.zeros(0, dtype=bool)
    order = np.lexsort(values.T[::-1])  # by the first column, then the second: only an earlier row beats a later
    ranked = values[order]
    is_new = np.concatenate([[True], (ranked[1:] != ranked[:-1]).any(axis=1)])
    rows = ranked[is_new]
    if values.shape[1] <= 2:
        least = np.minimum.accumulate(rows[:, -1])
        flags = np.concatenate([[True], rows[1:, -1] < least[:-1]])
    else:
        kept: list[int] = []
        for place, row in enumerate(rows):
            if not (rows[kept] <= row).all(axis=1).any():
                kept.append(place)
        flags = np.isin(np.arange(len(rows)), kept)
    found = np.empty(len(values), dtype=bool)
    found[order] = flags[np.cumsum(is_new) - 1]
    return found


def by_point(points: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """Return one row a point and arm: point_id, paths, arm, each metric with its interval, and what the arm is."""
    known = [name for name in points["metric"].unique() if "[" not in name]  # those of one replication left out
    for metric in metrics:
        if known and metric not in known:
            raise InputError(f"no metric {metric!r}{did_you_mean(metric, known)}; known: {', '.join(known)}")
    keys = ["point_id", "arm"]
    table = points[[name for name in points if name not in MEASURES or name == "arm"]].drop_duplicates(keys)
    for metric in dict.fromkeys(metrics):
        found = points[points["metric"] == metric].set_index(keys)[["value", "ci_low", "ci_high"]]
        names = {"value": metric, "ci_low": f"{metric}_low", "ci_high": f"{metric}_high"}
        table = table.join(found.rename(columns=names), on=keys)
    for mark in MARKS:
        marked = points[(points["metric"] == mark) & (points["value"] == 1)].set_index(keys).index
        table[mark] = table.set_index(keys).index.isin(marked)
    counted = points[points["metric"].isin(_COUNTS)].set_index([*keys, "metric"])["value"].unstack("metric")
    counted = counted.reindex(columns=list(_COUNTS)).fillna(0)
    losing = counted.index[loses({str(name): column for name, column in counted.items()})]
    table["lost"] = table.set_index(keys).index.isin(losing)
    return table.reset_index(drop=True)


def loses(counts: Mapping[str, Any]) -> Any:
    """Return whether so many requests are in no mean that the mean says little: numbers, or columns of them.

    Parameters
    ----------
    counts : requests by metric, such as `requests_rejected`; what is not there is 0.

    Examples
    --------
    >>> loses({"requests_finished": 999, "requests_unfinished": 1})
    False
    >>> loses({"requests_finished": 999, "requests_rejected": 1})
    True
    """
    turned_away = sum(counts.get(name, 0) for name in TURNED_AWAY)
    return (turned_away > 0) | (counts.get(_UNFINISHED, 0) > MOST_UNFINISHED * sum(counts.get(n, 0) for n in _COUNTS))
