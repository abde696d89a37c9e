"""The heat map of a sweep: who wins where, how sure that is, where moving KV starts to pay, and how it is drawn."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.contour import QuadContourSet
from matplotlib.figure import Figure
from scipy import stats

import simkv
from simkv.errors import InputError
from simkv.report.figures import STYLE
from simkv.report.grid_axis import read_axis
from simkv.report.heat_map import COLUMN_IN, caption, heat_map
from simkv.report.winners import winners

ROOT = Path(__file__).resolve().parents[2]
RATES = tuple(f"{rate:.6g} Mbit/s" for rate in np.geomspace(10, 1000, 7))
SHARES = (0.0, 0.25, 0.5, 1.0)
X, Y = "links.slice.capacity", "policies.prefetch.threshold"
#: Arm -> reference, lossy, moves KV.
ARMS = {"text": (0, 0, 0), "none": (0, 0, 1), "ahead": (0, 0, 1), "int4": (0, 1, 1), "oracle": (1, 0, 1)}

#: Arm, rate [Mbit/s], share, replication -> TTFT [s].
Law = Callable[[str, float, float, int], float]


def table(
    law: Law, replications: int = 3, arms: Sequence[str] = tuple(ARMS), rates: Sequence[str] = RATES
) -> pd.DataFrame:
    """Return the table of a sweep in which TTFT follows a law."""
    rows: list[list[object]] = []
    for rate, share in itertools.product(rates, SHARES):
        point = [f"{rate} {share}", rate, share]
        for arm in arms:
            each = [law(arm, float(rate.split()[0]), share, replication) for replication in range(replications)]
            told = {"ttft_s.mean": float(np.mean(each)), "requests_unfinished": 0.0}
            told |= {f"ttft_s.mean[{n}]": value for n, value in enumerate(each)}
            told |= dict(zip(("is_reference", "is_lossy", "moves_kv"), map(float, ARMS[arm]), strict=True))
            rows += [[*point, arm, metric, value, None, None] for metric, value in told.items()]
    return pd.DataFrame(rows, columns=["point_id", X, Y, "arm", "metric", "value", "ci_low", "ci_high"])


def crossing(arm: str, rate: float, _share: float, _replication: int) -> float:
    """Return a TTFT by which text takes 8 s everywhere, and KV 800 s over the rate: equal at 100 Mbit/s."""
    return {"text": 8.0, "none": 1000 / rate, "ahead": 800 / rate, "int4": 200 / rate, "oracle": 100 / rate}[arm]


def noisy(spread: float, seed: int = 3) -> Law:
    """Return a law by which arms differ little, more at high rates, and replications by a spread."""
    drawn = np.random.default_rng(seed)
    behind = {"text": 0.05, "none": 0.1}
    return lambda arm, rate, _, __: 2.0 + behind.get(arm, 0.0) * (rate / 1000) ** 0.5 + drawn.normal(0, spread)


def test_the_winner_has_the_least_mean_of_what_a_real_system_could_do() -> None:
    """References and codecs that change answers would win everywhere, and are left out unless asked for."""
    found = winners(table(crossing))
    assert found.left_out == {"int4": "answers may differ", "oracle": "a reference"}
    for row in found.cells:
        assert [cell and cell.best for cell in row] == ["text"] * 3 + ["text"] + ["ahead"] * 3  # equal: the first
    asked = winners(table(crossing), arms=["none", "int4", "oracle"])
    assert {cell and cell.best for row in asked.cells for cell in row} == {"oracle"}


def test_a_best_arm_that_cannot_be_tested_is_open() -> None:
    """It has one replication where others have three: nothing says that its lead is more than chance."""
    points = table(crossing)
    lacking = points["metric"].isin(["ttft_s.mean[1]", "ttft_s.mean[2]"]) & (points["arm"] == "ahead")
    found = winners(points[~lacking])
    assert all(
        cell.is_open == (cell.best == "ahead" or cell.rival == "ahead") for row in found.cells for cell in row if cell
    )
    assert {cell.p_holm for row in found.cells for cell in row if cell and cell.best == "ahead"} == {1.0}


def test_the_most_wins_where_more_is_better() -> None:
    """The worst by TTFT is the best of `maximise`."""
    found = winners(table(crossing), maximise=True, arms=["none", "ahead"])
    assert {cell and (cell.best, round(cell.value, 6)) for cell in found.cells[0]} >= {("none", 100.0), ("none", 1.0)}


@pytest.mark.parametrize("equal_at", [30.0, 100.0, 777.0])
def test_the_line_is_where_moving_kv_and_sending_text_are_equal(equal_at: float) -> None:
    """By c / rate against a constant the two meet at one rate, which need not be one of the grid."""

    def law(arm: str, rate: float, share: float, replication: int) -> float:
        return 8.0 if arm == "text" else 8.0 * equal_at / rate * (1 if arm == "ahead" else 2)

    drawn = contours(heat_map(table(law, arms=["text", "none", "ahead"])))
    line = np.concatenate(drawn[0].allsegs[0])
    assert line[:, 0] == pytest.approx(np.log10(equal_at * 1e6), abs=1e-5)
    assert {round(float(end), 6) for end in (line[:, 1].min(), line[:, 1].max())} == {-0.125, 1.25}


@pytest.mark.parametrize("arms", [["none", "ahead"], ["text"]])
def test_there_is_no_line_without_both_kinds_of_arms(arms: list[str]) -> None:
    """Neither of them says where the other would be better."""
    assert contours(heat_map(table(crossing, arms=arms))) == []


def contours(figure: Figure) -> list[QuadContourSet]:
    """Return the contours of a figure."""
    return [drawn for drawn in figure.axes[0].collections if isinstance(drawn, QuadContourSet)]


def test_open_cells_are_those_that_holm_does_not_decide() -> None:
    """The same by SciPy's paired t test and Holm's steps written out: against every arm, over all cells."""
    points = table(noisy(0.01), replications=8, arms=["text", "none", "ahead"])
    found = winners(points)
    cells = [cell for row in found.cells for cell in row if cell is not None]
    hardest = []
    for row, share in enumerate(SHARES):
        for column, rate in enumerate(RATES):
            cell = found.cells[row][column]
            assert cell is not None
            here = points[(points[X] == rate) & (points[Y] == share) & points["metric"].str.contains(r"\[")]
            runs = here.pivot_table(index="metric", columns="arm", values="value")
            others = [name for name in runs if name != cell.best]
            hardest.append(max(stats.ttest_rel(runs[cell.best], runs[name]).pvalue for name in others))
    ranked, running, decided = np.argsort(hardest), True, np.zeros(len(hardest), dtype=bool)
    for rank, place in enumerate(ranked):
        running = running and hardest[place] * (len(hardest) - rank) < 0.05
        decided[place] = running
    assert [not cell.is_open for cell in cells] == decided.tolist()
    assert 0 < decided.sum() < len(cells)


def test_arms_that_do_not_differ_leave_nearly_every_grid_open() -> None:
    """All cells of a grid are open in 95 of 100, however many cells there are: that is what simultaneous means."""
    grids = 40
    decided = 0
    for seed in range(grids):
        drawn = np.random.default_rng(seed)
        points = table(lambda *_, drawn=drawn: 2 + drawn.normal(), 4, ["none", "ahead"], RATES[:3])  # type: ignore[misc]
        decided += any(cell is not None and not cell.is_open for row in winners(points).cells for cell in row)
    assert decided <= stats.binom.ppf(0.999, grids, 0.05)


def test_one_replication_says_nothing_of_certainty() -> None:
    """Nothing is hatched then, and the caption says why."""
    points = table(crossing, replications=1)
    assert not any(cell is None or cell.is_open for row in winners(points).cells for cell in row)
    assert "nothing is said of certainty" in caption(points)


def test_a_point_that_failed_is_an_empty_cell() -> None:
    """It is grey, and the others stand."""
    points = table(crossing)
    points = points[points["point_id"] != f"{RATES[0]} 0.0"]
    assert winners(points).cells[0][0] is None
    assert "no point finished" in legend(heat_map(points))


def test_a_mean_of_survivors_has_a_dot() -> None:
    """Only where the best arm itself lost requests."""
    points = table(crossing)
    assert "requests lost" not in legend(heat_map(points))
    points.loc[(points["metric"] == "requests_unfinished") & (points["arm"] == "ahead"), "value"] = 2.0
    lost = [[bool(cell and cell.lost) for cell in row] for row in winners(points).cells]
    assert lost == [[False] * 4 + [True] * 3] * len(SHARES)
    assert "requests lost" in legend(heat_map(points))


def legend(figure: Figure) -> list[str]:
    """Return the words of a figure's legend."""
    return [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.parametrize(
    ("values", "labels", "unit", "scale"),
    [
        (["1 Gbit/s", "100 Mbit/s", "10 Mbit/s"], ("10", "100", "1000"), "Mbit/s", "log"),
        (["200 ms", "1 s", "600 ms"], ("200", "600", "1000"), "ms", "lin"),
        ([0.0, 0.5, 1.0], ("0", "0.5", "1"), "", "lin"),
        ([1, 10], ("1", "10"), "", "log"),
        ([1, 2], ("1", "2"), "", "lin"),
        ([0, 1, 2, 1000], ("0", "1", "2", "1000"), "", "list"),
        (["lru", "arc"], ("lru", "arc"), "", "list"),
        (["1 GiB", "512 MiB"], ("512", "1024"), "MiB", "lin"),
        ([5], ("5",), "", "list"),
    ],
)
def test_axes_are_numbers_with_a_unit(values: list[object], labels: tuple[str, ...], unit: str, scale: str) -> None:
    """Quantities are in order of size and in one unit; the scale is the one on which cells are most alike."""
    axis = read_axis(pd.DataFrame({"path": values}), "path")
    assert (axis.labels, axis.unit, axis.scale) == (labels, unit, scale)
    assert np.all(np.diff(axis.edges) > 0)
    assert axis.edges.size == len(values) + 1


@pytest.mark.parametrize(
    ("chosen", "told"),
    [
        ({"x": "links.slice.capcity"}, "did you mean 'links.slice.capacity'"),
        ({"x": X, "y": X}, "want a sweep of two paths"),
        ({"metric": "ttft_s.maen"}, "did you mean 'ttft_s.mean'"),
        ({"arms": ["nnoe"]}, "did you mean 'none'"),
        ({"width_in": 0.0}, "want a width above 0"),
    ],
)
def test_what_the_table_does_not_hold_is_refused(chosen: dict[str, object], told: str) -> None:
    """The error names it and what is near."""
    with pytest.raises(InputError, match=told):
        heat_map(table(crossing), **chosen)  # type: ignore[arg-type]


def test_a_third_path_that_varies_by_itself_is_refused() -> None:
    """A cell holds one point; the error says how to choose."""
    first, second = table(crossing).assign(seed=1), table(crossing).assign(seed=2)
    second["point_id"] += " again"
    with pytest.raises(InputError, match=r"seed: varies too.*points\[points\['seed'\] == 1\]"):
        heat_map(pd.concat([first, second]), X, Y)
    assert heat_map(pd.concat([first, second]).query("seed == 1"), X, Y)


def test_a_table_that_does_not_tell_references_is_refused() -> None:
    """Or else an oracle would win without anybody saying so."""
    points = table(crossing)
    old = points[~points["metric"].isin(["is_reference", "is_lossy", "moves_kv"])]
    with pytest.raises(InputError, match="which are references"):
        winners(old)
    assert winners(old, arms=["none", "text"]).arms == {"text": True, "none": True}


def test_equal_tables_draw_equal_bytes() -> None:
    """No date, no random name."""
    assert svg(heat_map(table(noisy(0.03)))) == svg(heat_map(table(noisy(0.03))))


def svg(figure: Figure) -> bytes:
    """Return the figure's SVG."""
    made = io.BytesIO()
    with mpl.rc_context(STYLE):
        figure.savefig(made, format="svg", metadata={"Date": None})
    return made.getvalue()


@pytest.mark.parametrize("width_in", [COLUMN_IN, 7.0])
def test_words_lie_inside_the_figure_and_not_on_each_other(width_in: float) -> None:
    """At the width of a column as of a page; the numbers of the cells lie inside their cells by size."""
    figure = heat_map(table(noisy(0.03)), width_in=width_in)
    figure.draw_without_rendering()
    axes = figure.axes[0]
    boxes = [text.get_window_extent() for text in (*axes.get_xticklabels(), *axes.texts) if text.get_text()]
    assert not any(one.shrunk(0.98, 0.98).overlaps(other) for one, other in itertools.combinations(boxes, 2))
    whole = [*boxes, axes.xaxis.label.get_window_extent(), figure.legends[0].get_window_extent()]
    assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in whole)


