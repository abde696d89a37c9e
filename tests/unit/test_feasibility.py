"""What `simkv check` says before a run: formulas by hand, a small story by hand, and agreement with the simulation."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import simkv
from simkv.compute.steptime import FixedStepTime, RooflineStepTime
from simkv.errors import InputError
from simkv.feasibility import Figure, check_arms, figures
from simkv.feasibility.arithmetic import (
    break_even_bps,
    ceiling,
    chunk_load,
    decode_s,
    packed_prefill_s,
    prefill_s,
    transfer_s,
)
from simkv.feasibility.asks import Ask
from simkv.feasibility.loads import Busy, serving_busy, source_busy, ways_of
from simkv.feasibility.setting import Setting
from simkv.model import get
from simkv.scenario import Scenario, from_text
from simkv.simulation import run

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = sorted((ROOT / "scenarios").glob("*.yaml"))
K = 36_864  # bytes of KV a token of Qwen2.5-3B

TEXT = """\
simkv: 1
name: story
model: Qwen2.5-3B
seed: 1
replications: 1
workload: {trace: trace.jsonl, starts: recorded}
servers:
  cloud: {gpu: {name: fixed, prefill_per_token: 10 ms}, buffers: {hbm: {size: 1 GiB}}}
  phone: {source: cloud, gpu: {name: fixed, prefill_per_token: 100 ms, decode_step: 1 s}, buffers: {hbm: {size: 1 GiB}}}
links:
  down: {from: cloud, to: phone, delay: 100 ms, capacity: 2949.12 kbit/s, transport: ideal}  # a token's KV in 0.1 s
  up: {from: phone, to: cloud, delay: 100 ms, capacity: 1 Mbit/s, transport: ideal}
