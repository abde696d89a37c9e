"""Every shipped scenario loads, says what it is, and runs short to its end."""

from __future__ import annotations

from pathlib import Path

import pytest

import simkv
from simkv.errors import InputError

SCENARIOS = sorted((Path(__file__).resolve().parents[2] / "scenarios").glob("*.yaml"))

#: What makes a scenario short; the others are short as they are.
SHORTER = {
    "5g_slice": {"replications": "1", "workload.sessions": "4"},
    "agent_sessions": {"replications": "1", "workload.sessions": "2"},
    "incremental": {"replications": "1", "workload.sessions": "3"},
    "mooncake": {"replications": "1", "workload.limit": "100"},
    "ten_turns": {"replications": "1", "workload.sessions": "4"},
    "useful_not_ready": {"replications": "1", "workload.sessions": "3"},
}


def test_there_are_scenarios() -> None:
    """The main one and the one computed by hand are among them."""
    assert {"5g_slice", "three_turns"} <= {path.stem for path in SCENARIOS}


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_opens_with_a_comment(path: Path) -> None:
    """The first line tells people what the scenario is about."""
    assert path.read_text(encoding="utf-8").startswith("# ")


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_runs_short(path: Path) -> None:
    """It runs to the end under its own arms, and every request is accounted for."""
    try:
        scenario = simkv.load(path, overrides=SHORTER.get(path.stem, {}))
    except InputError as error:
        if "no such file" in str(error) and path.stem in ("agent_sessions", "mooncake"):
            pytest.skip(f"the trace that it names is not here: {error}")
        raise
    comparison = simkv.compare(scenario)
    assert {arm.name for arm in scenario.arms} == {result.arm for result in comparison.results}
    assert all(set(result.requests["status"]) == {"finished"} for result in comparison.results)
