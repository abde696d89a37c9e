"""What simkv exports as another tool's results, it reads as a trace: the same requests, at the same times."""

from __future__ import annotations

from pathlib import Path

import pytest

from simkv.export import EXPORTS, Choice
from simkv.report.reading import SavedRun
from simkv.workload import open_trace
from tests.unit import exported_runs


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> SavedRun:
    """A run of which one request was rejected and one never ended."""
    folder = tmp_path_factory.mktemp("exported")
    return exported_runs.with_losses(exported_runs.saved(folder), folder / "lossy")


def written(run: SavedRun, target: str, name: str, folder: Path) -> Path:
    """Return the file of an export."""
    path = folder / name
    path.write_bytes(EXPORTS[target].make(run, Choice(arm="none", replication=0))[name])
    return path


def test_vllm_bench_s_form_comes_back(run: SavedRun, tmp_path: Path) -> None:
    """Every finished request with its lengths and its arrival; the two that did not end are told as failed."""
    trace = open_trace(written(run, "vllm-bench", "none.json", tmp_path))
    found = sorted(
        (session.start_s, session.turns[0].new_tokens, session.turns[0].answer_tokens) for session in trace.sessions()
    )
    rows = run.requests[(run.requests["arm"] == "none")]
    first_s = rows["arrival_s"].min()
    done = rows[rows["status"] == "finished"]
    wanted = sorted(zip(done["arrival_s"] - first_s, done["input_tokens"], done["output_tokens"], strict=True))
    shift_s = wanted[0][0] - found[0][0]  # the very first may be the one that did not end
    assert [each[1:] for each in found] == [each[1:] for each in wanted]
    assert [each[0] + shift_s for each in found] == pytest.approx([each[0] for each in wanted])
    assert trace.format == "vllm-bench"
    assert trace.notes()["failed_requests"] == 2


def test_aiperf_s_form_comes_back(run: SavedRun, tmp_path: Path) -> None:
    """Conversations are the sessions of the run, and think times those that it was played with, to a nanosecond."""
    trace = open_trace(written(run, "aiperf", "profile_export.jsonl", tmp_path))
    sessions = list(trace.sessions())
    rows = run.requests[run.requests["arm"] == "none"]
    done = rows[rows["status"] == "finished"]
    assert trace.format == "aiperf"
    assert trace.notes()["failed_requests"] == 1  # who never ended is not in the export
    assert [len(session.turns) for session in sessions] == list(done.groupby("session").size())
    whole = [session for session in sessions if len(session.turns) == 4]
    assert whole
    for session in whole:
        assert [turn.think_s for turn in session.turns[1:]] == pytest.approx([0.5] * 3, abs=1e-8)
        assert [turn.answer_tokens for turn in session.turns] == [1, 4, 7, 10]
