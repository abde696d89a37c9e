"""The method of calibration, without PyTorch: when it stops, what it fits, how it goes on, what it writes."""

from __future__ import annotations

import doctest
import importlib
import json
import math
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("simkv.calibrate", reason="simkv.calibrate is found where simkv is installed (pip install -e .)")

from simkv.calibrate import fits, ops, plan, profile_of, provenance, rounds, stopping, verdict
from simkv.calibrate.journal import Burst, Journal

from simkv.compute import calibration_file
from simkv.errors import InputError
from tests.unit.fake_bench import LAWS, FakeBench, calibrated, run_of, small_plan

FREE = (
    "fits",
    "journal",
    "ops",
    "plan",
    "profile_of",
    "provenance",
    "rounds",
    "stopping",
    "verdict",
    "waiting",
    "wire",
)


@pytest.mark.parametrize("name", FREE)
def test_examples_run(name: str) -> None:
    """The doctests of modules outside `simkv/`."""
    assert doctest.testmod(importlib.import_module(f"simkv.calibrate.{name}")).failed == 0


# -- when it stops --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "rank"), [(5, None), (6, 1), (8, 1), (9, 2), (20, 6), (50, 18)])
def test_ranks_are_those_of_the_sign_test(count: int, rank: int | None) -> None:
    """Published table of the 95 % interval of a median (binomial 1/2)."""
    assert stopping.order(count) == rank


def test_the_interval_covers_the_median_as_often_as_it_says() -> None:
    random = np.random.default_rng(1)
    inside = 0
    for _ in range(2000):
        low, high = stopping.interval(random.lognormal(0, 0.3, 12).tolist()) or (0, 0)
        inside += low <= 1.0 <= high
    assert inside / 2000 >= 0.95 - 0.015


def test_a_run_stops_when_certain(tmp_path: Path) -> None:
    """No noise: after the least number of rounds."""
    told = calibrated(tmp_path)
    assert told.quality is not None
    assert (told.quality["run"]["rounds"], told.quality["run"]["converged"]) == (rounds.LEAST_ROUNDS, True)


def test_a_run_that_is_not_certain_says_so(tmp_path: Path) -> None:
    """Noise of 30 %: at most so many rounds, and what was not met."""
    told = calibrated(tmp_path, "lm_head", FakeBench(noise=0.3))
    assert told.quality is not None
    run = told.quality["run"]
    assert (run["rounds"], run["converged"]) == (rounds.MOST_ROUNDS, False)
    assert "of the points within 3 % (90 % wanted)" in run["unmet"]
    assert told.notes["stopped"] == run["unmet"]


def test_a_budget_ends_a_round_in_its_middle(tmp_path: Path) -> None:
    """What has samples is kept, the rest is told of."""
    todo = small_plan("lm_head,embedding")
    clock = iter(range(10_000))
    with pytest.MonkeyPatch.context() as patch, Journal(tmp_path / "j", {}) as journal:
        patch.setattr(rounds.time, "perf_counter", lambda: float(next(clock)))
        stop, spent = rounds.run(todo, FakeBench(), journal, 20.0, 1)
        assert spent == 20
        assert stop.unmet.endswith("the budget of 20 s was spent")
        told = profile_of.profile(run_of(todo, stop), journal.bursts, "here")
    assert told.quality is not None
    assert {op["status"] for op in told.quality["ops"]} <= {"complete", "partial"}


# -- anchors --------------------------------------------------------------------------------------------------------


def test_anchors_take_out_the_drift_of_the_machine() -> None:
    """A machine that is twice as slow in every other round."""
    bursts = {"anchor:a:0": {}, "lm_head:1": {}}
    for turn in range(8):
        slow = 1.0 + turn % 2
        bursts["anchor:a:0"][turn] = Burst(slow, slow, 0.0, 1)
        bursts["lm_head:1"][turn] = Burst(3 * slow, 3 * slow, 0.0, 1)
    found = rounds.normalised(bursts)
    assert max(found.by_key["lm_head:1"]) == pytest.approx(min(found.by_key["lm_head:1"]))


