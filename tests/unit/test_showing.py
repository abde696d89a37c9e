"""The table of a sweep that people read: as wide as the terminal, with the best arm of each point."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from simkv.cli import main
from simkv.sweep import Point, Sweep
from simkv.sweep.showing import sweep_text

ARMS = ("text", "text-prefetch", "none", "sequential", "threshold", "adaptive-with-a-long-name", "oracle")
PATHS = ("links.slice.capacity.mean", "policies.prefetch.threshold")


def outcome(points: int, replications: int = 3, **lost: int) -> tuple[Sweep, pd.DataFrame, pd.DataFrame]:
    """Return a sweep in which arm a takes a + 1 tenths of a second at point 0, and 1 ms more at each further point.

    The oracle is the fastest and marked as such; `lost` names arms that reject so many requests.
    """
    made, rows = [], []
    for place in range(points):
        values: dict[str, Any] = {PATHS[0]: f"{place + 10} Mbit/s", PATHS[1]: place / 7}
        made.append(Point(f"{place:04d}", values, None))  # type: ignore[arg-type]  # what is run is not asked for here
        for rank, arm in enumerate(ARMS):
            mean_s = 0.001 * place + (0.05 if arm == "oracle" else 0.1 * (rank + 1))
            told = {"is_reference": float(arm == "oracle"), "is_lossy": 0.0, "requests_rejected": lost.get(arm, 0.0)}
            told |= {"requests_timed_out": 0.0, "requests_unfinished": 0.0}
            told |= {f"ttft_s.mean[{n}]": mean_s + 0.001 * n * rank for n in range(replications)}
            key = (f"{place:04d}", *values.values(), arm)
            rows.append((*key, "ttft_s.mean", mean_s, mean_s - 0.02, mean_s + 0.02))
            rows += [(*key, metric, value, None, None) for metric, value in told.items()]
    frame = pd.DataFrame(rows, columns=["point_id", *PATHS, "arm", "metric", "value", "ci_low", "ci_high"])
    return Sweep("wide", PATHS, tuple(made)), frame, pd.DataFrame(columns=["point_id", *PATHS, "error"])


@pytest.mark.parametrize("width", [80, 100, 132, 200])
def test_many_arms_and_points_fit_the_terminal(width: int) -> None:
    """Seven arms at 400 points: no line is wider, and each mean is there once."""
    text = sweep_text(*outcome(400), width=width)
    assert max(map(len, text.splitlines())) <= width
    rows = [line.replace(" +-0.020", "").split() for line in text.splitlines() if "Mbit/s" in line]
    cells = [cell.strip("*~") for row in rows for cell in row[3:]]  # behind the rate, its unit and the threshold
    wanted = [
        0.001 * n + (0.05 if arm == "oracle" else 0.1 * (r + 1)) for n in range(400) for r, arm in enumerate(ARMS)
    ]
    assert sorted(map(float, cells)) == pytest.approx(sorted(wanted), abs=6e-4)


def test_intervals_are_shown_where_they_fit_and_named_where_not() -> None:
    """A wide terminal shows half the interval beside the mean."""
    wide = sweep_text(*outcome(3), width=200)
    assert re.search(r"0\.\d+ \+-0\.020", wide)
    assert "intervals: points.parquet" not in wide
    narrow = sweep_text(*outcome(3), width=100)
    assert "+-" not in narrow
    assert "intervals: points.parquet" in narrow


def test_the_best_arm_of_each_point_is_marked_and_counted() -> None:
    """The fastest that can be built, certainly so where the replications say so; the oracle is not asked."""
    text = sweep_text(*outcome(3), width=200)
    assert "lowest at: text 3 (3 certain)" in text
    assert len(re.findall(r"0\.1\d* \+-0\.020\*", text)) == 3
    alone = sweep_text(*outcome(3, replications=0), width=200)
    assert "lowest at: text 3 (0 certain)" in alone
    assert "0.020~" in alone
    assert "*" not in alone.split("~ lowest")[0]


def test_points_may_differ_in_their_replications(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A point of one replication says nothing of certainty."""
    scenario = Path(__file__).resolve().parents[2] / "scenarios" / "three_turns.yaml"
    assert main(["sweep", str(scenario), "-p", "replications=1,2", "--out", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "lowest at: sequential 2" in told


def test_an_arm_that_loses_requests_is_marked() -> None:
    """Its mean is of the others alone (semantics F5)."""
    text = sweep_text(*outcome(2, none=4), width=200)
    assert len(re.findall(r"0\.020!", text)) == 2
    assert "! lost requests" in text
    assert "lost requests" not in sweep_text(*outcome(2), width=200)


def test_paths_have_the_shortest_head_that_is_their_own() -> None:
    """Two that end alike are told apart."""
    sweep, points, failures = outcome(1)
    assert sweep_text(sweep, points, failures).splitlines()[1].split()[:2] == ["capacity.mean", "prefetch.threshold"]
    names = {PATHS[0]: "arms.a.policies.prefetch.threshold", PATHS[1]: "arms.b.policies.prefetch.threshold"}
    renamed = Sweep("wide", tuple(names.values()), sweep.points)
    heads = sweep_text(renamed, points.rename(columns=names), failures).splitlines()[1].split()[:2]
    assert heads == ["a.policies.prefetch.threshold", "b.policies.prefetch.threshold"]


def test_the_width_is_that_of_the_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As COLUMNS says."""
    monkeypatch.setenv("COLUMNS", "70")
    assert max(map(len, sweep_text(*outcome(2)).splitlines()[1:-3])) <= 70


def test_one_point_is_counted_as_one() -> None:
    """As the page of the same sweep says it."""
    assert [sweep_text(*outcome(count)).split("\n", 1)[0] for count in (1, 2)] == [
        "wide: mean TTFT [s], 1 point, 0 failed",
        "wide: mean TTFT [s], 2 points, 0 failed",
    ]
