"""Traces that are tables, benchmark results, logs and chats: what is read of each, and what is never read."""

from __future__ import annotations

import json
import random
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from simkv.errors import InputError
from simkv.kv.block import Run
from simkv.request import Session, Turn
from simkv.workload import FORMATS, check, convert, info, open_told, open_trace
from simkv.workload.readers import lines
from simkv.workload.readers.blocks import ChainedBlocks
from tests.unit import miniatures
from tests.unit.miniatures import FILES, OTHER_FILES, jsonl

AZURE = "azure_llm_2023/AzureLLMInferenceTrace_{}_0_40min.csv.xz"
LENGTHS = "sharegpt_turn_lengths/conversations_shared.jsonl.xz"
AGENTS = "lmcache_agent_traces/requests_{}_shared.jsonl.xz"


def sessions(tmp_path: Path, content: bytes, **params: Any) -> list[Session]:
    """Return the sessions of a file."""
    path = tmp_path / "trace"
    path.write_bytes(content)
    return list(open_trace(path, params=params).sessions())


def test_there_is_a_miniature_of_every_format() -> None:
    """Whoever adds a format adds a file, which the tests below then read."""
    assert list(FILES) == FORMATS.names()


@pytest.mark.parametrize("name", [*FILES, *OTHER_FILES])
def test_a_format_is_told_by_its_first_record(tmp_path: Path, name: str) -> None:
    """And named by a person, the same is read."""
    wanted, content = OTHER_FILES.get(name, (name, FILES.get(name, b"")))
    path = tmp_path / "trace"
    path.write_bytes(content)
    trace = open_trace(path)
    assert trace.format == wanted
    assert list(trace.sessions()) == list(open_trace(path, format=wanted).sessions())


@pytest.mark.parametrize("name", [*FILES, *OTHER_FILES])
def test_a_converted_trace_says_the_same(tmp_path: Path, name: str) -> None:
    """Sessions are equal, and so is all that `info` says but where it comes from; what was left out stays out."""
    content = OTHER_FILES[name][1] if name in OTHER_FILES else FILES[name]
    path, out = tmp_path / "trace", tmp_path / "native.jsonl"
    path.write_bytes(content)
    convert(str(path), out, {}, seed=0)
    before, after = open_trace(path), open_trace(out)
    assert list(after.sessions()) == list(before.sessions())
    told, again = info(path), info(out)
    for key in before.notes():
        if key not in ("sessions", "requests"):
            del told[key]
    for facts in (told, again):
        del facts["format"]
        facts["provenance"] = {
            key: value
            for key, value in facts["provenance"].items()
            if key not in ("converted_from", "block_tokens")  # type: ignore[attr-defined]
        }
    assert again["provenance"] == told["provenance"]
    assert again == told


@pytest.mark.parametrize("name", ["sharegpt", "openai-log", "plain-dialogue", "vllm-bench", "lmcache with text"])
def test_no_private_text_is_written(tmp_path: Path, name: str) -> None:
    """Neither what was said nor ids that name somebody stand in a converted file."""
    content = OTHER_FILES[name][1] if name in OTHER_FILES else FILES[name]
    path, out = tmp_path / "trace", tmp_path / "native.jsonl"
    path.write_bytes(content)
    convert(str(path), out, {}, seed=0)
    written = out.read_text()
    for word in ("owl", "quetzal", "zeppelin", "harbour", "secret", "yyyy", "aaaa", "Feathers", "xxxx"):
        assert word not in written


