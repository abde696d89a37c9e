"""Points on a Dask cluster: the same table, whatever dies; what would give other numbers is refused."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import simkv
from simkv.cli import main
from simkv.cli_executor import chosen
from simkv.errors import InputError, SimkvError
from simkv.sweep import Dask, InProcess, Processes, dask_executor, plan, read_axis, run
from simkv.sweep.dask_executor import AHEAD, perform, task_of
from simkv.sweep.executors import Outcome, Work
from simkv.sweep.points import files_of
from simkv.sweep.running import run_point
from tests.dask_cluster import cluster
from tests.sweeps import copied, dies_at_seed, dies_once, sleeps, tables

ROOT = Path(__file__).resolve().parents[2]
SCENARIO = ROOT / "scenarios" / "three_turns.yaml"
SEEDS = "seed=1,2,3,4"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a sweep in this process."""
    folder = tmp_path_factory.mktemp("whole")
    run(plan(SCENARIO, [read_axis(SEEDS)]), folder)
    return folder


def test_a_cluster_writes_the_bytes_of_one_process(whole: Path, tmp_path: Path, scheduler: str) -> None:
    """Where a point runs changes nothing."""
    run(plan(SCENARIO, [read_axis(SEEDS)]), tmp_path, Dask(scheduler))
    assert tables(tmp_path) == tables(whole)


def test_files_by_url_are_read_where_the_point_runs(
    whole: Path, tmp_path: Path, scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With another cache than ours; the table is that of the file by path."""
    monkeypatch.setenv("SIMKV_CACHE", str(tmp_path / "cache"))
    trace = (ROOT / "traces" / "three_turns.jsonl").as_uri()
    run(plan(SCENARIO, [read_axis(SEEDS)], {"workload.trace": trace}), tmp_path / "out", Dask(scheduler))
    assert tables(tmp_path / "out") == tables(whole)


def test_the_scheduler_holds_a_few_points_of_many(scheduler: str) -> None:
    """Two a thread; nothing is left there when the caller loses interest."""
    from distributed import Client

    with Client(scheduler, set_as_default=False) as client:
        stream = Dask(scheduler).run(echoed, range(500))
        held = []
        for _, _ in zip(range(40), stream, strict=False):
            held.append(client.run_on_scheduler(tasks_held))
        assert 0 < max(held) <= 2 * AHEAD + 2  # those that just came
        stream.close()  # type: ignore[attr-defined]
        client.sync(client.scheduler.ncores)
        assert client.run_on_scheduler(tasks_held) == 0


def test_a_task_is_small_for_it_names_its_files() -> None:
    """A scenario of 5 kB, with a trace of 40 kB that stays where it is."""
    scenario = simkv.load(ROOT / "scenarios" / "5g_slice.yaml")
    task = task_of(run_point, scenario)
    assert len(pickle.dumps(task)) < 10_000 < scenario.workload.trace.stat().st_size
    assert {Path(name).name for name in task.files} == {"reading.jsonl.gz", "slice_capacity.csv"}


def test_a_point_over_the_time_limit_fails_alone(scheduler: str) -> None:
    """Its process is ended, though Dask itself cannot end a task; the worker goes on."""
    began_s = time.monotonic()
    found = dict(Dask(scheduler, time_limit_s=0.5).run(sleeps, [60.0, 0.0, 60.0, 0.0]))
    late = {"status": "failed", "error": "took longer than the time limit of 0.5 s"}
    assert found == {0: late, 1: {"status": "finished"}, 2: late, 3: {"status": "finished"}}
    assert time.monotonic() - began_s < 30


def test_a_limited_point_that_kills_its_process_fails_alone() -> None:
    """It ran twice; an error of the work is raised as it is."""
    killed = task_of(partial(dies_at_seed, 3, run_point), simkv.load(SCENARIO, {"seed": 3}), 60.0)
    assert perform(killed) == {"status": "failed", "error": "its process died 2 times"}
    with pytest.raises(ZeroDivisionError):
        perform(task_of(divides, 0, 60.0))
    assert perform(task_of(divides, 1, 60.0)) == {"status": "finished"}


def test_a_file_that_a_worker_does_not_have_is_named(tmp_path: Path, scheduler: str) -> None:
    """Absent, or another one: the point fails there, by file and worker, and gives no wrong number."""
    planned = plan(copied(tmp_path), [read_axis("seed=1")])
    trace = tmp_path / "traces" / "three_turns.jsonl"
    task = task_of(run_point, planned.points[0].scenario)
    trace.write_text(trace.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert "holds something else than where the sweep was started" in perform(task)["error"]
    trace.unlink()
    assert f"{trace}: no such file or directory on worker" in perform(task)["error"]
    scenario = simkv.load(SCENARIO)
    (found,) = dict(Dask(scheduler).run(partial(forgets, task.files), [scenario])).values()
    assert f"{trace}: no such file or directory on worker tcp://127.0.0.1:" in found["error"]


def test_workers_with_another_simkv_are_refused(scheduler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a point is sent; and by the worker, when it comes later."""
    task = task_of(run_point, simkv.load(SCENARIO))
    with pytest.raises(InputError, match=r"here \(.*\): has simkv .*, the sweep 0.0.0; want the same"):
        perform(task._replace(version="0.0.0"))
    monkeypatch.setattr(simkv, "__version__", "9.9.9")
    with pytest.raises(InputError, match=r"worker tcp://127.0.0.1:\d+: has simkv .*, the sweep 9.9.9; want the same"):
        list(Dask(scheduler).run(echoed, [1]))


def test_a_worker_that_is_killed_costs_nothing(whole: Path, tmp_path: Path) -> None:
    """One of two dies at its first point and stays dead; the other does its points."""
    with cluster(workers=2) as running:
        (tmp_path / "out").mkdir()
        planned = plan(SCENARIO, [read_axis(SEEDS)])
        run(planned, tmp_path / "out", Through(Dask(running.address), partial(dies_once, tmp_path / "died")))
        running.scheduler.kill()
        assert [worker.poll() for worker in running.workers].count(None) == 1
    assert tables(tmp_path / "out") == tables(whole)


def test_workers_here_are_alone_on_loopback() -> None:
    """A cluster for one sweep: no socket is open to others, and no process is left."""
    before = children()
    (outcome,) = dict(Dask(workers=1).run(listens, [0])).values()
    assert {host for host, _ in outcome["rows"]} == {"127.0.0.1"}
    assert children() <= before


@pytest.mark.slow
@pytest.mark.parametrize("comes_back", [True, False])
def test_workers_here_that_died_while_they_started_are_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, comes_back: bool
) -> None:
    """Dask leaves it at that; when the new ones die too, the sweep ends with an error."""
    import dask
    import distributed

    async def leaves_it(nanny: Any, exitcode: int) -> None:
        """Do what Dask does when a process dies before it has told that it started."""
        await nanny._unregister()

    monkeypatch.setattr(distributed.Nanny, "_on_worker_exit", leaves_it)
    monkeypatch.setattr(dask_executor, "ASK_S", 0.2)
    monkeypatch.setattr(dask_executor, "GIVE_UP_S", 60.0 if comes_back else 1.0)
    items = [simkv.load(SCENARIO, {"seed": seed}) for seed in (1, 2)]
    stream = Through(Dask(workers=1), partial(dies_once, tmp_path / "died")).run(run_point, items)
    with dask.config.set({"distributed.deploy.lost-worker-timeout": "0.5s" if comes_back else "60s"}):
        if comes_back:
            assert [outcome["status"] for _, outcome in stream] == ["finished"] * 2
        else:
            with pytest.raises(SimkvError, match="died and do not come back"):
                list(stream)


