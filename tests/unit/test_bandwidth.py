"""Bandwidth files of other makes: what they carry is kept, and what they do not say is asked for."""

from __future__ import annotations

import csv
import itertools
import json
import lzma
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simkv.errors import InputError
from simkv.network.capacity import Replayed
from simkv.workload import convert, read_series
from simkv.workload.bandwidth import from_stamps, read_foreign
from simkv.workload.series import mean_bps

STAMPS = st.lists(st.integers(0, 3_000), min_size=1, max_size=60).map(sorted).filter(lambda stamps: stamps[-1] > 0)


def looped(stamps: list[int], step_s: float) -> Replayed:
    """Return a link's capacity made from stamps."""
    series = from_stamps(stamps, step_s, "made")
    return Replayed(series.times_s, series.rates_bps)


@given(STAMPS, st.floats(0.001, 5.0), st.data())
@settings(max_examples=150, deadline=None)
def test_a_window_of_whole_steps_carries_1500_bytes_a_stamp(
    stamps: list[int], step_s: float, data: st.DataObject
) -> None:
    """Capacity over a window = 1,500 x 8 x stamps in it, over the end of the recording and round again."""
    length_ms = stamps[-1]
    series = from_stamps(stamps, step_s, "made")
    width_s = float(str(series.provenance["step_s"]))
    steps = round(length_ms / 1000 / width_s)
    first = data.draw(st.integers(0, 2 * steps))
    last = data.draw(st.integers(first, 3 * steps))
    inside = sum(
        1
        for stamp in stamps
        for turn in range(4)
        if first * length_ms <= (stamp % length_ms + turn * length_ms) * steps < last * length_ms
    )
    bits = Replayed(series.times_s, series.rates_bps).bits_between(first * width_s, last * width_s)
    assert bits == pytest.approx(12_000 * inside, rel=1e-9, abs=12_000 * 1e-6)


@given(STAMPS, st.floats(0.001, 5.0))
@settings(max_examples=100, deadline=None)
def test_a_recording_keeps_its_mean_and_its_length(stamps: list[int], step_s: float) -> None:
    """Mean = all stamps over the last one, whatever the step."""
    mean = 12_000 * len(stamps) / (stamps[-1] / 1000)
    series = from_stamps(stamps, step_s, "made")
    assert mean_bps(series) == pytest.approx(mean, rel=1e-9)
    if len(series.times_s) > 1:
        assert looped(stamps, step_s).period_s == pytest.approx(stamps[-1] / 1000, rel=1e-9)


def test_the_last_stamp_is_the_first_moment_of_the_next_round() -> None:
    """Two stamps, at 10 and 20 ms: each step of 10 ms carries one packet, round after round."""
    capacity = looped([10, 20], 0.01)
    assert [capacity.bits_between(k * 0.01, (k + 1) * 0.01) for k in range(4)] == pytest.approx([12_000] * 4)


def test_a_file_that_holds_1_is_12_mbit_a_second() -> None:
    """As mahimahi's own README says of it."""
    assert from_stamps([1], 0.1, "made").rates_bps == [12e6]
    assert looped([1], 0.1).bits_between(0.25, 1.75) == pytest.approx(18e6)


def test_a_long_silence_makes_no_rows(tmp_path: Path) -> None:
    """Thirty years between two stamps are a few rows, not a billion."""
    (tmp_path / "far").write_text("0\n999999999999\n")
    assert len(read_foreign(tmp_path / "far", {"step": "1 ms"}).times_s) <= 6


def test_convert_writes_a_series_that_says_what_was_assumed(tmp_path: Path) -> None:
    (tmp_path / "a.down").write_text("1\n1\n2\n")
    facts = convert(str(tmp_path / "a.down"), tmp_path / "a.csv", {"step": "1 ms"}, seed=1)
    series = read_series(tmp_path / "a.csv")
    assert facts == {"path": str(tmp_path / "a.csv"), "rows": 2}
    assert (series.times_s, series.rates_bps, series.kind) == ([0.0, 0.001], [12e6, 24e6], "capacity")
    assert series.provenance["converted_from"] == "a.down"
    assert "1500 bytes" in str(series.provenance["assumed"])


LONG = "Amazon_Prime__Driving__Season3-TheExpanse__B_2019.12.01_12.11.21"
TABLE = "trace_id,t_s,mbps\na,5,1\na,6,3\na,6,5\na,9,-\na,10,0\nb,0,7\n"


