"""Sweeps: what varies, which points are the same, and what is left after whatever ended the run."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import simkv
from simkv.cli import main
from simkv.cli_sweep import _Progress
from simkv.errors import InputError, SimkvError
from simkv.sweep import InProcess, Journal, Processes, plan, read_axis, run
from simkv.sweep.executors import Outcome, Work
from simkv.sweep.points import identity
from simkv.sweep.pool_watch import QUIET_LOOKS, PoolWatch
from simkv.sweep.running import run_point
from tests.sweeps import copied, dies_at_seed, dies_once, sleeps, tables

ROOT = Path(__file__).resolve().parents[2]
SCENARIO = ROOT / "scenarios" / "three_turns.yaml"
SEEDS = "seed=1,2,3,4"
RATES = "links.down.capacity=1..4 Mbit/s:log:3"
ROOM = "servers.receiver.buffers.hbm.size"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a sweep that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    run(plan(SCENARIO, [read_axis(SEEDS)]), folder)
    return folder


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a=0.1,0.3", [("0.1",), ("0.3",)]),
        ("a=10..1000 Mbit/s:log:3", [("10 Mbit/s",), ("100 Mbit/s",), ("1000 Mbit/s",)]),
        ("a=0..1:lin:5", [("0",), ("0.25",), ("0.5",), ("0.75",), ("1",)]),
        ("a=5 ms", [("5 ms",)]),
        ("a+b=1|2,3|4", [("1", "2"), ("3", "4")]),
        ("a=none,{name: x, k: [1, 2]}", [("none",), ("{name: x, k: [1, 2]}",)]),
        ("a+b={name: x, k: 1}|2,y|3", [("{name: x, k: 1}", "2"), ("y", "3")]),
    ],
)
def test_values_are_lists_ranges_and_zips(text: str, values: list[tuple[str, ...]]) -> None:
    """Each form means what the page says."""
    assert list(read_axis(text).values) == values


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a", "want PATH=VALUES"),
        ("=1", "want PATH=VALUES"),
        ("a=1,,2", "a value is missing"),
        ("a=1..2", "want values such as"),
        ("a=1..2:sqrt:3", "unknown scale 'sqrt'; want lin or log"),
        ("a=0..2:log:3", "above zero"),
        ("a=1..1:lin:3", "two different ends"),
        ("a=1..2:lin:1", "at least 2 values"),
        ("a+b=1|2,3", "want 2 values"),
        ("a+b=1..2:lin:3", "varies one path"),
        ("a+a=1|2", "each path once"),
    ],
)
def test_values_of_no_form_are_refused(text: str, told: str) -> None:
    """The error names what was typed and what is wanted."""
    with pytest.raises(InputError, match=told.replace("|", r"\|")):
        read_axis(text)


@pytest.mark.parametrize(
    ("varied", "told"),
    [
        (["links.donw.capacity=1 Mbit/s"], "unknown link 'donw'; did you mean 'down'?"),
        (["polices.prefetch=none"], "did you mean 'policies'?"),
        (["links.down.capacity=fast,1 Mbit/s"], "links.down.capacity"),
        (["seed=1", "seed=2"], "seed: varies twice"),
        (["seed=1,1"], "are the same point"),
    ],
)
def test_a_grid_that_the_scenario_does_not_take_is_refused(
    varied: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, the path by name, and nothing is written."""
    words = [word for text in varied for word in ("-p", text)]
    assert main(["sweep", str(SCENARIO), *words, "--out", str(tmp_path / "out")]) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_grid_is_the_product_with_the_last_axis_fastest() -> None:
    """Two axes of two and three values are six points."""
    points = plan(SCENARIO, [read_axis("seed=1,2"), read_axis(RATES)]).points
    assert [list(point.values.values()) for point in points[:4]] == [
        ["1", "1 Mbit/s"], ["1", "2 Mbit/s"], ["1", "4 Mbit/s"], ["2", "1 Mbit/s"],
    ]  # fmt: skip
    assert {point.scenario.seed for point in points} == {1, 2}


