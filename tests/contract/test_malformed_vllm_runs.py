"""A damaged or hostile vLLM run ends `simkv validate vllm` in one line that says where and what; exit code 2."""

# ruff: noqa: E501 - one case a line, with its whole message
from __future__ import annotations

import copy
import csv
import gzip
import io
import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from simkv import cli
from simkv.profiling import open_profile
from simkv.profiling.writing import write
from tests.unit.measured_tables import tables
from tests.unit.vllm_run import ENGINE, INSTANCE, META, NODE, REQUEST, SECOND, SERIES, vllm_run


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tables(tmp_path_factory.mktemp("profile") / "tables", model="Qwen/Qwen2.5-3B")


@pytest.fixture
def run(tmp_path: Path, profile: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the valid run that every case damages in one place."""
    monkeypatch.chdir(tmp_path)
    return vllm_run(Path("run"))


def refusal(folder: Path, profile: Path | str, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    """Return the one line that the command ends in."""
    code = cli.main(["validate", "vllm", str(folder), "--profile", str(profile), *more])
    out, err = capsys.readouterr()
    assert (code, out) == (cli.INVALID, ""), err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err.removeprefix("error: ").strip()


def test_the_run_is_valid_before_it_is_damaged(run: Path, profile: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["validate", "vllm", str(run), "--profile", str(profile), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told["metrics"]) == {"ttft_s", "tpot_s", "e2e_s", "scheduled_to_first_s"}
    assert (told["num_gpu_blocks"], told["schema_version"]) == (400, 1)
    assert cli.main(["validate", "vllm", str(run), "--profile", str(profile)]) == 0
    assert "sequences in the batch over time" in capsys.readouterr().out


def engine(**changed: object) -> dict[str, Any]:
    return META | {"engine_kwargs": ENGINE | changed}


def without(record: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key not in keys}


#: (content of meta.json, the message after the file's name)
METAS = [
    (b"", ": the file is empty; want a JSON object"),
    (
        b'{\n"model": "Qwen2.5-3B",\n"engine',
        ":3: not JSON: Unterminated string starting at column 1 (is the file cut short?)",
    ),
    (b'{"model": 1, "model": 2}', ": key 'model' is given twice"),
    (b'{"model": NaN}', ": NaN is not a number that a trace may hold"),
    (b'{"model": "\xff"}', ": not UTF-8 at byte 12 of the file"),
    (b"[" * 100_000, ": JSON is nested too deeply"),
    ([META], ": want a JSON object, got [{"),
    (without(META, "engine_kwargs"), ": engine_kwargs: want an object, got null"),
    (META | {"engine_kwargs": "tp"}, ': engine_kwargs: want an object, got "tp"'),
    (without(META, "model"), ": model: want text, got null"),
    (META | {"model": "Qwen2.5-3C"}, ": unknown model 'Qwen2.5-3C'; did you mean 'Qwen2.5-3B'?; known: "),
    (META | {"kv_cache": [400]}, ": kv_cache: want an object, got [400]"),
    (META | {"hardware": "H100"}, ': hardware: want an object, got "H100"'),
    (META | {"hardware": {"device_name": 4090}}, ": device_name: want text, got 4090"),
    (META | {"kv_cache": {"num_gpu_blocks": "400"}}, ': num_gpu_blocks: want a whole number of at least 1, got "400"'),
    (META | {"kv_cache": {"num_gpu_blocks": 0}}, ": num_gpu_blocks: want a whole number of at least 1, got 0"),
    (META | {"kv_cache": {"num_gpu_blocks": 1}}, ": want more than 1 KV block, got 1 (recorded by the run)"),
    (META | {"kv_cache": {"num_gpu_blocks": 10**30}}, ": num_gpu_blocks: want at most 1000000000000, got 1000000000"),
    (
        META | {"kv_cache": {"num_gpu_blocks": 400, "block_size": 10**9}},
        ": block_size: want at most 65536, got 1000000000",
    ),
    (
        META | {"kv_cache": {"num_gpu_blocks": 400, "enable_prefix_caching": "no"}},
        ': enable_prefix_caching: want true or false, got "no"',
    ),
    (engine(pipeline_parallel_size=2), ": engine_kwargs.pipeline_parallel_size: 2 has no model in simkv; want 1"),
    (engine(data_parallel_size=0), ": data_parallel_size: want a whole number of at least 1, got 0"),
    (engine(enable_expert_parallel="yes"), ': enable_expert_parallel: want true or false, got "yes"'),
    (
        engine(data_parallel_size=2) | {"model": "Qwen/Qwen3-30B-A3B-Instruct-2507"},
        ": engine_kwargs.data_parallel_size: a mixture of experts whose ranks cut each expert has no model in simkv;"
        " want enable_expert_parallel true, or 1 rank",
    ),
    (
        engine(tensor_parallel_size=2, enable_expert_parallel=True) | {"model": "Qwen/Qwen3-30B-A3B-Instruct-2507"},
        ": engine_kwargs.enable_expert_parallel: experts over a tensor-parallel group have no model in simkv; want"
        " tensor_parallel_size 1 or no expert parallelism",
    ),
    (
        engine(kv_cache_dtype="fp8"),
        ": engine_kwargs.kv_cache_dtype: \"fp8\" has no model in simkv; want 'auto' or 'bfloat16' or 'float16'",
    ),
    (engine(quantization="awq"), ': engine_kwargs.quantization: "awq" has no model in simkv; want none'),
    (
        engine(speculative_config={"num_speculative_tokens": 3}),
        ': engine_kwargs.speculative_config: {"num_speculative_tokens": 3} has no model in simkv; want none',
    ),
    (engine(kv_transfer_config={"kv_connector": "NixlConnector"}), ": engine_kwargs.kv_transfer_config: {"),
    (
        engine(enable_chunked_prefill=False),
        ": engine_kwargs.enable_chunked_prefill: false has no model in simkv; want True",
    ),
    (
        engine(scheduling_policy="sjf"),
        ": engine_kwargs.scheduling_policy: \"sjf\" has no model in simkv; want 'fcfs' or 'priority'",
    ),
    (
        engine(enable_lora=True),
        ": engine_kwargs.enable_lora: simkv does not know what it does to a step; want it left out",
    ),
    (
        engine(max_num_seq=8),
        ": engine_kwargs.max_num_seq: simkv does not know what it does to a step; did you mean 'max_num_seqs'?",
    ),
    (engine(max_num_seqs=0), ": max_num_seqs: want a whole number of at least 1, got 0"),
    (engine(max_num_batched_tokens=2048.0), ": max_num_batched_tokens: want a whole number of at least 1, got 2048.0"),
    (engine(async_scheduling=1), ": async_scheduling: want true or false, got 1"),
]


def damaged(path: Path, content: object) -> None:
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())


@pytest.mark.parametrize(("content", "message"), METAS)
def test_what_the_engine_was(run: Path, profile: Path, capsys: Any, content: object, message: str) -> None:
    damaged(run / "meta.json", content)
    assert refusal(run, profile, capsys).startswith(f"run/meta.json{message}")


@pytest.mark.parametrize("name", ["meta.json", "requests.jsonl"])
def test_what_is_absent(run: Path, profile: Path, capsys: Any, name: str) -> None:
    (run / name).unlink()
    assert refusal(run, profile, capsys).startswith(f"run/{name}: ")


@pytest.mark.parametrize("name", ["meta.json", "requests.jsonl", "timeseries.csv", "node_config.json"])
def test_folders_in_place_of_files(run: Path, profile: Path, capsys: Any, name: str) -> None:
    (run / name).unlink()
    (run / name).mkdir()
    assert refusal(run, profile, capsys).startswith(f"run/{name}: ")


def test_the_run_itself_is_absent_or_a_file(run: Path, profile: Path, capsys: Any) -> None:
    assert refusal(Path("rum"), profile, capsys) == "rum/meta.json: no such file"
    assert refusal(run / "meta.json", profile, capsys) == "run/meta.json/meta.json: cannot be read: not a directory"


#: (content of node_config.json, the message after the file's name), where meta.json does not tell the blocks
NODES = [
    (b"{", ":1: not JSON: Expecting property name enclosed in double quotes at column 2 (is the file cut short?)"),
    (NODE | {"link_bw": "fast"}, ': link_bw: want a number from 0 to 1e+12, got "fast"'),
    (NODE | {"link_bw": -1}, ": link_bw: want a number from 0 to 1e+12, got -1"),
    (b'{"link_latency": 1e999}', ": link_latency: want a number from 0 to 1e+12, got Infinity"),
    (NODE | {"nodes": 1}, ": nodes: want a list of nodes, got 1"),
    (NODE | {"nodes": [1]}, ": nodes[]: want a JSON object, got 1"),
    (NODE | {"nodes": [{"instances": ["a"]}]}, ': nodes[].instances[]: want a JSON object, got "a"'),
    (NODE | {"nodes": [{"instances": [{"npu_mem": 24}]}]}, ": npu_mem: want a JSON object, got 24"),
    (
        NODE | {"nodes": [{"instances": [{"npu_mem": {"mem_size": "24 GiB"}}]}]},
        ': mem_size: want a number from 0 to 1e+12, got "24 GiB"',
    ),
    (
        NODE | {"nodes": [{"instances": [{"npu_mem": {"mem_size": 24, "mem_util": 90}}]}]},
        ": mem_util: want a number from 0 to 1, got 90",
    ),
]


@pytest.mark.parametrize(("content", "message"), NODES)
def test_what_the_machine_was(run: Path, profile: Path, capsys: Any, content: object, message: str) -> None:
    damaged(run / "node_config.json", content)
    assert refusal(run, profile, capsys).startswith(f"run/node_config.json{message}")


def test_neither_blocks_nor_memory(run: Path, profile: Path, capsys: Any) -> None:
    damaged(run / "meta.json", without(META, "kv_cache"))
    for config in (NODE | {"nodes": []}, NODE | {"nodes": [{"instances": [INSTANCE, INSTANCE | {"num_npus": 9}]}]}):
        damaged(run / "node_config.json", config)
        assert refusal(run, profile, capsys) == (
            "run/meta.json: neither the number of KV blocks (kv_cache.num_gpu_blocks) nor memory and mem_util"
            " (node_config.json) are recorded; want --num-gpu-blocks"
        )
    assert cli.main(["validate", "vllm", str(run), "--profile", str(profile), "--num-gpu-blocks", "400"]) == 0


def test_memory_that_does_not_hold_the_weights(run: Path, profile: Path, capsys: Any) -> None:
    damaged(run / "meta.json", without(META, "kv_cache"))
    damaged(run / "node_config.json", {"nodes": [{"instances": [{"npu_mem": {"mem_size": 4, "mem_util": 0.5}}]}]})
    assert refusal(run, profile, capsys).startswith("run/meta.json: want more than 1 KV block, got -")


#: (the second line of requests.jsonl, the message after the file's name)
REQUESTS: list[tuple[Any, str]] = [
    (b"", ":2: empty line; want a JSON object"),
    (b'{"id": 1, "input', ":2: not JSON: Unterminated string starting at column 11 (is the file cut short?)"),
    (b"\xff\xfe", ":2: not UTF-8 at byte 1 of the line"),
    (b"[1]", ":2: want a JSON object, got [1]"),
    (b'{"id": 1, "id": 2}', ":2: key 'id' is given twice"),
    (b'{"queued_s": NaN}', ":2: NaN is not a number that a trace may hold"),
    (b'{"input_tokens": ' + b"9" * 9_999 + b"}", ":2: a number has thousands of digits"),
    (without(SECOND, "first_token_s"), ":2: key 'first_token_s' is missing"),
    (SECOND | {"tokens": 4}, ":2: unknown key 'tokens'"),
    (SECOND | {"input_tokens": "40"}, ':2: input_tokens: want a whole number of at least 1, got "40"'),
    (SECOND | {"input_tokens": 0}, ":2: input_tokens: want a whole number of at least 1, got 0"),
    (SECOND | {"output_tokens": 10**13}, ":2: output_tokens: want at most 1000000000000, got 10000000000000"),
    (
        SECOND | {"output_tokens": 1},
        ":2: want queued_s <= scheduled_s < first_token_s < last_token_s, the last two equal for one token alone, got 0.625, 0.75, 1, 1.25 of 1",
    ),
    (SECOND | {"scheduled_s": 0.5}, ":2: want queued_s <= scheduled_s < first_token_s"),
    (SECOND | {"last_token_s": 0.875}, ":2: want queued_s <= scheduled_s < first_token_s"),
    (SECOND | {"first_token_s": 0.75}, ":2: want queued_s <= scheduled_s < first_token_s"),
    (SECOND | {"queued_s": -1.0}, ":2: queued_s: want seconds, a number of at least 0, got -1.0"),
    (SECOND | {"queued_s": None}, ":2: queued_s: want seconds, a number of at least 0, got null"),
    (SECOND | {"last_token_s": 1e300}, ":2: last_token_s: want seconds, a number of at least 0, got 1e+300"),
    (SECOND | {"block_ids": [7]}, ":2: block_ids: 40 tokens are 2 full blocks of 16, got 1 ids"),
    (SECOND | {"block_ids": [7, 7]}, ":2: block_ids: block 7 is named twice in one prompt"),
    (SECOND | {"block_ids": [7, "8"]}, ':2: block_ids[1]: want a whole number of at least 0, got "8"'),
    (SECOND | {"block_ids": [7, 1 << 62]}, ":2: block_ids[1]: want "),
    (SECOND | {"block_ids": {"7": 8}}, ":2: block_ids: want a list of block ids, got "),
    (SECOND | {"priority": None}, ":2: priority: want a whole number, got null"),
    (SECOND | {"priority": 1.5}, ":2: priority: want a whole number, got 1.5"),
]


@pytest.mark.parametrize(("content", "message"), REQUESTS)
def test_what_was_asked_and_measured(run: Path, profile: Path, capsys: Any, content: object, message: str) -> None:
    line = content if isinstance(content, bytes) else json.dumps(content).encode()
    (run / "requests.jsonl").write_bytes(json.dumps(REQUEST).encode() + b"\n" + line + b"\n")
    assert refusal(run, profile, capsys).startswith(f"run/requests.jsonl{message}")


def test_requests_without_a_line_or_cut_short(run: Path, profile: Path, capsys: Any) -> None:
    (run / "requests.jsonl").write_bytes(b"")
    assert refusal(run, profile, capsys) == "run/requests.jsonl: the file is empty"
    (run / "requests.jsonl").write_bytes(gzip.compress(json.dumps(REQUEST).encode())[:-9])
    assert refusal(run, profile, capsys) == "run/requests.jsonl:1: the compressed file is cut short"


def test_what_never_fits(run: Path, profile: Path, capsys: Any) -> None:
    long = SECOND | {"output_tokens": 10**12}
    (run / "requests.jsonl").write_text(json.dumps(REQUEST) + "\n" + json.dumps(long) + "\n")
    assert refusal(run, profile, capsys) == "run: 1 requests do not fit into 399 KV blocks"


#: (content of timeseries.csv, the message after the file's name)
SAMPLES = [
    (b"time,running\n1,2\n", ':1: want the column t once, got the columns ["time", "running"]'),
    (b"t,running,t\n1,2,3\n", ':1: want the column t once, got the columns ["t", "running", "t"]'),
    (b"t,running\n1\n", ":2: want 2 columns, got 1"),
    (b"t,running\n1,2.5\n", ':2: running: want a whole number of at least 0, got "2.5"'),
    (b"t,running\n1,-2\n", ':2: running: want a whole number of at least 0, got "-2"'),
    (b"t,running\nnan,2\n", ':2: t: want seconds, a number of at least 0, got "nan"'),
    (b"t,running\n1e300,2\n", ':2: t: want seconds, a number of at least 0, got "1e300"'),
    (b"t,running\n2,2\n1,2\n", ":3: t: must not decrease, got 1 after 2"),
    (b"t,running\n\xff,2\n", ":2: not UTF-8 text"),
    (b't,running\n"1,2\n', ":2: unexpected end of data"),
    (b"t,running\n" + b"1" * 200_000 + b",2\n", ":2: field larger than field limit (131072)"),
]


@pytest.mark.parametrize(("content", "message"), SAMPLES)
def test_what_ran_over_time(run: Path, profile: Path, capsys: Any, content: bytes, message: str) -> None:
    (run / "timeseries.csv").write_bytes(content)
    assert refusal(run, profile, capsys) == f"run/timeseries.csv{message}"


def test_profiles_of_something_else(run: Path, profile: Path, tmp_path: Path, capsys: Any) -> None:
    other = tables(tmp_path / "other", model="meta-llama/Llama-3.1-8B")
    assert refusal(run, other, capsys).startswith(f"{other}: its times are those of meta-llama/Llama-3.1-8B: layers 32")
    damaged(run / "meta.json", engine(tensor_parallel_size=2))
    assert (
        refusal(run, profile, capsys)
        == f"{profile}: want tp2_dense.csv[.gz] or tp2/dense.csv[.gz]; there are tables of: tp1"
    )
    write(open_profile(profile), Path("gpu.json"))
    assert refusal(run, "gpu.json", capsys) == "gpu.json: times of tp 1; want tp 2"


def test_a_group_of_gpus_wants_its_link(run: Path, tmp_path: Path, capsys: Any) -> None:
    pair = tables(tmp_path / "pair", tp=2, model="Qwen/Qwen2.5-3B")
    damaged(run / "meta.json", engine(tensor_parallel_size=2))
    damaged(run / "node_config.json", without(NODE, "link_latency"))
    assert "want link_bandwidth, such as '32 GB/s'" in refusal(run, pair, capsys)
    assert "want link_latency, such as '10 us'" in refusal(run, pair, capsys, "--link-bandwidth", "16 GB/s")
    assert "want a time such as" in refusal(run, pair, capsys, "--link-latency", "20")


@pytest.mark.parametrize("table", ["dense", "per_sequence", "attention"])
def test_a_profile_without_one_of_its_tables(run: Path, tmp_path: Path, capsys: Any, table: str) -> None:
    path = tables(tmp_path / "short", model="Qwen/Qwen2.5-3B")
    (path / f"tp1_{table}.csv.gz").write_bytes(b"\x1f\x8b")
    assert refusal(run, path, capsys).startswith(f"{path / f'tp1_{table}.csv.gz'}: not a whole gzip file")
    (path / f"tp1_{table}.csv.gz").unlink()
    assert f"want tp1_{table}.csv[.gz] or tp1/{table}.csv[.gz]" in refusal(run, path, capsys)


def test_profiles_that_are_none(run: Path, capsys: Any) -> None:
    assert refusal(run, "absent.json", capsys) == "absent.json: no such file"
    assert refusal(run, "absent", capsys) == "absent: want a profile (.json) or a folder of tables, got no suffix"
    assert refusal(run, run, capsys) == "run/meta.yaml: no such file"
    assert cli.main(["validate", "vllm", str(run)]) == cli.INVALID
    assert (
        capsys.readouterr().err == "error: run: want --profile: a simkv profile or a folder of measured tables of Toy\n"
    )


def test_what_is_odd_and_right(run: Path, profile: Path, capsys: Any) -> None:
    """One request, of one token, in a batch that nobody saw: there is no TPOT and no order to compare."""
    alone = REQUEST | {"output_tokens": 1, "last_token_s": 0.75, "block_ids": [], "priority": -3}
    (run / "requests.jsonl").write_text(json.dumps(alone))
    (run / "timeseries.csv").write_text("t,running\n0,0\n0,0\n")
    for as_json in ([], ["--json"]):
        assert cli.main(["validate", "vllm", str(run), "--profile", str(profile), *as_json]) == 0
        out = capsys.readouterr().out
    told = json.loads(out)
    assert set(told["metrics"]) == {"ttft_s", "e2e_s", "scheduled_to_first_s"}
    assert (told["rank_correlation"], told["running_mae_ratio"]) == (None, None)


def _mutated(value: Any, rng: random.Random) -> Any:
    """Return JSON with one leaf or branch replaced by something hostile."""
    hostile = [None, True, -1, 0, 1.5, 10**11, 1e300, "", "a\nb", [], {}, [[]], {"a": 1}, 2, 16, 7]
    found = copy.deepcopy(value)
    at, places = found, []
    while isinstance(at, (dict, list)) and at:
        key = rng.choice(list(at) if isinstance(at, dict) else range(len(at)))
        places.append((at, key))
        at = at[key]
    holder, key = rng.choice(places)
    holder[key] = rng.choice(hostile)
    return found


@pytest.mark.parametrize("seed", range(6))
def test_mutations_end_in_a_comparison_or_in_one_line(run: Path, profile: Path, capsys: Any, seed: int) -> None:
    rng = random.Random(seed)
    mutations: dict[str, Callable[[], bytes]] = {
        "meta.json": lambda: json.dumps(_mutated(META, rng)).encode(),
        "node_config.json": lambda: json.dumps(_mutated(NODE, rng)).encode(),
        "requests.jsonl": lambda: b"\n".join(json.dumps(_mutated(each, rng)).encode() for each in (REQUEST, SECOND)),
        "timeseries.csv": lambda: _cell_changed(rng).encode(),
    }
    valid = {name: (run / name).read_bytes() for name in mutations}
    began_s = time.monotonic()
    for _ in range(25):
        name = rng.choice(list(mutations))
        content = mutations[name]()
        if rng.random() < 0.2:
            content = content[: rng.randrange(len(content))]
        (run / name).write_bytes(content)
        code = cli.main(["validate", "vllm", str(run), "--profile", str(profile), "--json"])
        out, err = capsys.readouterr()
        if code:
            assert (code, err.count("\n"), err[:7]) == (cli.INVALID, 1, "error: "), (content, err)
        else:
            json.loads(out)
        (run / name).write_bytes(valid[name])
    assert time.monotonic() - began_s < 20


def _cell_changed(rng: random.Random) -> str:
    rows = list(csv.reader(io.StringIO(SERIES)))
    rng.choice(rows)[rng.randrange(3)] = rng.choice(["", "x", "-1", "1e9", "inf", "1_0", "\x00", '"'])
    return "\n".join(",".join(row) for row in rows)
