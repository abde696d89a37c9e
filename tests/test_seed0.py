"""The checklist of seed document 0, one test a point: `pytest -k s0 -v` prints it.

Each test says in its docstring what must hold, and is the short form; the long one stands where the docstring points.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import pytest

import simkv
from simkv import cli
from simkv.kv.delta import Stretch, to_send
from simkv.metrics import net_efficiency
from simkv.policies import EVICTION, PREFETCH
from simkv.policies.prefetch import Moment, Prefetch, PrefetchView
from simkv.predictors import PREDICTORS
from simkv.results import OUTCOMES
from simkv.workload.generators.agent_dag import AgentDag
from simkv.workload.generators.sequential_reading import SequentialReading
from simkv.workload.generators.topical_follow_up import TopicalFollowUp
from tests.conftest import ROOT
from tests.oracle.test_topic_and_workflow import prequential
from tests.unit.little_worlds import BLOCK_BYTES, CLOSE, Played, little, run_turn, session, turn
from tests.unit.test_prefetch import view

SCENARIOS = ROOT / "scenarios"


def ttft_s(played: Played) -> list[float]:
    return [a - b for a, b in zip(played.column("first_token_s"), played.column("arrival_s"), strict=True)]


def reading(folder: Path, order: list[int], **told: Any) -> Played:
    """Play a reader of single-block chunks with long think times."""
    turns = [turn(chunk, think=9.0) for chunk in order]
    return little(folder, session(*turns, chunks=[16] * (max(order) + 1)), **told)


def test_s0_01_two_agents_and_three_turns() -> None:
    """A second access costs the suffix alone; the end is a maximum of overlapped work, not a sum."""
    comparison = simkv.compare(simkv.load(SCENARIOS / "three_turns.yaml"))
    (none,), (ahead,) = comparison.runs("none"), comparison.runs("sequential")
    assert none.requests["first_token_s"] == pytest.approx([5.7, 16.4, 27.1], **CLOSE)
    assert ahead.requests["first_token_s"] == pytest.approx([5.7, 11.2, 16.7], **CLOSE)
    assert ahead.requests["first_token_s"][1] - ahead.requests["arrival_s"][1] == pytest.approx(0.5, **CLOSE)
    assert (none.end_s, ahead.end_s) == pytest.approx((31.1, 20.7), **CLOSE)


@pytest.mark.parametrize(("initiator", "begun_s"), [("push", 20.0), ("pull", 20.1)])
def test_s0_02_push_and_pull(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, initiator: str, begun_s: float) -> None:
    """Decided at one instant, a pull begins one way later than a push: its wish travels first.

    To the digit, with timers, pauses and hints: tests/oracle/test_worked_examples.py.
    """

    @dataclass
    class AtTwenty:
        moments: ClassVar[frozenset[Moment]] = frozenset({"pause", "timer"})

        def decide(self, view: PrefetchView) -> list[Prefetch]:
            return [Prefetch(1, start_s=20.0)]

    monkeypatch.setitem(PREFETCH._factories, "at-twenty", AtTwenty)
    told = session(turn(0), turn(1, think=40.0), chunks=[16, 16])
    played = little(tmp_path, told, prefetch="at-twenty", initiator=initiator)
    assert [row[0] for row in played.transfers("speculative")] == [pytest.approx(begun_s, **CLOSE)]
    assert played.units == {"used_in_time": 1}


def test_s0_03_wasted_and_useful_gpu_seconds_are_all_there_are(tmp_path: Path) -> None:
    """A wrong guess wastes the sender's computing too: useful + wasted = all that was spent on speculation."""
    slow = "{name: fixed, prefill_per_token: 10 ms}"
    played = reading(tmp_path, [0, 1, 3, 4], prefetch="sequential", sender_gpu=slow)
    spent = played.result.speculative_gpu_s
    assert spent["used_in_time"] > 0
    assert spent["cancelled"] + spent["never_used"] > 0
    assert sum(spent.values()) == pytest.approx(sum(gpu.speculative_s for gpu in played.result.gpus.values()))