BLOCK = """
sweep:
  seed: 1,2
  links.down.capacity: 1..4 Mbit/s:log:3
  servers.receiver.buffers.hbm.size+servers.sender.buffers.hbm.size: [[1 GiB, 1 GiB], 2 GiB|3 GiB]
"""
ZIP = "servers.receiver.buffers.hbm.size+servers.sender.buffers.hbm.size=1 GiB|1 GiB,2 GiB|3 GiB"


def with_block(folder: Path, block: str = BLOCK) -> Path:
    """Return the scenario copied to another folder, with a sweep of its own."""
    scenario = copied(folder)
    scenario.write_text(scenario.read_text(encoding="utf-8") + block, encoding="utf-8")
    return scenario


def test_a_block_of_the_scenario_is_the_sweep_of_its_lines(tmp_path: Path) -> None:
    """The same points in the same order, under the same identity, as from the command line."""
    typed = plan(SCENARIO, [read_axis(text) for text in ("seed=1,2", RATES, ZIP)])
    ours = plan(with_block(tmp_path))
    assert [point.id for point in ours.points] == [point.id for point in typed.points]
    assert (ours.id, len(ours.points)) == (typed.id, 12)
    assert plan(simkv.load(with_block(tmp_path / "again"))).id == typed.id


def test_a_given_path_takes_the_place_of_its_line_or_adds_one(tmp_path: Path) -> None:
    """The order of the lines stays; a line of several paths is replaced whole or not at all."""
    scenario = with_block(tmp_path)
    other = plan(scenario, [read_axis("replications=1"), read_axis("seed=7")])
    typed = plan(SCENARIO, [read_axis(text) for text in ("seed=7", RATES, ZIP, "replications=1")])
    assert (other.id, other.paths) == (typed.id, typed.paths)
    with pytest.raises(InputError, match=f"-p {ROOM}: the scenario's sweep varies .* together; want -p"):
        plan(scenario, [read_axis(f"{ROOM}=1 GiB")])


def test_a_block_changes_no_run_and_no_identity(tmp_path: Path) -> None:
    """`simkv run` runs the scenario itself."""
    scenario = simkv.load(with_block(tmp_path))
    assert identity(scenario) == identity(simkv.load(SCENARIO))
    pd.testing.assert_frame_equal(simkv.run(scenario).table, simkv.run(simkv.load(SCENARIO)).table)


def test_a_block_is_swept_checked_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without -p, in Python without a grid; `check` counts its points; the resolved scenario has it still."""
    scenario = with_block(tmp_path, "sweep: {seed: '1,2'}")
    pd.testing.assert_frame_equal(simkv.sweep(scenario), simkv.sweep(SCENARIO, {"seed": [1, 2]}))
    assert main(["sweep", str(scenario), "--out", str(tmp_path / "out"), "--json"]) == 0
    assert {row["seed"] for row in json.loads(capsys.readouterr().out)["rows"]} == {1, 2}
    assert main(["check", str(scenario)]) == 0
    assert "three-turns: valid; 2 arms, 1 replication, 2 points in its sweep" in capsys.readouterr().out
    assert main(["check", str(scenario), "--json", "--set", "replications=2"]) == 0
    assert json.loads(capsys.readouterr().out)["sweep_points"] == 2
    assert main(["check", str(scenario), "--resolved"]) == 0
    assert simkv.scenario.from_text(capsys.readouterr().out, scenario).sweep == {"seed": "1,2"}
    assert main(["sweep", str(SCENARIO)]) == 2
    assert "want at least one -p PATH=VALUES, or `sweep: {PATH: VALUES}` in the scenario" in capsys.readouterr().err


def test_a_value_of_a_block_that_the_scenario_refuses_is_named_by_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first value is fine, so a run is too; `check` and the sweep look at all of them."""
    scenario = with_block(tmp_path, "sweep:\n  links.down.capacity: [1 Mbit/s, fast]\n")
    line = len(scenario.read_text(encoding="utf-8").splitlines())
    simkv.load(scenario)
    for words in (["check", str(scenario)], ["sweep", str(scenario), "--out", str(tmp_path / "out")]):
        assert main(words) == 2
        told = f"{scenario}:{line}:24: links.down.capacity: want a rate such as '100 Mbit/s', got 'fast'"
        assert told in capsys.readouterr().err


