"""An arm as settings of a real server: what was simulated comes back the same, the rest is refused by name."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from simkv.errors import InputError
from simkv.export import EXPORTS, Choice
from simkv.export.chosen import wanted
from simkv.report.reading import SavedRun
from tests.unit.exported_runs import blended, saved

TARGETS = ("lmcache", "hicache", "vllm")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> SavedRun:
    return saved(tmp_path_factory.mktemp("exported"))


def files(run: SavedRun, target: str, arm: str) -> dict[str, str]:
    """Return what is written, as text."""
    return {name: content.decode() for name, content in EXPORTS[target].make(run, Choice(arm)).items()}


def one(run: SavedRun, target: str, arm: str) -> str:
    """Return the only file."""
    (text,) = files(run, target, arm).values()
    return text


def flags(text: str) -> dict[str, str]:
    """Return the flags of a script as a shell would hand them on; one without a value has an empty one."""
    words = shlex.split(text.replace("\\\n", " ").partition("exec ")[2])
    told = {}
    for word, after in zip(words, [*words[1:], "--"], strict=True):
        if word.startswith("--"):
            told[word] = "" if after.startswith("--") else after
    return told


def extra(told: dict[str, str]) -> dict[str, float]:
    """Return what the storage of HiCache is told."""
    found = json.loads(told["--hicache-storage-backend-extra-config"])
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(("arm", "min_tokens"), [("none", 0), ("long", 40)])
def test_a_threshold_survives_the_way_out_and_back(run: SavedRun, arm: str, min_tokens: int) -> None:
    """Tokens that must lack, tokens a block, eviction: equal to the scenario's; the same in all targets."""
    scenario = run.scenario.for_arm(arm)
    assert int(scenario.policies.acquisition.params.get("min_tokens", 0)) == min_tokens
    for text in (one(run, "lmcache", arm), files(run, "vllm", arm)["lmcache-gpu.yaml"]):
        told = yaml.safe_load(text)
        assert (told["min_retrieve_tokens"], told["chunk_size"], told["cache_policy"]) == (min_tokens, 16, "LRU")
    words = flags(one(run, "hicache", arm))
    assert (extra(words)["prefetch_threshold"], words["--page-size"]) == (min_tokens, "16")
    assert words["--radix-eviction-policy"] == "lru"


def test_timeouts_of_hicache_follow_from_the_link(run: SavedRun) -> None:
    """Base: 5 + 15 ms there and back; 1,024 tokens of 12,288 bytes at 100 Mbit/s take 1.0066 s."""
    words = flags(one(run, "hicache", "none"))
    assert extra(words)["prefetch_timeout_base"] == pytest.approx(0.02)
    assert extra(words)["prefetch_timeout_per_ki_token"] == pytest.approx(1024 * 12_288 * 8 / 100e6)
    assert int(words["--max-total-tokens"]) == 12_288_000 // (16 * 12_288) * 16


def test_the_engine_comes_back_from_vllm(run: SavedRun) -> None:
    """Batch limits and policy; the 62 blocks that a request may use, and vLLM's placeholder block."""
    words = flags(files(run, "vllm", "long")["vllm-gpu.sh"])
    engine = run.scenario.servers["gpu"].engine
    assert int(words["--block-size"]) == 16
    assert int(words["--num-gpu-blocks-override"]) == 12_288_000 // (16 * 12_288) + 1
    assert int(words["--max-num-batched-tokens"]) == engine.token_budget == 512
    assert int(words["--max-num-seqs"]) == engine.max_sequences == 32
    assert words["--scheduling-policy"] == "fcfs"
    assert "--async-scheduling" in words
    assert "--kv-transfer-config" in words


def test_where_nothing_is_fetched_vllm_stands_alone(run: SavedRun) -> None:
    assert list(files(run, "vllm", "text")) == ["vllm-gpu.sh"]
    assert "--kv-transfer-config" not in flags(one(run, "vllm", "text"))


def test_a_source_of_one_server_is_the_memory_of_its_host(run: SavedRun) -> None:
    told = yaml.safe_load(one(run, "lmcache", "long"))
    assert (told["local_cpu"], told["max_local_cpu_size"], told["cache_policy"]) == (True, 3.0, "LRU")
    assert "remote_url" not in told


def test_a_source_of_several_is_a_remote_store(tmp_path: Path) -> None:
    """Its size and eviction are the store's own: said in a comment."""
    text = one(saved(tmp_path, count=3), "lmcache", "long")
    told = yaml.safe_load(text)
    assert (told["local_cpu"], told["remote_url"], told["remote_serde"]) == (False, "lm://pool:65432", "naive")
    assert "cache_policy" not in told
    assert "3 servers alike" in text
    assert "3 GiB and LRU" in text.replace("\n#   ", " ")