def test_anchors_say_nothing_of_sockets() -> None:
    bursts = {"anchor:a:0": {0: Burst(1.0, 1.0, 0.0, 1), 1: Burst(2.0, 2.0, 0.0, 1)}}
    bursts["tcp_send:4096"] = {0: Burst(1.0, 1.0, 0.0, 1), 1: Burst(1.0, 1.0, 0.0, 1)}
    assert rounds.normalised(bursts).by_key["tcp_send:4096"] == [1.0, 1.0]


# -- what it fits ---------------------------------------------------------------------------------------------------


def test_a_fit_finds_the_law_it_was_made_of() -> None:
    terms = ops.OPS["prefill_layer"].terms
    axes = [(new, cached) for new in (16, 64, 256, 1024) for cached in (0, 256, 4096)]
    rows = [(*point, LAWS["prefill_layer"](*point)) for point in axes]
    found, _ = fits.fit(ops.OPS["prefill_layer"].axes, rows, terms)
    assert found == pytest.approx((1e-4, 2e-5, 0.0, 3e-9, 6e-9, 0.0), rel=1e-6, abs=1e-13)


def test_coefficients_are_never_negative() -> None:
    """A falling time has no such form; the best is a constant."""
    found, _ = fits.fit(("tokens",), [(1, 3.0), (100, 1.0)], ("1", "tokens"))
    assert min(found) >= 0


def test_held_out_points_choose_between_fit_and_table() -> None:
    """A line is a fit; a staircase is a table; and both errors are kept."""
    grid = [2**power for power in range(6, 12)]
    line = fits.choose("score_snapkv", [(n, 1e-6 + 1e-8 * n) for n in grid], [(100, 2e-6)], ("1", "tokens"))
    steps = [(n, 1e-6 * n**2) for n in grid]
    table = fits.choose("score_snapkv", steps, [(90, 1e-6 * 90**2)], ("1", "tokens"))
    assert (line.predict, table.predict) == ("fit", "table")
    assert line.chosen.median < 1e-9
    assert table.rejected is not None
    assert table.rejected.median > table.chosen.median


def test_a_table_with_holes_is_no_table() -> None:
    rows = [(1024, 64, 1e-5), (1024, 256, 2e-5), (4096, 64, 1e-5)]
    assert fits.choose("gather", rows, [(2048, 100, 1e-5)], ("1", "tokens", "kept")).rejected is None


def test_the_parts_of_mixed_and_unequal_steps(tmp_path: Path) -> None:
    """The one number that joins the parts is found, and the rest fits."""
    told = calibrated(tmp_path)
    assert told.quality is not None
    by_name = {op["name"]: op for op in told.quality["ops"]}
    assert [by_name[name]["predict"] for name in ("mixed_layer", "unequal_layer")] == ["composed", "composed"]
    assert by_name["mixed_layer"]["holdout"]["p95"] < 1e-3
    assert by_name["unequal_layer"]["holdout"]["p95"] < 1e-3


# -- where it measures ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_held_out_points_are_off_the_grid_and_inside_it(kind: str) -> None:
    """15-20 % of the points of grids that are large enough."""
    todo = plan.make(list(ops.OPS), kind, 600.0, 1, {})
    for name in todo.ops():
        train = [case.point for case in todo.cases if case.op == name and case.role == plan.TRAIN]
        held_out = [case.point for case in todo.cases if case.op == name and case.role == plan.HOLDOUT]
        assert not set(train) & set(held_out)
        assert bool(held_out) == bool(ops.OPS[name].terms)
        for axis in range(len(train[0])):
            low, high = (end(point[axis] for point in train) for end in (min, max))
            assert all(low <= point[axis] <= high for point in held_out)
        if len(train) >= 12 and held_out:
            assert 0.15 <= len(held_out) / (len(held_out) + len(train)) <= 0.2


def test_chunks_of_schedulers_are_on_the_grid() -> None:
    todo = plan.make(["prefill_layer"], "cpu", 600.0, 1, {})
    assert {256, 512, 2048} <= {case.point[0] for case in todo.cases}


def test_a_plan_is_known_by_its_hash() -> None:
    one, same, other = (plan.make(["lm_head"], "cpu", 600.0, seed, {"dtype": "x"}) for seed in (1, 1, 2))
    assert one.sha256 == same.sha256 != other.sha256