def test_azure_counts_from_its_first_request_to_100_ns(tmp_path: Path) -> None:
    """A request without an answer is left out; whoever is last comes 4.541877 s after the first."""
    found = sessions(tmp_path, miniatures.AZURE)
    assert [session.start_s for session in found] == [0.0, 4.3145790, 4.5418770]
    assert [session.turns for session in found] == [(Turn(374, 44),), (Turn(396, 109),), (Turn(879, 55),)]
    assert [session.start_s for session in sessions(tmp_path, miniatures.AZURE_2024)] == [0.0, 1.001]
    assert info(tmp_path / "trace")["requests_per_s"] == pytest.approx(2 / 1.001)
    (tmp_path / "trace").write_bytes(b"TIMESTAMP,NumImages,ContextTokens,GeneratedTokens\n2025-01-01T00:00:00Z,2,9,9\n")
    assert "images are tokens like others" in str(open_trace(tmp_path / "trace").header.provenance["assumed"])


def test_azure_s_real_hour_holds_what_its_readme_says(data: Path) -> None:
    """Rows of both parts; means of the shared part were computed from the file itself, with pandas."""
    import pandas as pd

    for name, rows in (("code", 7491), ("conv", 14_176)):
        path = data / AZURE.format(name)
        facts = info(path)
        table = pd.read_csv(path)
        assert facts["requests"] == len(table) == rows
        assert facts["input_tokens"]["mean"] == pytest.approx(table.ContextTokens.mean())  # type: ignore[index]
        assert facts["answer_tokens"]["p90"] == pytest.approx(table.GeneratedTokens.quantile(0.9))  # type: ignore[index]
        at = pd.to_datetime(table.TIMESTAMP)
        assert facts["span_s"] == pytest.approx((at.max() - at.min()).total_seconds(), abs=1e-6)
        starts = [session.start_s for session in open_trace(path).sessions()]
        assert starts == pytest.approx(list((at - at.min()).dt.total_seconds()), abs=1e-6)


def test_old_burstgpt_files_have_no_sessions(tmp_path: Path) -> None:
    """Requests come as recorded, open loop; a failure is left out and told."""
    found = sessions(tmp_path, miniatures.BURSTGPT_OLD)
    assert [(session.start_s, session.turns[0].new_tokens) for session in found] == [
        (0.0, 472),
        (40.0, 1087),
        (114.5, 417),
    ]
    trace = open_trace(tmp_path / "trace")
    list(trace.sessions())
    assert not trace.header.has_sessions
    assert trace.notes()["failed_requests"] == 1


def test_later_burstgpt_files_have_sessions(tmp_path: Path) -> None:
    """Think times run from the end of the answer before, at least 0; API calls are sessions of one turn."""
    first, api = sessions(tmp_path, miniatures.BURSTGPT)
    assert [(turn.think_s, turn.gap_kind) for turn in first.turns] == [(0, "none"), (5.5, "human"), (0, "human")]
    assert (first.start_s, api.start_s) == (0.0, 3.0)
    prompts = [sum(run.count for run in turn.block_runs) * 16 + turn.new_tokens for turn in first.turns]
    assert prompts == [40, 130, 170]
    assert info(tmp_path / "trace")["reuse"]["seen_before"] == 0  # type: ignore[index]


@pytest.mark.parametrize(
    ("history", "blocks"),
    [
        ("unknown", [[(0, 2)], [(2, 8)], [(10, 10)]]),
        ("included", [[(0, 2)], [(0, 8)], [(0, 10)]]),
        ("excluded", [[(0, 2)], [(0, 14)], [(0, 26)]]),  # 40; 40 + 60 + 130; and 30 + 170 behind it
    ],
)
def test_what_burstgpt_does_not_say_is_the_reader_s_to_say(tmp_path: Path, history: str, blocks: Any) -> None:
    found = sessions(tmp_path, miniatures.BURSTGPT, history=history)[0]
    assert [[(run.start, run.count) for run in turn.block_runs] for turn in found.turns] == blocks