def test_a_block_may_hold_whole_policies_and_truth_values(tmp_path: Path) -> None:
    """What no text can list: a YAML list may; the columns show them as YAML does."""
    block = "sweep:\n  arms.none.policies.prefetch: [none, {name: sequential}]\n  run.step_by_step: [true, false]\n"
    table = simkv.sweep(with_block(tmp_path, block))
    assert table["run.step_by_step"].unique().tolist() == [True, False]
    assert table["arms.none.policies.prefetch"].unique().tolist() == ["none", "{name: sequential}"]


def test_a_point_is_the_same_wherever_its_files_lie_and_however_its_keys_are_ordered(tmp_path: Path) -> None:
    """Identity is what numbers depend on, and nothing else."""
    scenario = copied(tmp_path)
    assert identity(simkv.load(scenario)) == identity(simkv.load(SCENARIO))
    text = scenario.read_text(encoding="utf-8")
    lines = text.splitlines(keepends=True)
    down = next(place for place, line in enumerate(lines) if line.startswith("  down:"))
    lines[down], lines[down + 1] = lines[down + 1], lines[down]
    scenario.write_text("".join(lines), encoding="utf-8")
    assert list(simkv.load(scenario).links) == ["up", "down"]
    assert identity(simkv.load(scenario)) == identity(simkv.load(SCENARIO))


def test_a_point_is_another_when_a_file_or_value_or_the_version_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Equal names do not make equal points."""
    scenario, before = copied(tmp_path), identity(simkv.load(SCENARIO))
    assert identity(simkv.load(SCENARIO, {"seed": 2})) != before
    trace = tmp_path / "traces" / "three_turns.jsonl"
    trace.write_text(trace.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert identity(simkv.load(scenario)) != before
    monkeypatch.setattr(simkv, "__version__", "0.0.0")
    assert identity(simkv.load(SCENARIO)) != before


def test_the_table_is_what_the_points_give_alone() -> None:
    """A sweep adds nothing to a run and takes nothing away; units of the path's values stay."""
    table = simkv.sweep(SCENARIO, {"links.down.capacity": ["1 Mbit/s", "2 Mbit/s"]})
    assert list(table) == ["point_id", "links.down.capacity", "arm", "metric", "value", "ci_low", "ci_high"]
    means = table[table["metric"] == "ttft_s.mean"]
    alone = [simkv.run(simkv.load(SCENARIO, {"links.down.capacity": rate})).table for rate in ("1 Mbit/s", "2 Mbit/s")]
    assert means["value"].tolist() == pd.concat(alone)["ttft_s_mean"].tolist()
    assert means["arm"].tolist() == ["none", "sequential"] * 2


def test_a_loaded_scenario_sweeps_as_its_file_does() -> None:
    """Both ways in give the same points; numbers stay numbers."""
    loaded = simkv.sweep(simkv.load(SCENARIO), {"seed": [1, 2]})
    pd.testing.assert_frame_equal(loaded, simkv.sweep(SCENARIO, {"seed": "1,2"}))
    assert loaded["seed"].dtype == "int64"


def test_two_workers_write_the_bytes_of_one(whole: Path, tmp_path: Path) -> None:
    """Where a point runs changes nothing."""
    run(plan(SCENARIO, [read_axis(SEEDS)]), tmp_path, Processes(2))
    assert tables(tmp_path) == tables(whole)


def test_a_whole_sweep_runs_nothing_again(whole: Path) -> None:
    """The journal knows every point."""
    before = (whole / "journal.jsonl").read_bytes()
    run(plan(SCENARIO, [read_axis(SEEDS)]), whole, Refuses())
    assert (whole / "journal.jsonl").read_bytes() == before


