"""From YAML to live objects: what fits together, what does not, and one clear line about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from simkv.build import build
from simkv.errors import InputError
from simkv.kv.block import Run
from simkv.scenario import from_text
from tests.unit.little_worlds import BLOCK_BYTES, little, run_turn, scenario, session, turn

CHUNKS = [session(turn(0), chunks=[16])]
RUNS = [session(run_turn((0, 1)))]
WORDS = [session(turn(0) | {"words": ["tide"]}, chunks=[16], chunk_words=[["tide", "moon"]])]
STREAM = {"has_sessions": False, "block_scope": "global"}


@pytest.mark.parametrize(
    ("sessions", "told", "says"),
    [
        (RUNS, {"layout": None, "prefetch": "sequential"}, "policies.prefetch: prefetch 'sequential' needs a document"),
        (
            RUNS,
            {"layout": None, "prefetch": "threshold", "predictor": "sequential"},
            "policies.predictor: predictor 'sequential' needs a document of chunks, and this trace names block runs",
        ),
        (
            RUNS,
            {"layout": None, "header": STREAM, "prefetch": "threshold"},
            "policies.prefetch: prefetch 'threshold' predicts within sessions, and this trace has no session identity;"
            " want 'none' or 'oracle'",
        ),
        (
            RUNS,
            {"layout": None, "header": STREAM, "workload": ", session_rate: 1 /min"},
            "workload: this trace has no session identity: its requests come when they were recorded",
        ),
        (
            CHUNKS,
            {"sender_blocks": 0.5},
            r"servers.sender.buffers.hbm.size: want room for at least one block of 196608",
        ),
        (
            CHUNKS,
            {"prefetch": "threshold", "predictor": "topic"},
            "policies.predictor: predictor 'topic' needs words of questions and chunks, and this trace has none",
        ),
        (
            WORDS,
            {"prefetch": "threshold", "predictor": "topic", "initiator": "pull"},
            "policies.predictor: predictor 'topic' needs the words of the document's chunks, and a receiver that pulls",
        ),
        (
            CHUNKS,
            {"prefetch": "hint-driven"},
            "policies.prefetch: prefetch 'hint-driven' acts on hints, and clients give",
        ),
        (
            RUNS,
            {"layout": None, "header": STREAM, "workload": ", hints: {lead: 5 s}"},
            "workload.hints: requests without session identity give no hints",
        ),
        (
            CHUNKS,
            {"prefetch": "{name: threshold, kind: compute}", "acquisition": "text"},
            "policies.prefetch.kind: KV that the source makes ahead of time is never sent where text is acquired",
        ),
        (
            CHUNKS,
            {"layout": "document_first", "composition": "blend"},
            "workload.composition: only independent chunks are blended, and this trace has document_first",
        ),
        (CHUNKS, {"source": "", "sender_gpu": None}, "servers.sender: server 'sender' serves requests and has no gpu"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(
    tmp_path: Path, sessions: list[dict[str, Any]], told: dict[str, Any], says: str
) -> None:
    if "sender_blocks" in told:
        told = {"sender": f"  sender: {{gpu: {{name: fixed}}, buffers: {{hbm: {{size: {BLOCK_BYTES // 2} B}}}}}}"}
    with pytest.raises(InputError) as caught:
        little(tmp_path, *sessions, **told)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


SERVERS = """
simkv: 1
name: servers
model: Qwen2.5-0.5B
seed: 1
replications: 1
workload: {{trace: {trace}}}
servers:
{servers}
links:
  ab: {{from: a, to: b, delay: 0 s, capacity: 1 Mbit/s, transport: ideal}}
  ba: {{from: b, to: a, delay: 0 s, capacity: 1 Mbit/s, transport: ideal}}
  bc: {{from: b, to: c, delay: 0 s, capacity: 1 Mbit/s, transport: ideal}}
  cb: {{from: c, to: b, delay: 0 s, capacity: 1 Mbit/s, transport: ideal}}