def test_eviction_goes_where_there_is_a_setting_for_it(tmp_path: Path) -> None:
    """LFU: LMCache's local tier and SGLang have it, vLLM and a shared store have not."""
    (tmp_path / "one").mkdir()
    alone = saved(tmp_path / "one", eviction="lfu")
    assert yaml.safe_load(one(alone, "lmcache", "none"))["cache_policy"] == "LFU"
    assert flags(one(alone, "hicache", "none"))["--radix-eviction-policy"] == "lfu"
    with pytest.raises(InputError, match=r"policies\.eviction: lfu; in the memory of its GPUs vLLM evicts LRU"):
        files(alone, "vllm", "none")
    (tmp_path / "two").mkdir()
    with pytest.raises(InputError, match=r"policies\.eviction: lfu; 'pool' is shared"):
        files(saved(tmp_path / "two", eviction="lfu", count=2), "lmcache", "none")


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("arm", "names"),
    [
        ("threshold", ["policies.prefetch: threshold, at a probability of 0.3, moves KV before anybody asks for it"]),
        ("delta", ["policies.acquisition: delta; want fetch or fetch-long"]),
        ("shortest", ["policies.eviction: sieve"]),
    ],
)
def test_what_has_no_counterpart_is_refused_by_name(run: SavedRun, target: str, arm: str, names: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        files(run, target, arm)
    assert f"arm {arm!r} does what" in str(caught.value)
    for name in names:
        assert name in str(caught.value)


def test_blending_goes_where_there_is_a_setting_for_it(tmp_path: Path) -> None:
    """LMCache blends, layer by layer; caches of prefixes do not."""
    run = blended(tmp_path, "{name: blend, share: 0.2}")
    told = yaml.safe_load(one(run, "lmcache", "default"))
    assert (told["enable_blending"], told["blend_recompute_ratios"]) == (True, [0.2])
    assert (told["use_layerwise"], told["blend_check_layers"], told["blend_special_str"]) == (True, [1], " # # ")
    for target in ("hicache", "vllm"):
        with pytest.raises(InputError, match=r"workload\.composition: blend; it reuses prefixes alone"):
            files(run, target, "default")


def test_chunks_reused_as_they_are_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"workload\.composition: naive"):
        files(blended(tmp_path, "naive"), "lmcache", "default")


def test_all_that_has_no_counterpart_is_refused_at_once(run: SavedRun) -> None:
    with pytest.raises(InputError) as caught:
        files(run, "vllm", "shortest")
    assert "policies.eviction: sieve" in str(caught.value)
    assert "policies.batching: shortest-prompt; want chunked-fcfs, priority" in str(caught.value)


def test_memory_rules_of_another_engine_are_refused_for_vllm(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"servers\.gpu\.engine\.preset: reserve-ahead"):
        files(saved(tmp_path, preset="reserve-ahead"), "vllm", "none")


@pytest.mark.parametrize("target", ["lmcache", "hicache"])
def test_an_arm_that_fetches_nothing_is_no_setting_of_a_store(run: SavedRun, target: str) -> None:
    with pytest.raises(InputError, match=r"policies\.acquisition: text; nothing is fetched"):
        files(run, target, "text")


@pytest.mark.parametrize("target", TARGETS)
def test_files_say_what_they_rest_on(run: SavedRun, target: str) -> None:
    """First lines: what, of which results, and that nobody measured it."""
    for text in files(run, target, "long").values():
        head = text.split("MODEL=")[0].replace("\n#   ", " ")
        assert "from scenario exported, arm long. Simulated, not measured: validate before use." in head
        assert "SHA-256 of manifest.json: " in head
        assert "As simulated" in head
        assert "default" in text
        assert "KV came from 'pool', 3.22 GB of KV, over a link of 100 Mbit/s, round trip 20 ms" in head


@pytest.mark.parametrize(("target", "program"), [("vllm", "vllm"), ("hicache", "python")])
def test_a_script_runs_with_the_flags_that_it_names(run: SavedRun, tmp_path: Path, target: str, program: str) -> None:
    """A shell hands the JSON to the server as one word; without MODEL it stops and says so."""
    for name, text in files(run, target, "long").items():
        (tmp_path / name).write_text(text)
    fake = tmp_path / program
    fake.write_text('#!/bin/sh\nfor word in "$@"; do echo "$word"; done\necho "$LMCACHE_CONFIG_FILE"\n')
    fake.chmod(0o755)
    (script,) = tmp_path.glob("*.sh")

    def started(**env: str) -> subprocess.CompletedProcess[str]:
        paths = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
        return subprocess.run(["sh", script], env=paths | env, capture_output=True, text=True, check=False)

    assert "set it to the weights of Qwen2.5-0.5B" in started().stderr
    words = started(MODEL="some/model", BACKEND="file").stdout.splitlines()
    assert "some/model" in words
    documents: list[dict[str, Any]] = [json.loads(word) for word in words if word.startswith("{")]
    if target == "vllm":
        assert documents == [{"kv_connector": "LMCacheConnectorV1", "kv_role": "kv_both"}]
        assert Path(words[-1]).name == "lmcache-gpu.yaml"
        assert Path(words[-1]).is_file()
    else:
        assert documents[0]["prefetch_threshold"] == 40


@pytest.mark.parametrize("name", ['x}"; echo run; "', "$(echo run)", "`echo run`", "x}\necho run\n"])
def test_a_script_runs_nothing_that_a_name_says(name: str) -> None:
    """A folder of results may come from anybody, and names its model."""
    for told in ({}, {"MODEL": "some/model"}):
        script = wanted("MODEL", f"set it to {name}")
        done = subprocess.run(["sh", "-c", script], env=told, capture_output=True, text=True, check=False)
        assert done.stdout == ""
        assert done.stderr.count("\n") <= 1
        assert (done.returncode == 0) == bool(told)