def test_the_scenario_in_the_folder_makes_the_same_sweep_again(tmp_path: Path) -> None:
    """With the same -p; what was --set is in it."""
    axes = [read_axis(SEEDS), read_axis(RATES)]
    planned = plan(SCENARIO, axes, {"links.up.delay": "7 ms"})
    run(planned, tmp_path, FailsAll())
    assert plan(tmp_path / "resolved.yaml", axes).id == planned.id != plan(SCENARIO, axes).id


def test_a_bug_at_a_point_says_where_it_is() -> None:
    """The sweep goes on, and a person can look."""
    told = run_point(object())
    assert told["status"] == "failed"
    assert re.fullmatch(r"bug in simkv, at running\.py:\d+: AttributeError: .*", told["error"])


@pytest.mark.parametrize("lost", [1, 40, 3_000])
def test_a_journal_cut_anywhere_is_resumed(whole: Path, tmp_path: Path, lost: int) -> None:
    """A record cut in the middle is dropped, and its point runs again."""
    cut = (whole / "journal.jsonl").read_bytes()[:-lost]
    (tmp_path / "journal.jsonl").write_bytes(cut)
    run(plan(SCENARIO, [read_axis(SEEDS)]), tmp_path)
    assert tables(tmp_path) == tables(whole)
    assert (tmp_path / "journal.jsonl").read_bytes() == (whole / "journal.jsonl").read_bytes()


def test_a_journal_cut_in_its_first_line_starts_again(whole: Path, tmp_path: Path) -> None:
    """Nothing was known yet."""
    (tmp_path / "journal.jsonl").write_bytes((whole / "journal.jsonl").read_bytes()[:30])
    run(plan(SCENARIO, [read_axis(SEEDS)]), tmp_path)
    assert tables(tmp_path) == tables(whole)


