"""Readers of dialogue sets: every format is told by its first record and brought into one form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from simkv.dialogues import DialogueSet, Span, read_dialogues
from simkv.errors import InputError
from tests.conftest import ROOT


def read(tmp_path: Path, *records: dict[str, Any], indent: int | None = None, **how: Any) -> DialogueSet:
    path = tmp_path / "set.jsonl"
    path.write_text("\n".join(json.dumps(record, indent=indent) for record in records))
    return read_dialogues(path, **how)


def items(found: DialogueSet) -> list[list[str | int | None]]:
    return [[query.item for query in dialogue.queries] for dialogue in found.dialogues]


def paragraph(**more: Any) -> dict[str, Any]:
    qas = [
        {"question": "a?", "answers": [{"text": "01", "answer_start": 0}]},
        {"question": "b?", "answers": [{"text": "678", "answer_start": 6}]},
        {"question": "c?", "answers": []},
    ]
    return {"context": "0123456789", "qas": qas} | more


def test_squad_items_are_chunks_of_the_paragraph(tmp_path: Path) -> None:
    """Ten characters in five chunks; an answer over an edge touches both; no answer, no item."""
    found = read(tmp_path, paragraph(article=3))
    assert (found.format, items(found)) == ("squad", [[0, 3, None]])
    query = found.dialogues[0].queries[1]
    assert (query.pieces, query.spans) == ((3, 4), (Span("0", 6, 9),))


def test_squad_is_read_from_the_publishers_document_too(tmp_path: Path) -> None:
    document = {"version": "1.1", "data": [{"title": "T", "paragraphs": [paragraph()]}]}
    for indent in (None, 2):
        found = read(tmp_path, document, indent=indent)
        assert (found.format, found.dialogues[0].group, items(found)) == ("squad", "T", [[0, 3, None]])


def test_number_of_chunks_is_a_parameter_where_answers_have_places(tmp_path: Path) -> None:
    assert items(read(tmp_path, paragraph(), chunks=2)) == [[0, 1, None]]
    with pytest.raises(InputError, match="'tau-bench' has none"):
        read(tmp_path, {"task_id": 1, "traj": [{"tool_calls": [{"function": {"name": "f"}}]}]}, chunks=2)


def test_coqa_items_are_where_the_span_starts() -> None:
    """The shipped miniature: every span is its text, and only the question without an answer has no item."""
    path = ROOT / "traces" / "coqa_miniature.json"
    found = read_dialogues(path)
    told = json.loads(path.read_text())["data"]
    assert (found.format, len(found.dialogues)) == ("coqa", len(told))
    for dialogue, story in zip(found.dialogues, told, strict=True):
        for query, answer in zip(dialogue.queries, story["answers"], strict=True):
            if answer["span_start"] == -1:
                assert query.item is None
                continue
            assert story["story"][answer["span_start"] : answer["span_end"]] == answer["span_text"]
            assert query.item == answer["span_start"] * 5 // len(story["story"])
    assert sum(item is None for row in items(found) for item in row) == 1


def test_quac_leaves_its_mark_of_no_answer_out_of_the_text() -> None:
    """CANNOTANSWER stands behind every section and must not count as a place in it."""
    found = read_dialogues(ROOT / "traces" / "quac_miniature.json")
    assert found.format == "quac"
    assert [None in row for row in items(found)] == [True, False, False]
    assert max(item for row in items(found) for item in row if isinstance(item, int)) == 4


def test_mtrag_item_is_the_document_with_most_passages(tmp_path: Path) -> None:
    turn = {"question": "q", "rewrite": "r", "passages": ["b_5-9-0-4", "a-1-3", "a-4-6"]}
    (dialogue,) = read(tmp_path, {"conversation_id": "c", "domain": "d", "turns": [turn]}).dialogues
    (query,) = dialogue.queries
    assert (query.item, query.documents) == ("a", ("b", "a", "a"))
    assert query.spans[0] == Span("b", 5, 9)


def test_sgd_item_is_the_first_active_intent(tmp_path: Path) -> None:
    turns = [
        {"s": "U", "text": "hi", "intent": ["Book", "Find"]},
        {"s": "S", "text": "yes", "intent": []},
        {"s": "U", "text": "bye", "intent": []},
    ]
    found = read(tmp_path, {"dialogue_id": "dev_1_00001", "services": ["X"], "turns": turns})
    assert (found.format, items(found), found.dialogues[0].group) == ("sgd", [["Book", None]], "dev_1")
    assert found.dialogues[0].queries[0].heard == "hi yes"


def test_multiwoz_item_is_the_set_of_domains(tmp_path: Path) -> None:
    turns = [
        {"text": "a", "acts": {"Train-Inform": [], "Hotel-Request": []}},
        {"text": "b", "acts": {}},
        {"text": "c", "acts": {}},
    ]
    found = read(tmp_path, {"dialogue_id": "P", "turns": turns})
    assert (found.format, items(found)) == ("multiwoz", [["Hotel + Train", "nothing"]])


def test_tau_bench_items_are_tools_and_trials_of_a_task_are_one_group(tmp_path: Path) -> None:
    call = {"role": "assistant", "tool_calls": [{"function": {"name": "f"}}, {"function": {"name": "g"}}]}
    found = read(tmp_path, {"task_id": 7, "traj": [{"role": "user"}, call]}, {"task_id": 7, "traj": []})
    assert (items(found), {dialogue.group for dialogue in found.dialogues}) == ([["f", "g"], []], {"7"})


def test_trec_topics_of_every_year_have_passages_where_the_year_has(tmp_path: Path) -> None:
    cast = {"number": 1, "uid": "u", "turn": [{"raw_utterance": "a", "canonical_result_id": "M_1", "passage_id": 4}]}
    ikat = {"number": "1", "uid": "v", "ptkb": {}, "turns": [{"utterance": "b", "response_provenance": ["c-x-1:5"]}]}
    assert items(read(tmp_path, cast)) == [["M_1"]]
    assert items(read(tmp_path, ikat)) == [["c-x-1"]]
    assert items(read(tmp_path, {"number": 2, "uid": "w", "turn": [{"raw_utterance": "a"}]})) == [[None]]


def test_lmcache_requests_of_a_session_become_chains(tmp_path: Path) -> None:
    """The first request is continued by the third; the second is another chain."""
    runs = ([[0, 4]], [[50, 3]], [[0, 6]])
    rows = [
        {"agent": "a", "session_id": "s", "turn": t, "t_s": 2.0 * t, "hash_runs": run} for t, run in enumerate(runs)
    ]
    found = read(tmp_path, *rows)
    assert items(found) == [["chain 0", "chain 1", "chain 0"]]
    assert [query.gap_s for query in found.dialogues[0].queries] == [None, 2.0, 2.0]


def test_traces_that_simkv_plays_are_dialogues_too() -> None:
    found = read_dialogues(ROOT / "traces" / "reading.jsonl.gz")
    assert (found.format, found.about.kind, found.dialogues[0].chunks) == ("simkv.sessions", "chunk", 10)


def test_requests_without_sessions_make_no_history(tmp_path: Path) -> None:
    request = {"timestamp": 0, "input_length": 1100, "output_length": 3, "hash_ids": [0, 1, 2]}
    found = read(tmp_path, request, request)
    assert (found.about.kind, items(found)) == ("none", [[None], [None]])


def test_format_can_be_named_and_a_wrong_name_is_answered_with_a_near_one(tmp_path: Path) -> None:
    assert read(tmp_path, paragraph(), format="squad").format == "squad"
    with pytest.raises(InputError, match="did you mean 'squad'"):
        read(tmp_path, paragraph(), format="sqad")


COUNTS = {
    "squad_xquad_en/paragraphs_shared.jsonl.xz": ("squad", 120, 604),
    "mtrag/human_retrieval_shared.jsonl.xz": ("mtrag", 61, 438),
    "mtrag/un_reference_tasks_shared.jsonl.xz": ("mtrag-un", 249, None),
    "quac_canard/dialogs_shared.jsonl.xz": ("canard", 246, 1715),
    "sgd_dev_test/dialogs_shared.jsonl.xz": ("sgd", 2490, None),
    "multiwoz_val_test/dialogs_shared.jsonl.xz": ("multiwoz", 974, None),
    "tau_bench_airline/trajectories_shared.jsonl.xz": ("tau-bench", 92, None),
    "trec_cast/dialogs_shared.jsonl.xz": ("trec-cast", 87, None),
    "trec_ikat/dialogs_shared.jsonl.xz": ("trec-ikat", 26, None),
    "mtbench101/dialogs_shared.jsonl.xz": ("mt-bench-101", 693, None),
    "claude_code_traces/sessions_shared.jsonl.xz": ("claude-code", 457, None),
    "lmcache_agent_traces/requests_blocks16_shared.jsonl.xz": ("lmcache-agents", 48, 1125),
    "mooncake/conversation_0_40min.jsonl.xz": ("mooncake", 7851, 7851),
    "sharegpt_turn_lengths/conversations_shared.jsonl.xz": ("sharegpt-lengths", 11553, None),
}


@pytest.mark.parametrize("name", COUNTS)
def test_public_sets_are_told_apart_and_read_whole(name: str, data: Path) -> None:
    """Dialogues and queries are as many as the set's own description says."""
    if not (data / name).exists():
        pytest.skip(f"{name} is not there")
    found = read_dialogues(data / name)
    form, dialogues, queries = COUNTS[name]
    assert (found.format, len(found.dialogues)) == (form, dialogues)
    assert queries in (None, sum(len(dialogue.queries) for dialogue in found.dialogues))
