"""Laws that hold in any world: shared documents, runs of blocks, streams, pools, tiny rooms, slow links, horizons.

Worlds are drawn to be cramped: rooms of a few blocks, links that take seconds for one, GPUs that take longer.
`pytest tests/property/test_worlds.py --hypothesis-seed=N` tries others; WORLDS=5000 in the environment, more.
"""

from __future__ import annotations

import math
import os
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from simkv.errors import InputError
from simkv.results import RunResult
from simkv.scenario import Scenario, from_text
from tests.unit.little_worlds import BLOCK_BYTES, Played, play, run_turn, session, turn, write_trace

EXAMPLES = int(os.environ.get("WORLDS", "60"))
FIXED = "{{name: fixed, prefill_per_token: {}, decode_step: {}}}"

SCENARIO = """
simkv: 1
name: world
model: Qwen2.5-0.5B
seed: {seed}
replications: 1
workload: {{trace: {trace}{starts}{hints}, composition: {composition}}}
servers:
{sender}
  receiver: {{count: {count}, {source}gpu: {gpu}, buffers: {{hbm: {{size: {room} B}}}},
             engine: {{speculative_step: {step}, max_sequences: {sequences}, token_budget: {budget},
                       preset: {preset}, speculative: {speculative}, host_time: {host}}}}}
{links}
policies: {{batching: {batching}, eviction: {eviction}, routing: {routing}, predictor: {predictor},
           prefetch: {prefetch}, acquisition: {acquisition}, initiator: {initiator}, estimator: {estimator},
           timing: {timing}, codec: {codec}}}
run: {{step_by_step: {stepped}, control_message: {control}{horizon}}}
"""

times = st.sampled_from([0.0, 0.1, 1.0, 10.0])
lengths = st.integers(1, 40)
rooms = st.sampled_from([3, 5, 8, 12, 20, 40, 1000])


