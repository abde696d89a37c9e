"""Searches: what is proposed, that it depends on nothing but the seed, and that the best is found where it is known."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd
import pytest

from simkv.cli import main
from simkv.errors import InputError
from simkv.report.front import by_point
from simkv.scenario import Scenario
from simkv.sweep import InProcess, Search, plan_search, read_axis, search
from simkv.sweep.executors import Outcome, Work
from simkv.sweep.points import Ground
from simkv.sweep.proposals import Proposer

pytest.importorskip("optuna", reason="optuna is not installed (pip install 'simkv[tune]')")

ROOT = Path(__file__).resolve().parents[2]
SCENARIO = ROOT / "scenarios" / "three_turns.yaml"
RATE = "links.down.capacity=1..4 Mbit/s:log:3"
ROOM = "servers.receiver.buffers.hbm.size"
FILES = ("points.parquet", "failures.parquet", "front.parquet")
BOTH = ["ttft_s.p99", "link_bytes"]


def planned(*axes: str, minimise: Sequence[str] = ("ttft_s.p99",), **how: Any) -> Search:
    """Return a search of the sequential arm."""
    return plan_search(SCENARIO, [read_axis(text) for text in axes], minimise=minimise, arm="sequential", **how)


def tables(folder: Path) -> list[bytes]:
    """Return the bytes of all tables."""
    return [(folder / name).read_bytes() for name in FILES]


@dataclass(frozen=True)
class Knows:
    """Answers at once what a formula of the rate [Mbit/s] says, by metric; None = failed."""

    formula: Callable[[float], dict[str, float] | None]

    def run(self, work: Work, items: Sequence[Any]) -> Iterator[tuple[int, Outcome]]:
        """Yield from the last to the first: answers come in any order."""
        for place in reversed(range(len(items))):
            told = self.formula(items[place].links["down"].capacity / 1e6)
            rows = [["sequential", metric, value, None, None] for metric, value in (told or {}).items()]
            yield place, {"status": "finished", "rows": rows} if told else {"status": "failed", "error": "none"}


@pytest.mark.parametrize("sampler", ["tpe", "random", "nsga2"])
def test_a_known_optimum_is_found(tmp_path: Path, sampler: str) -> None:
    """A parabola in ln(rate) with its least at 2.5 Mbit/s, which no value of the range is."""
    found = search(planned(RATE, sampler=sampler), tmp_path, 60, Knows(lambda x: {"ttft_s.p99": (x - 2.5) ** 2}))
    (best,) = found.front.to_dict("records")
    assert float(best["links.down.capacity"].split()[0]) == pytest.approx(2.5, abs=0.1)
    assert best["ttft_s.p99"] == found.points["value"].min()
    last = [abs(float(text.split()[0]) - 2.5) for text in found.points["links.down.capacity"][-30:]]
    assert (median(last) < 0.5) == (sampler == "tpe")  # it learns; by chance alone the median would be about 0.8


def test_a_range_is_proposed_on_its_scale() -> None:
    """Half of a logarithmic range lies below the geometric mean of its ends, half of a linear one below the other."""
    for text, middle in ((" ms:log:3", 100), (" ms:lin:3", 5000), (":log:5", 100), (":lin:2", 5000)):
        proposer = Proposer([read_axis(f"a=1..10000{text}")], "random", 1, seed=3)
        proposed = [float(str(values["a"]).removesuffix(" ms")) for values in proposer.ask(400)]
        assert all(value == int(value) for value in proposed) == ("ms" not in text)
        assert sum(value < middle for value in proposed) == pytest.approx(200, abs=35)
        assert all(1 <= value <= 10_000 for value in proposed)


def test_the_front_of_two_metrics_is_what_theory_says(tmp_path: Path) -> None:
    """Of (x - 2)^2 and (x - 3)^2 every x from 2 to 3 is on the front, and nothing else; it is covered."""
    both = Knows(lambda x: {"ttft_s.p99": (x - 2) ** 2, "link_bytes": (x - 3) ** 2})
    found = search(planned(RATE, minimise=BOTH), tmp_path, 100, both)
    rates = sorted(float(text.split()[0]) for text in found.front["links.down.capacity"])
    assert all(2 <= rate <= 3 for rate in rates[1:-1])
    assert (rates[0], rates[-1]) == (pytest.approx(2, abs=0.1), pytest.approx(3, abs=0.1))
    assert max(b - a for a, b in itertools.pairwise(rates)) < 0.2
    assert pd.read_parquet(tmp_path / "front.parquet").shape == found.front.shape


@pytest.mark.parametrize("told", [None, {"ttft_s.p99": 0.0, "requests_rejected": 1.0}])
def test_points_that_fail_or_lose_requests_win_nothing_and_are_avoided(
    tmp_path: Path, told: dict[str, float] | None
) -> None:
    """Below 2 Mbit/s nothing comes, or requests are turned away and the others are fast: the best is still at 2.5."""
    found = search(planned(RATE), tmp_path, 60, Knows(lambda x: {"ttft_s.p99": (x - 2.5) ** 2} if x > 2 else told))
    assert found.front["ttft_s.p99"].tolist() == [pytest.approx(0, abs=0.01)]
    tried = [*found.points["links.down.capacity"], *found.failures["links.down.capacity"]]
    below = {text for text in tried if float(text.split()[0]) < 2}
    assert len(below) < 25  # half of the range; a sampler that learns nothing from failures tries 44
    assert len(found.failures) == (len(below) if told is None else 0)


def test_how_many_requests_are_lost_may_be_minimised(tmp_path: Path) -> None:
    """Then nothing is hidden: what loses some and is fast is beaten by none."""
    lossy = Knows(lambda x: {"ttft_s.p99": x, "requests_rejected": float(x < 2.5)})
    front = search(planned(RATE, minimise=["ttft_s.p99", "requests_rejected"]), tmp_path, 60, lossy).front
    assert front["requests_rejected"].tolist() == [1.0, 0.0]


def test_a_choice_a_whole_number_and_a_range_are_searched(tmp_path: Path) -> None:
    """Values come as they would be typed; whole numbers stay whole, sizes whole bytes."""
    axes = ("run.control_message+links.up.delay=0 B|1 ms,64 B|2 ms", f"{ROOM}=10..40 MiB:log:5")
    found = search(planned(*axes, minimise=BOTH), tmp_path, 20)
    rows = by_point(found.points, BOTH)
    assert set(zip(rows["run.control_message"], rows["links.up.delay"], strict=True)) == {
        ("0 B", "1 ms"),
        ("64 B", "2 ms"),
    }
    assert rows[ROOM].nunique() > 10
    workers = plan_search(
        SCENARIO, [read_axis("servers.receiver.count=1..3:lin:3")], minimise=["link_bytes"], arm="none"
    )
    counted = search(workers, tmp_path / "whole", 8)
    assert set(by_point(counted.points, ["link_bytes"])["servers.receiver.count"]) <= {1, 2, 3}


#: One whole batch of TPE and a half.
TRIALS = 12


def both(**how: Any) -> Search:
    """Return a search whose batches are short."""
    return planned(RATE, minimise=BOTH, sampler="tpe", **how)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a search that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    search(both(), folder, TRIALS)
    return folder


def test_two_workers_and_a_killed_parent_change_no_byte(whole: Path, tmp_path: Path) -> None:
    """SIGKILL in the middle of the second batch of two workers; the same command gives the same bytes."""
    script = f"""
