"""The table of a sweep, looked at by points and arms: what its page and its LaTeX table are made from."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from simkv.report.comparison import ArmInfo
from simkv.statistics import Estimate

if TYPE_CHECKING:
    import pandas as pd

#: Metrics that are shown of every sweep, where they say something: title and axis label.
METRICS = {
    "ttft_s.mean": ("Mean time to first token", "mean TTFT [s]"),
    "ttft_s.p99": ("99th percentile of time to first token", "p99 TTFT [s]"),
    "any_hit_ratio": ("Queries with a prefetched unit in time", "any hit ratio"),
    "link_bytes": ("Bytes moved a replication", "bytes moved"),
    "wasted_bytes": ("Wasted bytes a replication", "wasted bytes"),
}


def arms_of(points: pd.DataFrame) -> tuple[ArmInfo, ...]:
    """Return the arms of a sweep in the order of its table, as far as it says what they are."""
    marked = {
        metric: set(points[(points["metric"] == metric) & (points["value"] == 1)]["arm"])
        for metric in ("is_reference", "is_lossy")
    }
    return tuple(
        ArmInfo(
            str(name),
            reference="no real system could be this" if name in marked["is_reference"] else "",
            is_exact=name not in marked["is_lossy"],
        )
        for name in points["arm"].unique()
    )


def order_of(points: pd.DataFrame, paths: list[str]) -> pd.DataFrame:
    """Return point_id and paths, a row a finished point, in the order of the grid."""
    return points.drop_duplicates("point_id")[["point_id", *paths]].reset_index(drop=True)


def estimates(points: pd.DataFrame, metric: str, arm: str, order: pd.DataFrame) -> list[Estimate]:
    """Return a metric of an arm with its interval, one a point.

    Parameters
    ----------
    order : as `order_of` returns it.
    """
    found = (
        points[(points["metric"] == metric) & (points["arm"] == arm)].drop_duplicates("point_id").set_index("point_id")
    )
    rows = found[["value", "ci_low", "ci_high"]].reindex(order["point_id"]).itertuples(index=False)
    return [Estimate(_known(value), _known(low), _known(high)) for value, low, high in rows]


def _known(number: Any) -> float | None:
    return None if math.isnan(number) else float(number)
