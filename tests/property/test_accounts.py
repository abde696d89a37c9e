"""Every byte, GPU-second and block ends counted once; and the checks that say so can fail."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simkv.errors import InvariantError
from simkv.kv.block import Run
from simkv.kv.buffer import KvBuffer
from simkv.ledger import Ledger
from simkv.network.flow import Books, Flow, Traffic
from simkv.results import OUTCOMES, RunResult
from simkv.scenario import Scenario, from_text, load
from simkv.simulation import run
from tests.conftest import ROOT


@pytest.fixture
def late() -> Scenario:
    return load(ROOT / "scenarios" / "three_turns_late.yaml")


def test_the_accounts_balance(late: Scenario) -> None:
    result = run(late, "sequential")
    carried = sum(link.wire_bytes_by_class["speculative"] for link in result.links.values())
    assert sum(result.speculative_bytes.values()) == carried > 0
    assert sum(result.speculative_gpu_s.values()) == pytest.approx(4.0)


def test_a_dropped_byte_is_noticed(late: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    book = Books.book

    def dropping(self: Books, flow: Flow, t_s: float) -> None:
        book(self, flow, t_s)
        if flow.traffic is Traffic.SPECULATIVE:
            flow.wire_bytes_by_class[Traffic.SPECULATIVE] -= 1

    monkeypatch.setattr(Books, "book", dropping)
    with pytest.raises(InvariantError, match="the ledger has"):
        run(late, "sequential")


def test_a_late_unit_counted_twice_is_noticed(late: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    book = Ledger._book

    def twice(self: Ledger, outcome: str, wire_bytes: int, gpu_s: float) -> None:
        for _ in range(2 if outcome == "used_late" else 1):
            book(self, outcome, wire_bytes, gpu_s)

    monkeypatch.setattr(Ledger, "_book", twice)
    with pytest.raises(InvariantError, match="the ledger has"):
        run(late, "sequential")


def test_a_leaked_reservation_is_noticed(late: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    release = KvBuffer.release

    def leaking(self: KvBuffer, run: Run, *, drop: bool = False, was_used: bool = True) -> None:
        if not drop:
            release(self, run, was_used=was_used)

    monkeypatch.setattr(KvBuffer, "release", leaking)
    with pytest.raises(InvariantError, match="still in use"):
        run(late, "sequential")


RANDOM = """
simkv: 1
name: random
model: Qwen2.5-0.5B
seed: {seed}
replications: 1
workload:
  generator: sequential-reading
  conversations: 6
  turns: 5
  chunks: 5
  chunk_tokens: {chunk_tokens}
  layout: {layout}
  session_rate: {rate} /min
servers:
  cloud: {{gpu: analytic-a100-sxm, buffers: {{hbm: {{size: {cloud} MiB}}}}}}
  ue: {{count: {count}, source: cloud, gpu: analytic-phone-npu,
        engine: {{speculative_step: 32}}, buffers: {{hbm: {{size: {ue} MiB}}}}}}
links:
  down: {{from: cloud, to: ue, delay: 10 ms, capacity: {mbps} Mbit/s, transport: {transport}, discipline: {discipline}}}
  up: {{from: ue, to: cloud, delay: 10 ms, capacity: 5 Mbit/s, transport: {transport}}}
policies: {{eviction: {eviction}, routing: {routing}, predictor: markov}}
run: {{step_by_step: {stepped}}}
arms:
  - {{name: text, policies: {{acquisition: text}}}}
  - {{name: text-prefetch, policies: {{acquisition: text, prefetch: {{name: threshold, threshold: 0.2, kind: text}}}}}}
  - {{name: none}}
  - {{name: sequential, policies: {{prefetch: {{name: sequential, ahead: 2}}}}}}
  - {{name: threshold, policies: {{prefetch: {{name: threshold, threshold: 0}}}}}}
  - {{name: oracle, policies: {{prefetch: {{name: oracle, ahead: 2}}}}}}
  - {{name: perfect-residency, policies: {{acquisition: perfect-residency}}}}
"""

settings_of_a_run = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 99),
        "chunk_tokens": st.sampled_from([40, 128, 512]),
        "layout": st.sampled_from(["document_first", "independent"]),
        "rate": st.sampled_from([1, 6, 60]),
        "count": st.integers(1, 3),
        "cloud": st.sampled_from([40, 4000]),
        "ue": st.sampled_from([36, 60, 400]),
        "mbps": st.sampled_from([2, 20, 200]),
        "transport": st.sampled_from(["ideal", "warm"]),
        "discipline": st.sampled_from(["strict", "ps"]),
        "eviction": st.sampled_from(["lru", "fifo", "belady"]),
        "routing": st.sampled_from(["sticky", "round-robin", "prefix-aware"]),
    }
)


def columns(result: RunResult) -> dict[str, list[object]]:
    """Return the request table, times rounded to what leaping may change (semantics D4)."""
    return {
        name: [float(f"{value:.9g}") if isinstance(value, float) else value for value in values]
        for name, values in result.requests.items()
    }


@settings(max_examples=25, deadline=None)
@given(chosen=settings_of_a_run, arm=st.integers(0, 6))
def test_laws_hold_in_random_scenarios(chosen: dict[str, object], arm: int) -> None:
    scenario = from_text(RANDOM.format(**chosen, stepped="false"), Path("random.yaml"))
    name = scenario.arms[arm].name
    result = run(scenario, name)  # its own checks of bytes, GPU-seconds and blocks are on
    requests = result.requests
    assert set(requests["status"]) <= {"finished", "rejected"}
    times = ("status", "arrival_s", "scheduled_s", "first_token_s", "last_token_s")
    for row in zip(*(requests[name] for name in times), strict=True):
        if row[0] == "finished":
            assert row[1] <= row[2] <= row[3] <= row[4]
    units = ("needed_units", "in_time_units", "late_units")
    for needed, in_time, late in zip(*(requests[name] for name in units), strict=True):
        assert 0 <= in_time + late <= needed
    assert set(result.speculative_bytes) == set(OUTCOMES)
    if name in ("text", "none", "perfect-residency"):
        assert sum(result.speculative_bytes.values()) == 0
    stepped = run(from_text(RANDOM.format(**chosen, stepped="true"), Path("random.yaml")), name)
    assert columns(stepped) == columns(result)