arms: [{name: none}, {name: text, policies: {acquisition: text}}]
"""
READER = {
    "chunk_tokens": [10, 20],
    "turns": [
        {"chunks": [0], "new_tokens": 5, "answer_tokens": 3, "think_s": 0.0, "gap_kind": "none"},
        {"chunks": [1], "new_tokens": 5, "answer_tokens": 3, "think_s": 4.0, "gap_kind": "human"},
    ],
}


def scenario(
    folder: Path,
    *sessions: Mapping[str, Any],
    layout: str | None = "document_first",
    text: str = TEXT,
    **overrides: object,
) -> Scenario:
    """Return TEXT with a trace of these sessions; `__` in the name of an override stands for a dot."""
    header = {"format": "simkv.sessions", "version": 1, "block_tokens": 10, "layout": layout}
    header |= {"block_scope": "session", "provenance": {"source": "a test"}}
    names = ({"session_id": f"s{i}", "start_s": float(i)} for i in range(len(sessions)))
    lines = [json.dumps(header), *(json.dumps({**name, **told}) for name, told in zip(names, sessions, strict=True))]
    (folder / "trace.jsonl").write_text("\n".join(lines))
    return from_text(text, folder / "story.yaml", {key.replace("__", "."): value for key, value in overrides.items()})


def by_name(found: list[Figure]) -> dict[tuple[str, str], Figure]:
    """Return figures by name and what they are of; no two are alike."""
    named = {(figure.name, figure.of): figure for figure in found}
    assert len(named) == len(found)
    return named


# -- formulas --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("tokens_per_s", "mbps"), [(60, 17.7), (650, 192), (3000, 885)])
def test_break_even_of_edge_devices(tokens_per_s: float, mbps: float) -> None:
    """A phone, a Jetson Orin Nano and a Jetson Thor with Qwen2.5-3B."""
    assert break_even_bps(K, tokens_per_s) / 1e6 == pytest.approx(mbps, rel=0.002)


@pytest.mark.parametrize(("tflops", "gigabytes_per_s"), [(312, 5.86), (989, 18.57)])
def test_break_even_of_mooncake(tflops: float, gigabytes_per_s: float) -> None:
    """Qin et al.: 8 A800 or H800, LLaMA2-70B with 8 KV heads, 8,192 tokens: flops = l (4 n^2 d + 22 n d^2)."""
    tokens, layers, width = 8192, 80, 8192
    flop = layers * (4 * tokens**2 * width + 22 * tokens * width**2)
    rate = tokens * 8 * tflops * 1e12 / flop
    assert break_even_bps(320 * 1024, rate) / 8e9 == pytest.approx(gigabytes_per_s, abs=0.005)


def test_break_even_with_text_source_and_blend() -> None:
    """At the break-even rate, both ways take equally long; on either side, one wins."""
    k, t, r, s, blend = 1000.0, 4.0, 50.0, 400.0, 0.15
    even = break_even_bps(k, r, text_bytes_per_token=t, source_tokens_per_s=s, blend_ratio=blend)
    assert 1 / s + 8 * k / even + blend / r == pytest.approx(8 * t / even + 1 / r)
    assert even > break_even_bps(k, r, text_bytes_per_token=t)
    assert break_even_bps(k, r, source_tokens_per_s=r) == math.inf
    assert break_even_bps(k, r, source_tokens_per_s=2 * r, blend_ratio=0.5) == math.inf
    assert break_even_bps(4, r, text_bytes_per_token=4) == 0.0


def test_transfer_and_room() -> None:
    """A chunk of the three-turn story takes 3 s; half a gap of room is x = 2; no room, no bound."""
    assert transfer_s(20 * K, 1_966_080) == 3.0
    assert transfer_s(1, 0.0) == math.inf
    assert chunk_load(1_000_000, 4e6, 1.0) == 2.0
    assert chunk_load(1, 0.0, 1.0) == chunk_load(1, 1.0, 0.0) == math.inf


def test_ceiling() -> None:
    """N = 5 needs 80 % of the sum."""
    assert ceiling(0.0) == 1.0
    assert ceiling(0.8) == pytest.approx(5.0)
    assert ceiling(1.0) == math.inf


def test_times_of_a_turn_alone() -> None:
    """Prefill in steps of the budget, each with its overhead; the first token comes with the prefill."""
    gpu = RooflineStepTime(get("Qwen2.5-3B"), 1e13, 1e12, overhead_s=0.5)
    assert prefill_s(gpu, 30, 5, 10) == pytest.approx(
        gpu.step([(10, 5)], 0, 0, 0) + gpu.step([(10, 15)], 0, 0, 0) + gpu.step([(10, 25)], 0, 0, 1)
    )
    one_by_one = sum(gpu.step([], 1, 101 + i, 1) for i in range(4))
    assert decode_s(gpu, 100, 5) == pytest.approx(one_by_one)
    assert decode_s(gpu, 100, 1) == 0.0
    assert decode_s(FixedStepTime(0.1, 1.0), 100, 5, batch=8) == 0.5


def test_full_steps_cost_no_more_than_steps_alone() -> None:
    """The least is below the most, for any split of tokens."""
    gpu = RooflineStepTime(get("Qwen2.5-3B"), 1e13, 1e12, overhead_s=0.01)
    assert packed_prefill_s(gpu, 0, 100, 2048) == 0.0
    for new, cached in ((1, 0), (100, 1000), (2048, 0), (5000, 50)):
        assert packed_prefill_s(gpu, new, cached, 2048) <= prefill_s(gpu, new, cached, 2048) * 1.2
        assert decode_s(gpu, new + cached, 9, batch=16) <= decode_s(gpu, new + cached, 9)


# -- a story by hand -------------------------------------------------------------------------------


def test_asks_of_a_reader(tmp_path: Path) -> None:
    """Document first: the second chunk moves the dialogue, whose KV is computed again."""
    first, second = Setting(scenario(tmp_path, READER)).sample.asks
    assert first == Ask(
        *("phone", True, None, 15, 3),
        **{"old_tokens": 10, "front_tokens": 0, "missing_tokens": 10, "fetched_tokens": 10, "computed_tokens": 10},
        **{"kv_prefill_tokens": 5, "text_prefill_tokens": 15},
        **{"wait_s": pytest.approx(0.1 + 0.1 + 1.0 + 0.1), "prefill_s": 0.5, "decode_s": 2.0},
        **{"text_wait_s": pytest.approx(0.2 + 10 * 4 * 8 / 2_949_120), "text_prefill_s": 1.5},
    )
    assert second == Ask(
        *("phone", False, 6.5, 43, 3),  # 30 of document, 8 of dialogue, 5 new
        **{"old_tokens": 30, "front_tokens": 10, "missing_tokens": 20, "fetched_tokens": 20, "computed_tokens": 20},
        **{"computed_behind_tokens": 10, "kv_prefill_tokens": 13, "text_prefill_tokens": 33},
        **{"wait_s": pytest.approx(0.1 + 0.2 + 2.0 + 0.1), "prefill_s": pytest.approx(1.3), "decode_s": 2.0},
        **{"text_wait_s": pytest.approx(0.2 + 20 * 4 * 8 / 2_949_120), "text_prefill_s": pytest.approx(3.3)},
    )


def test_figures_of_a_reader(tmp_path: Path) -> None:
    """Every figure follows from the two turns."""
    found = by_name(figures(scenario(tmp_path, READER)))
    against, span_s = "break-even bandwidth of KV against", 1.8 + 2.0 + 4.0 + 3.7 + 2.0
    wanted = {
        ("KV bytes per token", "Qwen2.5-3B"): K,
        (f"{against} text", "phone"): 8 * (K - 4) * 10,
        (f"{against} text, computed first", "phone"): 8 * (K - 4) / (1 / 10 - 1 / 100),
        (f"{against} recompute", "phone"): 8 * K * 10,
        ("think time needed to hide one chunk", "phone"): 0.1 + 1.0 + 0.2,  # 10 tokens, the lower median
        ("x of one chunk", "phone"): 1.0 / ((1 - 3.0 / span_s) * 6.5),
        ("offered load", "down"): 3.0 / span_s,
        ("offered load", "cloud"): 0.3 / span_s,
        ("offered load", "phone"): (1.8 + 4.0 / 256) / span_s,  # prefill; 2 x 2 steps of 1 s that 256 answers share
        ("time to first token, nobody queues", ""): 5.5 / 2,
        ("ceiling of N", ""): 2.0,
        ("ceiling of N, by time", ""): 5.5 / (5.5 - 2.4),
    }
    assert {key: figure.value for key, figure in found.items()} == pytest.approx(wanted)
    assert [figure.text for figure in found.values() if figure.warning] == []
    assert "moving KV is as fast as sending text: 1 s against 1 s" in found[f"{against} text", "phone"].text
    assert "moving KV loses to sending text by 1.1 x" in found[f"{against} text, computed first", "phone"].text
    assert (
        "1.3 s (100 ms to compute, 1 s to send, 200 ms of delays)"
        in found["think time needed to hide one chunk", "phone"].text
    )


def test_loads_alone_and_packed(tmp_path: Path) -> None:
    """One request at a time is the most; where text is sent, the phone prefills it and the cloud does nothing."""
    setting, span_s = Setting(scenario(tmp_path, READER)), 13.5
    assert ways_of(setting) == {"kv": ["none"], "text": ["text"]}
    assert serving_busy(setting, "phone", "kv") == Busy(
        pytest.approx((1.8 + 4 / 256) / span_s), pytest.approx(5.8 / span_s)
    )
    assert serving_busy(setting, "phone", "text") == Busy(
        pytest.approx((4.8 + 4 / 256) / span_s), pytest.approx(8.8 / span_s)
    )
    assert source_busy(setting, "cloud") == Busy(pytest.approx(0.3 / span_s), pytest.approx(0.3 / span_s))


def test_count_divides_gpus_and_not_links(tmp_path: Path) -> None:
    """Four phones share the link and not each other's GPU."""
    one = by_name(figures(scenario(tmp_path, READER, READER, READER, READER)))
    four = by_name(figures(scenario(tmp_path, READER, READER, READER, READER, servers__phone__count="4")))
    assert four["offered load", "down"].value == one["offered load", "down"].value
    assert four["offered load", "phone"].value == pytest.approx(one["offered load", "phone"].value / 4)  # type: ignore[operator]


