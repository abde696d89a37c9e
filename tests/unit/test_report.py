"""The table and the figures: legible, complete, honest about what was lost, and the same every time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest

from simkv.report import footnotes
from simkv.report.comparison import ArmInfo, Comparison
from simkv.report.figures import STYLE, _band, save_all, ttft_cdf, where_bytes_went
from simkv.report.layout import WIDTH, cut, decimals
from simkv.report.tables import to_text
from simkv.statistics import Estimate
from tests.unit.synthetic_runs import comparison, request, run_of, scenario, synthetic_run


def row_of(text: str, arm: str, block: int = 1) -> list[str]:
    """Return the cells of an arm's line in one block of the table (0 is the heading)."""
    lines = text.split("\n\n")[block].splitlines()
    return next(line.split() for line in lines if line.startswith(arm))


def text_of(rows: list[dict[str, Any]], **fields: Any) -> str:
    return to_text(Comparison(scenario(["none"]), (ArmInfo("none"),), [run_of(rows, **fields)], 7, 1))


def test_the_table_shows_means_with_intervals_against_the_best() -> None:
    found = comparison(replications=10)
    text = to_text(found)
    assert text.startswith("synthetic: 10 replications, seed 7; means and 95 % intervals over replications\n")
    summary = found.summary
    contrast = summary.contrast("threshold", "none")
    assert contrast is not None
    low, high = contrast.ratio.interval or (0.0, 0.0)
    assert f"{contrast.ratio.value:.2f} [{low:.2f}, {high:.2f}]" in text
    low, high = contrast.difference.interval or (0.0, 0.0)
    assert f"{contrast.difference.value:+.2f} [{low:+.2f}, {high:+.2f}]*" in text
    assert "(the best)" in next(line for line in text.splitlines() if line.startswith("none"))
    assert str(found) == text


def test_the_footnotes_say_what_must_be_said() -> None:
    text = to_text(comparison(replications=10))
    for words in (
        "oracle [1]",
        "[1] reference point: knows the next turn",
        "perfect-residency [2]",
        "[2] infeasible reference",
        "quality: equal by construction (exact prefix reuse, no codec)",
        "GPU times: ue analytic-phone-npu",
        "sessions: 20",
        "paired\n  bootstrap",
        "Holm's correction over 6 arms",
        "Nothing is ranked by it.",
    ):
        assert words.replace("\n  ", " ") in text.replace("\n  ", " "), words


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("h100-sxm", "h100-sxm (derived)"),
        ("analytic-h100-sxm", "analytic-h100-sxm"),
        ("fixed", "fixed"),
        ("measured", "measured"),
    ],
)
def test_a_profile_that_does_not_say_what_it_rests_on_is_labelled(name: str, told: str) -> None:
    assert footnotes._labelled(name) == told


def test_what_was_lost_stands_beside_the_means() -> None:
    rows = [request(0, 0, 1.0), request(0, 1, None), request(1, 0, None, status="rejected")]
    assert row_of(text_of(rows), "none")[-1] == "2"


def test_pairs_that_are_missing_are_reported() -> None:
    slow = run_of([request(0, 0, 1.0), request(0, 1, None)], "threshold")
    full = run_of([request(0, 0, 1.0), request(0, 1, 1.0)], "none")
    arms = (ArmInfo("none"), ArmInfo("threshold", "threshold"))
    text = to_text(Comparison(scenario(["none", "threshold"]), arms, [full, slow], 7, 1))
    assert "Turns left out of differences because they did not finish in both arms: threshold 1." in text


def test_one_replication_claims_no_certainty() -> None:
    text = to_text(comparison(replications=1))
    assert "One replication: no interval can be given" in text
    assert "+-" not in text
    assert "*" not in text


def test_few_replications_name_their_own_interval() -> None:
    assert "Student, of the logarithm" in to_text(comparison(replications=3)).replace("\n  ", " ")


def test_nothing_finished_prints_dashes() -> None:
    row = row_of(text_of([request(0, 0, None)]), "none")
    assert row[:4] == ["none", "-", "-", "-"]


def test_quality_that_differs_is_told_by_arm() -> None:
    found = comparison(["none", "threshold"], replications=1)
    found.results[1].notes["quality"] = "not modelled"
    text = to_text(found).replace("\n  ", " ")
    assert "quality: none: equal by construction (exact prefix reuse, no codec); threshold: not modelled" in text


def test_without_a_feasible_baseline_no_ratio_is_quoted() -> None:
    text = to_text(comparison(["threshold", "oracle"], replications=2))
    assert "N x: not quoted; no arm is both feasible and without speculation." in text


def test_notes_that_differ_between_runs_become_ranges() -> None:
    found = comparison(["none"], replications=3)
    for run in found.results:
        run.notes |= {"sessions_cut": run.replication, "series": f"trace {run.replication}"}
    text = to_text(found)
    assert "sessions cut: 0 to 2 by run" in text
    assert "series: trace 0; trace 1; trace 2" in text