"""


@pytest.mark.parametrize(
    ("servers", "says"),
    [
        (
            {"a": "", "b": "source: a,", "c": "source: b,"},
            "servers.b.source: server 'b' is a source and has a source of",
        ),
        (
            {"a": "source: b,", "b": "source: a,", "c": ""},
            "servers.a.source: server 'a' is a source and has a source of",
        ),
        (
            {"a": "count: 2,", "b": "source: a,", "c": ""},
            "servers.a: server 'a' is a source, of which there can be one",
        ),
    ],
)
def test_what_a_source_cannot_do_is_refused_not_ignored(tmp_path: Path, servers: dict[str, str], says: str) -> None:
    trace = scenario(tmp_path, *CHUNKS).workload.trace
    lines = [
        f"  {name}: {{{more} gpu: {{name: fixed}}, buffers: {{hbm: {{size: 1 GiB}}}}}}"
        for name, more in servers.items()
    ]
    told = from_text(SERVERS.format(trace=trace, servers="\n".join(lines)), tmp_path / "servers.yaml")
    with pytest.raises(InputError) as caught:
        build(told.for_arm("default"), 0, 1)
    assert says in str(caught.value)


def test_several_kinds_of_servers_serve_side_by_side(tmp_path: Path) -> None:
    trace = scenario(tmp_path, *[session(turn(0), chunks=[16], name=f"s{i}") for i in range(4)]).workload.trace
    lines = [
        "  a: {gpu: {name: fixed}, buffers: {hbm: {size: 1 GiB}}}",
        "  b: {count: 2, source: a, gpu: {name: fixed}, buffers: {hbm: {size: 1 GiB}}}",
        "  c: {gpu: {name: fixed}, buffers: {hbm: {size: 1 GiB}}}",
    ]
    told = from_text(SERVERS.format(trace=trace, servers="\n".join(lines)), tmp_path / "servers.yaml")
    world = build(told.for_arm("default"), 0, 1)
    assert [server.name for server in world.servers] == ["b-0", "b-1", "c"]
    assert list(world.gpus) == ["a", "b-0", "b-1", "c"]
    world.env.run()
    requests = world.recorder.requests()
    assert set(requests["status"]) == {"finished"}
    assert set(requests["server"]) == {"b-0", "b-1", "c"}


def test_belady_is_told_the_recorded_order(tmp_path: Path) -> None:
    """Three chunks in turn, room for two and a block of dialogue: LRU always has the wrong two, MIN hits thrice."""
    order = [0, 1, 2, 0, 1, 2, 0, 1]
    asks = session(*[turn(chunk, think=5.0) for chunk in order], chunks=[16, 16, 16])
    hits = {}
    for eviction in ("belady", "lru"):
        played = little(tmp_path, asks, eviction=eviction, receiver_blocks=3)
        hits[eviction] = len(order) - len(played.transfers("demand"))
    assert hits == {"belady": 3, "lru": 0}


def test_a_trace_that_is_written_again_is_read_again(tmp_path: Path) -> None:
    assert len(little(tmp_path, *CHUNKS).column("turn")) == 1
    assert len(little(tmp_path, session(turn(0), turn(0), turn(0), chunks=[16])).column("turn")) == 3


def test_a_capacity_series_is_entered_where_the_replication_says(tmp_path: Path) -> None:
    (tmp_path / "series.csv").write_text(
        '# {"format": "simkv.series", "version": 1, "kind": "capacity"}\nt_s,bps\n0,1000000\n10,9000000\n'
    )
    told = scenario(tmp_path, *CHUNKS, down="{series: series.csv}")
    rates = [
        build(told.for_arm("default"), replication, 1).links["down"].capacity.rate_at(0.0) for replication in range(12)
    ]
    assert set(rates) == {1e6, 9e6}
    again = [
        build(told.for_arm("default"), replication, 1).links["down"].capacity.rate_at(0.0) for replication in range(12)
    ]
    assert rates == again


def test_notes_say_what_the_numbers_rest_on(tmp_path: Path) -> None:
    assert little(tmp_path, *CHUNKS).result.notes["quality"] == "not modelled"
    exact = little(tmp_path, *CHUNKS, layout="document_first").result.notes
    assert str(exact["quality"]).startswith("equal by construction")


def test_gdsf_is_told_what_recomputing_costs(tmp_path: Path) -> None:
    """By the roofline of the server's GPU: more, the deeper a block stands in its prompt."""
    told = {"eviction": "{name: gdsf, cost: recompute}", "gpu": "{name: analytic-phone-npu}"}
    played = little(tmp_path, session(turn(0), turn(1), chunks=[16 * 400, 16 * 400]), **told)
    buffer = played.world.servers[0].buffer
    first = next(run.start for run, _ in buffer._entries)
    costs = [buffer._eviction._recompute_s(Run(first + at, 1)) for at in (0, 200, 399)]
    assert costs == sorted(set(costs))
    assert costs[0] > 0


def test_bypass_is_refused(tmp_path: Path) -> None:
    """KV that is used has to be somewhere."""
    with pytest.raises(InputError, match="only `simkv trace mrc` can bypass a buffer"):
        little(tmp_path, *CHUNKS, eviction="{name: belady, bypass: true}")
