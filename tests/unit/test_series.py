"""Bandwidth series: reading, writing, refusing."""

from __future__ import annotations

from pathlib import Path

import pytest

from simkv.errors import InputError
from simkv.workload.series import Series, check, mean_bps, read_series, write_series
from tests.conftest import ROOT

HEADER = '# {"format": "simkv.series", "version": 1, "kind": "achieved"}\n'


@pytest.mark.parametrize("name", ["s.csv", "s.csv.gz", "s.csv.xz"])
def test_a_series_survives_writing_and_reading(tmp_path: Path, name: str) -> None:
    series = Series([0.0, 0.1, 0.30000000000000004, 7.0], [1e6, 0.0, 1234567.875, 5e12], "achieved", {"by": "a test"})
    write_series(series, tmp_path / name)
    assert read_series(tmp_path / name) == series


def test_header_and_rows_are_as_the_format_says(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    write_series(Series([0.0, 0.5], [1e6, 0.0], "achieved"), path)
    assert path.read_text() == f"{HEADER}t_s,bps\n0,1000000\n0.5,0\n"


def test_mean_weighs_by_time() -> None:
    assert mean_bps(Series([0.0, 9.0], [0.0, 10.0], "capacity")) == pytest.approx(5.0)
    assert mean_bps(Series([0.0, 9.0, 10.0], [0.0, 10.0, 10.0], "capacity")) == pytest.approx(20 / 11)
    assert mean_bps(Series([0.0], [3.0], "capacity")) == 3.0


def test_check_states_facts_of_the_shipped_series() -> None:
    facts = check(ROOT / "traces" / "slice_capacity.csv")
    assert facts["kind"] == "capacity"
    assert facts["duration_s"] == 10_800.0
    assert facts["outage_ratio"] == pytest.approx(0.085, abs=0.02)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", 's.csv:1: want a first line such as # {"format": "simkv.series", "version": 1, "kind": "capacity"}'),
        (
            "t_s,bps\n0,1\n",
            's.csv:1: want a first line such as # {"format": "simkv.series", "version": 1, "kind": "capacity"}',
        ),
        ('# {"format": "simkv.series", "version": 1}\n', "s.csv:1: key 'kind' is missing"),
        (HEADER.replace("achieved", "archived"), "did you mean 'achieved'?"),
        (HEADER.replace("1", "2"), "s.csv:1: version: this simkv reads version 1, got 2"),
        (HEADER.replace("simkv.series", "simkv.sessions"), "format: want 'simkv.series', got \"simkv.sessions\""),
        (HEADER, "s.csv:2: want the line 't_s,bps', got \"\""),
        (HEADER + "t_s,mbps\n", "s.csv:2: want the line 't_s,bps', got \"t_s,mbps\""),
        (HEADER + "t_s,bps\n", "s.csv: the series has no rows"),
        (HEADER + "t_s,bps\n1,5\n", "s.csv:3: t_s: a series starts at 0, got 1"),
        (HEADER + "t_s,bps\n0,5\n0,6\n", "s.csv:4: t_s: must increase, got 0 after 0"),
        (HEADER + "t_s,bps\n0,-5\n", 's.csv:3: bps: want a finite number of at least 0, got "-5"'),
        (HEADER + "t_s,bps\n0,inf\n", 's.csv:3: bps: want a finite number of at least 0, got "inf"'),
        (HEADER + "t_s,bps\n0,nan\n", 's.csv:3: bps: want a finite number of at least 0, got "nan"'),
        (HEADER + "t_s,bps\n0,1e999\n", 's.csv:3: bps: want a finite number of at least 0, got "1e999"'),
        (HEADER + "t_s,bps\n0,1_000\n", 's.csv:3: bps: want a finite number of at least 0, got "1_000"'),
        (HEADER + "t_s,bps\n0,5,6\n", 's.csv:3: want two columns, t_s,bps, got "0,5,6"'),
        (HEADER + "t_s,bps\n0,5\n\n1,5\n", 's.csv:4: want two columns, t_s,bps, got ""'),
        (HEADER + "t_s,bps\n0,0\n1,0\n", "s.csv: every rate of the series is 0: nothing could ever be sent"),
    ],
)
def test_a_wrong_series_is_refused_where_it_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("s.csv").write_text(text)
    with pytest.raises(InputError) as caught:
        read_series(Path("s.csv"))
    assert message in str(caught.value)
    assert str(caught.value).count("\n") == 0