@pytest.mark.parametrize(("words", "message"), [("prefil", "did you mean 'prefill'"), (",", "want at least one of")])
def test_unknown_operations_are_refused(words: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ops.chosen(words)


# -- a run that was cut ---------------------------------------------------------------------------------------------


def test_a_cut_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """Cut after 50 bursts and in the middle of a line: the result is that of a run that was not cut."""
    whole = calibrated(tmp_path, "lm_head,embedding")
    todo = small_plan("lm_head,embedding")
    path = tmp_path / "b.journal.jsonl"
    with Journal(path, {"plan": todo.sha256}) as journal:

        def cut(spent: float, budget: float, what: str) -> None:
            if sum(map(len, journal.bursts.values())) == 50:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            rounds.run(todo, FakeBench(), journal, 60.0, 1, cut)
    path.write_bytes(path.read_bytes()[:-7])
    bench = FakeBench()
    with Journal(path, {"plan": todo.sha256}) as journal:
        assert journal.resumed == 49
        assert journal.elapsed_s > 0
        stop, _ = rounds.run(todo, bench, journal, 60.0, 1)
        again = profile_of.profile(run_of(todo, stop), journal.bursts, "again")
    assert bench.visits == sum(map(len, journal.bursts.values())) - 49
    assert [op.rows for op in again.ops] == [op.rows for op in whole.ops]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"journal": 1, "plan": "other"}\n', r"the journal of another run \(plan 'other', want 'this'\): remove it"),
        ('{"journal": 2, "plan": "this"}\n', "the journal of another run"),
        ("{}\n", "the journal of another run"),
        ("what?\n", "a.jsonl:1: not a journal of a calibration"),
        ('{"journal": 1, "plan": "this"}\n[]\n', "a.jsonl:2: not a journal"),
        ('{"journal": 1, "plan": "this"}\n{"c": "a"}\n', "a.jsonl:2: the key 't' is missing"),
    ],
)
def test_the_journal_of_another_run_is_not_continued(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        Journal(path, {"plan": "this"})
    assert path.read_text() == text


def test_what_failed_is_not_tried_again(tmp_path: Path) -> None:
    """An operation that the device cannot do costs one visit a point, and is absent from the profile."""
    bench = FakeBench(broken="quantise_int8_token")
    told = calibrated(tmp_path, "lm_head,quantise_int8_token", bench)
    assert [op.name for op in told.ops] == ["lm_head"]
    with pytest.raises(InputError, match="nothing was measured"):
        calibrated(tmp_path, "lm_head", FakeBench(broken="lm_head"))


# -- what it writes -------------------------------------------------------------------------------------------------


def test_what_was_measured_is_read_again(tmp_path: Path) -> None:
    told = calibrated(tmp_path, bench=FakeBench(noise=0.01))
    read = calibration_file.read(tmp_path / "a.json")
    assert read.quality == json.loads(json.dumps(told.quality))
    assert [(op.name, list(op.rows)) for op in read.ops] == [(op.name, list(op.rows)) for op in told.ops]
    assert not (tmp_path / "a.journal.jsonl").exists()


def test_the_quality_table_tells_what_was_missed(tmp_path: Path) -> None:
    told = calibrated(tmp_path, "prefill_layer,decode_layer,mixed_layer,tcp_send")
    assert told.quality is not None
    points = {op.name: len(op.rows) for op in told.ops}
    assert [row["verdict"] for row in verdict.rows(told.quality, points)] == ["met", "met", "told alone", "met"]
    worse = json.loads(json.dumps(told.quality))
    worse["ops"][0]["holdout"].update(median=0.06, p95=0.16)
    worse["ops"][1]["status"] = "partial"
    text = verdict.to_text(worse, points)
    assert "median above 5 %; P95 above 15 %" in text
    assert "some points failed or were not reached" in text
    assert text.endswith("1 of 3 operations as wanted\n")


def test_the_module_is_known_by_its_files(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("1")
    one = provenance.module_sha256(tmp_path)
    (tmp_path / "a.py").write_text("2")
    assert one != provenance.module_sha256(tmp_path) != provenance.module_sha256()


def test_halves_that_differ() -> None:
    assert profile_of.repeatability([[1.0, 1.1] * 3], "median") == {"n": 1, "median": 0.1, "p95": 0.1}
    assert not math.isfinite(stopping.half_width([1.0]))