def test_poisson_starts_give_the_rate(tmp_path: Path) -> None:
    """One session a second brings 3 s of transfers each: the link is overloaded thrice, and nothing can be hidden."""
    found = by_name(figures(scenario(tmp_path, READER, text=TEXT.replace("starts: recorded", "session_rate: 1 /s"))))
    assert found["offered load", "down"].value == pytest.approx(3.0)
    assert found["offered load", "down"].warning
    assert "overload: queues decide, policies look alike (none)" in found["offered load", "down"].text
    assert found["offered load", "phone"].warning
    assert (found["x of one chunk", "phone"].value, found["x of one chunk", "phone"].warning) == (None, True)


def test_surplus(tmp_path: Path) -> None:
    """One short session an hour: nothing meets; on a fast link there is nothing to gain either."""
    text = TEXT.replace("starts: recorded", "session_rate: 1 /h").replace("2949.12 kbit/s", "100 Gbit/s")
    text = text.replace("100 ms, capacity", "0 s, capacity").replace("prefill_per_token: 10 ms", "decode_step: 0 s")
    found = by_name(figures(scenario(tmp_path, READER, text=text)))
    warned = {key for key, figure in found.items() if figure.warning and "surplus" in figure.text}
    assert warned == {("offered load", "down"), ("offered load", "phone"), ("ceiling of N, by time", "")}
    assert "surplus" not in found["offered load", "cloud"].text  # a sender with time to spare is no fault