def test_sharegpt_is_counted_by_four_characters_a_token(tmp_path: Path) -> None:
    """A prompt is all that was said so far: 16; 16 + 20 + 4 = 40. The last question has no answer."""
    first, last = sessions(tmp_path, FILES["sharegpt"])
    assert first.turns == (
        Turn(16, 20),
        Turn(8, 2, 0.0, "human", block_runs=(Run(0, 2),)),
    )
    assert (first.session_id, last.session_id) == ("conversation-0", "conversation-2")
    assert last.turns == (Turn(4, 1),)
    notes = open_trace(tmp_path / "trace")
    list(notes.sessions())
    assert notes.notes() == {
        **{"sessions": 2, "requests": 3},
        **{"unanswered_questions": 1, "conversations_without_an_answer": 1},
    }
    assert sessions(tmp_path, FILES["sharegpt-lengths"]) == [first, last]


def test_sharegpt_lengths_are_those_of_the_readme(data: Path) -> None:
    """User turns a conversation: mean 3.5, p90 7, both parts together."""
    facts = info(data / LENGTHS)
    turns: Any = facts["turns"]
    assert turns["mean"] == pytest.approx(3.5, abs=0.05)
    assert turns["p90"] == 7
    assert facts["answer_tokens"]["p50"] == pytest.approx(272, rel=0.06)  # type: ignore[index]
    assert facts["sessions"] + facts["conversations_without_an_answer"] == 11_553  # type: ignore[operator]


def test_a_tokenizer_may_count_instead(tmp_path: Path) -> None:
    """Here words; the trace says by which file, not where it lies."""
    tokenizers = pytest.importorskip("tokenizers")
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    (tmp_path / "words.json").write_text(words.to_str())
    talk = [{"conversations": [{"from": "human", "value": "a b c"}, {"from": "gpt", "value": "d e"}]}]
    (tmp_path / "talk.json").write_text(json.dumps(talk))
    trace = open_told(tmp_path / "talk.json", {"tokenizer": str(tmp_path / "words.json")})
    (session,) = trace.sessions()
    assert session.turns == (Turn(3, 2),)
    assert trace.header.provenance["tokens"] == "tokens counted by words.json"
    convert(str(tmp_path / "talk.json"), tmp_path / "o.jsonl", {"tokenizer": str(tmp_path / "words.json")}, seed=0)
    assert str(tmp_path) not in (tmp_path / "o.jsonl").read_text()
    with pytest.raises(InputError, match=r"talk\.json: not a tokenizer\.json"):
        open_told(tmp_path / "talk.json", {"tokenizer": str(tmp_path / "talk.json")})


def test_bailian_s_sessions_are_trees_of_parents(tmp_path: Path) -> None:
    """Chats 1, 3 and 4 are one; the parent of 6 came before the trace."""
    one, two, late = sessions(tmp_path, FILES["qwen-bailian"])
    assert [turn.think_s for turn in one.turns] == [0.0, 60.75, 9.0]
    assert one.turns[1].block_runs == (Run(0, 2), Run(6, 3))
    assert (one.turns[2].block_runs, one.turns[2].new_tokens) == ((Run(0, 2),), 16)  # 48 tokens are three blocks
    assert two.turns[0].block_runs == (Run(0, 1),)
    assert (one.start_s, two.start_s, late.start_s) == (0.5, 1.0, 71.0)
    assert late.turns == (Turn(15, 1),)
    trace = open_trace(tmp_path / "trace")
    list(trace.sessions())
    assert trace.notes()["parents_before_the_trace"] == 1
    assert trace.header.block_scope == "global"


def test_bailian_s_blocks_stand_for_all_before_them(tmp_path: Path) -> None:
    """A block that is equal to another behind other blocks is none that could be reused, and may come twice."""
    request = miniatures.BAILIAN[0] | {"input_length": 64}
    one = request | {"hash_ids": [0, 1, 1, 3]}
    other = request | {"chat_id": 2, "hash_ids": [7, 1, 1, 3]}
    first, second = sessions(tmp_path, jsonl([one, other]))
    ids = [
        {block for run in each.turns[0].block_runs for block in range(run.start, run.end)} for each in (first, second)
    ]
    assert not ids[0] & ids[1]
    assert [len(each) for each in ids] == [3, 3]  # the last of four full blocks is prefilled


