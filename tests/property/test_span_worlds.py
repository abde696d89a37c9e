"""In any world: recording changes nothing, and spans account for all time and all bytes of requests, links and GPUs."""

from __future__ import annotations

import math
import os
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings

from simkv.busy import Span
from simkv.errors import InputError
from simkv.results import OBJECT_LANES, REQUEST_LANES, RunResult
from simkv.sampling import Sample
from simkv.scenario import load
from simkv.simulation import run
from simkv.spans import Spans
from tests.conftest import ROOT
from tests.property.test_worlds import worlds, written

EXAMPLES = int(os.environ.get("WORLDS", "40"))
EXACT = {"rel": 1e-9, "abs": 1e-9}


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(worlds())
def test_spans_account_for_everything(world: tuple[dict[str, Any], dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        scenario = written(Path(folder), *world, stepped=False)
        arm = scenario.arms[0].name
        try:
            plain = run(scenario, arm)
        except InputError as error:
            assume("does not fit" not in str(error))
            raise
        watch = Spans([plain.end_s * step / 16 for step in range(17)])
        watched = run(scenario, arm, watch=watch.attach)
    assert repr(watched) == repr(plain)
    check_requests(list(watch.of_requests(watched)), watched)
    check_objects(watch.of_objects(), watched)
    check_samples(watch.samples, watch.of_objects(), watched)


def check_requests(spans: list[Span], result: RunResult) -> None:
    """A request's lanes follow each other without a gap, and are its time to first token and its answer."""
    by_request = defaultdict(list)
    for span in spans:
        assert span.kind in REQUEST_LANES[span.lane]
        by_request[span.request_id].append(span)
    columns = result.requests
    for request_id in columns["request_id"]:
        found = by_request[request_id]
        arrival_s, first_s, last_s = (
            columns[name][request_id] for name in ("arrival_s", "first_token_s", "last_token_s")
        )
        ends = [arrival_s, *(span.end_s for span in found)]
        assert [span.start_s for span in found] == ends[:-1]
        assert all(span.start_s < span.end_s for span in found)
        if not math.isnan(last_s):
            assert ends[-1] == last_s
        if not math.isnan(first_s):
            before = sum(span.end_s - span.start_s for span in found if span.lane != "decode")
            assert before == pytest.approx(first_s - arrival_s, **EXACT)


def check_objects(spans: list[Span], result: RunResult) -> None:
    """Links and GPUs are busy as their totals say, never twice at a time, and every byte of a transfer is there."""
    busy_s: dict[tuple[str, str, bool], float] = defaultdict(float)
    until_s: dict[tuple[str, str], float] = {}
    for span in spans:
        assert span.kind in OBJECT_LANES[span.lane]
        if span.lane != "wire":
            assert span.start_s >= until_s.get((span.lane, span.object), 0.0)
            until_s[span.lane, span.object] = span.end_s
            busy_s[span.lane, span.object, span.kind.startswith("speculative_")] += span.end_s - span.start_s
    for name, link in result.links.items():
        parts = (busy_s["link", name, False], busy_s["link", f"{name}/speculative", False])
        assert max(parts) == pytest.approx(link.busy_s, **EXACT)
        for traffic, carried in link.wire_bytes_by_class.items():
            sent = sum(
                s.wire_bytes
                for s in spans
                if s.lane == "wire" and (s.object, s.kind.removesuffix("_text")) == (name, traffic)
            )
            control = link.speculative_control_bytes if traffic == "speculative" else 0
            control += link.control_bytes - link.speculative_control_bytes if traffic == "demand" else 0
            assert sent == carried - control
    for name, gpu in result.gpus.items():
        assert busy_s["gpu", name, False] == pytest.approx(gpu.demand_s, **EXACT)
        assert busy_s["gpu", name, True] == pytest.approx(gpu.speculative_s, **EXACT)


def check_samples(samples: list[Sample], spans: list[Span], result: RunResult) -> None:
    """Use of a link, summed over the instants, is what it sent by the last; buffers end as they should."""
    values = defaultdict(list)
    for sample in samples:
        assert sample.value >= 0
        values[sample.object, sample.quantity].append((sample.time_s, sample.value))
    assert len({len(each) for each in values.values()}) <= 1
    for name in result.links:
        if result.end_s and not any(s.lane == "link" and s.end_s > result.end_s for s in spans):
            mean_bps = [
                v
                for (of, what), each in values.items()
                if of.split("/")[0] == name and what.endswith("_bps")
                for _, v in each
            ]
            carried = sum(result.links[name].wire_bytes_by_class.values())
            assert sum(mean_bps) * result.end_s / 16 / 8 == pytest.approx(
                carried, rel=1e-6, abs=1 + len(spans)
            )  # whole bytes a transfer


#: Scenarios as shipped, but for their length.
SHORT: dict[str, dict[str, str]] = {
    "three_turns": {},
    "three_turns_late": {},
    "slow_tier": {},
    "5g_slice": {"workload.sessions": "8"},
    "ten_turns": {"workload.sessions": "8"},
    "incremental": {"workload.sessions": "8"},
    "useful_not_ready": {"workload.sessions": "4"},
    "serving": {"workload.sessions": "30"},
    "agent_sessions": {"workload.sessions": "6"},
    "mooncake": {"workload.limit": "400"},
}
QUICK = ("three_turns", "three_turns_late", "slow_tier")


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.evidence) for name in SHORT]
)
def test_spans_account_for_every_shipped_scenario(name: str) -> None:
    try:
        scenario = load(ROOT / "scenarios" / f"{name}.yaml", {"replications": "1", **SHORT[name]})
    except InputError as error:
        if "no such file" in str(error):
            pytest.skip(f"its trace is not here: {error}")
        raise
    for arm in (arm.name for arm in scenario.arms):
        plain = run(scenario, arm)
        watch = Spans([plain.end_s * step / 16 for step in range(17)])
        watched = run(scenario, arm, watch=watch.attach)
        assert repr(watched) == repr(plain)
        check_requests(list(watch.of_requests(watched)), watched)
        check_objects(watch.of_objects(), watched)
        check_samples(watch.samples, watch.of_objects(), watched)
