"""A malformed dialogue set is refused in one line that says where and what; a mutated one ends in nothing else."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import pytest

from simkv import cli
from simkv.dialogues import DIALOGUES, read_dialogues
from simkv.errors import InputError
from tests.conftest import ROOT

COQA = json.loads((ROOT / "traces" / "coqa_miniature.json").read_text())["data"][0]
QUAC = json.loads((ROOT / "traces" / "quac_miniature.json").read_text())["data"][0]
RECORDS: dict[str, dict[str, Any]] = {
    "squad": {"context": "0123456789", "qas": [{"question": "a?", "answers": [{"text": "34", "answer_start": 3}]}]},
    "coqa": {"data": [COQA]},
    "quac": {"data": [QUAC]},
    "mtrag": {
        "conversation_id": "c",
        "domain": "d",
        "turns": [{"question": "q", "rewrite": "r", "passages": ["a-1-3", "b_5-9-0-4"]}],
    },
    "mtrag-un": {
        "task_id": "t",
        "conversation_id": "c",
        "contexts": [],
        "input": [{"speaker": "user", "text": "a"}, {"speaker": "agent", "text": "b"}],
    },
    "canard": {"dialog_id": "d", "title": "t", "turns": [{"question": "a", "rewrite": "b", "answer": None}]},
    "sgd": {"dialogue_id": "d_1", "services": [], "turns": [{"s": "U", "text": "a", "intent": ["b"]}]},
    "multiwoz": {"dialogue_id": "d", "turns": [{"text": "a", "acts": {"Hotel-Inform": []}}, {"text": "b"}]},
    "tau-bench": {"task_id": 1, "traj": [{"tool_calls": [{"function": {"name": "f"}}]}]},
    "trec-cast": {"number": 1, "uid": "u", "turn": [{"utterance": "a", "provenance": ["M_1-2"], "response": "b"}]},
    "trec-ikat": {"number": 1, "uid": "u", "ptkb": {}, "turns": [{"utterance": "a", "response_provenance": ["x:1"]}]},
    "mt-bench-101": {"task": "GR", "history": [{"user": "a", "bot": "b"}]},
    "sharegpt-lengths": {"id": "x", "turns": [["u", 3], ["a", 5]]},
    "lmcache-agents": {"agent": "a", "session_id": "s", "turn": 0, "t_s": 0.0, "hash_runs": [[0, 4], [9, 1]]},
}


def refusal(tmp_path: Path, content: bytes, **how: Any) -> str:
    path = tmp_path / "set"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_dialogues(path, **how)
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"{path}")


def written(record: dict[str, Any]) -> bytes:
    return json.dumps(record).encode()


def test_every_format_has_an_example_here() -> None:
    assert sorted(RECORDS) == sorted(DIALOGUES)


@pytest.mark.parametrize("name", RECORDS)
def test_examples_are_recognised_and_read(name: str, tmp_path: Path) -> None:
    """Each by its own format alone, so that the order of the formats does not matter."""
    path = tmp_path / "set"
    path.write_bytes(written(RECORDS[name]))
    assert read_dialogues(path).format == name
    assert [other for other in DIALOGUES if DIALOGUES.create(other).recognises(RECORDS[name])] == [name]


def test_errors_say_where_and_what(tmp_path: Path) -> None:
    squad = copy.deepcopy(RECORDS["squad"])
    squad["qas"][0]["answers"][0]["answer_start"] = 7
    assert refusal(tmp_path, written(RECORDS["squad"]) + b"\n" + written(squad)) == (
        ":2: qas[0].answers[0]: want '34' there, found '78' at 7 of the text"
    )
    coqa = copy.deepcopy(RECORDS["coqa"])
    del coqa["data"][0]["answers"][0]["span_start"]
    assert refusal(tmp_path, written(coqa)) == ":1: data[0].answers[0]: key 'span_start' is missing"
    coqa["data"][0]["answers"].pop()
    assert "want an answer a question, got 10 questions and 9 answers" in refusal(tmp_path, written(coqa))
    sgd = copy.deepcopy(RECORDS["sgd"])
    sgd["turns"][0]["s"] = "X"
    assert refusal(tmp_path, written(sgd)) == ':1: turns[0].s: want U or S, got "X"'
    assert "not a dialogue set or trace that simkv knows" in refusal(tmp_path, b'{"a": 1}')
    assert refusal(tmp_path, b"") == ": the file is empty"
    assert refusal(tmp_path, b'{"traj": [], "task_id": 1}') == ": want at least one dialogue with a query, got none"
    lmcache = RECORDS["lmcache-agents"]
    rows = [lmcache, lmcache | {"session_id": "other"}, lmcache]
    assert refusal(tmp_path, b"\n".join(map(written, rows))) == (
        ":3: session_id: want the requests of a session together, got 's' again"
    )


def test_a_document_over_several_lines_is_refused_at_its_line(tmp_path: Path) -> None:
    text = json.dumps(RECORDS["coqa"], indent=1)
    assert refusal(tmp_path, text.replace('"turn_id": 1,', '"turn_id": 1;').replace("]\n}", "]").encode()).startswith(
        ":"
    )
    broken = text.splitlines()
    broken[4] += ";"
    assert refusal(tmp_path, "\n".join(broken).encode()).startswith(":5: not JSON")


@pytest.mark.parametrize("name", RECORDS)
def test_mutated_records_are_read_or_refused(name: str, tmp_path: Path) -> None:
    """Some value anywhere replaced or removed: the set is read, or one clear error says what is wrong."""
    draws = random.Random(name)
    refused = []
    for _ in range(60):
        record = copy.deepcopy(RECORDS[name])
        _mutate(record, draws)
        path = tmp_path / "set"
        path.write_bytes(written(record))
        try:
            read_dialogues(path, name)
        except InputError as error:
            refused.append(str(error))
    assert len(refused) > 5
    assert [text for text in refused if "\n" in text] == []


def _mutate(value: Any, draws: random.Random) -> None:
    """Change one thing in a random place of a record."""
    while True:
        keys = list(value) if isinstance(value, dict) else range(len(value))
        if not keys:
            return
        key = draws.choice(list(keys))
        inner = value[key]
        if isinstance(inner, dict | list) and inner and draws.random() < 0.8:
            value = inner
            continue
        if draws.random() < 0.3:
            del value[key]
        else:
            value[key] = draws.choice([None, -1, 3.5, "", "x", [], {}, [[]], True, 10**15, ["a", 1], "\ud800"])
        return


def test_cut_and_damaged_files_are_refused_by_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, one line, nothing on stdout."""
    whole = (ROOT / "traces" / "coqa_miniature.json").read_bytes()
    path = tmp_path / "cut.json"
    for end in (1, 100, len(whole) // 2, len(whole) - 3):
        path.write_bytes(whole[:end])
        assert cli.main(["trace", "predictability", str(path)]) == cli.INVALID
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith(f"error: {path}:")
        assert said.err.count("\n") == 1
    assert cli.main(["trace", "predictability", str(tmp_path / "absent")]) == cli.INVALID
    assert cli.main(["trace", "predictability", str(path), "--plot", str(tmp_path / "a.gif")]) == cli.INVALID
