"""The Pareto front of real points: the table, the figure, and what a saved run keeps for them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import simkv
from simkv.errors import InputError
from simkv.report.comparison import Comparison
from simkv.report.pareto import front, pareto
from simkv.report.reading import read_run
from simkv.report.rows import points_of

ROOT = Path(__file__).resolve().parents[2]
CHANGES = {"replications": 3, "workload.sessions": 4, "workload.conversations": 4, "workload.turns": 4}


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    """Return a small comparison with references among its arms."""
    return simkv.run(simkv.load(ROOT / "scenarios" / "ten_turns.yaml", CHANGES))


def test_bytes_moved_are_what_links_carried(comparison: Comparison) -> None:
    """The mean over replications of the totals of all links; every metric stands once an arm."""
    points = points_of(comparison)
    moved = points[points["metric"] == "link_bytes"].set_index("arm")["value"]
    for arm in comparison.summary.arms:
        assert moved[arm.info.name] == pytest.approx(sum(arm.link_bytes.values()) / comparison.replications)
    assert not points.duplicated(["point_id", "arm", "metric"]).any()


def test_references_are_on_no_front(comparison: Comparison) -> None:
    """What knows the future would beat everything, and tells nobody what to build."""
    points = points_of(comparison)
    references = {arm.name for arm in comparison.arms if arm.reference}
    marked = points[(points["metric"] == "is_reference") & (points["value"] == 1)]["arm"]
    assert set(marked) == references == {"oracle", "perfect-residency"}
    best = front(points, ["ttft_s.mean"])
    assert best["arm"].tolist() == [min(set(points["arm"]) - references, key=lambda arm: mean_s(points, arm))]
    assert mean_s(points, "perfect-residency") < best["ttft_s.mean"][0]


def mean_s(points: pd.DataFrame, arm: str) -> float:
    """Return [s] the mean TTFT of an arm."""
    return float(points[(points["arm"] == arm) & (points["metric"] == "ttft_s.mean")]["value"].iloc[0])


def test_a_saved_run_keeps_the_points(comparison: Comparison, tmp_path: Path) -> None:
    """The table of a saved run is that of the run."""
    comparison.save(tmp_path)
    pd.testing.assert_frame_equal(read_run(tmp_path).points, points_of(comparison), check_dtype=False)


def test_the_figure_shows_every_arm_with_units_and_the_front(comparison: Comparison) -> None:
    """One panel a time; an arm's marker is where its numbers are, and the staircase ends on the front."""
    points = points_of(comparison)
    figure = pareto(points, title="ten turns")
    mean, p99 = figure.axes
    assert (mean.get_ylabel(), p99.get_ylabel()) == ("mean time to first token", "p99 time to first token")
    assert mean.get_xlabel() == "bytes moved over links, a replication"
    figure.canvas.draw()  # type: ignore[no-untyped-call]
    assert {label.get_text()[-1] for label in mean.get_yticklabels()} == {"s"}
    assert {label.get_text()[-1] for label in mean.get_xticklabels()} == {"B"}
    labels = {text.get_text() for text in figure.legends[0].get_texts()}
    assert {"none", "oracle (reference)", "front: beaten by no other"} <= labels
    best = front(points, ["link_bytes", "ttft_s.mean"])
    assert mean.lines[0].get_xydata().tolist() == best[["link_bytes", "ttft_s.mean"]].to_numpy().tolist()  # type: ignore[union-attr]


def test_the_figure_of_one_replication_has_no_intervals(comparison: Comparison) -> None:
    """An absent interval is drawn as none, not as an error; a metric without any value gives an empty panel."""
    points = points_of(comparison).assign(ci_low=float("nan"), ci_high=float("nan"))
    pareto(points).canvas.draw()  # type: ignore[no-untyped-call]
    none = points.assign(value=points["value"].where(points["metric"] != "ttft_s.p99"))
    assert not front(none).size
    pareto(none).canvas.draw()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"minimise": ["ttft_s.p98"]}, "no metric 'ttft_s.p98'; did you mean 'ttft_s.p9"),
        ({"within": ["points_id"]}, "no path 'points_id' in the table; did you mean 'point_id'?"),
    ],
)
def test_what_the_table_lacks_is_named(comparison: Comparison, arguments: dict[str, list[str]], told: str) -> None:
    """With what was probably meant."""
    with pytest.raises(InputError, match=told):
        front(points_of(comparison), **arguments)


@pytest.mark.parametrize(("unfinished", "best"), [(9, ["quick", "whole"]), (900, ["whole"])])
def test_an_arm_that_leaves_most_requests_unfinished_is_on_no_front(unfinished: float, best: list[str]) -> None:
    """Its mean is of the few that were soon done; what a horizon cuts of each arm does not count."""
    rows = [
        ("p", arm, metric, value, None, None)
        for arm, counts in (
            ("whole", {"requests_finished": 991.0, "requests_unfinished": 9.0, "ttft_s.p99": 2.0, "link_bytes": 1.0}),
            ("quick", {"requests_unfinished": unfinished, "ttft_s.p99": 0.5, "link_bytes": 3.0}),
        )
        for metric, value in ({"requests_finished": 1000 - unfinished} | counts).items()
    ]
    table = pd.DataFrame(rows, columns=["point_id", "arm", "metric", "value", "ci_low", "ci_high"])
    assert front(table)["arm"].tolist() == best
    counted = ["ttft_s.p99", "link_bytes", "requests_unfinished"]
    assert front(table, counted)["arm"].tolist() == ["quick", "whole"]