@st.composite
def edited(draw: st.DrawFn, turns: list[dict[str, Any]], chunks: list[int]) -> list[dict[str, Any]]:
    """Return turns some of which edit a chunk of their document."""
    now, found = list(chunks), []
    for each in turns:
        chunk, tokens = draw(st.integers(0, len(now) - 1)), draw(st.sampled_from([1, 8, 16, 40, 100]))
        kept = draw(st.integers(0, min(tokens, now[chunk])))
        if not draw(st.booleans()) or kept == tokens == now[chunk]:
            found.append(each)
            continue
        now[chunk] = tokens
        found.append(each | {"edits": [{"chunk": chunk, "kept_tokens": kept, "tokens": tokens}]})
    return found


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Return sessions that read documents, some of them the same."""
    chunk_tokens = st.lists(st.sampled_from([8, 16, 40, 100]), min_size=1, max_size=5)
    shapes = {name: draw(chunk_tokens) for name in "de"}
    sessions = []
    for index in range(draw(st.integers(1, 6))):
        document = draw(st.sampled_from([None, "d", "e"]))
        chunks = shapes[document] if document else draw(chunk_tokens)
        asked = st.lists(st.integers(0, len(chunks) - 1), max_size=2, unique=True)
        turns = [
            turn(*draw(asked), new=draw(lengths), answer=draw(lengths), think=draw(times))
            for _ in range(draw(st.integers(1, 4)))
        ]
        if document is None and draw(st.booleans()):
            turns = draw(edited(turns, chunks))
        start = draw(times)
        sessions.append(session(*turns, chunks=chunks, name=f"s{index}", start=start, document_id=document))
    return {"sessions": sessions, "layout": draw(st.sampled_from(["document_first", "independent"]))}


@st.composite
def talks(draw: st.DrawFn) -> dict[str, Any]:
    """Return sessions of block runs: most turns go on, some go back, some begin anew; front blocks may be shared."""
    sessions = []
    for index in range(draw(st.integers(1, 5))):
        first = draw(st.sampled_from([0, 1, 50]))
        front = draw(st.integers(1, 6))
        chains, next_id = [[(first, front)]], first + front
        for how in draw(st.lists(st.sampled_from(["on", "on", "on", "back", "anew"]), max_size=4)):
            chain = [] if how == "anew" else list(chains[-1] if how == "on" else chains[0])
            if count := draw(st.integers(0 if chain else 1, 5)):
                next_id += draw(st.sampled_from([0, 3]))
                chain.append((next_id, count))
                next_id += count
            chains.append(chain)
        turns = [run_turn(*chain, new=draw(lengths), answer=draw(lengths), think=draw(times)) for chain in chains]
        shared = {"shared_prefix": {"key": draw(st.sampled_from("kl")), "blocks": draw(st.integers(1, front))}}
        more = shared if draw(st.booleans()) else {}
        sessions.append(session(*turns, name=f"s{index}", start=draw(times), **more))
    return {"sessions": sessions, "layout": None}


@st.composite
def streams(draw: st.DrawFn) -> dict[str, Any]:
    """Return requests without sessions, many of which begin alike."""
    sessions, chains, next_id, start = [], [], 0, 0.0
    for index in range(draw(st.integers(1, 12))):
        base = draw(st.sampled_from([[], *chains]))
        chain = list(base[: draw(st.integers(0, len(base)))])
        if count := draw(st.integers(0 if chain else 1, 5)):
            chain.append((next_id, count))
            next_id += count
        chains.append(chain)
        start += draw(st.sampled_from([0.0, 0.0, 3.0]))
        sessions.append(
            session(run_turn(*chain, new=draw(lengths), answer=draw(lengths)), name=f"r{index}", start=start)
        )
    provenance = {"timestamp_quantum_s": draw(st.sampled_from([0, 3]))}
    header = {"has_sessions": False, "block_scope": "global", "provenance": provenance}
    return {"sessions": sessions, "layout": None, **header}


@st.composite
def links(draw: st.DrawFn) -> str:
    rates, delays = ["1 kbit/s", "100 kbit/s", "1572.864 kbit/s", "100 Mbit/s"], ["0 s", "1 ms", "1 s"]
    told = "links:\n"
    for name, ends in (("down", "from: sender, to: receiver"), ("up", "from: receiver, to: sender")):
        rate, delay = draw(st.sampled_from(rates)), draw(st.sampled_from(delays))
        kind = draw(st.sampled_from(["ideal", "warm", "warm, committed_bytes: 20 kB", "ideal, discipline: ps"]))
        told += f"  {name}: {{{ends}, capacity: {rate}, delay: {delay}, transport: {kind}}}\n"
    return told


@st.composite
def prefetches(draw: st.DrawFn, reads: bool, is_stream: bool) -> list[str]:
    """Return prefetch policies that a trace allows, written as in a scenario."""
    kind = draw(st.sampled_from(["kv", "kv", "text", "compute"]))
    least, price = draw(st.sampled_from([0, 0.3])), draw(st.sampled_from(["0 s/MB", "1 s/MB"]))
    found = ["none", f"{{name: oracle, ahead: {draw(st.integers(1, 3))}, kind: {kind}}}"]
    found.append(f"{{name: feasible-oracle, ahead: {draw(st.integers(1, 9))}, kind: {kind}}}")
    if not is_stream:
        plain = ("load-dependent", "feedback-throttled", "spare-bandwidth", "knapsack", "hint-driven")
        found += [f"{{name: {name}, kind: {kind}}}" for name in plain]
        found += [
            f"{{name: {name}, kind: {kind}, price: {price}}}" for name in ("price-aware", "cost-benefit", "adaptive")
        ]
        found += [f"{{name: threshold, threshold: {least}, kind: {kind}, at: {at}}}" for at in ("query", "pause")]
        found += [
            f"{{name: {name}, threshold: {least}, kind: {kind}}}" for name in ("edf", "slice-reserved", "just-in-time")
        ]
        found.append(f"{{name: always-k, k: {draw(st.integers(1, 3))}, kind: {kind}}}")
    if reads:
        found.append(f"{{name: sequential, ahead: {draw(st.integers(1, 3))}, kind: {kind}}}")
    return found


@st.composite
def worlds(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a trace, and what its scenario says."""
    trace = draw(st.one_of(documents(), talks(), streams()))
    reads, is_stream = trace["layout"] is not None, "has_sessions" in trace
    pick = {
        "starts": [""] if is_stream else ["", ", session_rate: 20 /min"],
        "hints": [""] if is_stream else ["", ", hints: {lead: 2 s, lead_sigma: 1.0, accuracy: 0.7}"],
        "initiator": ["push", "push", "pull"],
        "estimator": ["ewma", "{name: sliding-quantile, quantile: 0.2}", "{name: stale-report, period: 3 s}", "oracle"],
        "timing": ["semi-markov", "semi-markov", "oracle"],
        "composition": ["naive", "blend"] if trace["layout"] == "independent" else ["naive"],
        "count": [1, 1, 2, 3],
        "gpu": [FIXED.format("10 us", "1 ms"), FIXED.format("20 ms", "50 ms"), "analytic-phone-npu"],
        "step": [1, 16, 256],
        "sequences": [1, 2, 256],
        "budget": [16, 2048],
        "preset": ["reserve-ahead", "vllm-0.19", "vllm-0.19, async_scheduling: false"],
        "speculative": ["idle_only", "idle_only", "leftover"],
        "host": ["0 s", "0 s", "5 ms", "200 ms"],
        "batching": ["chunked-fcfs", "shortest-prompt", "priority"],
        "eviction": ["lru", "fifo", "belady"],
        "routing": ["sticky", "round-robin", "prefix-aware", "least-loaded", "random"],
        "predictor": ["markov", "oracle"],
        "prefetch": draw(prefetches(reads, is_stream)),
        "acquisition": [
            "fetch",
            "fetch",
            "delta",
            "{name: fetch-long, min_tokens: 40}",
            "resend",
            "text",
            "perfect-residency",
        ],
        "control": ["0 B", "64 B"],
        "horizon": ["", "", ", horizon: 5 s", ", horizon: 30 s"],
    }
    told = {name: draw(st.sampled_from(values)) for name, values in pick.items()}
    if told["batching"] == "priority":
        if is_stream or len(trace["sessions"]) == 1:
            told["batching"] = "chunked-fcfs"
        else:
            trace["sessions"] = [each | {"priority": place % 2} for place, each in enumerate(trace["sessions"])]
    if "hint-driven" in told["prefetch"]:
        told["hints"] = pick["hints"][1]
    if "kind: compute" in told["prefetch"] and told["acquisition"] == "text":
        told["acquisition"] = "fetch"
    sender_gpu = draw(st.sampled_from(["", f"gpu: {told['gpu']}, engine: {{speculative_step: 16}}, "]))
    sender = f"  sender: {{{sender_gpu}buffers: {{hbm: {{size: {draw(rooms) * BLOCK_BYTES} B}}}}}}"
    codec = draw(st.sampled_from(["identity", "int8", "{name: int4, group: 7}"]))
    can_code = sender_gpu and told["acquisition"] in ("fetch", "resend")
    told |= {"seed": draw(st.integers(0, 9)), "room": draw(rooms) * BLOCK_BYTES, "codec": "identity"}
    if told["prefetch"] == "none" and draw(st.booleans()):
        return trace, told | {"source": "", "sender": "", "links": ""}
    told["codec"] = codec if can_code else "identity"
    return trace, told | {"source": "source: sender, ", "sender": sender, "links": draw(links())}