def test_openai_logs_share_the_fronts_of_their_messages(tmp_path: Path) -> None:
    """Sorted by time; usage counts where it is there; 48 tokens of the system's message are three blocks of all."""
    found = sessions(tmp_path, FILES["openai-log"])
    assert [session.start_s for session in found] == [0.0, 59.5, 89.5]
    hello, question, again = (session.turns[0] for session in found)
    assert hello.answer_tokens == 8  # 30 characters
    assert (question.answer_tokens, again.answer_tokens) == (12, 3)
    tokens = [sum(run.count for run in turn.block_runs) * 16 + turn.new_tokens for turn in (question, again)]
    assert tokens == [60, 80]
    blocks = [
        [block for run in turn.block_runs for block in range(run.start, run.end)] for turn in (hello, question, again)
    ]
    assert blocks[0][:3] == blocks[1][:3] == blocks[2][:3]
    assert len({*blocks[0], *blocks[1], *blocks[2]}) > 3


def test_what_usage_counts_behind_the_messages_is_shared_by_nobody(tmp_path: Path) -> None:
    """Two equal requests of 20 tokens of text and 100 by usage have one block in common, and five that differ."""
    request = {"created": 5, "messages": [{"role": "user", "content": "x" * 75}]}
    usage = {"usage": {"prompt_tokens": 100, "completion_tokens": 5}}
    one, other = sessions(tmp_path, jsonl([request | usage, request | usage]))
    ids = [{block for run in each.turns[0].block_runs for block in range(run.start, run.end)} for each in (one, other)]
    assert [len(each) for each in ids] == [6, 6]
    assert len(ids[0] & ids[1]) == 1


def test_a_batch_needs_the_length_of_answers_that_it_does_not_have(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"trace:1: no usage.completion_tokens and no choices; want answer_tokens"):
        sessions(tmp_path, jsonl(miniatures.OPENAI_BATCH_INPUT))
    (session,) = sessions(tmp_path, jsonl(miniatures.OPENAI_BATCH_INPUT), answer_tokens=100)
    assert session.turns[0].answer_tokens == 100
    (done,) = sessions(tmp_path, jsonl(miniatures.OPENAI_BATCH_OUTPUT))
    assert (done.turns[0].answer_tokens, sum(run.count for run in done.turns[0].block_runs)) == (12, 3)


def test_aiperf_s_conversations_are_sessions(tmp_path: Path) -> None:
    """In order of start, not of end; a conversation that begins again is another; three are left out, and told."""
    first, second, again = sessions(tmp_path, FILES["aiperf"])
    assert [turn.think_s for turn in first.turns] == [0.0, pytest.approx(3.5)]
    assert [session.start_s for session in (first, second, again)] == [0.0, 2.0, 20.0]
    trace = open_trace(tmp_path / "trace")
    list(trace.sessions())
    left_out = {"warm-up_requests": 1, "cancelled_requests": 1, "failed_requests": 1}
    assert trace.notes() == {"sessions": 3, "requests": 4, **left_out}


def test_aiperf_without_turns_is_an_open_loop(tmp_path: Path) -> None:
    found = sessions(tmp_path, jsonl(miniatures.AIPERF_OPEN))
    assert [(session.start_s, session.turns[0].new_tokens) for session in found] == [(0.0, 40), (2.0, 130)]
    assert not open_trace(tmp_path / "trace").header.has_sessions


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 11, 64])
def test_an_array_is_the_same_however_it_is_cut_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """Escapes, words, numbers and characters of several bytes may lie on the border of two pieces."""
    talk = [
        {"n": [-1.5e-3, True, None, False, -12345], "conversations": [{"from": "human", "value": text}]}
        for text in ('ü\u00e9\U0001f989 \\ " \n', "\u2028 [{]} ,", "x" * 40)
    ]
    for each in talk:
        each["conversations"].append({"from": "gpt", "value": "\u00df"})  # type: ignore[attr-defined]
    contents = [
        json.dumps(talk, ensure_ascii=ascii, indent=indent).encode() for ascii in (True, False) for indent in (None, 1)
    ]
    whole = [sessions(tmp_path, content) for content in contents]
    monkeypatch.setattr(lines, "_PIECE_BYTES", size)
    assert [sessions(tmp_path, content) for content in contents] == whole
    assert [session.turns[0].new_tokens for session in whole[0]] == [3, 2, 10]


