"""Where moving or prefetching KV does not pay: two published negative cases, constructed, and their counter-cases."""

from __future__ import annotations

from functools import lru_cache

import pytest

import simkv
from simkv.metrics import replication_metrics
from simkv.report.comparison import Comparison
from tests.conftest import ROOT

#: [s] Mean TTFT above that of a hit, of a published report on HiCache with MiniMax-M2.7: recompute, L3-a and L3-b.
WAVE_S = {"recompute": 1.725 - 0.482, "L3-a": 2.450 - 0.482, "L3-b": 1.447 - 0.482}
LONG_S = {"recompute": 5.118 - 1.027, "L3-a": 5.250 - 1.027, "L3-b": 2.697 - 1.027}
LONG = {"workload.trace": "../traces/tier_long.jsonl", "servers.gpu.gpu.prefill_per_token": "34.7 us"}
WAVE_RATES = {"L3-a": "55.1 Gbit/s", "L3-b": "139 Gbit/s"}
LONG_RATES = {"L3-a": "29.3 Gbit/s", "L3-b": "74.1 Gbit/s"}


def above_a_hit_s(rates: dict[str, str], overrides: dict[str, str]) -> dict[str, float]:
    """Return [s] mean TTFT - that of a hit, for recomputing and for each tier."""
    found: dict[str, float] = {}
    for tier, rate in rates.items():
        scenario = simkv.load(ROOT / "scenarios" / "slow_tier.yaml", {**overrides, "links.tier.capacity": rate})
        table = simkv.compare(scenario, ["text", "none", "perfect-residency"]).table.set_index("arm")["ttft_s_mean"]
        found["recompute"] = table["text"] - table["perfect-residency"]
        found[tier] = table["none"] - table["perfect-residency"]
    return found


@pytest.mark.parametrize(
    ("published_s", "rates", "overrides", "tolerance"),
    [(WAVE_S, WAVE_RATES, {}, 0.15), (LONG_S, LONG_RATES, LONG, 0.005)],
    ids=["8,192 predicted", "131,072 fitted"],
)
def test_a_slow_tier_loses_and_a_faster_one_wins(
    published_s: dict[str, float], rates: dict[str, str], overrides: dict[str, str], tolerance: float
) -> None:
    ours_s = above_a_hit_s(rates, overrides)
    assert ours_s["L3-b"] < ours_s["recompute"] < ours_s["L3-a"]
    assert ours_s == pytest.approx(published_s, rel=tolerance)


def test_the_rates_of_the_tiers_follow_from_the_long_prompt() -> None:
    bits = 8 * 131_072 * 117_952
    for tier, rate in LONG_RATES.items():
        assert float(rate.split()[0]) == pytest.approx(bits / LONG_S[tier] / 1e9, rel=0.002)
        assert float(WAVE_RATES[tier].split()[0]) == pytest.approx(bits / LONG_S[tier] / 1e9 * 32 / 17, rel=0.003)


@lru_cache
def attached(section_tokens: int = 16) -> Comparison:
    told = {"workload.sessions": 5, "replications": 4, "workload.section_tokens": section_tokens}
    scenario = simkv.load(ROOT / "scenarios" / "useful_not_ready.yaml", told)
    return simkv.compare(scenario, ["none", "sequential", "oracle"])


def saved_ratio(comparison: Comparison, arm: str) -> tuple[float, float]:
    """Return by what share mean TTFT fell, as an interval."""
    comparison_json = comparison.to_json()["comparisons"]
    (found,) = [c for c in comparison_json if (c["arm"], c["baseline"], c["metric"]) == (arm, "none", "ttft_s")]
    low, high = found["ratio_ci95"]
    return 1 - 1 / low, 1 - 1 / high


def test_useful_is_not_ready() -> None:
    comparison = attached()
    parts = [replication_metrics(run) for run in comparison.runs("sequential")]
    assert all(found["accuracy"] > 0.95 and found["timeliness"] > 0.95 for found in parts)
    assert all(found["readiness"] < 0.05 and found["complete_hit_ratio"] < 0.05 for found in parts)
    low, high = saved_ratio(comparison, "sequential")
    assert -0.005 < low < high < 0.04
    ends_s = [[run.end_s for run in comparison.runs(arm)] for arm in ("none", "sequential")]
    assert sum(ends_s[1]) == pytest.approx(sum(ends_s[0]), rel=0.005)  # throughput: the same requests in that time


def test_complete_requests_gain() -> None:
    comparison = attached()
    assert all(replication_metrics(run)["readiness"] > 0.8 for run in comparison.runs("oracle"))
    assert saved_ratio(comparison, "oracle")[0] > 0.5


def test_parts_gain_where_they_are_most_of_the_request() -> None:
    low, _ = saved_ratio(attached(section_tokens=4096), "sequential")
    assert low > 0.3