def test_extrapolated_gpu_time_is_admitted() -> None:
    assert "up to 12.5% priced outside a profile's measured range" in text_of(
        [request(0, 0)], extrapolated_time_ratio=0.125
    )


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e5])
def test_no_line_is_wider_than_the_page(scale: float) -> None:
    """Long names, long waits and terabytes still fit."""
    names = ["none", "an-arm-with-a-very-long-name-indeed", "another-arm-with-a-very-long-name"]
    runs = []
    for name in names:
        for replication in range(5):
            run = synthetic_run("threshold" if name != "none" else "none", replication, 7)
            run.arm = name
            run.requests["arrival_s"] = [scale * t for t in run.requests["arrival_s"]]
            for column in ("first_token_s", "last_token_s"):
                run.requests[column] = [scale * t for t in run.requests[column]]
            run.speculative_bytes = {k: int(v * max(1.0, scale / 10)) for k, v in run.speculative_bytes.items()}
            runs.append(run)
    arms = (ArmInfo("none"), *(ArmInfo(name, "oracle", reference="reference point") for name in names[1:]))
    text = to_text(Comparison(scenario(["none"], replications=5), arms, runs, 7, 5))
    assert max(map(len, text.splitlines())) <= WIDTH
    assert len({line.split()[0] for line in text.split("\n\n")[1].splitlines()[2:]}) == 3


def test_layout_keeps_both_ends_of_a_name_and_the_digits_of_the_smallest() -> None:
    assert cut("a" * 30 + "-0.25", 12) == "aaaaa..-0.25"
    assert decimals([100.0, 100.0, 0.5]) == 2
    assert decimals([0.00001]) == 4
    assert Estimate(1.0).half_width is None


def test_figures_are_the_same_every_time(tmp_path: Path) -> None:
    first = save_all(comparison(replications=2), tmp_path / "first")
    second = save_all(comparison(replications=2), tmp_path / "second")
    assert [path.name for path in first] == ["ttft_cdf.png", "ttft_cdf.svg", "bytes.png", "bytes.svg"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_a_curve_ends_at_the_share_that_finished() -> None:
    rows = [request(0, 0, 1.0), request(0, 1, 2.0), request(1, 0, None), request(1, 1, None)]
    found = Comparison(scenario(["none"]), (ArmInfo("none"),), [run_of(rows)], 7, 1)
    (line,) = ttft_cdf(found).axes[0].get_lines()
    np.testing.assert_allclose(line.get_xdata(), [1.0, 1.0, 2.0])
    np.testing.assert_allclose(line.get_ydata(), [0.0, 0.25, 0.5])


def test_a_curve_of_many_requests_keeps_its_shape() -> None:
    found = comparison(["none"], replications=3, sessions=200, turns=5)
    (line,) = found.plot_ttft_cdf().axes[0].get_lines()
    waits = np.sort(
        np.concatenate([np.subtract(r.requests["first_token_s"], r.requests["arrival_s"]) for r in found.results])
    )
    shares = np.asarray(line.get_ydata())
    assert len(shares) <= 1001
    assert shares[-1] == 1.0
    np.testing.assert_allclose(np.searchsorted(waits, line.get_xdata()[1:], side="right") / waits.size, shares[1:])


def test_a_band_holds_the_true_share_as_often_as_it_says() -> None:
    """Waits uniform on [0, 1]: the share within t is t. Of 400 bands of 8 replications, 95 % hold it, to 99.9 %."""
    random = np.random.default_rng(7)
    times_s = np.array([0.1, 0.5, 0.8])
    held = np.zeros(3)
    for _ in range(400):
        runs = [(np.sort(random.random(60)), 60) for _ in range(8)]
        low, high = _band(times_s, runs)
        held += (low <= times_s) & (times_s <= high)
    assert (np.abs(held / 400 - 0.95) < 3.3 * np.sqrt(0.95 * 0.05 / 400)).all()


def test_replications_that_are_alike_have_no_band_and_lost_requests_count() -> None:
    """Two of four finished, at 1 s and 2 s, in every replication: the share within 1.5 s is a quarter, for sure."""
    low, high = _band(np.array([1.5, 9.0]), [(np.array([1.0, 2.0]), 4)] * 3)
    np.testing.assert_allclose([low, high], [[0.25, 0.5]] * 2)


def test_a_name_with_dollars_is_no_formula() -> None:
    found = Comparison(scenario(["none"], name="$x_{$"), (ArmInfo("none"),), [run_of([request(0, 0)])], 7, 1)
    with mpl.rc_context(STYLE):
        ttft_cdf(found).draw_without_rendering()
        where_bytes_went(found).draw_without_rendering()


def test_lines_of_arms_can_be_told_apart() -> None:
    styles = {
        (line.get_color(), line.get_linestyle(), str(line._unscaled_dash_pattern))
        for line in ttft_cdf(comparison()).axes[0].get_lines()
    }
    assert len(styles) == 7


def test_bars_add_up_to_all_bytes_carried() -> None:
    found = comparison(replications=2)
    axes = found.plot_bytes().axes[0]
    for place, arm in enumerate(found.summary.arms):
        width = sum(bar.get_width() for container in axes.containers for bar in [container[place]])
        assert width == pytest.approx(sum(arm.link_bytes.values()) / 2)


def test_empty_figures_can_be_drawn() -> None:
    found = Comparison(scenario(["none"]), (ArmInfo("none"),), [run_of([])], 7, 1)
    assert ttft_cdf(found).axes
    assert where_bytes_went(found).axes