def test_numbers_step_aside_for_the_line() -> None:
    """Where a line crosses the middle of cells, their numbers stand beside it."""

    def law(arm: str, rate: float, share: float, replication: int) -> float:
        return 8.0 if arm == "text" else 8.0 * 100 / rate * (1 if arm == "ahead" else 2)

    figure = heat_map(table(law, arms=["text", "none", "ahead"]))
    figure.draw_without_rendering()
    axes = figure.axes[0]
    (line,) = contours(figure)[0].get_paths()
    boxes = [text.get_window_extent().transformed(axes.transData.inverted()) for text in axes.texts]
    assert line.intersects_bbox(axes.dataLim, filled=False)
    assert not any(line.intersects_bbox(box, filled=False) for box in boxes)


def test_numbers_are_left_out_where_cells_are_too_small() -> None:
    """A digit that nobody can read is not printed; the colour stays."""
    assert len(heat_map(table(crossing)).axes[0].texts) == len(RATES) * len(SHARES)
    many = tuple(f"{rate} Mbit/s" for rate in range(1, 61))
    assert not heat_map(table(crossing, rates=many), width_in=COLUMN_IN).axes[0].texts


def test_a_real_sweep_is_drawn_and_tells_every_replication() -> None:
    """The mean of the replications is the mean of the table; what an arm is comes from the arm itself."""
    scenario = simkv.load(ROOT / "scenarios" / "three_turns.yaml", {"replications": 2})
    points = simkv.sweep(scenario, {"links.down.capacity": "1..4 Mbit/s:log:3", "servers.receiver.count": [1, 2]})
    told = (
        points.drop_duplicates(["point_id", "arm", "metric"])
        .set_index(["point_id", "arm", "metric"])["value"]
        .unstack("metric")
    )
    each = told[["ttft_s.mean[0]", "ttft_s.mean[1]"]]
    assert each.mean(axis=1).tolist() == pytest.approx(told["ttft_s.mean"].tolist())
    assert (set(told["is_reference"]), set(told["moves_kv"])) == ({0.0}, {1.0})
    figure = heat_map(points)
    assert figure.axes[0].get_xlabel() == "links.down.capacity [Mbit/s]"
    assert caption(points).startswith(
        "Best arm by mean TTFT over links.down.capacity and servers.receiver.count, 6 cells"
    )
