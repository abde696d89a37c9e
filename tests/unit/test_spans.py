"""Who did what when, against schedules computed by hand; and recordings of saved runs, bounded and refused."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from simpy import Environment

from simkv.busy import GpuWatch, Span
from simkv.compare import compare
from simkv.compute.gpu import Gpu, GpuSequence
from simkv.compute.kernel import Kernel
from simkv.compute.steptime import FixedStepTime
from simkv.errors import InputError
from simkv.policies import BATCHING
from simkv.recording import Recording, parse_window, record, to_parquet
from simkv.report.reading import read_run
from simkv.results import SAMPLE_COLUMNS, SPAN_COLUMNS, RunResult
from simkv.scenario import load
from simkv.simulation import run
from simkv.spans import Spans
from tests.conftest import ROOT
from tests.unit.little_worlds import run_turn, scenario, session, turn

CHUNK_BYTES = 20 * 36_864
LINK = [("demand", (2.1, 5.1)), ("speculative", (5.1, 8.1))]


@pytest.fixture(scope="module")
def three_turns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("three_turns")
    compare(load(ROOT / "scenarios" / "three_turns.yaml")).save(folder)
    return folder


@pytest.fixture(scope="module")
def recorded(three_turns: Path) -> Recording:
    return record(read_run(three_turns))


def watched(name: str, arm: str, instants_s: tuple[float, ...] = ()) -> tuple[Spans, RunResult]:
    spans = Spans(instants_s)
    return spans, run(load(ROOT / "scenarios" / f"{name}.yaml"), arm, watch=spans.attach)


def told(spans: list[Span], *lanes: str) -> list[Any]:
    """Return (lane, object, kind, start, end) of some lanes, to compare with times computed by hand."""
    rows = [(s.lane, s.object, s.kind, s.start_s, s.end_s) for s in spans if s.lane in lanes]
    return [(*names, pytest.approx(start, abs=1e-9), pytest.approx(end, abs=1e-9)) for *names, start, end in rows]


def test_a_turn_goes_through_its_lanes_one_after_the_other() -> None:
    """Without prefetch: 0.1 s there, 2 s of compute, 3 s on the wire, 0.1 s back, half a second here, 4 s of answer."""
    spans, result = watched("three_turns", "none")
    first = [span for span in spans.of_requests(result) if span.request_id == 0]
    assert [(s.lane, s.kind, round(s.start_s, 9), round(s.end_s, 9)) for s in first] == [
        ("lookup", "question", 0.0, 0.1),
        ("prefill", "source_compute", 0.1, 2.1),
        ("transfer", "transfer", 2.1, 5.1),
        ("transfer", "link_delay", 5.1, 5.2),
        ("prefill", "prefill", 5.2, 5.7),
        ("decode", "decode", 5.7, 9.7),
    ]
    assert {(s.object, s.session, s.turn) for s in first} == {("receiver", 0, 0)}


def test_a_push_is_speculative_on_the_wire_and_on_the_gpu_and_belongs_to_no_request() -> None:
    """The second chunk: 2 s of compute behind the first's, then 1 s of waiting for the link and 3 s on it."""
    spans, _ = watched("three_turns", "sequential")
    found = spans.of_objects()
    pushed = [s for s in found if s.lane == "wire" and s.kind == "speculative"]
    assert told(pushed[:1], "wire") == [("wire", "down", "speculative", 4.1, 8.1)]
    assert pushed[0].wire_bytes == CHUNK_BYTES
    assert {(s.request_id, s.turn, s.session) for s in pushed} == {(-1, -1, 0)}
    computed = [s for s in found if s.kind == "speculative_prefill"]
    assert told(computed[:1], "gpu") == [("gpu", "sender", "speculative_prefill", 2.1, 4.1)]
    assert (computed[0].tokens, computed[0].session) == (20, 0)
    assert told(found, "link")[:2] == [("link", "down", kind, *when) for kind, when in LINK]


def test_a_promoted_push_is_two_spans_the_second_of_the_request_that_waits() -> None:
    spans, _ = watched("three_turns_late", "sequential")
    one, two = [s for s in spans.of_objects() if s.lane == "wire"][1:3]
    assert (one.kind, one.request_id, two.kind, two.request_id, two.turn) == ("speculative", -1, "demand", 1, 1)
    assert one.wire_bytes + two.wire_bytes == CHUNK_BYTES
    assert one.end_s == two.start_s == pytest.approx(6.8)


def test_kv_in_a_codec_is_waited_for_on_the_wire_and_then_while_it_is_decoded() -> None:
    """Each decoding ends with a kernel of its server's GPU, and what came before it is not "local" work."""
    told = load(ROOT / "scenarios" / "5g_slice.yaml", {"replications": "1", "workload.sessions": "4"})
    spans = Spans()
    result = run(told, "int4", watch=spans.attach)
    kernels = {(s.object, s.end_s) for s in spans.of_objects() if s.kind == "kernel"}
    found = list(spans.of_requests(result))
    unpacked = [(s.object, s.end_s) for s in found if s.kind == "unpacking"]
    assert len(unpacked) > 20
    assert set(unpacked) <= kernels
    assert sum(s.kind == "transfer" for s in found) == sum(s.kind == "coding" for s in found) > 20
    assert all(s.kind != "local" for s in found)