def test_a_table_becomes_the_series_of_the_trace_that_is_wanted(tmp_path: Path) -> None:
    """Times count from the first row; rows of one instant are their mean; a row without a rate is left out."""
    (tmp_path / "t.csv").write_text(TABLE)
    series = read_foreign(tmp_path / "t.csv", {"trace": "a", "kind": "achieved"})
    assert series.times_s == [0.0, 1.0, 5.0]
    assert series.rates_bps == [1e6, 4e6, 0.0]
    assert series.provenance["rows_without_rate"] == series.provenance["rows_at_one_instant"] == 1
    assert series.provenance["longest_step_s"] == 4.0


@pytest.mark.parametrize(("column", "bps"), [("bps", 1.0), ("kbps", 1e3), ("mbps", 1e6), ("DL_bitrate", 1e3)])
def test_a_column_says_its_unit(tmp_path: Path, column: str, bps: float) -> None:
    (tmp_path / "t.csv").write_text(f"t_s,{column}\n0,2.5\n1,5\n")
    assert read_foreign(tmp_path / "t.csv", {"kind": "capacity"}).rates_bps == [2.5 * bps, 5 * bps]


def test_dates_count_by_their_differences(tmp_path: Path) -> None:
    """As in the Irish logs, whose rates are kbit/s; the downlink is taken where both are there."""
    (tmp_path / "t.csv").write_text(
        "Timestamp,DL_bitrate,UL_bitrate\n2019.12.16_13.59.59,1000,1\n2019.12.16_14.00.01,2000,1\n"
    )
    series = read_foreign(tmp_path / "t.csv", {"kind": "capacity"})
    assert (series.times_s, series.rates_bps) == ([0.0, 2.0], [1e6, 2e6])
    assert series.provenance["column"] == "DL_bitrate"