def test_blended_chunks(tmp_path: Path) -> None:
    """A share of each reused chunk is computed again, and its text is needed beside its KV."""
    told = scenario(
        tmp_path, READER, layout="independent", workload__composition="{name: blend, share: 0.5}", name="blended"
    )
    setting = Setting(told)
    first, second = setting.sample.asks
    assert (setting.blend_ratio, setting.kv_bytes(10)) == (0.5, 10 * (K + 4))
    assert (first.kv_prefill_tokens, first.text_prefill_tokens) == (5 + 5, 15)
    assert second.prompt_tokens == 20 + 8 + 5
    assert (second.kv_prefill_tokens, second.text_prefill_tokens) == (5 + 8 + 10, 33)  # 8 fill no block
    found = by_name(figures(told))
    even = found["break-even bandwidth of KV against text", "phone"].value
    assert even == pytest.approx(8 * K / (0.5 / 10))


POOL = TEXT.replace("cloud: {gpu: {name: fixed, prefill_per_token: 10 ms}, buffers", "cloud: {buffers")
AGENT = {
    "turns": [
        {"block_runs": [[0, 2]], "new_tokens": 5, "answer_tokens": 3, "think_s": 0.0, "gap_kind": "none"},
        {"block_runs": [[0, 2]], "new_tokens": 5, "answer_tokens": 3, "think_s": 99.0, "gap_kind": "tool"},
    ],
}


def test_pool_and_a_buffer_that_is_too_small(tmp_path: Path) -> None:
    """Two agents push the end of each other's prompt out of three blocks; the pool has what was written through."""
    size = f"{3 * 10 * K} B"
    setting = Setting(scenario(tmp_path, AGENT, AGENT, layout=None, text=POOL, servers__phone__buffers__hbm__size=size))
    asks = setting.sample.asks
    assert [ask.missing_tokens for ask in asks] == [ask.fetched_tokens for ask in asks] == [0, 0, 10, 10]
    assert [ask.written_tokens for ask in asks] == [20, 20, 0, 0]
    assert [ask.kv_prefill_tokens for ask in asks] == [25, 25, 5, 5]
    assert [ask.text_prefill_tokens for ask in asks] == [25, 25, 15, 15]
    assert [ask.missing_tokens for ask in setting.unbounded.asks] == [0, 0, 0, 0]
    found = by_name(figures(setting.scenario))
    assert found["ceiling of N", ""].value == 2.0
    assert "50% of turns (0% if buffers never evicted)" in found["ceiling of N", ""].text
    assert found["offered load", "up"].value is not None
    assert ("offered load", "cloud") not in found  # a pool has no GPU
    assert (
        "the 10 tokens that the median request with a gap lacks"
        in found["think time needed to hide one chunk", "phone"].text
    )


def test_pool_without_what_is_wanted(tmp_path: Path) -> None:
    """A pool of one block sends the front; the rest is recomputed, and written through again."""
    size = f"{3 * 10 * K} B"
    told = {"servers__phone__buffers__hbm__size": size, "servers__cloud__buffers__hbm__size": f"{10 * K} B"}
    asks = Setting(scenario(tmp_path, AGENT, AGENT, layout=None, text=POOL, **told)).sample.asks
    assert [ask.missing_tokens for ask in asks] == [0, 0, 10, 10]
    assert [ask.fetched_tokens for ask in asks] == [0, 0, 0, 0]
    assert [ask.kv_prefill_tokens for ask in asks] == [25, 25, 15, 15]


def test_nothing_to_move(tmp_path: Path) -> None:
    """Buffers that keep everything need no source: what a request reuses stands for the chunk, and N is at most 1."""
    found = by_name(figures(scenario(tmp_path, AGENT, AGENT, layout=None, text=POOL)))
    assert "the 20 tokens that the median request reuses" in found["think time needed to hide one chunk", "phone"].text
    assert found["ceiling of N", ""].value == 1.0
    assert found["ceiling of N, by time", ""].warning
    plain = {"turns": [{"chunks": [], "new_tokens": 5, "answer_tokens": 3, "think_s": 0.0, "gap_kind": "none"}]}
    (tmp_path / "plain").mkdir()
    assert {figure.name for figure in figures(scenario(tmp_path / "plain", plain))} == {
        "KV bytes per token",
        "offered load",
    }


