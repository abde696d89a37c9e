"""The story of one turn, against schedules computed by hand; and every way to ask for one that is not there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from simkv import cli
from simkv.compare import compare
from simkv.errors import InputError
from simkv.explain import explain
from simkv.report.layout import WIDTH
from simkv.report.turn_story import to_text
from simkv.scenario import Scenario, load
from simkv.simulation import run
from simkv.tracing import Tracer
from simkv.waiting import CAUSES, waits
from tests.conftest import ROOT
from tests.unit.little_worlds import BLOCK_BYTES, run_turn, scenario, session, turn

EXACT = {"rel": 0, "abs": 1e-9}
SLOW = "{name: fixed, prefill_per_token: 100 ms, decode_step: 1 s}"


@pytest.fixture(scope="module", params=["three_turns", "three_turns_late"])
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    compare(load(ROOT / "scenarios" / f"{request.param}.yaml")).save(folder)
    return folder


@pytest.fixture(scope="module")
def three_turns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("three_turns")
    compare(load(ROOT / "scenarios" / "three_turns.yaml")).save(folder)
    return folder


def seconds(arm: dict[str, Any]) -> dict[str, float]:
    return {wait["cause"]: wait["seconds"] for wait in arm["waits"]}


def waited(played: Scenario, draw: int, turn: int) -> list[tuple[str, float]]:
    """Return what a turn of a little world waited for, and how long."""
    tracer = Tracer(draw, turn)
    requests = run(played, played.arms[0].name, watch=tracer.attach).requests
    at = list(zip(requests["session"], requests["turn"], strict=True)).index((draw, turn))
    assert tracer.told is not None
    found = waits({name: values[at] for name, values in requests.items()}, tracer.told)
    return [(wait.cause, pytest.approx(wait.end_s - wait.start_s, **EXACT)) for wait in found]


def test_each_turn_without_prefetch_waits_for_question_compute_transfer_and_delay(three_turns: Path) -> None:
    for number in range(3):
        none, _ = explain(three_turns, "0", number)["arms"]
        assert seconds(none) == pytest.approx(
            {"question": 0.1, "source_compute": 2.0, "transfer": 3.0, "link_delay": 0.1, "prefill": 0.5}, **EXACT
        )
        assert none["ttft_s"] == pytest.approx(5.7, **EXACT)
        assert none["decode_s"] == pytest.approx(4.0, **EXACT)
        assert [look["cause"] for look in none["look_up"]] == ["unpredicted" if number else "uncreated"]
        assert none["decisions"] == []


def test_sequential_prefetch_leaves_nothing_but_prefill(three_turns: Path) -> None:
    sequential = explain(three_turns, "story", 1, ["sequential"])["arms"][0]
    assert seconds(sequential) == pytest.approx({"prefill": 0.5}, **EXACT)
    (look,) = sequential["look_up"]
    assert (look["item"], look["resident"], look["speculated"], look["cause"]) == (1, 20, 20, "")
    (decision,) = sequential["decisions"]
    assert decision["at_s"] == pytest.approx(0.1, **EXACT)
    assert (decision["moment"], decision["saw"], decision["begun"]) == ("query", {"asked": [0], "hinted": []}, [1])
    (push,) = [each for each in sequential["transfers"] if each["item"] == 1]
    stages = [push[name] for name in ("begun_s", "computing_s", "computed_s", "sending_s", "sent_s", "arrived_s")]
    assert stages == pytest.approx([0.1, 2.1, 4.1, 4.1, 8.1, 8.2], **EXACT)  # demand has the link until 5.1
    assert push["wire_bytes"] == {"speculative": 20 * 36_864}
    assert sequential["speculative_bytes"] == {"used_in_time": 20 * 36_864}


def test_a_late_push_is_promoted_and_told_to_the_byte(tmp_path: Path) -> None:
    compare(load(ROOT / "scenarios" / "three_turns_late.yaml")).save(tmp_path)
    late = explain(tmp_path, "0", 1)["arms"][1]
    assert seconds(late) == pytest.approx({"transfer": 1.4, "link_delay": 0.1, "prefill": 0.5}, **EXACT)
    chunk_bytes = 20 * 36_864
    assert late["promoted"] == [{"item": 1, "kind": "kv", "was": "in flight", "at_s": pytest.approx(6.8, **EXACT)}]
    assert late["brought_by"]["wire_bytes"] == {
        "speculative": chunk_bytes * 17 // 30,
        "demand": chunk_bytes - chunk_bytes * 17 // 30,
    }
    assert late["speculative_bytes"] == {"used_late": chunk_bytes * 17 // 30}


def test_memory_is_waited_for_by_name(tmp_path: Path) -> None:
    """Both need two of three blocks; the first holds its own until 1.1 + 3 s of answer."""
    gpu = "{name: fixed, decode_step: 1 s}"
    told = [session(turn(0, answer=4), chunks=[16], name=name, start=float(i)) for i, name in enumerate("ab")]
    played = scenario(tmp_path, *told, gpu=gpu, receiver_blocks=3)
    assert waited(played, 1, 0)[0] == ("memory", 3.2)


def test_what_another_request_prefills_here_is_waited_for_by_name(tmp_path: Path) -> None:
    """Without a source, the second finds the first prefilling what both read."""
    gpu = "{name: fixed, prefill_per_token: 100 ms}"
    told = [session(turn(0), chunks=[16], name=name, start=i / 10, document_id="d") for i, name in enumerate("ab")]
    played = scenario(tmp_path, *told, gpu=gpu, source="", sender="")
    assert waited(played, 1, 0) == [("local", 1.6), ("prefill", 0.1)]


def test_a_source_that_is_busy_is_waited_for_by_name(tmp_path: Path) -> None:
    """Both ask at once for 16 tokens of 100 ms; the batch computes both in one step; a third, later, waits for it."""
    told = [session(turn(0), chunks=[16], name=name, start=start) for name, start in (("a", 0.0), ("b", 1.0))]
    played = scenario(tmp_path, *told, sender_gpu=SLOW)
    assert waited(played, 1, 0)[:3] == [("question", 0.1), ("source_queue", 0.6), ("source_compute", 1.6)]


def test_a_busy_gpu_is_waited_for_by_name(tmp_path: Path) -> None:
    gpu = "{name: fixed, prefill_per_token: 100 ms}"
    told = [session(run_turn(new=20), name=name, start=start) for name, start in (("a", 0.0), ("b", 1.0))]
    played = scenario(tmp_path, *told, gpu=gpu, layout=None, source="", sender="")
    assert waited(played, 1, 0) == [("gpu_queue", 1.0), ("prefill", 2.0)]


def test_a_push_in_line_waits_for_its_turn_by_name(tmp_path: Path) -> None:
    """Chunk 1 is on the wire from 1.1 on, chunk 2 in line behind it; both asked for at 2.2, demand from 2.3 on.

    They share the link: 2.8 blocks are left of chunk 1, 10 of chunk 2, which is sent when both are: 12.8 s later.
    """
    told = session(turn(0), turn(1, 2, think=1.0), chunks=[16, 64, 160])
    played = scenario(tmp_path, told, prefetch="feasible-oracle")
    assert waited(played, 0, 1) == [("link_queue", 0.1), ("transfer", 12.8), ("link_delay", 0.1)]


def test_bytes_of_the_session_are_told_by_what_became_of_them(tmp_path: Path) -> None:
    """Cancelled by the second question, 2.2 blocks on their way; at its first token that has been decided."""
    told = session(turn(0), turn(2, think=2.0), chunks=[16, 128, 16])
    tracer = Tracer(0, 1)
    run(scenario(tmp_path, told, prefetch="sequential"), "default", watch=tracer.attach)
    assert tracer.told is not None
    assert tracer.told.speculative_bytes == {"cancelled": round(2.2 * BLOCK_BYTES)}


def test_the_last_decision_says_what_was_held_begun_and_stopped(tmp_path: Path) -> None:
    told = session(turn(0), turn(2, think=2.0), turn(1, think=9.0), chunks=[16, 128, 16, 16])
    tracer = Tracer(0, 2)
    run(scenario(tmp_path, told, prefetch="sequential"), "default", watch=tracer.attach)
    (decision,) = tracer.decisions
    assert decision.saw["asked"] == [0, 2]
    assert [trace.job.chain[-1].item for trace in decision.begun] == [3]
    assert [trace.job.chain[-1].item for trace in decision.stopped] == [1]


def test_what_a_policy_does_not_look_at_is_not_told(tmp_path: Path) -> None:
    told = session(turn(0), turn(1, think=9.0), turn(2, think=9.0), chunks=[16, 16, 16])
    tracer = Tracer(0, 2)
    run(scenario(tmp_path, told, prefetch="{name: threshold, threshold: 0.1}"), "default", watch=tracer.attach)
    assert set(tracer.decisions[0].saw) == {"asked", "hinted", "probabilities"}


def test_pulling_receivers_are_watched_as_well(tmp_path: Path) -> None:
    told = session(turn(0), turn(1, think=9.0), chunks=[16, 16])
    tracer = Tracer(0, 1)
    played = scenario(tmp_path, told, prefetch="sequential", initiator="pull")
    run(played, "default", watch=tracer.attach)
    (decision,) = tracer.decisions
    assert (decision.at_s, [trace.begun_s for trace in decision.begun]) == (0.0, [pytest.approx(0.1)])


def test_json_has_the_agreed_keys(saved: Path) -> None:
    told = json.loads(json.dumps(explain(saved, "0", 2), allow_nan=False))
    assert list(told) == [
        *("schema_version", "scenario", "seed", "replication", "session", "session_id", "turn", "arms"),
    ]
    for arm in told["arms"]:
        assert list(arm) == [
            *("name", "prefetch", "eviction", "predictor", "acquisition", "reference"),
            *("request", "memory_s", "asked_s", "ready_s", "units", "ttft_s", "decode_s", "waits", "brought_by"),
            *("look_up", "promoted", "transfers", "speculative_bytes", "decisions"),
        ]
        assert sum(wait["seconds"] for wait in arm["waits"]) == pytest.approx(arm["ttft_s"], **EXACT)


def test_text_fits_the_page_and_names_every_cause(saved: Path) -> None:
    text = to_text(explain(saved, "0", 1), CAUSES)
    assert max(map(len, text.splitlines())) <= WIDTH
    assert "time to first token" in text
    assert all(CAUSES[wait["cause"]] in text for arm in explain(saved, "0", 1)["arms"] for wait in arm["waits"])


def test_from_any_folder(three_turns: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["explain", str(three_turns), "--session", "0", "--turn", "0", "--json"]) == 0
    assert [arm["name"] for arm in json.loads(capsys.readouterr().out)["arms"]] == ["none", "sequential"]
    assert cli.main(["explain", str(three_turns), "--session", "0", "--turn", "0", "--arm", "sequential"]) == 0
    assert "== sequential: first token after 5.7 s, finished" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--session", "stori", "--turn", "0"],
            "unknown session 'stori'; did you mean 'story'?; want a session_id, or a",
        ),
        (["--session", "1", "--turn", "0"], "unknown session '1'; want a session_id, or a draw from 0 to 0"),
        (["--session", "0", "--turn", "3"], "session '0' has no turn 3; want 0 to 2"),
        (
            ["--session", "0", "--turn", "0", "--arm", "sequentail"],
            "unknown arm 'sequentail'; did you mean 'sequential'?",
        ),
        (["--session", "0", "--turn", "0", "--replication", "1"], "unknown replication 1; want 0 to 0"),
    ],
)
def test_what_is_not_there_is_one_line(three_turns: Path, options: list[str], message: str, capsys: Any) -> None:
    assert cli.main(["explain", str(three_turns), *options]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_folder_without_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no manifest\.json"):
        explain(tmp_path, "0", 0)


def test_results_that_cannot_be_played_again_are_refused(tmp_path: Path) -> None:
    trace = (ROOT / "traces" / "three_turns.jsonl").read_text().splitlines()
    (tmp_path / "trace.jsonl").write_text("\n".join(trace) + "\n")
    told = load(ROOT / "scenarios" / "three_turns.yaml", {"workload.trace": str(tmp_path / "trace.jsonl")})
    compare(told).save(tmp_path / "out")
    assert explain(tmp_path / "out", "0", 1)["arms"]
    (tmp_path / "trace.jsonl").write_text("\n".join(trace).replace('"think_s": 1.0', '"think_s": 2.0') + "\n")
    with pytest.raises(InputError, match="arm 'none' played again does not give the requests that requests"):
        explain(tmp_path / "out", "0", 1)


def test_a_session_drawn_twice_is_asked_for_by_its_draw(tmp_path: Path) -> None:
    told = [session(turn(0), chunks=[16], name="twin", start=float(at)) for at in range(2)]
    played = scenario(tmp_path, *told, workload=", session_rate: 20 /min, sessions: 3")
    compare(played).save(tmp_path / "out")
    assert explain(tmp_path / "out", "2", 0)["session_id"] == "twin"
    with pytest.raises(InputError, match="session 'twin' was drawn 3 times; want one of the draws 0, 1, 2"):
        explain(tmp_path / "out", "twin", 0)
