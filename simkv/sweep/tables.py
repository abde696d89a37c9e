"""The outcome of a sweep as tables: a row a point, arm and metric; a row a failed point."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from simkv.report.rows import MEASURES
from simkv.results import SCHEMA_VERSION
from simkv.sweep.journal import Named
from simkv.sweep.points import Sweep, as_written, scalar

Outcomes = Mapping[str, Mapping[str, Any]]


def points_frame(sweep: Sweep, outcomes: Outcomes) -> pd.DataFrame:
    """Return the tidy table of all finished points, in the order of the grid."""
    found = [
        (place, row)
        for place, point in enumerate(sweep.points)
        if outcomes.get(point.id, {}).get("status") == "finished"
        for row in outcomes[point.id]["rows"]
    ]
    told = _told(sweep, [place for place, _ in found])
    for index, (name, kind) in enumerate(MEASURES.items()):
        told[name] = pd.Series([row[index] for _, row in found], dtype=kind)
    return pd.DataFrame(told)


def failures_frame(sweep: Sweep, outcomes: Outcomes) -> pd.DataFrame:
    """Return a row a failed point, with what went wrong."""
    failed = [place for place, point in enumerate(sweep.points) if outcomes.get(point.id, {}).get("status") == "failed"]
    told = _told(sweep, failed)
    told["error"] = pd.Series([outcomes[sweep.points[place].id]["error"] for place in failed], dtype="string")
    return pd.DataFrame(told)


def to_json(
    sweep: Named, points: pd.DataFrame, failures: pd.DataFrame, front: pd.DataFrame | None = None
) -> dict[str, Any]:
    """Return the tables as plain lists, dicts, strings and numbers; `front` is that of a search."""
    told: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "scenario": sweep.name, "sweep": sweep.id}
    told["paths"] = list(sweep.paths)
    told |= sweep.facts if front is None else {**sweep.facts, "front": _records(front)}
    return told | {"rows": _records(points), "failures": _records(failures)}


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return frame.astype(object).where(frame.notna(), None).to_dict("records")  # type: ignore[return-value]


def _told(sweep: Sweep, places: list[int]) -> dict[str, pd.Series[Any]]:
    """Return the columns that say which point a row is of."""
    told: dict[str, pd.Series[Any]] = {
        "point_id": pd.Series([sweep.points[place].id for place in places], dtype="string")
    }
    for path in sweep.paths:
        values = [scalar(point.values[path]) for point in sweep.points]
        kind = _kind(values)
        listed = [
            as_written(sweep.points[place].values[path]) if kind == "string" else values[place] for place in places
        ]
        told[path] = pd.Series(listed, dtype=kind)
    return told


def _kind(values: list[object]) -> str:
    """Return the type of a column: numbers or truth values where every value of the path is one."""
    kinds = {type(value) for value in values}
    if kinds in ({int}, {bool}):
        return "int64" if kinds == {int} else "bool"
    return "float64" if kinds <= {int, float} else "string"