def test_a_rejected_request_and_one_cut_off_by_the_horizon_have_spans_too(tmp_path: Path) -> None:
    """The first never fits; the second is in its prefill when the run ends at 3 s."""
    gpu = "{name: fixed, prefill_per_token: 1 s}"
    sessions = [session(run_turn((0, 9)), name="a"), session(run_turn(new=8), name="b", start=1.0)]
    played = scenario(
        tmp_path, *sessions, gpu=gpu, layout=None, source="", sender="", receiver_blocks=3, horizon=", horizon: 3 s"
    )
    spans = Spans()
    result = run(played, "default", watch=spans.attach)
    assert result.requests["status"] == ["rejected", "unfinished"]
    assert [(s.request_id, s.kind, s.start_s, s.end_s) for s in spans.of_requests(result)] == [
        (1, "unfinished", 1.0, 3.0)
    ]
    assert told(spans.of_objects(), "gpu") == [("gpu", "receiver", "prefill", 1.0, 3.0)]


def stepping(**told: Any) -> tuple[Environment, Gpu, GpuWatch]:
    """Return a GPU that takes 0.1 s a token and 1 s a decode, and who watches it."""
    env = Environment()
    gpu = Gpu(env, FixedStepTime(0.1, 1.0), BATCHING.create("chunked-fcfs"), **told)
    return env, gpu, GpuWatch("gpu", gpu, lambda: env.now, lambda _: 7)


def test_what_fills_a_step_of_demand_is_booked_behind_it() -> None:
    """Five tokens asked for and five more ahead of time in one step: half of its second each."""
    env, gpu, watch = stepping(speculative="leftover")
    gpu.submit(GpuSequence(5, output_tokens=1, on_finished=list))
    gpu.submit(GpuSequence(5, speculative=True, on_finished=list))
    env.run()
    assert told(watch.spans, "gpu") == [
        ("gpu", "gpu", "prefill", 0.0, gpu.demand_s),
        ("gpu", "gpu", "speculative_prefill", 0.5, 1.0),
    ]
    assert (gpu.demand_s, gpu.speculative_s) == pytest.approx((0.5, 0.5))
    assert [(span.session, span.tokens) for span in watch.spans] == [(-1, 5), (7, 5)]


@pytest.mark.parametrize("speculative", [False, True])
def test_a_step_that_the_end_of_the_run_cuts_is_noted_as_far_as_it_came(speculative: bool) -> None:
    env, gpu, watch = stepping()
    gpu.submit(GpuSequence(50, output_tokens=not speculative, speculative=speculative, on_finished=list))
    env.run(until=2.0)
    gpu.settle()
    assert told(watch.spans, "gpu") == [("gpu", "gpu", "speculative_" * speculative + "prefill", 0.0, 2.0)]
    assert (gpu.speculative_s if speculative else gpu.demand_s) == pytest.approx(2.0)


@pytest.mark.parametrize("speculative", [False, True])
def test_a_kernel_is_noted_too_whole_or_cut(speculative: bool) -> None:
    env, gpu, watch = stepping()
    for _ in range(2):
        gpu.kernels.launch(Kernel(1.5, speculative=speculative, on_finished=list))
    env.run(until=2.0)
    gpu.settle()
    kind = "speculative_" * speculative + "kernel"
    assert told(watch.spans, "gpu") == [("gpu", "gpu", kind, 0.0, 2.0)]


def test_samples_are_what_is_there_at_the_instant_and_means_since_the_one_before() -> None:
    """At 4.1 s the first chunk has been on the wire for 2 of its 3 s; since 0.1 s the link was idle half the time."""
    spans, _ = watched("three_turns", "none", (0.1, 4.1))
    at = {(s.object, s.quantity): s.value for s in spans.samples if s.time_s == 4.1}
    rate_bps = CHUNK_BYTES * 8 / 3
    assert at["down", "demand_bps"] == pytest.approx(rate_bps / 2)
    assert at["down", "backlog_bytes"] == pytest.approx(CHUNK_BYTES / 3)
    assert at["sender", "used_bytes"] == CHUNK_BYTES
    assert at["receiver", "running"] == 0


def test_speculative_fill_and_queue_are_sampled_apart() -> None:
    """At 5 s the second chunk is at the receiver's door: room is taken for it, nobody has asked for it."""
    spans, _ = watched("three_turns", "sequential", (3.0, 5.0))
    at = {(s.time_s, s.object, s.quantity): s.value for s in spans.samples}
    assert at[5.0, "receiver", "speculative_bytes"] == CHUNK_BYTES
    assert at[3.0, "sender", "speculative_waiting"] == 1
    assert at[5.0, "sender", "speculative_waiting"] == 0