@pytest.mark.parametrize(
    ("text", "params", "message"),
    [
        ("", {}, "f: the file is empty"),
        ("hello\n", {}, "f:1: no bandwidth file that simkv knows: want whole milliseconds, one a line (mahimahi), or"),
        ('# {"format": "simkv.series"}\n', {}, "f: is a series of simkv's own already"),
        ("0\n5\n4\n", {}, "f:3: stamps must not decrease, got 4 after 5"),
        ("0\n5\n-6\n", {}, 'f:3: want a whole number of milliseconds, got "-6"'),
        ("0\n5\n1e9\n", {}, 'f:3: want a whole number of milliseconds, got "1e9"'),
        ("0\n\n", {}, 'f:2: want a whole number of milliseconds, got ""'),
        ("0\n0\n", {}, "f: all stamps are 0: the recording takes no time"),
        ("5\n", {"step": "0.1 ms"}, "step: want at least the 1 ms of the stamps, got '0.1 ms'"),
        ("5\n", {"step": "5"}, "step: want a time such as '20 ms', got '5' (no unit)"),
        ("5\n", {"stepp": "5 ms"}, "a bandwidth file has no parameter 'stepp'; did you mean 'step'?"),
        ("5\n", {"kind": "capacity"}, "f: holds stamps of delivery opportunities, which take no 'kind'"),
        (TABLE, {"kind": "capacity", "step": "1 s"}, "f: holds a table of rates, which take no 'step'"),
        (TABLE, {"kind": "capacity"}, "f: holds 2 traces; want trace= one of them, such as 'a', 'b'"),
        (
            TABLE.replace("\na,", f"\n{LONG},"),
            {"kind": "capacity"},
            f"f: holds 2 traces; want trace= one of them, such as '{LONG}', 'b'",
        ),
        (TABLE, {"kind": "capacity", "trace": "c"}, "f: holds no trace 'c'; there are 2, such as 'a', 'b'"),
        (TABLE, {"trace": "a"}, "f: does not say what it measured; want kind=capacity"),
        (TABLE, {"trace": "a", "kind": "capcity"}, "did you mean 'capacity'?"),
        (TABLE, {"kind": "capacity", "column": "bps"}, "f:1: has no column 'bps' of a rate; did you mean 'mbps'?"),
        (
            "t_s,mbps,kbps\n0,1,1\n",
            {"kind": "capacity"},
            "f: has several columns of a rate; want column= one of kbps, ",
        ),
        ("t_s,mbps\n0,1\n", {"kind": "capacity", "trace": "a"}, "f:1: has no column 'trace_id' to choose a trace by"),
        ("t_s,mbps\n", {"kind": "capacity"}, "f: holds no row with a rate"),
        ("t_s,mbps\n0,0\n", {"kind": "capacity"}, "f: every rate of the series is 0"),
        ("t_s,mbps\n0,1,2\n", {"kind": "capacity"}, "f:2: want 2 columns, got 3"),
        ("t_s,mbps\n0,-1\n", {"kind": "capacity"}, 'f:2: mbps: want a finite rate of at least 0, got "-1"'),
        ("t_s,mbps\n0,nan\n", {"kind": "capacity"}, 'f:2: mbps: want a finite rate of at least 0, got "nan"'),
        ("t_s,mbps\n0,1e30\n", {"kind": "capacity"}, 'f:2: mbps: want a finite rate of at least 0, got "1e30"'),
        ("t_s,mbps\nnoon,1\n", {"kind": "capacity"}, "f:2: t_s: want seconds or a date such as"),
        ("t_s,mbps\n2,1\n1,1\n", {"kind": "capacity"}, "f:3: times must not decrease, got 1 after 2"),
    ],
)
def test_a_wrong_file_or_choice_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, params: dict[str, str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("f").write_text(text)
    with pytest.raises(InputError) as caught:
        convert("f", Path("out.csv"), params, seed=1)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not Path("out.csv").exists()


def rows_of(path: Path, trace: str, column: str) -> list[tuple[float, float]]:
    """Return times and rates of one trace, read another way."""
    with lzma.open(path, "rt", encoding="utf8") as file:
        return [(float(row["t_s"]), float(row[column])) for row in csv.DictReader(file) if row["trace_id"] == trace]


@pytest.mark.parametrize(
    ("folder", "column", "kind"),
    [
        ("bandwidth_lte_4g_ghent", "mbps", "achieved"),
        ("bandwidth_hsdpa_3g_norway", "mbps", "achieved"),
        ("bandwidth_fcc_broadband", "mbps", "achieved"),
        ("bandwidth_mahimahi_cellular", "mbps", "capacity"),
    ],
)
def test_recorded_tables_keep_their_mean(data: Path, folder: str, column: str, kind: str) -> None:
    """The time-weighted mean of the series is that of the rows, each held until the next."""
    path = data / folder / "traces.csv.xz"
    with (data / folder / "index.csv").open() as file:
        trace = next(csv.DictReader(file))["trace_id"]
    series = read_foreign(path, {"trace": trace, "kind": kind})
    rows = rows_of(path, trace, column)
    assert len(series.times_s) == len(rows)
    spans = [b[0] - a[0] for a, b in itertools.pairwise(rows)]
    bits = math.fsum(1e6 * row[1] * span for row, span in zip(rows, [*spans, spans[-1]], strict=True))
    assert mean_bps(series) == pytest.approx(bits / (math.fsum(spans) + spans[-1]), rel=1e-9)


def test_only_downloads_of_the_irish_logs_are_capacity(data: Path) -> None:
    """Semantics H3: a player's rows say what it got, and so does the uplink of a download."""
    path = data / "bandwidth_irish_5g" / "traces.csv.xz"
    with (data / "bandwidth_irish_5g" / "index.csv").open() as file:
        traces = [row["trace_id"] for row in csv.DictReader(file)]
    download = next(trace for trace in traces if trace.startswith("Download"))
    player = next(trace for trace in traces if not trace.startswith("Download"))
    assert read_foreign(path, {"trace": download}).kind == "capacity"
    assert read_foreign(path, {"trace": download, "column": "ul_mbps"}).kind == "achieved"
    assert read_foreign(path, {"trace": player}).kind == "achieved"


def test_spot_tests_are_read(data: Path) -> None:
    series = read_foreign(data / "bandwidth_glasgow_5g_spot" / "glasgow_5g_2025-04-06.csv", {"kind": "achieved"})
    assert len(series.times_s) == 240
    assert max(series.rates_bps) < 2e9


def test_a_converted_series_says_so_in_its_first_line(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("t_s,mbps\n0,1\n1,2\n")
    convert(str(tmp_path / "t.csv"), tmp_path / "o.csv", {"kind": "capacity"}, seed=1)
    header = json.loads((tmp_path / "o.csv").read_text().splitlines()[0].removeprefix("# "))
    assert header["provenance"]["column"] == "mbps"
