"""What must not change anything: speculation on an idle path (E2), hash seeds, workers, repetition (G4)."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from simkv.scenario import from_text
from simkv.simulation import run
from tests.conftest import ROOT

IDLE_GPUS = """
simkv: 1
name: untouched
model: Qwen2.5-0.5B
seed: 5
replications: 1
workload: {{trace: {trace}, composition: naive, starts: recorded}}
servers:
  sender: {{gpu: {{name: fixed}}, buffers: {{hbm: {{size: 1 TiB}}}}}}
  receiver: {{source: sender, gpu: {{name: fixed}}, buffers: {{hbm: {{size: 1 TiB}}}}}}
links:
  down: {{from: sender, to: receiver, delay: 3 ms, capacity: 777.7 kbit/s, transport: warm, committed_bytes: 0 B}}
  up: {{from: receiver, to: sender, delay: 3 ms, capacity: 99.9 kbit/s, transport: warm, committed_bytes: 0 B}}
arms:
  - {{name: none}}
  - {{name: sequential, policies: {{prefetch: {{name: sequential, ahead: 3}}}}}}
"""


@pytest.fixture
def never_asked(tmp_path: Path) -> Path:
    """Sessions that ask one chunk at irregular times; the three that follow are speculated and never asked for."""
    header = (
        '{"format": "simkv.sessions", "version": 1, "block_tokens": 16, "layout": "independent",'
        ' "block_scope": "session", "provenance": {}}'
    )
    lines = [header]
    for index in range(200):
        start_s = index * 1.1 + (index * index % 7) * 0.37
        lines.append(
            f'{{"session_id": "s{index}", "document_id": null, "start_s": {start_s}, "chunk_tokens": [16, 32, 16, 48],'
            ' "turns": [{"chunks": [0], "new_tokens": 1, "answer_tokens": 1, "think_s": 0.0, "gap_kind": "none"},'
            ' {"chunks": [], "new_tokens": 1, "answer_tokens": 1, "think_s": 500.0, "gap_kind": "human"}]}'
        )
    path = tmp_path / "never_asked.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_demand_is_bit_identical_with_and_without_speculation(never_asked: Path) -> None:
    scenario = from_text(IDLE_GPUS.format(trace=never_asked), never_asked.parent / "untouched.yaml")
    without, with_ = run(scenario, "none"), run(scenario, "sequential")
    assert with_.speculative_bytes["never_used"] > 40e6  # the link was full of speculation
    for column in ("arrival_s", "scheduled_s", "first_token_s", "last_token_s", "stall_s"):
        assert with_.requests[column] == without.requests[column]  # not approximately


def parquet_digests(folder: Path, hash_seed: str, workers: int) -> dict[str, str]:
    """Run a short scenario in a process of its own; return the digest of each table."""
    command = [
        *(sys.executable, "-m", "simkv.cli", "run", str(ROOT / "scenarios" / "5g_slice.yaml")),
        *("--set", "replications=2", "--set", "workload.sessions=5"),
        *("--workers", str(workers), "--out", str(folder)),
    ]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    subprocess.run(command, check=True, capture_output=True, env=environment)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob("*.parquet"))}


def test_tables_are_byte_identical(tmp_path: Path) -> None:
    first = parquet_digests(tmp_path / "a", "1", 1)
    assert set(first) >= {"requests.parquet", "transfers.parquet"}
    assert parquet_digests(tmp_path / "b", "1", 1) == first  # again
    assert parquet_digests(tmp_path / "c", "2", 1) == first  # other hash seed
    assert parquet_digests(tmp_path / "d", "3", 2) == first  # two workers
