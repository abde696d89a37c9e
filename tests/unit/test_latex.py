"""The LaTeX table: the numbers of the summary, in a tabular that a compiler takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from simkv import cli
from simkv.export.latex import escaped
from tests.unit.saved_folders import save_run, save_sweep, sweep_of
from tests.unit.synthetic_runs import ARMS, comparison


def rows_of(text: str) -> list[list[str]]:
    """Return the cells of a tabular, heads first; it must be one that a compiler takes."""
    lines = [line for line in text.splitlines() if not line.startswith("%")]
    assert lines[0].startswith("\\begin{tabular}{l")
    assert (lines[1], lines[3], lines[-2], lines[-1]) == ("\\toprule", "\\midrule", "\\bottomrule", "\\end{tabular}")
    rows = [line.removesuffix(" \\\\").split(" & ") for line in lines if line.endswith(" \\\\")]
    assert len(rows) == len(lines) - 5  # nothing stands between the rows
    width = len(re.findall("[lr]", lines[0].removeprefix("\\begin{tabular}")))
    assert {len(row) for row in rows} == {width}
    for line in lines:
        bare = re.sub(r"\\[&%$#_{}]", "", line)
        assert bare.count("{") == bare.count("}")
        assert bare.count("$") % 2 == 0
        assert not re.search(r"[#%_~|<>]", bare)
    return rows


def exported(folder: Path) -> str:
    assert cli.main(["report", str(folder), "--export", "latex"]) == 0
    return (folder / "latex" / "table.tex").read_text()


def test_a_runs_table_has_its_means_and_intervals(tmp_path: Path) -> None:
    found = comparison(replications=10)
    save_run(found, tmp_path)
    text = exported(tmp_path)
    heads, *rows = rows_of(text)
    assert heads[:6] == ["arm", "TTFT [s]", "p50 [s]", "p99 [s]", "difference [s]", "$N \\times$ none"]
    assert [re.sub(r"\\textsuperscript\{\d\}", "", row[0]) for row in rows] == list(ARMS)
    for row, arm in zip(rows, found.summary.arms, strict=True):
        mean = arm.metrics["ttft_s.mean"]
        assert row[1] == f"${mean.value:.2f} \\pm {mean.half_width:.2f}$"
    contrast = found.summary.contrast("threshold", "none")
    assert contrast is not None
    low, high = contrast.ratio.interval or (0, 0)
    assert rows[4][5] == f"${contrast.ratio.value:.2f}\\ [{low:.2f}, {high:.2f}]$"
    assert "% 2: infeasible reference" in text


def test_one_replication_has_no_interval(tmp_path: Path) -> None:
    save_run(comparison(replications=1), tmp_path)
    text = exported(tmp_path)
    assert "\\pm" not in "".join(map("".join, rows_of(text)))
    assert "none, there is one replication" in text


def test_a_sweep_without_a_finished_point_has_no_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_sweep(tmp_path / "s", {}, {"1 Mbit/s": "no room"})
    assert cli.main(["report", str(tmp_path / "s"), "--export", "latex"]) == cli.INVALID
    assert "no point of the sweep finished" in capsys.readouterr().err
    assert not (tmp_path / "s/latex").exists()


def test_a_sweeps_table_has_a_row_a_point(tmp_path: Path) -> None:
    sweep_of(tmp_path / "s", ("1 Mbit/s", "50 %_#"), replications=2)
    heads, *rows = rows_of(exported(tmp_path / "s"))
    assert heads == ["links.slice.capacity", *(f"{name} [s]" for name in ARMS)]
    assert [row[0] for row in rows] == ["1 Mbit/s", "50 \\%\\_\\#"]
    assert all(re.fullmatch(r"\$\d+\.\d+ \\pm \d+\.\d+\$", cell) for row in rows for cell in row[1:])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a_b & c", "a\\_b \\& c"),
        ("\\input{x}", "\\textbackslash{}input\\{x\\}"),
        ("50 %\n$x^2~", "50 \\% \\$x\\textasciicircum{}2\\textasciitilde{}"),
    ],
)
def test_what_latex_would_obey_is_printed(text: str, told: str) -> None:
    assert escaped(text) == told
