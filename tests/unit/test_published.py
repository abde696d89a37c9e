"""Comparisons with published tables: what they claim holds, and their arithmetic does what it says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import simkv.validate as validated
from simkv import cli
from simkv.errors import InputError
from simkv.validate import leave_one_out, published, transfers
from simkv.validate.rows import MISS, OK, Report, Row


@pytest.fixture(scope="module")
def reports() -> dict[str, Report]:
    return {name: validated.report(name) for name in validated.PUBLISHED}


def rows(report: Report, start: str) -> list[Row]:
    return [row for row in report.rows if row.quantity.startswith(start)]


# -- ready-made profiles ------------------------------------------------------------------------------------------


def test_layer_times_are_those_of_the_published_table(reports: dict[str, Report]) -> None:
    """Within 2 % in the median and 5 % at worst."""
    median, worst = reports["layers"].rows[:2]
    assert (median.tolerance, worst.tolerance) == (0.02, 0.05)
    assert median.simulated < 0.002
    assert worst.simulated < 0.005
    assert {row.verdict for row in reports["layers"].rows} == {OK}


def test_tpot_of_the_42_runs_is_within_four_percent(reports: dict[str, Report]) -> None:
    """The ideal roofline is a quarter too fast."""
    claimed = reports["silicon"].rows[0]
    assert "of 42 runs, Llama-3.1-8B, h100-sxm, tp 1, trtllm" in claimed.quantity
    assert (claimed.tolerance, claimed.verdict) == (0.04, OK)
    (roofline,) = rows(reports["silicon"], "median error of the ideal roofline")
    assert -0.30 < roofline.simulated < -0.20


def test_runs_without_a_claim_are_shown_misses_included(reports: dict[str, Report]) -> None:
    report = reports["silicon"]
    lines = published.lines("silicon")
    told = sum(int(row.quantity.split(" runs")[0].rsplit(" ", 1)[1]) for row in rows(report, "median absolute error"))
    assert told == len(lines) == 1042
    assert sum(row.simulated > 0.2 for row in rows(report, "median absolute error")) > 10
    vllm = [
        row for row in rows(report, "median absolute error") if row.quantity.endswith("Qwen3-32B, h100-sxm, tp 4, vllm")
    ]
    assert [row.simulated < 0.07 for row in vllm] == [True]


def test_the_silicon_rows_are_those_of_their_source(data: Path) -> None:
    import pandas as pd

    path = data / "gpu_profiles" / "aic" / "silicon_sample_dense.csv.gz"
    whole = pd.read_csv(path)
    whole = whole[
        (whole["mode"] == "agg") & (whole["pp_size"] == 1) & whole["system"].isin(["h100_sxm", "h200_sxm", "b200_sxm"])
    ]
    ours = [float(line["tpot_ms"]) for line in published.lines("silicon")]
    assert np.allclose(ours, whole["silicon_tpot_ms"], rtol=1e-5)


# -- moves --------------------------------------------------------------------------------------------------------


def test_disaggregation_is_foretold_within_eleven_percent(reports: dict[str, Report]) -> None:
    claimed = rows(reports["disaggregated"], "transfer") + rows(reports["disaggregated"], "TTFT of")
    assert [row.verdict for row in claimed] == [OK] * 18
    assert max(abs(row.error_ratio) for row in claimed) == pytest.approx(0.107, abs=0.001)


def test_pulls_are_foretold_and_the_cheaper_side_is_right_at_every_length(reports: dict[str, Report]) -> None:
    """All but the one pull that took longer than two longer ones did."""
    report = reports["pull-or-recompute"]
    decisions = [row for row in report.rows if "is sooner" in row.quantity]
    assert [row.verdict for row in decisions] == [OK] * 12
    assert {row.published for row in decisions} == {0.0, 1.0}
    pulls = [row for row in report.rows if ": pull of" in row.quantity]
    assert [row.quantity for row in pulls if row.verdict == MISS] == [
        "GLM-5.2-FP8, 32 H200: pull of 34,214 tokens [ms]"
    ]
    assert all(row.tolerance == 0.15 for row in pulls)


def test_cacheblend_decides_as_published(reports: dict[str, Report]) -> None:
    report = reports["cacheblend"]
    assert [row.verdict for row in report.rows] == [OK] * 6
    assert [row.simulated for row in rows(report, "Llama") if "hides" in row.quantity] == [1.0, 0.0]


# -- transfers ----------------------------------------------------------------------------------------------------


def written(folder: Path, text: str) -> Path:
    path = folder / "transfers.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_law_is_found_again(tmp_path: Path) -> None:
    """10 us + 2 us a descriptor + bytes / 25 GB/s, in one of two labels; the other is twice as slow."""
    cases = [(label, size, pieces) for label in "ab" for size in (10**5, 10**6, 10**7) for pieces in (1, 16, 64)]
    lines = ["label,bytes,descriptors,seconds"]
    for label, size, pieces in cases:
        time_s = (10e-6 + 2e-6 * pieces + size / 25e9) * (2 if label == "b" else 1)
        lines.append(f"{label},{size},{pieces},{time_s!r}")
    found = transfers.validate(written(tmp_path, "\n".join(lines) + "\n"))
    first, second = found.cells
    assert (first["alpha_s"], first["delta_s"], first["bytes_per_s"]) == pytest.approx((10e-6, 2e-6, 25e9))
    assert second["bytes_per_s"] == pytest.approx(12.5e9)
    assert found.summary["n"] == 18
    assert found.summary["max_abs_error_ratio"] < 1e-6


def test_the_published_table_as_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nine lengths of vLLM's disaggregation: at most 10.7 %, as `validate disaggregated` says."""
    told = published.table("disaggregated")
    lines = [f"{147_456 * n},{ms / 1000}" for n, ms in zip(told["tokens"], told["transfer_ms"], strict=True)]
    path = written(tmp_path, "bytes,seconds\n" + "\n".join(lines) + "\n")
    assert cli.main(["validate", "transfers", str(path), "--json"]) == cli.DONE
    said = json.loads(capsys.readouterr().out)
    assert set(said) == {"schema_version", "rows", "summary", "cells"}
    assert said["summary"]["max_abs_error_ratio"] == pytest.approx(0.107, abs=0.001)
    assert said["cells"][0]["bytes_per_s"] == pytest.approx(146e9, rel=0.01)
    assert cli.main(["validate", "transfers", str(path)]) == cli.DONE
    assert "394.3 us + bytes / 146.1 GB/s (9 rows)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ":1: want the column 'bytes', got none"),
        ("bytes,second\n1,1\n", ":1: unknown column 'second'; did you mean 'seconds'?; known: bytes, seconds,"),
        ("bytes,descriptors\n1,1\n", ":1: want the column 'seconds', got bytes, descriptors"),
        ("bytes,seconds\n", ": want at least one row, got none"),
        ("bytes,seconds\n1,0.1\n2,0.2\n", ": want at least 3 rows to leave one out, got 2"),
        ("bytes,seconds,descriptors\n1,1,1\n2,2,2\n3,3,3\n", ": want at least 4 rows to leave one out, got 3"),
        ("label,bytes,seconds\nx,1,1\n", ": want at least 3 rows of 'x' to leave one out, got 1"),
        ("bytes,seconds\n1,x\n", ":2: seconds: want a finite number, not negative, got 'x'"),
        ("bytes,seconds\n-1,1\n", ":2: bytes: want a finite number, not negative, got '-1'"),
        ("bytes,seconds\n1,nan\n", ":2: seconds: want a finite number, not negative, got 'nan'"),
        ("bytes,seconds\n1,0\n", ":2: seconds: want a time above 0, got 0"),
        ("bytes,seconds\n1\n", ":2: want as many cells as columns"),
        ("bytes,seconds\n1,2,3\n", ":2: want as many cells as columns"),
    ],
)
def test_a_file_that_is_no_table_of_transfers_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(InputError) as error:
        transfers.validate(path)
    assert str(error.value).startswith(f"{path}{message}")
    assert "\n" not in str(error.value)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "transfers.csv"
    path.write_bytes(b"bytes,seconds\n\xff\xfe,1\n")
    with pytest.raises(InputError, match="cannot be read as CSV"):
        transfers.validate(path)