@pytest.mark.evidence
def test_a_point_that_kills_its_worker_each_time_fails_alone(whole: Path, tmp_path: Path) -> None:
    """No neighbour is blamed, though Dask counts the deaths of a worker against all that wait there."""
    planned = plan(SCENARIO, [read_axis(SEEDS)])
    ended = run(planned, tmp_path, Through(Dask(workers=2), partial(dies_at_seed, 3)))
    told = "its worker died each time, also where it ran alone"
    assert ended.failures[["seed", "error"]].to_numpy().tolist() == [[3, told]]
    assert sorted(ended.points["seed"].unique()) == [1, 2, 4]
    run(planned, tmp_path, retry_failed=True)
    assert tables(tmp_path) == tables(whole)


def test_a_scheduler_that_dies_leaves_a_journal_that_goes_on(
    whole: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One clear error, exit code 3; what was done is kept."""
    with cluster(workers=1) as running:
        words = ["sweep", str(SCENARIO), "-p", SEEDS, "--out", str(tmp_path)]
        address = running.address.replace("tcp", "dask")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("simkv.cli_sweep._Progress.__call__", partial(kills_after_two, running.scheduler))
            assert main([*words, "--executor", address]) == 3
    assert [record.getMessage() for record in caplog.records if record.name.startswith("distributed")] == []
    assert 3 <= len((tmp_path / "journal.jsonl").read_bytes().splitlines()) < 5
    assert main(words) == 0
    assert tables(tmp_path) == tables(whole)


@pytest.mark.slow
def test_ctrl_c_leaves_nothing_running(whole: Path, tmp_path: Path) -> None:
    """The whole group is interrupted, as by a terminal: exit code 130, the journal whole, the command to resume."""
    words = ["sweep", str(SCENARIO), "-p", SEEDS, "--out", str(tmp_path / "out")]
    script = f"""
import os, signal, sys
from simkv import cli, cli_sweep

def call(self, done, total):
    self.done, self.total = done, total
    if done == 2:
        os.killpg(0, signal.SIGINT)

if __name__ == "__main__":
    cli_sweep._Progress.__call__ = call
    sys.exit(cli.main({[*words, "--executor", "dask", "--workers", "2"]!r}))
"""
    (tmp_path / "script.py").write_text(script, encoding="utf-8")
    path = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(tmp_path / "script.py")]
    process = subprocess.Popen(command, env=path, stderr=subprocess.PIPE, text=True, start_new_session=True)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert told.strip().startswith("interrupted; 2 of 4 points are kept; to resume: simkv sweep"), told
    assert len(told.strip().splitlines()) == 1, told
    assert ends(process.pid)
    assert main(words) == 0
    assert tables(tmp_path / "out") == tables(whole)


def test_where_nobody_answers_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 2."""
    monkeypatch.setattr(dask_executor, "CONNECT_S", 0.5)
    words = ["sweep", str(SCENARIO), "-p", SEEDS, "--out", str(tmp_path), "--executor", "dask://127.0.0.1:9"]
    assert main(words) == 2
    assert "error: tcp://127.0.0.1:9: no Dask scheduler answers there" in capsys.readouterr().err


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else of simkv wants it."""
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match=r"pip install 'simkv\[dask\]'"):
        list(Dask(workers=1).run(echoed, [1]))


def test_options_say_where() -> None:
    """Without --executor as before: here, or in processes when more is wanted."""
    assert chosen(None, None, None) == chosen("in-process", 1, None) == InProcess()
    assert chosen(None, 2, None) == Processes(2)
    assert chosen(None, None, "2 s") == chosen("processes", 1, "2 s") == Processes(1, 2.0)
    assert chosen("dask", 3, None) == Dask(None, 3)
    assert chosen("dask://[::1]:8786", None, "1 min") == Dask("tcp://[::1]:8786", time_limit_s=60.0)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--executor", "desk"], "did you mean 'dask'?"),
        (["--executor", "dask://cluster"], "dask://HOST:PORT"),
        (["--executor", "dask://cluster:8786", "--workers", "2"], "has workers of its own"),
        (["--executor", "in-process", "--workers", "2"], "takes neither --time-limit nor several --workers"),
        (["--executor", "in-process", "--time-limit", "2 s"], "takes neither --time-limit nor several --workers"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    words: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, and nothing is written."""
    assert main(["sweep", str(SCENARIO), "-p", SEEDS, "--out", str(tmp_path / "out"), *words]) == 2
    assert told in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


class Through:
    """Runs points on an executor, through something that goes wrong."""

    def __init__(self, executor: Dask, trouble: Any) -> None:
        self.executor, self.trouble = executor, trouble

    def run(self, work: Work, items: Any) -> Any:
        """Yield as the executor does."""
        return self.executor.run(partial(self.trouble, work), items)


def ends(group: int, within_s: float = 10.0) -> bool:
    """Return whether the last process of a group ends soon."""
    deadline_s = time.monotonic() + within_s
    while time.monotonic() < deadline_s:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def echoed(number: int) -> Outcome:
    """Return the number."""
    return {"status": "finished", "rows": [number]}


def divides(number: int) -> Outcome:
    """Fail at zero."""
    return {"status": "finished"} if 1 / number else {}


def forgets(files: dict[str, str], scenario: Any) -> Outcome:
    """Run a point, on this worker, whose files are elsewhere."""
    assert files_of(scenario)
    return perform(task_of(run_point, scenario)._replace(files=files))


def kills_after_two(victim: subprocess.Popen[bytes], done: int, total: int) -> None:
    """Kill a process when two points are done."""
    if done == 2:
        victim.kill()


def tasks_held(dask_scheduler: Any) -> int:
    """Return how many tasks the scheduler knows."""
    return len(dask_scheduler.tasks)


def listens(_: int) -> Outcome:
    """Return where this worker and its parent listen."""
    import psutil

    found = [process.net_connections(kind="inet") for process in (psutil.Process(), psutil.Process(os.getppid()))]
    return {"status": "finished", "rows": [tuple(c.laddr) for each in found for c in each if c.status == "LISTEN"]}


def children() -> set[int]:
    """Return the processes below this one, but for the one that Python keeps for what processes share."""
    import psutil

    found = psutil.Process().children(recursive=True)
    return {process.pid for process in found if "resource_tracker" not in " ".join(process.cmdline())}