@pytest.mark.parametrize(("order", "hits"), [(range(10), 9), (range(9, -1, -1), 0)], ids=["in order", "backwards"])
def test_s0_04_sequential_predictor(tmp_path: Path, order: range, hits: int) -> None:
    """In order, T turns with enough think time have a hit rate of (T - 1) / T; backwards 0."""
    played = reading(tmp_path, list(order), prefetch="{name: threshold, threshold: 0.5}", predictor="sequential")
    assert sum(count > 0 for count in played.column("in_time_units")) == hits


def test_s0_05_topic_predictor() -> None:
    """On planted topics it beats the sequential predictor and is calibrated."""
    talks = list(TopicalFollowUp(conversations=150).sessions(seed=3))
    topic, sequential = (prequential(PREDICTORS.create(name), talks, skip=50) for name in ("topic", "sequential"))
    assert (topic.top(1) or 0) > (sequential.top(1) or 0) + 0.05
    assert (topic.brier() or 9) < (sequential.brier() or 0)
    assert (topic.calibration_error() or 9) < 0.05


def test_s0_06_task_graph_predictor() -> None:
    """A graph without choices is predicted for sure; at a fork with the frequencies of its branches."""
    straight = AgentDag(conversations=3, graph=("read->analyze:1", "analyze->decide:1"))
    scores = prequential(PREDICTORS.create("task-graph"), list(straight.sessions(seed=1)), skip=1)
    assert scores.top(1) == 1.0
    fork = AgentDag(conversations=400, graph=("read->analyze:0.7", "read->ask:0.3"))
    learned, walks = PREDICTORS.create("task-graph"), list(fork.sessions(seed=1))
    prequential(learned, walks)
    steps = [chunk for walk in walks for made in walk.turns for chunk in made.chunks]
    share = sum(1 for step in steps if step == 1) / sum(1 for step in steps if step in (1, 2))
    assert share == pytest.approx(0.7, abs=3 * math.sqrt(0.7 * 0.3 / 400))


