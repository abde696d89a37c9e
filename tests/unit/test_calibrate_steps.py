"""What steps cost by layers measured whole: the laws that a fake device was made of come back."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

pytest.importorskip("simkv.calibrate", reason="simkv.calibrate is found where simkv is installed (pip install -e .)")

import simkv
from simkv.compute.op_law import LogGrid, OpLaw
from simkv.compute.op_table import OpTable
from simkv.compute.steptime import StepTime
from simkv.errors import InputError
from tests.unit.fake_bench import LAWS, SHAPE, calibrated

PARTS = "prefill_layer,decode_layer,embedding,lm_head"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def priced(tmp_path_factory: pytest.TempPathFactory) -> StepTime:
    """Return the prices of the fake device, from its file."""
    return calibrated(tmp_path_factory.mktemp("all"), budget_s=600.0).step_time(SHAPE)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> StepTime:
    """The same without mixed and unequal steps."""
    return calibrated(tmp_path_factory.mktemp("plain"), PARTS, budget_s=600.0).step_time(SHAPE)


def once_s(tokens: int, emitting: int) -> float:
    return LAWS["embedding"](tokens) + LAWS["lm_head"](emitting)


@pytest.mark.parametrize("chunk", [(16, 0), (100, 300), (2048, 4096)])
def test_a_prefill_costs_its_layers(priced: StepTime, chunk: tuple[int, int]) -> None:
    wanted = 24 * LAWS["prefill_layer"](*chunk) + once_s(chunk[0], 1)
    assert priced.step([chunk], 0, 0, 1) == pytest.approx(wanted, rel=1e-5)
    assert not priced.outside


@pytest.mark.parametrize(("batch", "context"), [(1, 16), (3, 777), (16, 4096)])
def test_a_decode_costs_its_layers(priced: StepTime, batch: int, context: int) -> None:
    wanted = 24 * LAWS["decode_layer"](batch, context) + once_s(batch, batch)
    assert priced.step([], batch, batch * context, batch) == pytest.approx(wanted, rel=1e-5)
    assert not priced.outside


def test_a_mixed_step_costs_what_mixed_steps_showed(priced: StepTime, plain: StepTime) -> None:
    parts = LAWS["prefill_layer"](256, 0) + LAWS["decode_layer"](4, 1000)
    for prices, ratio in ((priced, 0.9), (plain, 1.0)):
        wanted = 24 * ratio * parts + once_s(260, 5)
        assert prices.step([(256, 0)], 4, 4000, 5) == pytest.approx(wanted, rel=1e-5)


def test_unequal_contexts_lie_between_their_mean_and_the_longest(priced: StepTime, plain: StepTime) -> None:
    assert priced.wants_longest
    assert not plain.wants_longest
    mean_s, longest_s = (24 * LAWS["decode_layer"](4, context) for context in (500, 2000))
    wanted = (mean_s + longest_s) / 2 + once_s(4, 4)
    assert priced.step([], 4, 2000, 4, 2000) == pytest.approx(wanted, rel=1e-4)
    assert plain.step([], 4, 2000, 4, 2000) == pytest.approx(mean_s + once_s(4, 4), rel=1e-5)


def test_a_span_is_the_sum_of_its_steps(plain: StepTime) -> None:
    """Closed form against one by one, up to a moment in between."""
    steps = [plain.step([], 3, 900 + 3 * step, 3) for step in range(200)]
    assert plain.span(3, 900, 200, math.inf) == (200, pytest.approx(sum(steps), rel=1e-9))
    count, time_s = plain.span(3, 900, 200, sum(steps[:50]) + 1e-6)
    assert (count, time_s) == (51, pytest.approx(sum(steps[:51]), rel=1e-9))


def test_outside_of_what_was_measured_is_told(priced: StepTime, tmp_path: Path) -> None:
    priced.step([(5000, 0)], 0, 0, 1)
    assert priced.outside
    priced.step([], 64, 64, 64)
    assert priced.outside
    strict = calibrated(tmp_path, PARTS).step_time(SHAPE, strict=True)
    for step in (lambda: strict.step([(5000, 0)], 0, 0, 1), lambda: strict.step([], 64, 640, 64)):
        with pytest.raises(InputError, match="the profile is strict"):
            step()


def test_experts_over_ranks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.json: no times of experts, which 2 data-parallel ranks share"):
        calibrated(tmp_path, PARTS).step_time(SHAPE, expert_ranks=2)


def test_nothing_costs_nothing(priced: StepTime) -> None:
    assert priced.step([(0, 5)], 0, 0, 0) == 0.0


# -- a table --------------------------------------------------------------------------------------------------------


def test_a_grid_is_exact_where_measured() -> None:
    rows = [(x, y, 1.0 + x * y) for x in (0, 16, 1024) for y in (1, 2, 8)]
    grid = LogGrid(rows)
    assert all(grid.at(row[:-1]) == pytest.approx(row[-1], rel=1e-12) for row in rows)
    with pytest.raises(InputError, match="its points do not fill a rectangle"):
        LogGrid(rows[1:])


def test_outside_a_table_goes_on_as_the_fit_does() -> None:
    """Scaled so that both meet at the border, never clamped."""
    law = OpLaw(OpTable("score_snapkv", [(10, 2.0), (20, 4.0)]), ["tokens"], [0.1], "table")
    assert law.at((40,), []) == pytest.approx(8.0)
    flat = OpLaw(OpTable("score_snapkv", [(10, 2.0), (20, 4.0)]), ["tokens"], [0.0], "table")
    assert flat.at((40,), []) == 4.0


# -- in a scenario --------------------------------------------------------------------------------------------------


def test_a_scenario_runs_on_it(tmp_path: Path) -> None:
    """`gpu: {name: measured, path: ...}`, and a step outside of the grid is counted."""
    calibrated(tmp_path)
    overrides = {"model": "Qwen2.5-0.5B"}
    text = (ROOT / "scenarios" / "three_turns.yaml").read_text()
    text = text.replace("{name: fixed, prefill_per_token: 100 ms, decode_step: 1 s}", "{name: measured, path: a.json}")
    (tmp_path / "world.yaml").write_text(text.replace("../traces", str(ROOT / "traces")))
    comparison = simkv.compare(simkv.load(tmp_path / "world.yaml", overrides))
    assert (comparison.table["ttft_s_mean"] > 0).all()
