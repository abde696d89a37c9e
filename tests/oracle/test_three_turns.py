"""The hand-computed story of one sender and one receiver, exact to 1e-9."""

from __future__ import annotations

import pytest

from simkv.results import RunResult
from simkv.scenario import load
from simkv.simulation import run
from tests.conftest import ROOT

EXACT = {"rel": 0, "abs": 1e-9}


def play(name: str, arm: str) -> RunResult:
    return run(load(ROOT / "scenarios" / f"{name}.yaml"), arm)


def test_without_prefetch_every_turn_pays_compute_and_transfer() -> None:
    result = play("three_turns", "none")
    # query 0.1, compute 2, send 3, arrive 0.1, suffix 0.5
    assert result.requests["first_token_s"] == pytest.approx([5.7, 16.4, 27.1], **EXACT)
    assert result.requests["last_token_s"][-1] == pytest.approx(31.1, **EXACT)
    assert sum(result.speculative_bytes.values()) == 0


def test_sequential_prefetch_hides_both() -> None:
    result = play("three_turns", "sequential")
    assert result.requests["first_token_s"] == pytest.approx([5.7, 11.2, 16.7], **EXACT)
    assert result.requests["last_token_s"][-1] == pytest.approx(20.7, **EXACT)
    pushes = [
        end + 0.1
        for end, traffic in zip(result.transfers["end_s"], result.transfers["class"], strict=True)
        if traffic == "speculative"
    ]
    assert pushes == pytest.approx([8.2, 15.9], **EXACT)  # when chunks 2 and 3 are resident
    assert result.speculative_units["used_in_time"] == 2
    assert result.requests["ready_at_arrival"] == [False, True, True]


def test_the_ratio_of_mean_ttft() -> None:
    ttft_s = {}
    for arm in ("none", "sequential"):
        requests = play("three_turns", arm).requests
        pairs = zip(requests["first_token_s"], requests["arrival_s"], strict=True)
        ttft_s[arm] = sum(first - arrival for first, arrival in pairs) / 3
    assert ttft_s["none"] / ttft_s["sequential"] == pytest.approx(17.1 / 6.7, rel=1e-12)  # 2.552


def test_a_late_chunk_is_promoted_one_way_delay_after_it_is_asked_for() -> None:
    result = play("three_turns_late", "sequential")
    assert result.requests["arrival_s"][1] == pytest.approx(6.7, **EXACT)
    assert result.requests["first_token_s"][1] == pytest.approx(8.7, **EXACT)
    columns = (result.transfers[name] for name in ("class", "start_s", "end_s", "wire_bytes", "outcome"))
    _, speculative, demand = list(zip(*columns, strict=True))[:3]
    chunk_bytes = 20 * 36_864
    assert (speculative[0], speculative[4]) == ("speculative", "promoted")
    assert speculative[2] == pytest.approx(6.8, **EXACT)  # the promotion reaches the sender
    assert speculative[3] == chunk_bytes * 17 // 30
    assert (demand[0], demand[3]) == ("demand", chunk_bytes - speculative[3])
    assert result.speculative_bytes["used_late"] >= speculative[3]
    assert result.requests["late_units"] == [0, 1, 1]


@pytest.mark.parametrize("name", ["three_turns", "three_turns_late"])
@pytest.mark.parametrize("arm", ["none", "sequential"])
def test_step_by_step_tells_the_same_story(name: str, arm: str) -> None:
    scenario = load(ROOT / "scenarios" / f"{name}.yaml")
    stepped = load(ROOT / "scenarios" / f"{name}.yaml", {"run.step_by_step": True})
    assert run(scenario, arm).requests == run(stepped, arm).requests
