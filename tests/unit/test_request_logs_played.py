"""Scenarios on traces that are tables, logs and chats run to their end, and refuse what such a trace does not tell."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from simkv import cli, simulation
from simkv.errors import InputError
from simkv.scenario import from_text
from simkv.workload import open_trace
from tests.unit import miniatures
from tests.unit.miniatures import FILES, jsonl

SCENARIO = """
simkv: 1
name: logs
model: Qwen2.5-0.5B
seed: 1
replications: 1
workload: WORKLOAD
servers:
  far: {gpu: analytic-l40s, buffers: {hbm: {size: 8 GiB}}}
  near: {gpu: analytic-l40s, source: far, buffers: {hbm: {size: 8 GiB}}}
links:
  down: {from: far, to: near, delay: 1 ms, capacity: 1 Gbit/s, transport: ideal}
  up: {from: near, to: far, delay: 1 ms, capacity: 1 Gbit/s, transport: ideal}
"""


def played(tmp_path: Path, content: bytes, *told: str) -> simulation.RunResult:
    """Return what became of the requests of a trace."""
    path = tmp_path / "trace"
    path.write_bytes(content)
    workload = "{" + ", ".join([f"trace: {path}", *told]) + "}"
    return simulation.run(from_text(SCENARIO.replace("WORKLOAD", workload), tmp_path / "logs.yaml"), "default")


OPEN = {
    "azure-llm": FILES["azure-llm"],
    "burstgpt": miniatures.BURSTGPT_OLD,
    "openai-log": FILES["openai-log"],
    "vllm-bench": FILES["vllm-bench"],
    "llmservingsim": FILES["llmservingsim"],
    "aiperf": jsonl(miniatures.AIPERF_OPEN),
}


@pytest.mark.parametrize("name", OPEN)
def test_an_open_loop_comes_when_it_was_recorded(tmp_path: Path, name: str) -> None:
    """Every request of the trace ends, arrives at its time, and is as long as recorded."""
    done = played(tmp_path, OPEN[name])
    sessions = list(open_trace(tmp_path / "trace").sessions())
    assert set(done.requests["status"]) == {"finished"}
    assert sorted(done.requests["arrival_s"]) == pytest.approx([session.start_s for session in sessions])
    assert sorted(done.requests["output_tokens"]) == sorted(each.turns[0].answer_tokens for each in sessions)


CLOSED = {"burstgpt": FILES["burstgpt"], "qwen-bailian": FILES["qwen-bailian"], "aiperf": FILES["aiperf"]}


@pytest.mark.parametrize("name", CLOSED)
def test_a_closed_loop_waits_its_think_time_after_each_answer(tmp_path: Path, name: str) -> None:
    """Semantics G3: a turn comes its recorded think time after the simulated end of the answer before."""
    done = played(tmp_path, CLOSED[name])
    sessions = list(open_trace(tmp_path / "trace").sessions())
    assert set(done.requests["status"]) == {"finished"}
    rows = {
        (session, turn): (arrival_s, last_s)
        for session, turn, arrival_s, last_s in zip(
            *(done.requests[column] for column in ("session_id", "turn", "arrival_s", "last_token_s")), strict=True
        )
    }
    assert len(rows) == sum(len(session.turns) for session in sessions)
    for session in sessions:
        keys = sorted(key for key in rows if key[0] == session.session_id)
        assert rows[keys[0]][0] == pytest.approx(session.start_s)
        for turn, (before, after) in enumerate(pairwise(keys), start=1):
            assert rows[after][0] - rows[before][1] == pytest.approx(session.turns[turn].think_s)


@pytest.mark.parametrize("name", ["sharegpt", "sharegpt-lengths", "plain-dialogue"])
def test_chats_want_a_source_of_think_times(tmp_path: Path, name: str) -> None:
    """And the parameters of a format stand beside its name."""
    drawn = ("session_rate: 6 /min", "sessions: 3")
    with pytest.raises(InputError, match="this trace has no think times; want their source"):
        played(tmp_path, FILES[name], *drawn)
    told = f"format: {{name: {name}, block_tokens: 4}}"
    done = played(tmp_path, FILES[name], *drawn, told, "think: claude-code")
    assert set(done.requests["status"]) == {"finished"}


def test_the_dialogue_so_far_is_reused(tmp_path: Path) -> None:
    """Of a second prompt of 40 tokens, in blocks of 4, those of the first are there: 16 tokens less its last block."""
    told = ("session_rate: 6 /min", "sessions: 1", "format: {name: sharegpt-lengths, block_tokens: 4}")
    talk = jsonl([{"turns": [["u", 16], ["a", 20], ["u", 4], ["a", 2]]}])
    done = played(tmp_path, talk, *told, "think: claude-code")
    assert list(done.requests["input_tokens"]) == [16, 40]
    assert list(done.requests["cached_tokens"]) == [0, 12]


def test_session_predictors_refuse_a_trace_without_sessions(tmp_path: Path) -> None:
    """Semantics G3."""
    path = tmp_path / "trace"
    path.write_bytes(FILES["azure-llm"])
    text = SCENARIO.replace("WORKLOAD", f"{{trace: {path}}}") + "policies: {prefetch: threshold, predictor: markov}\n"
    with pytest.raises(InputError, match="this trace has no session identity"):
        simulation.run(from_text(text, tmp_path / "logs.yaml"), "default")


def test_a_bad_parameter_of_a_format_is_told_at_its_place(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"logs.yaml:7:\d+: workload.format.history: want one of: unknown, included, excluded"
    ):
        played(tmp_path, FILES["burstgpt"], "format: {name: burstgpt, history: maybe}")


def test_an_hour_of_azure_is_played(tmp_path: Path, data: Path) -> None:
    """The first 500 requests of the real conversation service."""
    path = data / "azure_llm_2023" / "AzureLLMInferenceTrace_conv_0_40min.csv.xz"
    workload = f"{{trace: {path}, limit: 500}}"
    done = simulation.run(from_text(SCENARIO.replace("WORKLOAD", workload), tmp_path / "logs.yaml"), "default")
    assert set(done.requests["status"]) == {"finished"}
    assert sum(done.requests["input_tokens"]) == sum(
        session.turns[0].new_tokens for session in open_trace(path, limit=500).sessions()
    )


def test_the_command_line_tells_what_was_assumed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`trace info` and `check` of a table, a JSON document and a text; `-p` says what the file does not."""
    for name, suffix in (("burstgpt", ".csv"), ("sharegpt", ".json"), ("plain-dialogue", ".txt")):
        path = tmp_path / f"trace{suffix}"
        path.write_bytes(FILES[name])
        assert cli.main(["check", str(path)]) == 0
        assert f"format: {name}" in capsys.readouterr().out
        assert cli.main(["trace", "info", str(path), "-p", "block_tokens=8"]) == 0
        assert "blocks of 8 tokens" in capsys.readouterr().out
    out = tmp_path / "out.jsonl"
    assert cli.main(["trace", "convert", str(tmp_path / "trace.csv"), str(out), "-p", "history=included"]) == 0
    assert "failed_requests: 1" in capsys.readouterr().out
    assert cli.main(["trace", "info", str(out)]) == 0
    assert "request tokens hold the dialogue so far" in capsys.readouterr().out