def test_s0_07_generators_of_three_kinds_of_predictability() -> None:
    """P(next = current + 1), P(stay on the topic), edge frequencies: what is generated is what was asked for."""
    readers = list(SequentialReading(conversations=300, chunks=40, next_ratio=0.6, stay_ratio=0.1).sessions(seed=2))
    walks = [[made.chunks[0] for made in reader.turns] for reader in readers]
    steps = [(a, b) for walk in walks for a, b in pairwise(walk) if a < 38]
    ratio = sum(b == a + 1 for a, b in steps) / len(steps)
    assert ratio == pytest.approx(0.6, abs=4 * math.sqrt(0.24 / len(steps)))
    talks = TopicalFollowUp(conversations=300, stay_ratio=0.8)
    topics = [[made.chunks[0] // talks.chunks_per_topic for made in talk.turns] for talk in talks.sessions(seed=2)]
    pairs = [(a, b) for told in topics for a, b in pairwise(told)]
    assert sum(a == b for a, b in pairs) / len(pairs) == pytest.approx(0.8, abs=4 * math.sqrt(0.16 / len(pairs)))
    walks = list(AgentDag(conversations=600, graph=("a->b:0.25", "a->c:0.75")).sessions(seed=2))
    seconds = [walk.turns[1].chunks for walk in walks]
    assert seconds.count((1,)) / len(seconds) == pytest.approx(0.25, abs=4 * math.sqrt(0.25 * 0.75 / 600))


@pytest.mark.parametrize(
    ("threshold", "moved"), [(0.0, [3, 1, 2]), (0.3, [3]), (0.2, [3, 1]), (1.0, [])], ids=["0", "0.3", "0.2", "1"]
)
def test_s0_08_decision_rule(threshold: float, moved: list[int]) -> None:
    """Strictly above the threshold; several may qualify; 0 moves all that is possible, 1 nothing."""
    policy = PREFETCH.create("threshold", {"threshold": threshold})
    decided = policy.decide(view(probabilities={1: 0.3, 2: 0.2, 3: 0.5, 4: 0.0}))  # type: ignore[arg-type]
    assert [prefetch.item for prefetch in decided] == moved


def test_s0_09_speculation_yields_to_demand(tmp_path: Path) -> None:
    """With strict priority and nothing else shared, demand is bit-identical with and without speculation."""
    ways = ("{name: sequential, ahead: 3}", "none")
    never = [session(turn(4 * index), chunks=[16] * 60, start=1.3 * index, name=f"s{index}") for index in range(12)]
    with_it, without = (little(tmp_path, *never, prefetch=way, composition="naive") for way in ways)
    assert with_it.result.speculative_bytes["never_used"] > 0
    assert with_it.column("first_token_s") == without.column("first_token_s")


@pytest.mark.parametrize("eviction", [name for name in EVICTION if name != "belady"])
def test_s0_10_finite_buffer_with_pluggable_eviction(tmp_path: Path, eviction: str) -> None:
    """Whatever evicts, the buffer never holds more than it can (tests/property/test_buffer_properties.py)."""
    turns = [run_turn((100 * (index % 3), 2 + index % 4), think=1.0) for index in range(12)]
    told = {"layout": None, "sender_gpu": None, "receiver_blocks": 7, "predictor": "task-graph"}
    played = little(tmp_path, session(*turns), eviction=eviction, **told)
    buffer = played.world.servers[0].buffer
    assert buffer.used_blocks <= buffer.capacity_blocks == 7
    assert set(played.column("status")) == {"finished"}


def test_s0_11_every_prefetched_byte_ends_in_one_class(tmp_path: Path) -> None:
    """In time, late, evicted, cancelled, never used or open at the end: the classes sum to what the links carried."""
    played = reading(tmp_path, [0, 1, 5, 2, 3], prefetch="{name: sequential, ahead: 2}", receiver_blocks=4)
    totals = played.result.links["down"]
    carried = totals.wire_bytes_by_class["speculative"] - totals.speculative_control_bytes
    assert set(played.result.speculative_bytes) == set(OUTCOMES)
    assert sum(played.result.speculative_bytes.values()) == carried > 0


def test_s0_12_how_predictable_is_the_next_question(capsys: pytest.CaptureFixture[str]) -> None:
    """`simkv trace predictability` on a bundled sample in CoQA's form; on all shared sets: docs/predictability.md."""
    assert cli.main(["trace", "predictability", str(ROOT / "traces" / "coqa_miniature.json"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    bigram = told["next_item"]["two_fold"]["bigram"]
    assert bigram["top1"]["value"] > bigram["shuffled"]["top1"]["highest"]  # order says something
    assert told["prefetch"]["policies"]["top-3"]["named_next"]["value"] > bigram["top1"]["value"]
    assert told["overlap"]


def test_s0_13_three_policies_in_one_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """None, sequential and adaptive over ten turns: `simkv run scenarios/ten_turns.yaml` (docs/ten_turns.md)."""
    words = ["run", str(SCENARIOS / "ten_turns.yaml"), "--set", "replications=2", "--set", "workload.sessions=4"]
    assert cli.main([*words, "--json", "--out", str(tmp_path / "out")]) == 0
    arms = {arm["name"]: arm for arm in json.loads(capsys.readouterr().out)["arms"]}
    assert {"text", "text-prefetch", "oracle", "perfect-residency"} < set(arms)
    for name in ("none", "sequential", "adaptive"):
        measured = arms[name]["metrics"]
        assert measured["ttft_s"]["mean"] > 0
        assert (measured["wasted_bytes"] > 0) == (measured["any_hit_ratio"] > 0) == (name != "none")
        assert measured["quality_f1"] is None  # equal by construction: exact prefixes, no codec


def test_s0_14_incremental_update() -> None:
    """Full overlap costs the new positions, none the whole KV; saving = 1 - delta / full (docs/incremental.md)."""
    whole, grown = [Stretch("a", 100)], [Stretch("a", 100), Stretch("b", 20)]
    full = to_send([whole], grown, 16)
    assert full.delta_tokens == 20
    assert 1 - full.delta_tokens / full.naive_tokens == pytest.approx(1 - 20 / 120)
    nothing = to_send([[Stretch("x", 50)]], grown, 16)
    assert nothing.delta_tokens == nothing.naive_tokens == 120


def test_s0_15_metrics_by_hand(tmp_path: Path) -> None:
    """Hit rate, latency saved, bytes wasted and net efficiency, which is nothing where nothing was wasted."""
    none, ahead = (reading(tmp_path, [0, 1, 2], prefetch=prefetch) for prefetch in ("none", "sequential"))
    assert sum(ttft_s(none)) - sum(ttft_s(ahead)) == pytest.approx(2 * 1.2, **CLOSE)  # a block, and a message each way
    assert ahead.units == {"used_in_time": 2}
    assert net_efficiency(2.4, 2 / 3, 0) is None
    assert net_efficiency(2.4, 0.5, 2_000_000) == pytest.approx(0.6)
    wrong = reading(tmp_path, [0, 2, 4], prefetch="sequential")
    assert wrong.wire_bytes == {"never_used": 2 * BLOCK_BYTES}


def test_s0_16_n_times_with_its_interval() -> None:
    """N x is a ratio with an interval against the best arm that does not speculate, and never above 1 / (1 - h)."""
    comparison = simkv.compare(simkv.load(SCENARIOS / "5g_slice.yaml", {"replications": 3, "workload.sessions": 6}))
    table = comparison.table.set_index("arm")
    row, best = table.loc["sequential"], comparison.summary.best
    assert best in ("text", "none")
    assert row.ttft_ratio == pytest.approx(table.ttft_s_mean[best] / row.ttft_s_mean)
    assert row.ttft_ratio_low < row.ttft_ratio < row.ttft_ratio_high


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_s0_17_a_reserved_slice_gives_exactly_its_share(tmp_path: Path, share: float) -> None:
    """Under saturation speculation gets s B: 4 blocks of a second each take 4 / s."""
    played = little(
        tmp_path,
        session(turn(0), turn(1, think=9.0), chunks=[640, 64]),
        prefetch=f"{{name: slice-reserved, reserved_ratio: {share}}}",
        predictor="sequential",
    )
    ((start_s, end_s, *_),) = played.transfers("speculative")
    assert end_s - start_s == pytest.approx(4 / share, **CLOSE)


@pytest.mark.parametrize(
    ("risk", "path", "values"),
    [
        ("task-specific", "policies.predictor.accuracy", [0.1, 0.9]),
        ("buffer", "servers.ue.buffers.hbm.size", ["24 MiB", "1 GiB"]),
        ("wasted bandwidth", "policies.prefetch.price", ["0 s/GB", "10000 s/GB"]),
        ("real conversations", "workload.limit", [60, 120]),
    ],
)
def test_s0_18_the_four_risks_are_experiments(
    data: Path, tmp_path: Path, risk: str, path: str, values: list[Any]
) -> None:
    """Each risk is one path of a scenario over a recorded trace, and turning it moves the result."""
    trace = data / "squad_xquad_en" / "paragraphs_shared.jsonl.xz"
    text = (SCENARIOS / "5g_slice.yaml").read_text()
    head = text[: text.index("workload:")] + text[text.index("servers:") : text.index("policies:")]
    told = (
        head.replace("../traces", str(ROOT / "traces"))
        + f"""
workload: {{trace: {trace}, sessions: 12, session_rate: 20 /min, think: {{name: claude-code, kind: tool}}}}
policies: {{predictor: {{name: dialled-oracle}}, prefetch: {{name: adaptive}}}}
arms: [{{name: adaptive}}]
"""
    )
    scenario = tmp_path / "risk.yaml"
    scenario.write_text(told)
    found = [simkv.compare(simkv.load(scenario, {"replications": 1, path: value})).to_json() for value in values]
    assert found[0]["arms"] != found[1]["arms"], risk