import os, signal
from pathlib import Path
from simkv.sweep import Processes, plan_search, read_axis, search

def progress(done, total):
    if done == 10:
        os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    found = plan_search({str(SCENARIO)!r}, [read_axis({RATE!r})], minimise={BOTH!r}, arm="sequential", sampler="tpe")
    search(found, Path({str(tmp_path / "out")!r}), {TRIALS}, Processes(2), progress=progress)
"""
    (tmp_path / "script.py").write_text(script, encoding="utf-8")
    path = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run([sys.executable, str(tmp_path / "script.py")], env=path, timeout=60, check=False)
    assert ended.returncode == -signal.SIGKILL
    known = len((tmp_path / "out" / "journal.jsonl").read_bytes().splitlines())
    assert known == 11
    assert not (tmp_path / "out" / "points.parquet").exists()
    ran = Counts()
    search(both(), tmp_path / "out", TRIALS, ran)
    assert ran.count == TRIALS + 1 - known
    assert tables(tmp_path / "out") == tables(whole)


def test_more_trials_go_on_where_fewer_ended(whole: Path, tmp_path: Path) -> None:
    """The number of trials is no part of what a search is; another seed is."""
    search(both(), tmp_path, 5)
    ran = Counts()
    search(both(), tmp_path, TRIALS, ran)
    assert ran.count == TRIALS - 5
    assert tables(tmp_path) == tables(whole)
    with pytest.raises(InputError, match="holds another sweep"):
        search(both(overrides={"seed": 2}), tmp_path, TRIALS)
    with pytest.raises(InputError, match=r"minimise was \['ttft_s.p99', 'link_bytes'\], is \['ttft_s.p99'\]"):
        search(planned(RATE, sampler="tpe"), tmp_path, TRIALS)


class Counts:
    """Runs here, and counts what it runs."""

    def __init__(self) -> None:
        self.count = 0

    def run(self, work: Work, items: Sequence[Any]) -> Iterator[tuple[int, Outcome]]:
        """Yield in order."""
        self.count += len(items)
        return InProcess().run(work, items)


def test_the_command_prints_and_saves_the_front(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As text and as JSON; the scenario's own `sweep` is the space where it has one."""
    words = ["sweep", str(SCENARIO), "-p", RATE, "--minimise", "ttft_s.mean", "--minimise", "link_bytes"]
    words += ["--arm", "sequential", "--trials", "6", "--sampler", "random", "--out", str(tmp_path)]
    assert main(words) == 0
    told = " ".join(capsys.readouterr().out.split())  # whatever the terminal's width
    assert "three-turns, arm sequential: 1 of 6 points are beaten by no other in ttft_s.mean and link_bytes" in told
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["minimise"], found["sampler"], len(found["front"])) == (["ttft_s.mean", "link_bytes"], "random", 1)
    assert {row["arm"] for row in found["rows"]} == {"sequential"}
    least = min(row["value"] for row in found["rows"] if row["metric"] == "ttft_s.mean")
    assert found["front"][0]["ttft_s.mean"] == least
    assert pd.read_parquet(tmp_path / "front.parquet")["ttft_s.mean"].tolist() == [least]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--minimise", "ttft_s.p98", "--arm", "none"], "unknown metric 'ttft_s.p98'; did you mean 'ttft_s.p9"),
        (["--minimise", "coverage", "--arm", "none"], "coverage: more of it is better; want a metric of which less is"),
        (["--minimise", "link_bytes"], "has several arms; want --arm, one of: none, sequential"),
        (["--minimise", "link_bytes", "--arm", "sequental"], "no arm 'sequental'; did you mean 'sequential'?"),
        (["--minimise", "link_bytes", "--arm", "none", "--sampler", "tp"], "unknown sampler 'tp'; did you mean 'tpe'?"),
        (
            ["--minimise", "link_bytes", "--arm", "none", "--minimise", "link_bytes"],
            "want at least one metric to minimise",
        ),
        (["--minimise", "link_bytes", "--arm", "none", "-p", "seed=1,2"], "seed: is nothing to choose"),
        (
            ["--minimise", "link_bytes", "--arm", "none", "-p", "arms.sequential.policies.eviction=lru,fifo"],
            "arms.sequential.policies.eviction: changes nothing about the arm 'none'",
        ),
        (["--minimise", "link_bytes", "--arm", "none", "-p", f"{ROOM}=1 GiB,big"], f"{ROOM}: want a size such as"),
        (["--trials", "5"], "--trials is of a search; want --minimise METRIC too"),
        (["--arm", "none"], "--arm is of a search"),
    ],
)
def test_what_no_search_can_use_is_refused(
    words: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, and nothing is written."""
    assert main(["sweep", str(SCENARIO), "-p", RATE, *words, "--out", str(tmp_path / "out")]) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_missing_optuna_is_told_in_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the command that installs it."""
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert main(["sweep", str(SCENARIO), "-p", RATE, "--minimise", "link_bytes", "--arm", "none"]) == 2
    assert capsys.readouterr().err == "error: a search needs optuna: pip install 'simkv[tune]'\n"


def test_values_that_do_not_go_together_are_failed_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is fine with the first of the others; their pair is a failed point, not the end of the search."""
    known = Ground.scenario

    def scenario(self: Ground, values: dict[str, object]) -> Scenario:
        if values == {"links.up.delay": "2 ms", "links.down.delay": "2 ms"}:
            raise InputError("want one fast link")
        return known(self, values)

    monkeypatch.setattr(Ground, "scenario", scenario)
    one = planned("links.up.delay=1 ms,2 ms", "links.down.delay=1 ms,2 ms", sampler="random")
    for _ in range(2):
        found = search(one, tmp_path, 20)
        assert found.failures.drop(columns="point_id").to_numpy().tolist() == [["2 ms", "2 ms", "want one fast link"]]
        assert found.points["point_id"].nunique() == 3