def written(folder: Path, trace: dict[str, Any], told: dict[str, Any], stepped: bool) -> Scenario:
    header = {name: value for name, value in trace.items() if name not in ("sessions", "layout")}
    path = write_trace(folder / "trace.jsonl", trace["sessions"], trace["layout"], **header)
    return from_text(SCENARIO.format(trace=path, stepped=str(stepped).lower(), **told), folder / "world.yaml")


def columns(result: RunResult) -> dict[str, list[str]]:
    """Return the request table, times rounded to what leaping may change (semantics D4)."""
    return {
        name: [f"{value:.9g}" if isinstance(value, float) else str(value) for value in values]
        for name, values in result.requests.items()
    }


def check_requests(played: Played) -> None:
    names = ("status", "arrival_s", "scheduled_s", "first_token_s", "last_token_s")
    for row in zip(*(played.column(name) for name in names), strict=True):
        assert row[0] != "finished" or row[1] <= row[2] <= row[3] <= row[4]
    names = ("needed_units", "in_time_units", "late_units", "cached_tokens", "input_tokens")
    for needed, in_time, late, cached, prompt in zip(*(played.column(name) for name in names), strict=True):
        assert 0 <= in_time + late <= needed
        assert 0 <= cached < prompt


def check_rest(played: Played, endless: bool, is_only_made: bool) -> None:
    """What is over leaves nothing behind; the simulation's own checks have passed."""
    world, units = played.world, played.units
    assert set(played.column("status")) <= {"finished", "rejected"}
    assert world.serving._visited == {}
    assert world.ledger._open == {}
    assert all(gpu.is_idle for gpu in world.gpus.values())
    for source in world.sources.values():
        if source.ahead is not None:
            assert source.ahead.pusher.mind is None or set(source.ahead.pusher.mind._known) <= {-1}
            assert not source.ahead.pusher._jobs
            assert not any(sense.backlog_bytes for sense in source.ahead._senses.values())
    for server in world.servers:
        assert server._kv._reserved == {}
        puller = server._upstream._puller if server._upstream is not None else None
        if puller is not None:
            assert set(puller._mind._known) | set(puller._asked_bytes) | set(puller._sense._asked_bytes) <= {-1}
    if "rejected" not in played.column("status"):
        arrived = 0 if is_only_made else units.get("used_in_time", 0)  # what is made ahead still has to be sent
        assert sum(played.column("in_time_units")) == arrived
        assert units.get("used_late", 0) == sum(played.column("late_units"))
    if not endless:
        assert not {"in_flight_at_end", "resident_at_end"} & set(units)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(worlds())
def test_laws_hold_in_random_worlds(world: tuple[dict[str, Any], dict[str, Any]]) -> None:
    trace, told = world
    with tempfile.TemporaryDirectory() as folder:
        scenario = written(Path(folder), trace, told, stepped=False)
        try:
            played = play(scenario)  # its own checks of bytes, GPU-seconds and blocks are on
        except InputError as error:
            assume("does not fit" not in str(error))
            raise
        check_requests(played)
        if told["prefetch"] == "none":
            assert played.units == played.wire_bytes == {}
        if told["horizon"] == "" or played.world.env.peek() == math.inf:
            at_end = told["horizon"] != "" or "has_sessions" in trace
            check_rest(played, endless=at_end, is_only_made="kind: compute" in told["prefetch"])
        stepped = play(written(Path(folder), trace, told, stepped=True))
        assert columns(stepped.result) == columns(played.result)
