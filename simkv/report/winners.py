"""Which arm is best in each cell of a grid, how sure is that, and where does moving KV start to pay?

From the tidy table of a sweep to numbers; `heat_map.py` draws them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from simkv.errors import InputError
from simkv.registry import did_you_mean, unknown
from simkv.report.grid_axis import Axis, read_axis
from simkv.report.rows import LOST, MEASURES
from simkv.statistics import LEVEL, p_value, simultaneous

#: Columns of the tidy table that are not paths.
TOLD = ("point_id", *MEASURES)


@dataclass(frozen=True, slots=True)
class Cell:
    """Who wins at one point.

    Attributes
    ----------
    best : the arm with the best mean; of equal ones the first in the table.
    value : its mean.
    rival : the arm that is hardest to tell from it; None without another, or where the table has no replications.
    p_holm : of no difference between the two, corrected for the number of cells; 1 where it cannot be tested.
    lost : requests of the best that no mean includes.
    """

    best: str
    value: float
    rival: str | None
    p_holm: float | None
    lost: int

    @property
    def is_open(self) -> bool:
        """Whether the rival may be as good: not told apart at 5 %, all cells together."""
        return self.p_holm is not None and self.p_holm >= 1 - LEVEL


@dataclass(frozen=True, eq=False)
class Winners:
    """A grid, and who wins where.

    Attributes
    ----------
    cells : rows by y, columns by x; None where no point finished.
    arms : that could win, in the table's order, and whether each moves KV.
    left_out : the other arms, and why.
    margin : in the shape of the cells, how far the best arm that moves KV is ahead of the best that sends text alone:
        logarithm of the ratio of their means, or the difference where not all are above zero; NaN where unknown. None
        when one of the two kinds is missing.
    compared : whether the table tells the replications of the metric, two or more.
    """

    x: Axis
    y: Axis
    metric: str
    cells: tuple[tuple[Cell | None, ...], ...]
    arms: dict[str, bool]
    left_out: dict[str, str]
    margin: NDArray[np.float64] | None
    compared: bool


class _Race(NamedTuple):
    """The best of one point and its hardest rival, with their differences by replication."""

    best: str
    rival: str | None
    differences: list[float | None]


def winners(
    points: pd.DataFrame,
    x: str | None = None,
    y: str | None = None,
    *,
    metric: str = "ttft_s.mean",
    arms: Sequence[str] | None = None,
    maximise: bool = False,
) -> Winners:
    """Return who wins where.

    Parameters
    ----------
    points : tidy table, as `simkv.sweep` returns it.
    x, y : paths; None = the first and the second of the table. Other paths may vary only together with these.
    metric : as the table calls it; less is better unless `maximise`.
    arms : that may win; None = those that a real system could be and whose codec leaves answers as they are.

    Notes
    -----
    A cell is open unless its best differs from *every* other arm: over replications, the largest p-value of the
    paired t tests counts, after Holm's correction over all cells.

    Raises
    ------
    InputError : unknown path, metric or arm, or a further path that varies by itself.

    Examples
    --------
    >>> winners(simkv.sweep(...), "links.slice.capacity", "seed").cells[0][0].best  # doctest: +SKIP
    'threshold'
    """
    x, y = _two_paths(points, x, y)
    chosen, left_out = _chosen(points, arms)
    costs, runs = _costs(points, metric, chosen, maximise)
    cells = _raced(points, costs, runs, maximise)
    grid = _grid(points, x_axis := read_axis(points, x), y_axis := read_axis(points, y))
    moves = _flag(points, "moves_kv")
    return Winners(
        x_axis,
        y_axis,
        metric,
        tuple(tuple(cells.get(point) for point in row) for row in grid),
        {name: moves.get(name, True) for name in chosen},
        left_out,
        _margin(costs, grid, moves),
        len(runs) > 1,
    )


def best_by_point(points: pd.DataFrame, metric: str = "ttft_s.mean") -> dict[str, Cell]:
    """Return who wins at each point, by its id, whatever varies; arms and tests are those of `winners`.

    Raises
    ------
    InputError : no arm may win, or none has the metric.

    Examples
    --------
    >>> best_by_point(simkv.sweep("scenarios/ten_turns.yaml"))  # doctest: +SKIP
    """
    costs, runs = _costs(points, metric, _chosen(points, None)[0], maximise=False)
    return _raced(points, costs, runs, maximise=False)


def _costs(
    points: pd.DataFrame, metric: str, arms: Sequence[str], maximise: bool
) -> tuple[pd.DataFrame, list[pd.DataFrame]]:
    """Return what is least where an arm is best, as means and by replication."""
    sign = -1.0 if maximise else 1.0
    costs = sign * _by_point(points, metric, arms).dropna(how="all")
    if costs.empty:
        known = sorted({name for name in points["metric"] if "[" not in name})
        raise InputError(f"no arm has the metric {metric!r}{did_you_mean(metric, known)}", "metric")
    runs = [sign * _by_point(points, name, arms) for name in _replications(points, metric)]
    return costs, [run.reindex(costs.index) for run in runs]  # points may differ in their replications


def _raced(points: pd.DataFrame, costs: pd.DataFrame, runs: list[pd.DataFrame], maximise: bool) -> dict[str, Cell]:
    each = [run.to_dict("index") for run in runs]  # plain dicts: ten times as fast as rows of pandas
    races = {str(p): _race(means, [run[p] for run in each]) for p, means in costs.to_dict("index").items()}
    return _cells(points, -costs if maximise else costs, races)


def _two_paths(points: pd.DataFrame, x: str | None, y: str | None) -> tuple[str, str]:
    paths = [name for name in points.columns if name not in TOLD]
    wanted = [name for name in (x, y) if name is not None]
    for name in wanted:
        if name not in paths:
            raise InputError(f"was not swept{did_you_mean(name, paths)}; there is {', '.join(paths)}", name)
    free = [name for name in paths if name not in wanted]
    first, second = x or (free.pop(0) if free else None), y or (free.pop(0) if free else None)
    if first is None or second is None or first == second:
        raise InputError(f"want a sweep of two paths, got {', '.join(paths)}", "heat map")
    return first, second


def _chosen(points: pd.DataFrame, arms: Sequence[str] | None) -> tuple[list[str], dict[str, str]]:
    """Return the arms that may win and, for the others, why not."""
    known = list(dict.fromkeys(points["arm"]))
    if arms is not None:
        for name in arms:
            if name not in known:
                raise unknown("arm", name, known, "arms")
        return [name for name in known if name in arms], {n: "not asked for" for n in known if n not in arms}
    reference, lossy = _flag(points, "is_reference"), _flag(points, "is_lossy")
    left_out = {name: "answers may differ" for name in known if lossy.get(name)}
    left_out |= {name: "a reference" for name in known if reference.get(name)}
    if not reference:
        raise InputError("the table does not say which are references (an older simkv); want them by name", "arms")
    chosen = [name for name in known if name not in left_out]
    if not chosen:
        raise InputError(f"no arm is left: {', '.join(f'{name}: {why}' for name, why in left_out.items())}", "arms")
    return chosen, left_out


def _flag(points: pd.DataFrame, name: str) -> dict[str, bool]:
    """Return what the table says of each arm; where points differ, yes once is yes."""
    rows = points[points["metric"] == name]
    return {str(arm): bool(value) for arm, value in rows.groupby("arm", sort=False)["value"].max().items()}


def _by_point(points: pd.DataFrame, metric: str, arms: Sequence[str]) -> pd.DataFrame:
    """Return a metric by point (down) and arm (across), in the order of both."""
    rows = points[(points["metric"] == metric) & points["arm"].isin(list(arms))]
    rows = rows.drop_duplicates(["point_id", "arm"])
    wide = rows.set_index(["point_id", "arm"])["value"].unstack("arm", sort=False)
    return wide.reindex(columns=list(arms))


def _replications(points: pd.DataFrame, metric: str) -> list[str]:
    """Return the names under which the table has the metric of each replication."""
    form = re.compile(re.escape(metric) + r"\[\d+\]")
    return [name for name in dict.fromkeys(points["metric"]) if form.fullmatch(name)]


def _race(costs: Mapping[Hashable, float], runs: Sequence[Mapping[Hashable, float]]) -> _Race:
    """Return the arm with the least mean, and the arm for which a difference to it is least sure."""
    known = {str(arm): mean for arm, mean in costs.items() if not math.isnan(mean)}
    best = min(known, key=lambda arm: known[arm])
    hardest, largest = _Race(best, None, []), -1.0
    for other in known:
        differences = [None if math.isnan(d := float(run[best] - run[other])) else d for run in runs]
        if other == best or len(runs) < 2:
            continue
        p = p_value(differences)
        if (1.0 if p is None else p) > largest:  # what cannot be tested is not sure at all
            hardest, largest = _Race(best, other, differences), 1.0 if p is None else p
    return hardest


def _cells(points: pd.DataFrame, means: pd.DataFrame, races: dict[str, _Race]) -> dict[str, Cell]:
    lost = pd.concat([_by_point(points, name, list(means.columns)) for name in LOST]).groupby(level=0).sum()
    mean_of, lost_of = means.stack().to_dict(), lost.stack().to_dict()
    tests = simultaneous([race.differences for race in races.values()])
    return {
        point: Cell(
            race.best,
            float(mean_of[point, race.best]),
            race.rival,
            1.0 if test.p_holm is None and race.rival is not None else test.p_holm,
            int(lost_of.get((point, race.best), 0)),
        )
        for (point, race), test in zip(races.items(), tests, strict=True)
    }


def _grid(points: pd.DataFrame, x: Axis, y: Axis) -> list[list[str]]:
    """Return the point of each cell, empty where the table has none."""
    shown = points.drop_duplicates("point_id")
    place: dict[tuple[object, object], str] = {}
    for told in shown[["point_id", x.path, y.path]].itertuples(index=False):
        if place.setdefault((told[1], told[2]), told[0]) != told[0]:
            both = shown[(shown[x.path] == told[1]) & (shown[y.path] == told[2])]
            others = [n for n in shown.columns if n not in TOLD and both[n].nunique() > 1]
            raise InputError(
                f"varies too, and a cell holds one point; want one value of it, as in "
                f"points[points[{others[0]!r}] == {both[others[0]].tolist()[0]!r}]",
                others[0],
            )
    return [[place.get((column, row), "") for column in x.values] for row in y.values]


def _margin(costs: pd.DataFrame, grid: list[list[str]], moves: dict[str, bool]) -> NDArray[np.float64] | None:
    """Return how far moving KV is ahead in each cell."""
    moving = [name for name in costs.columns if moves.get(name, True)]
    texts = [name for name in costs.columns if name not in moving]
    if not moving or not texts:
        return None
    ours, theirs = costs[moving].min(axis=1), costs[texts].min(axis=1)
    if (ours > 0).all() and (theirs > 0).all():
        ours, theirs = np.log(ours), np.log(theirs)
    ahead = theirs - ours
    return np.array([[float(ahead.get(point, np.nan)) for point in row] for row in grid])