def test_what_is_wrong_in_an_array_is_told_at_its_line(tmp_path: Path) -> None:
    """Of conversations over several lines each, the one that is wrong is named by where it begins."""
    lines = ['[{"conversations": [', "]},", "", '{"conversations": [{"from": "owl", "value": "x"}]}]']
    with pytest.raises(InputError, match=r"trace:4: conversations\[0\].from: want human, user, .*, got \"owl\""):
        sessions(tmp_path, "\n".join(lines).encode())
    for content, message in (
        ('[{"conversations": []}\n\n{}]', r"trace:3: want ',' of a JSON array, got '{'"),
        (
            '[{"conversations": []}\n,\n',
            r"trace:3: want a JSON object in the array, the file ends \(is it cut short\?\)",
        ),
        ('[{"conversations": []},\n\n{"a": }]', r"trace:3: not JSON: Expecting value"),
        ('[{"conversations": []}]\nx', r"trace:2: want nothing behind the array, got 'x'"),
    ):
        with pytest.raises(InputError, match=message):
            sessions(tmp_path, content.encode())


def test_vllm_s_results_are_read_in_seconds(tmp_path: Path) -> None:
    """By start; what failed is left out; the summary's milliseconds and the texts are nobody's business."""
    found = sessions(tmp_path, FILES["vllm-bench"])
    assert [(session.start_s, session.turns) for session in found] == [(0.0, (Turn(32, 5),)), (2.5, (Turn(100, 20),))]


def test_a_measured_run_is_replayed_as_its_engine_got_it(tmp_path: Path, data: Path) -> None:
    """Ours and LLMServingSim's names; of the real run all 300, with its blocks."""
    first, second = sessions(tmp_path, FILES["llmservingsim"])
    assert (first.turns, second.turns) == (
        (Turn(16, 1, block_runs=(Run(1, 1),)),),
        (Turn(8, 2, block_runs=(Run(1, 1), Run(5, 1))),),
    )
    assert second.start_s == 0.4
    (theirs,) = sessions(tmp_path, jsonl(miniatures.REPLAYED_THEIRS))
    assert (theirs.start_s, theirs.turns) == (0.0, (Turn(40, 2),))
    for run in ("rtx4090_llama-3.1-8b", "rtxpro6000_qwen3-32b"):
        path = data / "vllm_runs" / run / "requests.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        facts: Any = info(path)
        assert facts["input_tokens"]["mean"] == pytest.approx(sum(row["input_tokens"] for row in rows) / 300)
        assert facts["span_s"] == max(row["queued_s"] for row in rows)


def test_agents_logs_are_told_with_blocks_or_with_text(tmp_path: Path) -> None:
    one, other = sessions(tmp_path, FILES["lmcache-agents"])
    assert [(turn.think_s, turn.gap_kind) for turn in one.turns] == [(0.0, "none"), (2.5, "tool")]
    assert (one.turns[1].block_runs, one.turns[1].new_tokens) == ((Run(0, 2), Run(7, 1)), 16)
    assert other.turns == (Turn(4, 1, block_runs=(Run(0, 1),)),)
    first, second = sessions(tmp_path, jsonl(miniatures.LMCACHE_TEXT))
    assert [turn.new_tokens for turn in first.turns] == [8, 16]
    assert [turn.block_runs for turn in first.turns] == [(Run(0, 2),), (Run(0, 3),)]
    assert second.turns[0].block_runs == (Run(0, 1),)


