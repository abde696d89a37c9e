"""Regrets and removed stalls: which arm they are measured against, and their values against hand numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from simkv.compare import compare
from simkv.report.comparison import Comparison
from simkv.scenario import load
from tests.conftest import ROOT
from tests.unit.synthetic_runs import comparison

EXACT = {"rel": 0, "abs": 1e-9}

ARMS = """
arms:
  - {name: none}
  - {name: sequential, policies: {prefetch: sequential}}
  - {name: guessing, policies: {prefetch: {name: threshold, threshold: 0.9}, predictor: oracle}}
  - {name: oracle, policies: {prefetch: oracle}}
  - {name: text, policies: {acquisition: text}}
  - {name: fifo, policies: {prefetch: sequential, eviction: fifo}}
  - {name: belady, policies: {prefetch: sequential, eviction: belady}}
  - name: small
    policies: {prefetch: sequential, eviction: belady}
    servers: {receiver: {buffers: {hbm: {size: 100 MiB}}}}
"""


@pytest.fixture(scope="module")
def three_turns(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """The story of three turns with more arms."""
    folder = tmp_path_factory.mktemp("regret")
    text = (ROOT / "scenarios" / "three_turns.yaml").read_text().partition("\narms:")[0] + ARMS
    (folder / "more.yaml").write_text(text.replace("../traces", str(ROOT / "traces")))
    return compare(load(folder / "more.yaml"))


def of(comparison: Comparison, name: str) -> dict[str, Any]:
    return next(arm for arm in comparison.to_json()["arms"] if arm["name"] == name)


def test_the_reference_differs_in_that_question_alone(three_turns: Comparison) -> None:
    infos = {arm.name: arm for arm in three_turns.arms}
    knowing = ("guessing", "oracle")
    for name in ("none", "sequential", "guessing", "oracle"):
        assert infos[name].prefetch_oracles == knowing
    for name in ("text", "fifo", "belady", "small"):  # another acquisition, eviction or buffer
        assert infos[name].prefetch_oracles == ()
    assert infos["fifo"].eviction_oracles == infos["sequential"].eviction_oracles == ("belady",)
    assert infos["none"].eviction_oracles == infos["text"].eviction_oracles == ()
    assert infos["small"].eviction_oracles == ("small",)


def test_regret_of_prefetch_by_hand(three_turns: Comparison) -> None:
    """Without prefetch 5.7 s three times; the oracle knows what sequential guesses: 5.7, 0.5, 0.5."""
    assert of(three_turns, "none")["regret_prefetch"] == {
        "reference": "guessing",
        "seconds": pytest.approx(5.7 - 6.7 / 3, **EXACT),
        "ci95": None,
        "reason": None,
    }
    assert of(three_turns, "sequential")["regret_prefetch"]["seconds"] == pytest.approx(0.0, **EXACT)


def test_where_there_is_no_reference_the_reason_is_told(three_turns: Comparison) -> None:
    text = of(three_turns, "text")
    assert text["regret_prefetch"]["seconds"] is text["regret_prefetch"]["reference"] is None
    assert text["regret_prefetch"]["reason"].startswith("no arm differs from it in prefetch and predictor alone")
    assert text["regret_eviction"]["reason"].startswith("no arm differs from it in eviction alone")
    assert of(three_turns, "belady")["regret_eviction"]["reason"] == "it is the reference point itself"


def test_each_regret_is_a_comparison_as_well(three_turns: Comparison) -> None:
    entries = {(c["arm"], c["baseline"], c["metric"]): c for c in three_turns.to_json()["comparisons"]}
    assert len(entries) == len(three_turns.to_json()["comparisons"])
    regret = of(three_turns, "none")["regret_prefetch"]
    assert entries["none", regret["reference"], "ttft_s"]["difference"] == regret["seconds"]
    assert ("fifo", "belady", "ttft_s") in entries
    assert ("fifo", "belady", "stall_s") not in entries


def test_exposed_stall_removed_by_hand(three_turns: Comparison) -> None:
    """Every turn stalls 5.2 s without prefetch; with it the first one does."""
    assert of(three_turns, "sequential")["exposed_stall_removed"] == {
        "seconds": pytest.approx(5.2 - 5.2 / 3, **EXACT),
        "ci95": None,
        "ratio": pytest.approx(2 / 3, **EXACT),
        "ratio_ci95": None,
    }
    assert of(three_turns, "none")["exposed_stall_removed"]["seconds"] == 0.0
    assert of(three_turns, "sequential")["metrics"]["readiness"] == pytest.approx(2 / 3, **EXACT)


def test_stalls_are_paired(tmp_path: Path) -> None:
    """The interval of the difference is that of the paired differences, which the synthetic arms share."""
    found = comparison()
    arm, none = (next(a for a in found.summary.arms if a.info.name == name) for name in ("sequential", "none"))
    contrast = found.summary.contrast("sequential", "none", "stall_s")
    assert contrast is not None
    removed = arm.stall_removed
    assert removed.value == pytest.approx(-(contrast.difference.value or 0.0), **EXACT)
    assert removed.low == pytest.approx(-(contrast.difference.high or 0.0), **EXACT)
    share = arm.stall_removed_ratio
    assert share.value is not None
    assert removed.value is not None
    assert share.value == pytest.approx(removed.value / (none.metrics["stall_s.mean"].value or 0.0))
    assert share.low is not None
    assert share.high is not None
    assert share.low < share.value < share.high


def test_regrets_stand_in_the_table_where_there_are_any(three_turns: Comparison) -> None:
    assert "regret of prefetch s  regret of eviction s" in str(three_turns)
    assert "no bound. Here: guessing, belady." in " ".join(str(three_turns).split())
    assert "regret" not in str(comparison(["text", "none"]))
    assert {"regret_prefetch_s", "regret_eviction_reference"} <= set(three_turns.table.columns)
