"""The front of a table: complete, and nothing on it is beaten, for any numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from simkv.report.front import front, non_dominated

#: Few different values, so that ties and equal rows are common.
VALUE = st.integers(0, 6).map(float) | st.floats(0, 6)


def beaten(row: tuple[float, ...], rows: list[tuple[float, ...]]) -> bool:
    """Say by definition whether some other row is nowhere larger and somewhere smaller."""
    return any(
        all(a <= b for a, b in zip(other, row, strict=True)) and any(a < b for a, b in zip(other, row, strict=True))
        for other in rows
    )


@settings(deadline=None)
@given(st.integers(1, 4).flatmap(lambda width: st.lists(st.tuples(*[VALUE] * width), min_size=1, max_size=30)))
def test_the_front_is_what_nothing_beats(rows: list[tuple[float, ...]]) -> None:
    """Against the definition, in one to four metrics."""
    assert non_dominated(np.array(rows)).tolist() == [not beaten(row, rows) for row in rows]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.sampled_from("xy"), VALUE | st.none(), VALUE, st.booleans()), min_size=1, max_size=20))
def test_points_compete_with_feasible_points_of_their_own_world(
    rows: list[tuple[str, float | None, float, bool]],
) -> None:
    """References and undefined values take no part; `within` keeps worlds apart."""
    able = [(world, (a, b)) for world, a, b, is_reference in rows if a is not None and not is_reference]
    best = front(table(rows), ["ttft_s.p99", "link_bytes"], within=["links.down.capacity"])
    found = [(row[1], (row[3], row[6])) for row in best.itertuples(index=False)]
    wanted = [(w, pair) for w, pair in able if not beaten(pair, [other for v, other in able if v == w])]
    assert sorted(found) == sorted(wanted)


def table(rows: list[tuple[str, float | None, float, bool]]) -> pd.DataFrame:
    """Return a table of a sweep, one point a row."""
    told = [
        (str(place), world, "arm", metric, value, None, None)
        for place, (world, ttft_s, moved, is_reference) in enumerate(rows)
        for metric, value in (("ttft_s.p99", ttft_s), ("link_bytes", moved), ("is_reference", float(is_reference)))
    ]
    columns = ["point_id", "links.down.capacity", "arm", "metric", "value", "ci_low", "ci_high"]
    return pd.DataFrame(told, columns=columns).astype(dict.fromkeys(("value", "ci_low", "ci_high"), "float64"))
