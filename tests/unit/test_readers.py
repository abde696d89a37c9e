"""Traces of every format: what is read, what is derived, and that reading takes little time and memory."""

from __future__ import annotations

import gzip
import json
import lzma
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from simkv.errors import InputError
from simkv.kv.block import Run
from simkv.request import Edit, Session, TraceHeader, Turn
from simkv.workload import check, convert, info, open_trace
from simkv.workload.prompt import prompt_tokens
from simkv.workload.readers.native import header_line, session_line
from simkv.workload.readers.summary import IdSet
from tests.conftest import ROOT

MOONCAKE = "mooncake/conversation_0_40min.jsonl.xz"
CLAUDE = "claude_code_traces/sessions_shared.jsonl.xz"


def write(path: Path, *records: dict[str, Any]) -> Path:
    """Write JSON lines and return the path."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def mooncake(timestamp: int, tokens: int, ids: list[int], answer: int = 7) -> dict[str, Any]:
    """Return one request as Mooncake writes it."""
    return {"timestamp": timestamp, "input_length": tokens, "output_length": answer, "hash_ids": ids}


def asked(t: float, tokens: int, runs: list[list[int]], stop: str = "tool_use", **rest: Any) -> dict[str, Any]:
    """Return one request as a recorded coding-agent session holds it."""
    return {"t": t, "type": "n", "in": tokens, "out": 5, "stop": stop, "hash_runs": runs, "api_time": 1.0, **rest}


def recorded(*requests: dict[str, Any], name: str = "one", **rest: Any) -> dict[str, Any]:
    """Return a recorded coding-agent session."""
    shape = {"block_size": 64, "hash_id_scope": "local", "tool_tokens": 100, "system_tokens": 60}
    return {"id": name, **shape, "requests": list(requests), **rest}


def only_session(path: Path) -> Session:
    (session,) = open_trace(path).sessions()
    return session


def test_words_are_written_and_read_again(tmp_path: Path) -> None:
    """Known words come back as they were, unknown ones as none, and neither is invented by a conversion."""
    header = TraceHeader(16, "independent", "session", True, {})
    turns = (Turn(5, 7, chunks=(1,), words=("why", "straße")), Turn(5, 7, chunks=(0,)))
    told = Session("told", turns, "independent", chunk_tokens=(16, 16), chunk_words=(("a", "b", "a"), ()))
    silent = Session("silent", (Turn(5, 7, chunks=(0,)),), "independent", chunk_tokens=(16,))
    path, again = tmp_path / "words.jsonl", tmp_path / "again.jsonl"
    path.write_text("\n".join([header_line(header), session_line(told, header), session_line(silent, header)]))
    assert list(open_trace(path).sessions()) == [told, silent]
    assert "words" not in session_line(silent, header)
    convert(str(path), again, {}, seed=0)
    assert list(open_trace(again).sessions()) == [told, silent]


def test_native_story_reads_as_written() -> None:
    trace = open_trace(ROOT / "traces" / "three_turns.jsonl")
    (session,) = trace.sessions()
    assert (trace.format, trace.header.block_tokens, trace.header.layout) == ("simkv.sessions", 1, "independent")
    assert session.start_s == 0.0
    assert session.chunk_tokens == (20, 20, 20)
    assert session.turns[1] == Turn(4, 5, 1.0, "human", chunks=(1,))
    assert trace.notes() == {"sessions": 1, "requests": 3}


def test_late_story_differs_in_answers_and_think_times_alone() -> None:
    story, late = (only_session(ROOT / "traces" / f"three_turns{suffix}.jsonl") for suffix in ("", "_late"))
    assert [(turn.answer_tokens, turn.think_s) for turn in late.turns] == [(2, 0.0)] * 3
    assert [turn.chunks for turn in late.turns] == [turn.chunks for turn in story.turns]


@pytest.mark.parametrize("compress", [bytes, gzip.compress, lzma.compress])
def test_compression_is_told_by_content_not_by_name(tmp_path: Path, compress: Any) -> None:
    path = tmp_path / "trace.dat"
    path.write_bytes(compress((ROOT / "traces" / "three_turns.jsonl").read_bytes()))
    assert len(only_session(path).turns) == 3


def test_a_byte_order_mark_is_passed(tmp_path: Path) -> None:
    """What Windows programs put in front of a file says nothing of it."""
    path = tmp_path / "marked.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + (ROOT / "traces" / "three_turns.jsonl").read_bytes())
    assert len(only_session(path).turns) == 3


def test_sessions_can_be_read_again(tmp_path: Path) -> None:
    trace = open_trace(write(tmp_path / "m", mooncake(0, 600, [1, 2]), mooncake(3000, 600, [1, 3])))
    assert list(trace.sessions()) == list(trace.sessions())


def test_every_kind_of_session_survives_writing_and_reading(tmp_path: Path) -> None:
    header = TraceHeader(64, None, "session", has_sessions=True, provenance={"source": "a test"})
    turns = (Turn(7, 9, block_runs=(Run(1, 4), Run(9, 2))), Turn(64, 1, 2.5, "tool", block_runs=(Run(1, 5),)))
    sessions = [
        Session("runs", turns, shared_key="5/6", shared_blocks=3),
        Session("chunks", (Turn(1, 1, chunks=(2, 0)), Turn(1, 1, 0.25, "human")), "interleaved", "d", (512, 512, 100)),
        Session("bare", (Turn(1, 1),), start_s=12.5),
    ]
    path = tmp_path / "all.jsonl"
    path.write_text("\n".join([header_line(header), *(session_line(session, header) for session in sessions)]))
    trace = open_trace(path)
    assert trace.header == header
    assert list(trace.sessions()) == sessions


def test_mooncake_request_is_a_session_of_one_turn(tmp_path: Path) -> None:
    path = write(tmp_path / "m", mooncake(0, 1, [7]), mooncake(27000, 1100, [0, 1, 40], answer=0))
    trace = open_trace(path)
    first, second = trace.sessions()
    assert trace.header.block_scope == "global"
    assert not trace.header.has_sessions
    assert trace.header.provenance["timestamp_quantum_s"] == 3.0
    assert first == Session("request-1", (Turn(1, 7),), start_s=0.0)
    assert (first.turns[0].last_block, second.turns[0].last_block) == (7, 40)
    assert second == Session("request-2", (Turn(76, 1, block_runs=(Run(0, 2),)),), start_s=27.0)


def test_others_write_mooncake_s_form_with_other_units(tmp_path: Path) -> None:
    """Block size and unit are not in the file: a person says them, and a file that is neither is refused."""
    path = write(tmp_path / "m", mooncake(0, 40, [1, 2, 3]), mooncake(27, 33, [1, 2, 4]))
    trace = open_trace(path, params={"block_tokens": 16, "time_unit": "s", "tick_s": 0.0})
    _, second = trace.sessions()
    assert (second.start_s, second.turns[0].block_runs) == (27.0, (Run(1, 2),))
    assert (trace.header.block_tokens, trace.header.provenance["timestamp_quantum_s"]) == (16, 0.0)
    with pytest.raises(InputError, match="hash_ids: 40 tokens are 0 full blocks of 512 tokens, got 3 ids"):
        list(open_trace(path).sessions())


def test_mooncake_prompt_of_full_blocks_keeps_one_to_prefill(tmp_path: Path) -> None:
    session = only_session(write(tmp_path / "m", mooncake(0, 1024, [0, 5])))
    assert session.turns == (Turn(512, 7, block_runs=(Run(0, 1),)),)


def test_claude_think_times_and_gap_kinds(tmp_path: Path) -> None:
    session = only_session(
        write(
            tmp_path / "c",
            recorded(
                asked(0, 200, [[1, 3]]),
                asked(9, 300, [[1, 4]], "end_turn", think_time=8.0),
                asked(60, 320, [[1, 4], [9, 1]], "", think_time=50.0),
                asked(70, 330, [[1, 5]]),
            ),
        )
    )
    assert [(turn.think_s, turn.gap_kind) for turn in session.turns] == [
        (0.0, "none"),
        (8.0, "tool"),
        (50.0, "human"),
        (0.0, "human"),
    ]
    assert [turn.new_tokens for turn in session.turns] == [8, 44, 64, 10]
    assert session.turns[2].block_runs == (Run(1, 4),)  # 320 tokens are five blocks; the last is prefilled
    assert (session.shared_key, session.shared_blocks) == ("100/60", 2)


def test_claude_shared_prefix_ends_with_the_first_prompt_s_leading_run(tmp_path: Path) -> None:
    session = only_session(write(tmp_path / "c", recorded(asked(0, 130, [[1, 1], [5, 1]]), tool_tokens=6400)))
    assert session.shared_blocks == 1


def test_claude_sub_agents_become_turns_and_their_stay_is_counted_once(tmp_path: Path) -> None:
    inner = [asked(0, 70, [[50, 1]], think_time=0.0), asked(4, 80, [[50, 1]], "end_turn", think_time=3.0)]
    agent = {"t": 12.0, "type": "subagent", "agent_id": "a", "requests": inner}
    path = write(
        tmp_path / "c",
        recorded(asked(0, 200, [[1, 3]]), asked(10, 210, [[1, 3]], think_time=9.0), agent)
        | {"requests": [asked(0, 200, [[1, 3]]), agent, asked(30, 300, [[1, 4]], think_time=29.0)]},
    )
    turns = only_session(path).turns
    assert [turn.block_runs[0].start for turn in turns] == [1, 50, 50, 1]
    # 0-1 parent; 12-13 and 16-17 sub-agent; the parent goes on at 30: 13 s after the sub-agent, not 29.
    assert [(turn.think_s, turn.gap_kind) for turn in turns] == [
        (0.0, "none"),
        (11.0, "tool"),
        (3.0, "tool"),
        (13.0, "tool"),
    ]


def test_claude_forks_are_read_once(tmp_path: Path) -> None:
    sessions = [recorded(asked(0, 200, [[1, 3]]), name=name, dup_group="g") for name in ("one", "fork")]
    trace = open_trace(write(tmp_path / "c", *sessions))
    assert [session.session_id for session in trace.sessions()] == ["one"]
    assert trace.notes() == {"sessions": 1, "requests": 1, "duplicates_dropped": 1}


def test_max_input_tokens_cuts_a_session_before_its_first_longer_prompt(tmp_path: Path) -> None:
    one = recorded(asked(0, 200, [[1, 3]]), asked(1, 900, [[1, 14]]), asked(2, 210, [[1, 3]]))
    long = recorded(asked(0, 900, [[1, 14]]), name="long")
    trace = open_trace(write(tmp_path / "c", one, long), max_input_tokens=500)
    assert [(session.session_id, len(session.turns)) for session in trace.sessions()] == [("one", 1)]
    assert trace.notes() == {"sessions": 1, "requests": 1, "sessions_cut": 2, "requests_cut": 3}
    with pytest.raises(InputError, match="no session is left: every first request has more than 10 input tokens"):
        list(open_trace(tmp_path / "c", max_input_tokens=10).sessions())


def test_limit_counts_requests_and_cuts_the_session_that_reaches_it() -> None:
    trace = open_trace(ROOT / "traces" / "reading.jsonl.gz", limit=25)
    assert [len(session.turns) for session in trace.sessions()] == [10, 10, 5]


def test_prompt_grows_by_the_dialogue_and_by_chunks_asked_for_the_first_time() -> None:
    turns = (Turn(5, 7, chunks=(1,)), Turn(6, 7, chunks=(1,)), Turn(1, 1))
    assert list(prompt_tokens(Session("s", turns, "interleaved", chunk_tokens=(100, 50)), 16)) == [55, 68, 76]
    assert list(prompt_tokens(Session("s", turns, "document_first", chunk_tokens=(100, 50)), 16)) == [155, 168, 176]


def test_formats_are_found_by_name_or_first_line(tmp_path: Path) -> None:
    path = write(tmp_path / "m", mooncake(0, 600, [1, 2]))
    assert open_trace(path).format == open_trace(path, format="mooncake").format == "mooncake"
    with pytest.raises(InputError, match="unknown trace format 'moonkake'; did you mean 'mooncake'"):
        open_trace(path, format="moonkake")


def test_info_describes_a_trace(tmp_path: Path) -> None:
    facts = info(write(tmp_path / "m", mooncake(0, 1100, [0, 1, 2]), mooncake(3000, 1600, [0, 1, 3, 4])))
    assert facts["reuse"] == {"references": 5, "seen_before": 2, "share": 0.4}
    assert facts["input_tokens"]["mean"] == 1350.0  # type: ignore[index]
    assert facts["think_s"] == {}


def test_id_set_agrees_with_a_plain_set() -> None:
    runs = [Run(start * 7919 % 90, 1 + start * 31 % 12) for start in range(200)]
    plain: set[int] = set()
    kept = IdSet()
    for run in runs:
        ids = set(range(run.start, run.end))
        assert kept.add(run) == len(ids - plain)
        plain |= ids


def test_check_refuses_two_sessions_of_one_name(tmp_path: Path) -> None:
    header, session = (ROOT / "traces" / "three_turns.jsonl").read_text().splitlines()
    path = tmp_path / "twice.jsonl"
    path.write_text("\n".join([header, session, session]))
    assert len(list(open_trace(path).sessions())) == 2  # a stream does not remember names
    with pytest.raises(InputError, match=r"twice.jsonl: two sessions are called 'story'"):
        check(path)


def test_check_states_facts_and_refuses_a_document_of_two_shapes(tmp_path: Path) -> None:
    header = (ROOT / "traces" / "three_turns.jsonl").read_text().splitlines()[0]
    turns = [{"chunks": [0], "new_tokens": 1, "answer_tokens": 1, "think_s": 0, "gap_kind": "none"}]
    sessions = [
        {"session_id": name, "document_id": "d", "start_s": 1, "chunk_tokens": sizes, "turns": turns}
        for name, sizes in (("a", [8]), ("b", [8]), ("c", [9]))
    ]
    path = tmp_path / "d.jsonl"
    path.write_text("\n".join([header, *map(json.dumps, sessions[:2])]))
    facts = check(path)
    assert (facts["documents"], facts["recorded_starts"], facts["sessions"]) == (1, 2, 2)
    assert info(path)["reuse"] == {"references": 2, "seen_before": 0, "share": 0.0}
    path.write_text("\n".join([header, *map(json.dumps, sessions)]))
    with pytest.raises(InputError, match="document 'd' has chunks of other sizes than before"):
        check(path)


def test_edits_are_read_as_written(tmp_path: Path) -> None:
    """What an edit leaves out is as it was: nothing kept, the length that the edit before left."""
    header = {"format": "simkv.sessions", "version": 1, "block_tokens": 16, "layout": "document_first"}
    turn = {"chunks": [0], "new_tokens": 1, "answer_tokens": 1, "think_s": 0, "gap_kind": "none"}
    edits: list[dict[str, int]] = [{"chunk": 0, "kept_tokens": 30, "tokens": 70}, {"chunk": 1, "tokens": 8}]
    turns = [turn, turn | {"edits": edits}, turn | {"edits": [{"chunk": 0, "kept_tokens": 60}]}]
    told = {"session_id": "s", "chunk_tokens": [40, 16], "turns": turns}
    path = write(tmp_path / "t.jsonl", header | {"block_scope": "session", "provenance": {}}, told)
    session = only_session(path)
    assert [turn.edits for turn in session.turns] == [(), (Edit(0, 30, 70), Edit(1, 0, 8)), (Edit(0, 60, 70),)]
    assert list(prompt_tokens(session, 16)) == [41, 73, 75]
    convert(str(path), tmp_path / "again.jsonl", {}, seed=0)
    assert only_session(tmp_path / "again.jsonl") == session


def test_convert_is_deterministic_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    source = write(tmp_path / "m", mooncake(0, 1100, [0, 1, 2]), mooncake(3000, 1600, [0, 1, 3, 4]))
    for name in ("a.jsonl.gz", "b.jsonl.gz"):
        convert(str(source), tmp_path / name, {}, seed=1)
    assert (tmp_path / "a.jsonl.gz").read_bytes() == (tmp_path / "b.jsonl.gz").read_bytes()
    source.write_text(source.read_text() + "{")
    with pytest.raises(InputError, match="m:3: not JSON"):
        convert(str(source), tmp_path / "a.jsonl.gz", {}, seed=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl.gz", "b.jsonl.gz", "m"]
    assert len(list(open_trace(tmp_path / "a.jsonl.gz").sessions())) == 2


@pytest.mark.parametrize(
    ("source", "out", "params", "message"),
    [
        ("absent.jsonl", "o.jsonl", {}, "absent.jsonl: cannot be opened: no such file or directory"),
        (
            str(ROOT / "traces" / "three_turns.jsonl"),
            "o.jsonl",
            {"limt": "3"},
            "trace has no parameter 'limt'; did you mean 'limit'?; it takes: format, max_input_tokens, limit",
        ),
        (str(ROOT / "traces" / "three_turns.jsonl"), "o.jsonl", {"limit": "0"}, "limit: want at least 1, got 0"),
        (str(ROOT / "traces" / "three_turns.jsonl"), ".", {}, "a trace goes to a file that ends in .jsonl"),
        ("generator:sequential", "o.jsonl", {}, "unknown generator 'sequential'; did you mean 'sequential-reading'?"),
        ("generator:log-ar1", "o.jsonl", {}, "a bandwidth series goes to a file that ends in .csv"),
        ("generator:sequential-reading", "o.csv", {}, "a trace goes to a file that ends in .jsonl"),
        ("generator:sequential-reading", "o.jsonl", {"turn": "3"}, "has no parameter 'turn'; did you mean 'turns'?"),
        ("generator:sequential-reading", "o.jsonl", {"turns": "3.5"}, "turns: want a whole number, got '3.5'"),
        ("generator:sequential-reading", "o.jsonl", {"turns": "0"}, "turns: want at least 1, got 0"),
        ("generator:sequential-reading", "o.jsonl", {"gap_kind": "tol"}, "want tool or human, got 'tol'; did you mean"),
        ("generator:log-ar1", "o.csv", {"duration": "60"}, "duration: want a time such as '20 ms', got '60'"),
        ("generator:independent-trigger", "o.jsonl", {"p": "nan"}, "p: want a probability, 0 to 1, got nan"),
        ("generator:log-ar1", "no/o.csv", {}, "no/o.csv: cannot be written: no such file or directory"),
    ],
)
def test_convert_refuses_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, out: str, params: dict[str, str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        convert(source, Path(out), params, seed=1)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "sessions", "requests", "reuse"),
    [
        (MOONCAKE, 7851, 7851, 0.365),  # its README counts partial last blocks too: 0.351
        (CLAUDE, 457, 28_811 + 500, 0.964),  # README: requests of the distinct sessions, and those of sub-agents
    ],
)
def test_real_traces_hold_what_their_readme_says(
    data: Path, name: str, sessions: int, requests: int, reuse: float
) -> None:
    facts = info(data / name)
    assert (facts["sessions"], facts["requests"]) == (sessions, requests)
    assert facts["reuse"]["share"] == pytest.approx(reuse, abs=0.002)  # type: ignore[index]


@pytest.mark.parametrize("name", [MOONCAKE, CLAUDE])
def test_reading_real_traces_is_quick(data: Path, name: str) -> None:
    trace = open_trace(data / name)
    started_s = time.process_time()
    requests = sum(len(session.turns) for session in trace.sessions())
    assert time.process_time() - started_s < 1e-4 * requests


def peak_bytes(path: Path, limit: int) -> int:
    """Return the most memory held while a trace is read."""
    tracemalloc.start()
    for _ in open_trace(path, limit=limit).sessions():
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


@pytest.mark.parametrize("name", [MOONCAKE, CLAUDE])
def test_memory_does_not_grow_with_what_was_read(data: Path, name: str) -> None:
    few, many = (peak_bytes(data / name, limit) for limit in (500, 5000))  # both hold the xz decoder's 65 MiB
    assert many - few < 3e6


@pytest.mark.parametrize("name", [MOONCAKE, CLAUDE])
def test_real_traces_survive_conversion(data: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / "native.jsonl.gz"
    convert(str(data / name), out, {"limit": "2000"}, seed=1)
    assert list(open_trace(out).sessions()) == list(open_trace(data / name, limit=2000).sessions())
    assert open_trace(out).header.has_sessions == open_trace(data / name).header.has_sessions