# -- the rest -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", validated.PUBLISHED)
def test_each_comparison_prints_its_figures(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["validate", name, "--json"]) == cli.DONE
    told = json.loads(capsys.readouterr().out)
    assert told["name"] == name
    wanted = {"quantity", "published", "simulated", "tolerance", "verdict", "error_ratio"}
    assert all(set(row) == wanted for row in told["rows"])
    assert cli.main(["validate", name]) == cli.DONE
    assert f"{name}: simulated against published" in capsys.readouterr().out


def test_a_comparison_is_a_data_frame(tmp_path: Path) -> None:
    assert list(validated.validate("cacheblend")["verdict"]) == [OK] * 6
    path = written(tmp_path, "bytes,seconds\n1,1\n2,2\n3,3\n")
    assert len(validated.validate("transfers", path=path)) == 3
    with pytest.raises(InputError, match="unknown comparison 'vlm'; known: silicon, layers"):
        validated.report("vlm")
    with pytest.raises(InputError, match="unknown reference 'vlm'; known: vllm, transfers, silicon"):
        validated.validate("vlm")


def test_a_fit_wants_as_many_rows_as_terms() -> None:
    with pytest.raises(InputError, match="want at least 2 measurements for as many terms, got 1"):
        leave_one_out.fitted([[1.0, 2.0]], [1.0])
