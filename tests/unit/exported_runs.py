"""A small run in the memory of one engine, with a pool behind it: what exports are tested on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd

from simkv import compare, load
from simkv.report.reading import SavedRun, read_run
from tests.unit.little_worlds import run_turn, session, turn, write_trace

SCENARIO = """
simkv: 1
name: exported
model: Qwen2.5-0.5B          # 12,288 bytes of KV a token
seed: 3
replications: {replications}
workload: {{trace: trace.jsonl, starts: recorded}}
servers:
  pool: {{buffers: {{hbm: {{size: 3 GiB}}}}}}
  gpu:
    count: {count}
    source: pool
    gpu: {{name: fixed, prefill_per_token: 1 ms, decode_step: 10 ms}}
    engine: {{preset: {preset}, token_budget: 512, max_sequences: 32}}
    buffers: {{hbm: {{size: 12288 kB}}}}
links:
  down: {{from: pool, to: gpu, delay: 5 ms, capacity: 100 Mbit/s, transport: ideal}}
  up: {{from: gpu, to: pool, delay: 15 ms, capacity: 100 Mbit/s, transport: ideal}}
policies: {{eviction: {eviction}, predictor: markov}}
arms:
  - {{name: none}}
  - {{name: long, policies: {{acquisition: {{name: fetch-long, min_tokens: 40}}}}}}
  - {{name: text, policies: {{acquisition: text}}}}
  - {{name: threshold, policies: {{prefetch: {{name: threshold, threshold: 0.3}}}}}}
  - {{name: delta, policies: {{acquisition: delta}}}}
  - {{name: shortest, policies: {{batching: shortest-prompt, eviction: sieve}}}}
"""


def saved(
    folder: Path, *, replications: int = 1, count: int = 1, preset: str = "vllm-0.19", eviction: str = "lru"
) -> SavedRun:
    """Run the scenario and save it."""
    turns = [[run_turn((0, 3 * n + 1), new=5, answer=1 + 3 * n, think=0.5) for n in range(4)] for _ in range(3)]
    sessions = [session(*each, name=f"s{i}", start=0.1 * i) for i, each in enumerate(turns)]
    write_trace(folder / "trace.jsonl", sessions, None)
    told = SCENARIO.format(replications=replications, count=count, preset=preset, eviction=eviction)
    (folder / "exported.yaml").write_text(told)
    compare(load(folder / "exported.yaml")).save(folder / "out")
    return read_run(folder / "out")


BLENDED = """
simkv: 1
name: blended
model: Qwen2.5-0.5B
seed: 3
replications: 1
workload: {{trace: trace.jsonl, starts: recorded, composition: {composition}}}
servers:
  pool: {{buffers: {{hbm: {{size: 1 GiB}}}}}}
  gpu: {{source: pool, gpu: {{name: fixed}}, engine: {{preset: vllm-0.19}}, buffers: {{hbm: {{size: 1 GiB}}}}}}
links:
  down: {{from: pool, to: gpu, delay: 5 ms, capacity: 100 Mbit/s, transport: ideal}}
  up: {{from: gpu, to: pool, delay: 5 ms, capacity: 100 Mbit/s, transport: ideal}}
"""


def blended(folder: Path, composition: str) -> SavedRun:
    """Run a session that asks independent chunks."""
    write_trace(folder / "trace.jsonl", [session(turn(0), turn(1, think=1.0), chunks=[64, 64])], "independent")
    (folder / "blended.yaml").write_text(BLENDED.format(composition=composition))
    compare(load(folder / "blended.yaml")).save(folder / "out")
    return read_run(folder / "out")


def with_nothing(run: SavedRun, folder: Path) -> SavedRun:
    """Return a copy of which no request ended."""
    shutil.copytree(run.path, folder)
    table = pd.read_parquet(run.path / "requests.parquet")
    table[["scheduled_s", "first_token_s", "last_token_s", "stall_s"]] = float("nan")
    table["status"] = "unfinished"
    table.to_parquet(folder / "requests.parquet")
    return read_run(folder)


def with_losses(run: SavedRun, folder: Path) -> SavedRun:
    """Return a copy of which one request was rejected after 0.25 s and one never ended."""
    shutil.copytree(run.path, folder)
    table = pd.read_parquet(run.path / "requests.parquet")
    rows = table.index[table["arm"] == "none"][1:3]
    table.loc[rows, ["scheduled_s", "first_token_s", "last_token_s"]] = float("nan")
    table.loc[rows, "status"] = ["rejected", "unfinished"]
    table.loc[rows, "stall_s"] = [0.25, float("nan")]
    table.to_parquet(folder / "requests.parquet")
    return read_run(folder)