def test_a_broken_line_inside_a_journal_is_named(whole: Path, tmp_path: Path) -> None:
    """What no crash leaves behind is not guessed at."""
    lines = (whole / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "journal.jsonl").write_bytes(b"".join([*lines[:2], b"{broken\n", *lines[3:]]))
    with pytest.raises(InputError, match=r"journal.jsonl:3: is no record"):
        run(plan(SCENARIO, [read_axis(SEEDS)]), tmp_path)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_parent_that_is_killed_is_resumed(whole: Path, tmp_path: Path, workers: int) -> None:
    """SIGKILL after two points; the same command gives the same bytes."""
    script = f"""
import os, signal
from simkv.sweep import InProcess, Journal, Processes, plan, read_axis, run

def progress(done, total):
    if done == 2:
        os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    run(plan({str(SCENARIO)!r}, [read_axis({SEEDS!r})]), __import__("pathlib").Path({str(tmp_path / "out")!r}),
        Processes(2) if {workers} > 1 else InProcess(), progress=progress)
"""
    (tmp_path / "script.py").write_text(script, encoding="utf-8")
    path = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run([sys.executable, str(tmp_path / "script.py")], env=path, timeout=60, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert len((tmp_path / "out" / "journal.jsonl").read_bytes().splitlines()) == 3
    assert not (tmp_path / "out" / "points.parquet").exists()
    run(plan(SCENARIO, [read_axis(SEEDS)]), tmp_path / "out")
    assert tables(tmp_path / "out") == tables(whole)


def test_a_worker_that_is_killed_costs_nothing(whole: Path, tmp_path: Path) -> None:
    """Its point runs again, once, in another process."""
    (tmp_path / "out").mkdir()
    run(plan(SCENARIO, [read_axis(SEEDS)]), tmp_path / "out", Through(partial(dies_once, tmp_path / "died")))
    assert (tmp_path / "died").exists()
    assert tables(tmp_path / "out") == tables(whole)


def test_a_point_that_kills_its_worker_each_time_fails_alone(whole: Path, tmp_path: Path) -> None:
    """The others are there; a retry brings the table of a sweep that nothing interrupted."""
    planned = plan(SCENARIO, [read_axis(SEEDS)])
    ended = run(planned, tmp_path, Through(partial(dies_at_seed, 3)))
    assert ended.failures[["seed", "error"]].to_numpy().tolist() == [[3, "its process died 2 times"]]
    assert sorted(ended.points["seed"].unique()) == [1, 2, 4]
    assert len(run(planned, tmp_path, Refuses()).failures) == 1
    assert len(run(planned, tmp_path, retry_failed=True).failures) == 0
    assert tables(tmp_path) == tables(whole)


def test_a_point_over_the_time_limit_fails_alone() -> None:
    """Its process is ended; the others go on."""
    began_s = time.monotonic()
    found = dict(Processes(1, time_limit_s=0.5).run(sleeps, [60.0, 0.0]))
    assert found[0] == {"status": "failed", "error": "took longer than the time limit of 0.5 s"}
    assert found[1] == {"status": "finished"}
    assert time.monotonic() - began_s < 30


def test_a_silent_pool_is_replaced_once_and_then_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep does not wait for ever for what nobody will bring."""
    monkeypatch.setattr("simkv.sweep.executors.GRACE_S", -59.7)
    with pytest.raises(SimkvError, match="silent or dead though points are left"):
        list(Processes(1, time_limit_s=60.0).run(sleeps, [60.0]))


def test_a_pool_that_stands_still_is_replaced(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A stopped process is neither dead nor late: it is found by the CPU time that it does not use."""
    monkeypatch.setattr("simkv.sweep.executors.LOOK_S", 0.1)
    monkeypatch.setattr("simkv.sweep.pool_watch.QUIET_LOOKS", 25)
    (tmp_path / "out").mkdir()
    run(plan(SCENARIO, [read_axis(SEEDS)]), tmp_path / "out", Through(partial(stops_once, tmp_path / "stopped")))
    assert (tmp_path / "stopped").exists()
    assert "worker processes do not go on; 4 points begin again in new ones (process " in caplog.text
    assert tables(tmp_path / "out") == tables(whole)


def test_only_a_pool_that_does_not_compute_is_stuck() -> None:
    """However long a point takes; and a pool that was quiet for a while may go on."""
    heard, told = multiprocessing.Pipe(duplex=False)
    watch = PoolWatch(heard)
    for cpu_s in range(100):
        told.send((7, float(cpu_s)))
        assert not watch.is_stuck()
    assert [watch.is_stuck() for _ in range(QUIET_LOOKS - 1)] == [False] * (QUIET_LOOKS - 1)
    watch.progress()
    assert [watch.is_stuck() for _ in range(QUIET_LOOKS)] == [False] * (QUIET_LOOKS - 1) + [True]
    told.send((7, 99.5))
    assert not watch.is_stuck()
    assert watch.told() == "process 7: 99.5 s of CPU time, last heard of 0 s ago"
    told.close()
    heard.close()


def test_a_script_without_a_guard_is_told_so(tmp_path: Path) -> None:
    """Workers that import the script start it again and die; nobody waits for them, and no point is blamed."""
    script = f"import simkv, simkv.sweep as s; simkv.sweep({str(SCENARIO)!r}, {{'seed': [1, 2]}}, s.Processes(2))"
    (tmp_path / "script.py").write_text(script, encoding="utf-8")
    words = [sys.executable, str(tmp_path / "script.py")]
    path = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(words, env=path, timeout=60, check=False, capture_output=True, text=True)
    assert ended.returncode == 1
    assert "wants `if __name__ == '__main__':`" in ended.stderr.splitlines()[-1]


def test_failed_points_are_told_and_the_others_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 4, in both forms."""
    words = ["sweep", str(SCENARIO), "-p", f"{ROOM}=1 GiB,10 KiB", "--out", str(tmp_path)]
    assert main(words) == 4
    told_once = " ".join(capsys.readouterr().out.split())
    assert f"failed: {ROOM}=10 KiB: {ROOM}: want room" in told_once
    assert told_once.endswith("failed points are not run again, unless --retry-failed says so")
    assert main([*words, "--json"]) == 4
    told = json.loads(capsys.readouterr().out)
    assert [failure[ROOM] for failure in told["failures"]] == ["10 KiB"]
    assert {row[ROOM] for row in told["rows"]} == {"1 GiB"}
    assert pd.read_parquet(tmp_path / "failures.parquet")[ROOM].tolist() == ["10 KiB"]
    with pytest.raises(SimkvError, match="1 of 2 points failed; first"):
        simkv.sweep(SCENARIO, {ROOM: "1 GiB,10 KiB"})


def test_a_folder_of_something_else_is_refused(whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another sweep, or no sweep: exit code 2, and nothing in it changes."""
    before = tables(whole)
    assert main(["sweep", str(SCENARIO), "-p", "seed=1,2", "--out", str(whole)]) == 2
    assert "holds another sweep" in capsys.readouterr().err
    assert tables(whole) == before
    (tmp_path / "letter.txt").write_text("dear")
    assert main(["sweep", str(SCENARIO), "-p", "seed=1,2", "--out", str(tmp_path)]) == 2
    assert "holds something else" in capsys.readouterr().err


def test_two_sweeps_do_not_write_to_one_folder(tmp_path: Path) -> None:
    """The second is refused while the first runs, and may go on after it."""
    planned = plan(SCENARIO, [read_axis(SEEDS)])
    with Journal(tmp_path, planned), pytest.raises(InputError, match="another sweep writes here now"):
        run(planned, tmp_path)
    assert len(run(planned, tmp_path).failures) == 0


def test_a_sweep_of_nothing_but_failures_has_an_empty_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The columns are there, and numbers in JSON are numbers."""
    words = ["sweep", str(SCENARIO), "--set", f"{ROOM}=10 KiB", "-p", "seed=1,2", "--out", str(tmp_path), "--json"]
    assert main(words) == 4
    told = json.loads(capsys.readouterr().out)
    assert told["rows"] == []
    assert [failure["seed"] for failure in told["failures"]] == [1, 2]
    assert "value" in pd.read_parquet(tmp_path / "points.parquet")


def test_progress_tells_what_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    """Three points in 30 s after five that were there: ten more take 100 s."""
    clock = iter([0.0, 0.0, 1.0, 2.0, 30.0])
    progress = _Progress("mine", lambda: next(clock))
    for done in (5, 6, 7, 8):
        progress(done, 18)
    told = capsys.readouterr().err.splitlines()
    assert told == ["mine: 5 of 18 points were done before", "mine: 8 of 18 points, about 100 s left"]


def test_an_interrupt_tells_how_to_resume(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 130, and the command as it would be typed."""
    monkeypatch.setattr(InProcess, "run", interrupted)
    assert main(["sweep", str(SCENARIO), "-p", RATES, "--out", str(tmp_path)]) == 130
    told = capsys.readouterr().err
    assert f"interrupted; 0 of 3 points are kept; to resume: simkv sweep {SCENARIO} -p '{RATES}'" in told


@dataclass(frozen=True)
class Through:
    """Runs points in a process, through something that goes wrong."""

    trouble: Any

    def run(self, work: Work, items: Sequence[Any]) -> Iterator[tuple[int, Outcome]]:
        """Yield as the process does."""
        return Processes(1).run(partial(self.trouble, work), items)


class Refuses:
    """Runs nothing: there must be nothing to run."""

    def run(self, work: Work, items: Sequence[Any]) -> Iterator[tuple[int, Outcome]]:
        """Yield nothing."""
        assert not items
        return iter(())


class FailsAll:
    """Says of every point that it failed."""

    def run(self, work: Work, items: Sequence[Any]) -> Iterator[tuple[int, Outcome]]:
        """Yield in order."""
        return ((place, {"status": "failed", "error": "it was told to"}) for place in range(len(items)))


def stops_once(marker: Path, work: Work, scenario: Any) -> Outcome:
    """Stop this process the first time, for ever."""
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGSTOP)
    return work(scenario)


def interrupted(*_: object) -> Iterator[tuple[int, Outcome]]:
    """Be interrupted at once."""
    raise KeyboardInterrupt