def test_four_characters_a_token_find_nearly_the_reuse_that_a_tokenizer_finds(data: Path) -> None:
    """The same real requests in both forms: as text by our rule, and in blocks of a tokenizer's tokens."""
    texts, blocks = (info(data / AGENTS.format(name)) for name in ("text", "blocks16"))
    assert texts["requests"] == blocks["requests"]
    shares = [facts["reuse"]["share"] for facts in (texts, blocks)]  # type: ignore[index]
    assert shares == [pytest.approx(0.890, abs=0.0005), pytest.approx(0.892, abs=0.0005)]  # docs/data.md


def test_a_plain_dialogue_reads_its_document_first(tmp_path: Path) -> None:
    """63 characters of document, 16 tokens, in chunks of ten; the second dialogue has none."""
    one, two = sessions(tmp_path, miniatures.PLAIN_DIALOGUE, chunk_tokens=10)
    assert one.chunk_tokens == (10, 6)
    assert [(turn.new_tokens, turn.answer_tokens, turn.chunks) for turn in one.turns] == [
        (3 + 5, 2, (0, 1)),
        (3, 3, (0, 1)),
    ]
    assert two.turns == (Turn(2, 3),)
    same, as_before = sessions(tmp_path, miniatures.PLAIN_DIALOGUE.replace(b"---\n", b"---\n" + _DOCUMENT))
    assert same.document_id == as_before.document_id


_DOCUMENT = miniatures.PLAIN_DIALOGUE.partition(b"system")[0]


def test_an_array_is_read_in_bounded_memory(tmp_path: Path) -> None:
    """Ten times as many conversations in one line take no more of it."""
    talk = json.dumps(miniatures.SHAREGPT)[1:-1]
    peaks = []
    for copies in (500, 5000):
        path = tmp_path / f"{copies}.json"
        path.write_text("[" + ", ".join([talk] * copies) + "]")
        trace = open_trace(path)
        tracemalloc.start()
        assert sum(1 for _ in trace.sessions()) == 2 * copies
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 1e6


def test_check_and_info_take_what_people_say(tmp_path: Path) -> None:
    """A parameter is the format's own, checked as a scenario's."""
    path = tmp_path / "b.csv"
    path.write_bytes(miniatures.BURSTGPT)
    assert check(path)["format"] == "burstgpt"
    told = open_told(path, {"history": "included", "block_tokens": "32", "limit": "2"})
    assert told.header.block_tokens == 32
    assert told.header.provenance["assumed"] == [
        "request tokens hold the dialogue so far, as history says",
        "blocks of 32 tokens",
    ]
    for params, message in (
        ({"histroy": "included"}, "a burstgpt trace has no parameter 'histroy'; did you mean 'history'"),
        ({"history": "kept"}, "history: want unknown or included or excluded, got 'kept'"),
        ({"block_tokens": "0"}, "trace format 'burstgpt': block_tokens must be at least 1, got 0"),
    ):
        with pytest.raises(InputError, match=message):
            open_told(path, params)


@pytest.mark.parametrize("seed", range(30))
def test_chained_ids_are_one_a_prefix(seed: int) -> None:
    """Whatever ids stand in prompts: two places have the same block if, and only if, all before them is the same."""
    draw = random.Random(seed)
    prompts: list[list[int]] = []
    for _ in range(40):
        front = draw.choice(prompts)[: draw.randrange(12)] if prompts and draw.random() < 0.7 else []
        start = draw.randrange(20)
        prompts.append([*front, *range(start, start + draw.randrange(6)), *(draw.randrange(20) for _ in range(3))])
    chained = ChainedBlocks()
    of_prefix: dict[tuple[int, ...], int] = {}
    for prompt in prompts:
        found = [block for run in chained.runs(prompt) for block in range(run.start, run.end)]
        assert len(found) == len(prompt)
        for place, block in enumerate(found):
            assert of_prefix.setdefault(tuple(prompt[: place + 1]), block) == block
    assert len(set(of_prefix.values())) == len(of_prefix)