def test_links_that_carry_nothing_are_told(tmp_path: Path) -> None:
    """A link between servers of which neither is the other's source has no use."""
    text = TEXT.replace(
        "arms:", "  side: {from: phone, to: spare, delay: 0 s, capacity: 1 Gbit/s, transport: ideal}\narms:"
    )
    text = text.replace("links:", "  spare: {gpu: {name: fixed}, buffers: {hbm: {size: 1 GiB}}}\nlinks:")
    found = by_name(figures(scenario(tmp_path, READER, text=text)))
    assert (found["offered load", "side"].value, found["offered load", "side"].warning) == (0.0, True)
    assert "will carry nothing" in found["offered load", "side"].text


def test_traffic_without_a_rate(tmp_path: Path) -> None:
    """One request that takes no time at all gives none: loads are unknown, and said to be."""
    text = TEXT.replace("prefill_per_token: 100 ms, decode_step: 1 s", "decode_step: 0 s").replace("100 ms", "0 s")
    text = text.replace("prefill_per_token: 10 ms", "decode_step: 0 s").replace(", source: cloud", "")
    one = {"turns": [{"chunks": [], "new_tokens": 5, "answer_tokens": 1, "think_s": 0.0, "gap_kind": "none"}]}
    found = by_name(figures(scenario(tmp_path, one, text=text)))
    assert found["offered load", "phone"].value is None
    assert "unknown" in found["offered load", "phone"].text
    assert "unknown" in found["offered load", "down"].text


# -- agreement with the simulation -----------------------------------------------------------------


def test_asks_are_what_the_simulation_moves() -> None:
    """Without prefetch, bytes fetched and tokens prefilled are those of the run, to the last one."""
    fewer = {"replications": 1, "workload.sessions": 6, "servers.ue.buffers.hbm.size": "16 GiB"}  # nothing is evicted
    told = simkv.load(ROOT / "scenarios" / "5g_slice.yaml", fewer)
    setting, result = Setting(told), run(told, "none")
    asks = setting.sample.asks
    assert len(asks) == len(result.requests["status"])
    moved = [size for link, size in zip(result.transfers["link"], result.transfers["payload_bytes"], strict=True)]
    assert sum(moved) == sum(setting.kv_bytes(ask.fetched_tokens) for ask in asks)
    prefilled = sum(result.requests["input_tokens"]) - sum(result.requests["cached_tokens"])
    assert prefilled == sum(ask.kv_prefill_tokens for ask in asks)
    text = run(told, "text").requests
    assert sum(text["input_tokens"]) - sum(text["cached_tokens"]) == sum(ask.text_prefill_tokens for ask in asks)


def test_ceiling_by_time_is_reached_by_the_story() -> None:
    """Three turns, all prefetches in time, nobody else there: the simulated N is the ceiling."""
    told = simkv.load(ROOT / "scenarios" / "three_turns.yaml")
    (entry,) = [e for e in simkv.compare(told).to_json()["comparisons"] if e["metric"] == "ttft_s"]
    found = by_name(figures(told))
    assert found["ceiling of N, by time", ""].value == pytest.approx(entry["ratio"])
    assert found["ceiling of N", ""].value == pytest.approx(3.0)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_scenarios(path: Path) -> None:
    """Each can be built, and its figures are finite, one line each, and cost little."""
    try:
        told = simkv.load(path)
    except InputError as error:
        if "no such file" in str(error) and path.stem in ("agent_sessions", "mooncake"):
            pytest.skip(f"the trace that it names is not here: {error}")
        raise
    check_arms(told)
    begin_s = time.process_time()
    found = figures(told)
    assert time.process_time() - begin_s < 4.0  # 2 s on a machine that does nothing else
    wanted = {"KV bytes per token", "offered load"} | ({"ceiling of N"} if told.links else set())
    assert wanted <= {figure.name for figure in found}
    assert all(figure.value is None or math.isfinite(figure.value) for figure in found)
    assert all("\n" not in figure.text and len(figure.text) < 300 for figure in found)


def test_an_arm_that_cannot_be_built_is_named(tmp_path: Path) -> None:
    """What no key alone shows: here, a buffer below one block."""
    told = scenario(tmp_path, READER, servers__phone__buffers__hbm__size="1 KiB")
    with pytest.raises(InputError, match=r"^servers\.phone\.buffers\.hbm\.size: arm 'none': want room for at least"):
        check_arms(told)
