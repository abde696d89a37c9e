"""The load of a run as a Mooncake trace: equal ids are equal prompts up to there, and nothing else is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simkv import compare, load
from simkv.errors import InputError
from simkv.export import EXPORTS, Choice
from simkv.export.mooncake import _Ids, _windows
from simkv.report.reading import SavedRun, read_run
from simkv.workload import open_trace
from tests.unit.exported_runs import saved
from tests.unit.little_worlds import run_turn, session, turn, write_trace

SCENARIO = """
simkv: 1
name: load
model: Qwen2.5-0.5B
seed: 1
replications: 1
workload: {workload}
servers:
  gpu: {{gpu: {{name: fixed, prefill_per_token: 1 us, decode_step: 1 ms}}, buffers: {{hbm: {{size: 1 GiB}}}}}}
policies: {{predictor: markov}}
"""
#: Few texts and lengths, so that equal pieces come behind equal and behind unequal ones.
STRETCHES = st.lists(
    st.tuples(st.sampled_from([0, 512, 4096]), st.sampled_from([100, 512, 700, 1024])), min_size=1, max_size=5
)


def lines_of(run: SavedRun, arm: str = "default") -> list[dict[str, Any]]:
    """Return the requests of the trace."""
    text = EXPORTS["mooncake"].make(run, Choice(arm))[f"{arm}.jsonl"].decode()
    return [json.loads(line) for line in text.splitlines()]


def ran(folder: Path, workload: str) -> SavedRun:
    (folder / "load.yaml").write_text(SCENARIO.format(workload=workload))
    compare(load(folder / "load.yaml")).save(folder / "out")
    return read_run(folder / "out")


@given(st.lists(STRETCHES, min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_ids_are_equal_where_all_tokens_up_to_there_are(prompts: list[list[tuple[int, int]]]) -> None:
    """Against the prompts written out token by token."""
    ids = _Ids()
    seen: dict[int, tuple[int, ...]] = {}
    known: dict[tuple[int, ...], int] = {}
    for prompt in prompts:
        tokens = [start + at for start, count in prompt for at in range(count)]
        found = ids.of(prompt)
        assert len(found) == -(-len(tokens) // 512)
        for index, name in enumerate(found):
            front = tuple(tokens[: 512 * (index + 1)])
            assert seen.setdefault(name, front) == front
            assert known.setdefault(front, name) == name


@given(STRETCHES)
def test_windows_hold_all_tokens_in_order(prompt: list[tuple[int, int]]) -> None:
    tokens = [start + at for start, count in prompt for at in range(count)]
    windows = [[start + at for start, count in window for at in range(count)] for window in _windows(prompt)]
    assert [token for window in windows for token in window] == tokens
    assert all(len(window) == 512 for window in windows[:-1])


def test_a_mooncake_trace_comes_out_as_it_went_in(tmp_path: Path) -> None:
    """Lengths, order and shared blocks are the same; each request comes within its tick of 3 s."""
    told = [
        {"timestamp": 0, "input_length": 1500, "output_length": 7, "hash_ids": [4, 5, 9]},
        {"timestamp": 3000, "input_length": 1024, "output_length": 2, "hash_ids": [4, 5]},
        {"timestamp": 6000, "input_length": 1700, "output_length": 3, "hash_ids": [4, 5, 2, 8]},
        {"timestamp": 9000, "input_length": 1500, "output_length": 1, "hash_ids": [4, 5, 9]},
        {"timestamp": 12000, "input_length": 100, "output_length": 1, "hash_ids": [3]},
    ]
    (tmp_path / "m.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in told))
    lines = lines_of(ran(tmp_path, "{trace: m.jsonl}"))
    names: dict[int, int] = {}
    for line, before in zip(lines, told, strict=True):
        assert 0 <= line["timestamp"] - before["timestamp"] < 3000
        assert (line["input_length"], line["output_length"]) == (before["input_length"], before["output_length"])
        for ours, theirs in zip(line["hash_ids"], before["hash_ids"], strict=True):
            assert names.setdefault(theirs, ours) == ours
    assert len(set(names.values())) == len(names)


def test_a_document_is_shared_and_a_dialogue_grows(tmp_path: Path) -> None:
    """Two readers of one document share its 1,000 tokens; each later turn holds the dialogue before it."""
    turns = [turn(0, new=100, answer=200), turn(0, new=300, answer=50, think=1.0)]
    sessions = [session(*turns, chunks=[1000], name=name, document_id="d", start=start) for name, start in ("a0", "b9")]
    write_trace(
        tmp_path / "t.jsonl", [each | {"start_s": float(each["start_s"])} for each in sessions], "document_first"
    )
    lines = lines_of(ran(tmp_path, "{trace: t.jsonl, starts: recorded}"))
    assert [line["input_length"] for line in lines] == [1100, 1600, 1100, 1600]
    a_1, a_2, b_1, b_2 = (line["hash_ids"] for line in lines)
    assert a_1[:1] == a_2[:1] == b_1[:1] == b_2[:1]
    assert len(set(a_1[1:]) | set(b_1[1:])) == 4  # the dialogue begins in the second block, and is each reader's own
    assert a_1[1:2] == a_2[1:2]
    assert b_1[1:2] == b_2[1:2]


def test_new_tokens_are_nobody_elses(tmp_path: Path) -> None:
    """Two requests that name the same 512 tokens share their id, and not that of the question behind it."""
    turns = [session(run_turn((0, 32), new=9), name=name, start=start) for name, start in (("a", 0.0), ("b", 9.0))]
    write_trace(tmp_path / "t.jsonl", turns, None, block_scope="global")
    a, b = (line["hash_ids"] for line in lines_of(ran(tmp_path, "{trace: t.jsonl, starts: recorded}")))
    assert len(a) == len(b) == 2
    assert a[0] == b[0]
    assert a[1] != b[1]


def test_what_was_simulated_is_what_is_written(tmp_path: Path) -> None:
    """Arrivals of the arm in ms, and a trace that is read again."""
    run = saved(tmp_path)
    rows = run.requests[run.requests["arm"] == "long"].sort_values("arrival_s")
    lines = lines_of(run, "long")
    assert [line["timestamp"] for line in lines] == [round(1000 * at) for at in rows["arrival_s"]]
    assert [line["input_length"] for line in lines] == list(rows["input_tokens"])
    (tmp_path / "again.jsonl").write_bytes(EXPORTS["mooncake"].make(run, Choice("long"))["long.jsonl"])
    assert len(list(open_trace(tmp_path / "again.jsonl").sessions())) == 12


def test_edits_are_refused(tmp_path: Path) -> None:
    edited = turn(0) | {"edits": [{"chunk": 0, "kept_tokens": 3, "tokens": 20}]}
    write_trace(tmp_path / "t.jsonl", [session(turn(0), edited, chunks=[64])], "document_first")
    run = ran(tmp_path, "{trace: t.jsonl, starts: recorded}")
    with pytest.raises(InputError, match="session a edits its document"):
        lines_of(run)