# -- a saved run -----------------------------------------------------------------------------------


def test_a_recording_holds_every_arm_and_its_columns(recorded: Recording) -> None:
    assert [arm.arm for arm in recorded.arms] == ["none", "sequential"]
    assert (recorded.left_out, recorded.sessions, recorded.all_sessions) == ("", 1, 1)
    for arm in recorded.arms:
        assert list(arm.spans) == [name for name in SPAN_COLUMNS if name not in ("arm", "replication")]
        assert arm.spans["start_s"] == sorted(arm.spans["start_s"])
        assert len(set(arm.samples["time_s"])) <= 500


def test_files_are_typed_with_units_and_the_same_each_time(recorded: Recording, three_turns: Path) -> None:
    files = to_parquet(recorded)
    assert files == to_parquet(record(read_run(three_turns)))
    for name, columns in (("spans.parquet", SPAN_COLUMNS), ("samples.parquet", SAMPLE_COLUMNS)):
        layout = pq.read_schema(io.BytesIO(files[name]))
        assert layout.names == list(columns)
        assert layout.metadata[b"schema_version"] == b"1"
    assert pq.read_schema(io.BytesIO(files["spans.parquet"])).field("start_s").metadata == {b"unit": b"s"}
    spans = pd.read_parquet(io.BytesIO(files["spans.parquet"]))
    assert spans["request_id"].dtype == "int64"
    assert spans.groupby("arm", observed=True).size().tolist() == [len(arm.spans["lane"]) for arm in recorded.arms]


def test_a_window_leaves_out_what_begins_outside_it(three_turns: Path) -> None:
    cut = record(read_run(three_turns), ["none"], window_s=(5.0, 6.0))
    starts = cut.arms[0].spans["start_s"]
    assert starts
    assert all(5.0 <= start <= 6.0 for start in starts)
    assert cut.left_out.startswith("all but what begins between 5 s and 6 s of 31.1 s")


def test_a_window_with_too_many_spans_ends_sooner_in_all_arms(three_turns: Path) -> None:
    cut = record(read_run(three_turns), most_spans=20)
    assert sum(len(arm.spans["lane"]) for arm in cut.arms) <= 20
    assert 0 < cut.window_s[1] < cut.end_s
    assert all(max(arm.spans["start_s"]) <= cut.window_s[1] for arm in cut.arms)
    assert "all but what begins between 0 s and" in cut.left_out


def test_sessions_leave_out_the_requests_of_others_and_no_link(tmp_path: Path) -> None:
    sessions = [session(turn(0), chunks=[16], name=name, start=float(i)) for i, name in enumerate("ab")]
    compare(scenario(tmp_path, *sessions)).save(tmp_path / "out")
    whole, part = (record(read_run(tmp_path / "out"), sessions=count) for count in (None, 1))
    lanes = [(arm.spans["lane"], arm.spans["session"]) for arm in (whole.arms[0], part.arms[0])]
    links, wires = ([lane.count(name) for lane, _ in lanes] for name in ("link", "wire"))
    assert links[0] == links[1]
    assert wires[0] == 2 * wires[1] > 0
    assert [set(found) for _, found in lanes] == [{-1, 0, 1}, {-1, 0}]
    assert part.left_out == "requests and transfers of all but 1 of 2 sessions"


def test_what_is_not_there_is_refused(three_turns: Path) -> None:
    saved = read_run(three_turns)
    with pytest.raises(InputError, match="unknown arm 'nonne'; did you mean 'none'"):
        record(saved, ["nonne"])
    with pytest.raises(InputError, match="unknown replication 7; want 0 to 0"):
        record(saved, replication=7)
    with pytest.raises(InputError, match=r"--window: holds nothing: 50 to 60 s; the run has 0 to 31\.1 s"):
        record(saved, window_s=(50.0, 60.0))
    with pytest.raises(InputError, match=r"--window: want FROM\.\.TO"):
        parse_window("90 s")
    with pytest.raises(InputError, match="--window: want a time such as"):
        parse_window("1..2")


def test_results_that_cannot_be_played_again_are_refused(tmp_path: Path) -> None:
    trace = (ROOT / "traces" / "three_turns.jsonl").read_text()
    (tmp_path / "trace.jsonl").write_text(trace)
    scenario_of_it = load(ROOT / "scenarios" / "three_turns.yaml", {"workload.trace": str(tmp_path / "trace.jsonl")})
    compare(scenario_of_it).save(tmp_path / "out")
    (tmp_path / "trace.jsonl").write_text(trace.replace('"think_s": 1.0', '"think_s": 2.0'))
    with pytest.raises(InputError, match="arm 'none' played again does not give the requests that requests"):
        record(read_run(tmp_path / "out"))
