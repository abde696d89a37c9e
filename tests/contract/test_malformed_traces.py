"""A malformed trace is refused in one line that says where and what; a mutated one never ends in anything else."""

from __future__ import annotations

import gzip
import json
import lzma
import os
import random
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from simkv.errors import InputError
from simkv.workload import FORMATS, open_trace, read_series
from simkv.workload.readers import lines
from tests.conftest import ROOT
from tests.damage import with_bytes_changed

SHIPPED = ROOT / "traces" / "reading.jsonl.gz"
HEADER = {
    "format": "simkv.sessions",
    "version": 1,
    "block_tokens": 16,
    "layout": "document_first",
    "block_scope": "session",
    "provenance": {},
}
TURN = {"new_tokens": 5, "answer_tokens": 5, "think_s": 1.0, "gap_kind": "human"}
SESSION = {"session_id": "s", "document_id": None, "start_s": None, "chunk_tokens": [32, 32], "turns": [TURN]}
ASKED = {"t": 0, "type": "n", "in": 200, "out": 5, "stop": "tool_use", "hash_runs": [[1, 2], [7, 1]]}
RECORDED = {
    "id": "one",
    "block_size": 64,
    "hash_id_scope": "local",
    "tool_tokens": 9,
    "system_tokens": 60,
    "requests": [ASKED],
}
REQUEST = {"timestamp": 0, "input_length": 1100, "output_length": 3, "hash_ids": [0, 1, 2]}


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def refusal(content: bytes, name: str = "t") -> str:
    """Write a file, read it as a trace, and return the error that it ends in."""
    path = Path(name)
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        for _ in open_trace(path).sessions():
            pass
    assert "\n" not in str(caught.value)
    return str(caught.value)


def jsonl(*records: Any) -> bytes:
    """Return records as lines; text is a line as it stands."""
    return "".join(f"{r if isinstance(r, str) else json.dumps(r)}\n" for r in records).encode()


def with_turn(**change: Any) -> bytes:
    """Return a trace whose second session's only turn is changed."""
    return jsonl(HEADER, SESSION, SESSION | {"turns": [TURN | change]})


UNKNOWN = f"t:1: not the first record of a trace that simkv knows ({', '.join(FORMATS)})"
PARAGRAPH = {
    **{"article": 0, "paragraph": 0, "context": "One two three four five."},
    "qas": [{"question": "What comes first?", "answers": [{"text": "One", "answer_start": 0}]}],
}
CONVERSATION = {
    **{"conversation_id": "c", "domain": "d", "user_questions": ["Why?"]},
    "turns": [{"n": 1, "question": "Why?", "passages": ["p-0-40"]}],
}

WRITTEN: dict[str, tuple[bytes, str]] = {
    "empty file": (b"", "t: the file is empty"),
    "no sessions": (jsonl(HEADER), "t: the trace has no sessions"),
    "empty line": (jsonl(HEADER, SESSION, "", SESSION), "t:3: empty line; want a JSON object"),
    "not an object": (jsonl([1, 2]), "t:1: want a JSON object in the array, got '1'"),
    "no known format": (
        jsonl({"prompt": "hello"}),
        UNKNOWN,
    ),
    "not text": (b"\x89PNG\r\n\x1a\n", "t:1: not UTF-8 at byte 1 of the line"),
    "other version": (jsonl(HEADER | {"version": 2}), "t:1: version: this simkv reads version 1, got 2"),
    "other format": (
        jsonl(HEADER | {"format": "simkv.session"}),
        "t:1: format: want 'simkv.sessions', got \"simkv.session\"",
    ),
    "unknown layout": (
        jsonl(HEADER | {"layout": "documents_first"}),
        't:1: layout: want document_first, interleaved or independent, got "documents_first"; '
        "did you mean 'document_first'?",
    ),
    "infinite provenance": (
        jsonl(json.dumps(HEADER).replace("{}", '{"x": 1e999}')),
        "t:1: provenance: holds a number that is not finite",
    ),
    "unknown key": (
        jsonl(HEADER, SESSION | {"start": 1}),
        "t:2: unknown key 'start'; did you mean 'start_s'?",
    ),
    "key twice": (jsonl(HEADER, '{"session_id": "s", "session_id": "t"}'), "t:2: key 'session_id' is given twice"),
    "no turns": (jsonl(HEADER, SESSION | {"turns": []}), "t:2: turns: want at least one turn"),
    "turns no list": (jsonl(HEADER, SESSION | {"turns": {}}), "t:2: turns: want a list of turns, got {}"),
    "name of control characters": (
        jsonl(HEADER, SESSION | {"session_id": "a\nb"}),
        't:2: session_id: want printable text, got "a\\nb"',
    ),
    "lone surrogate": (
        jsonl(HEADER, SESSION | {"document_id": "\ud800"}),
        't:2: document_id: want printable text, got "\\ud800"',
    ),
    "negative tokens": (
        with_turn(new_tokens=-5),
        "t:3: turns[0].new_tokens: want a whole number of at least 1, got -5",
    ),
    "true as a number": (
        with_turn(answer_tokens=True),
        "t:3: turns[0].answer_tokens: want a whole number of at least 1, got true",
    ),
    "fraction of a token": (
        with_turn(answer_tokens=2.0),
        "t:3: turns[0].answer_tokens: want a whole number of at least 1, got 2.0",
    ),
    "absurd tokens": (
        with_turn(new_tokens=10**30),
        f"t:3: turns[0].new_tokens: want at most 1000000000000, got 1{'0' * 30}",
    ),
    "digits without end": (
        with_turn(new_tokens=1).replace(b'"new_tokens": 1,', b'"new_tokens": ' + b"1" * 5000 + b","),
        "t:3: a number has thousands of digits",
    ),
    "infinite think time": (with_turn(think_s=float("inf")), "t:3: Infinity is not a number that a trace may hold"),
    "think time NaN": (with_turn(think_s=float("nan")), "t:3: NaN is not a number that a trace may hold"),
    "overflowing think time": (
        with_turn().replace(b'"think_s": 1.0}', b"").replace(b'"think_s": 1.0', b'"think_s": 1e999'),
        "t:2: turns[0].think_s: want seconds, a number of at least 0, got Infinity",
    ),
    "think time as text": (
        with_turn(think_s="1 s"),
        't:3: turns[0].think_s: want seconds, a number of at least 0, got "1 s"',
    ),
    "unknown gap": (
        with_turn(gap_kind="humans"),
        "t:3: turns[0].gap_kind: want human, tool or none, got \"humans\"; did you mean 'human'?",
    ),
    "chunk outside": (
        with_turn(chunks=[0, 2]),
        "t:3: turns[0].chunks: chunk 2 is asked for, but chunk_tokens has 2 chunks",
    ),
    "edit of no chunk": (
        with_turn(edits=[{"chunk": 9}]),
        "t:3: turns[0].edits[0].chunk: chunk 9 is edited, but chunk_tokens has 2 chunks",
    ),
    "edit twice": (
        with_turn(edits=[{"chunk": 1}, {"chunk": 1, "tokens": 3}]),
        "t:3: turns[0].edits: chunk 1 is edited twice",
    ),
    "edit keeps too much": (
        with_turn(edits=[{"chunk": 0, "tokens": 5, "kept_tokens": 6}]),
        "t:3: turns[0].edits[0].kept_tokens: want at most 5, the shorter of the chunk before and after, got 6",
    ),
    "edit of nothing": (
        with_turn(edits=[{"chunk": 0, "kept_tokens": 32}]),
        "t:3: turns[0].edits[0]: keeps all 32 tokens, so it edits nothing",
    ),
    "edit unknown key": (
        with_turn(edits=[{"chunk": 0, "keep": 1}]),
        "t:3: turns[0].edits[0]: unknown key 'keep'; known: chunk, kept_tokens, tokens",
    ),
    "edit of what others read": (
        jsonl(HEADER, SESSION | {"document_id": "d", "turns": [TURN | {"edits": [{"chunk": 0}]}]}),
        "t:2: edits: want document_id null; simkv does not tell other readers of an edit",
    ),
    "chunk twice": (with_turn(chunks=[1, 1]), "t:3: turns[0].chunks: a chunk is named twice"),
    "chunks and runs": (
        with_turn(chunks=[1], block_runs=[[0, 1]]),
        "t:3: turns[0]: want chunks or block_runs, got both",
    ),
    "document and runs": (
        with_turn(block_runs=[[0, 1]]),
        "t:3: a session names document chunks or block runs, not both",
    ),
    "chunks without layout": (
        jsonl(HEADER | {"layout": None}, SESSION),
        "t:2: layout: a session with document chunks wants one of document_first, interleaved, independent",
    ),
    "run backwards": (
        with_turn(block_runs=[[0, 4], [9, -1]]),
        "t:3: turns[0].block_runs[1]: "
        "want [start, count] with start of at least 0, count of at least 1 and ids below 4294967296, got [9, -1]",
    ),
    "block twice": (
        with_turn(block_runs=[[0, 4], [9, 2], [3, 1]]),
        "t:3: turns[0].block_runs: block 3 is named twice in one prompt",
    ),
    "shared prefix too long": (
        jsonl(
            HEADER,
            {
                "session_id": "s",
                "turns": [TURN | {"block_runs": [[0, 4], [9, 4]]}],
                "shared_prefix": {"key": "k", "blocks": 5},
            },
        ),
        "t:2: shared_prefix.blocks: want at most 4, the first run of turns[0], got 5",
    ),
    "a word of capitals": (
        with_turn(words=["why", "Paris"]),
        't:3: turns[0].words[1]: want a word in lower case, such as "paris", got "Paris"',
    ),
    "a phrase as a word": (with_turn(words=["to be"]), 't:3: turns[0].words[0]: want one word, got "to be"'),
    "words as text": (with_turn(words="why"), 't:3: turns[0].words: want a list of words, got "why"'),
    "an endless word": (
        with_turn(words=["a" * 101]),
        "t:3: turns[0].words[0]: want at most 100 characters, got 101",
    ),
    "more words than a question has": (
        with_turn(words=["a"] * 10_001),
        "t:3: turns[0].words: want at most 10000 words, got 10001",
    ),
    "words of too few chunks": (
        jsonl(HEADER, SESSION | {"chunk_words": [["one"]]}),
        "t:2: chunk_words: want a list of words for each of the 2 chunks, got 1 lists",
    ),
    "words without a document": (
        jsonl(HEADER, SESSION | {"chunk_tokens": [], "chunk_words": [["one"]]}),
        "t:2: chunk_words: want a list of words for each of the 0 chunks, got 1 lists",
    ),
    "a word of a chunk that is none": (
        jsonl(HEADER, SESSION | {"chunk_words": [["one"], [2]]}),
        "t:2: chunk_words[1][0]: want text, got 2",
    ),
    "a paragraph that nobody asks about": (
        jsonl(PARAGRAPH | {"qas": []}),
        "t:1: qas: want at least one question",
    ),
    "a question that the text does not answer": (
        jsonl(PARAGRAPH | {"qas": [{"question": "Why?", "answers": []}]}),
        "t:1: qas[0].answers: want at least one answer; who asks what the text does not tell needs no chunk",
    ),
    "an answer outside the text": (
        jsonl(PARAGRAPH | {"qas": [{"question": "Why?", "answers": [{"text": "x", "answer_start": 24}]}]}),
        "t:1: qas[0].answers[0].answer_start: want a place in the 24 characters of the text, got 24",
    ),
    "a paragraph without text": (jsonl(PARAGRAPH | {"context": " "}), 't:1: context: want text, got " "'),
    "a passage without a place": (
        jsonl(CONVERSATION | {"turns": [{"question": "Why?", "passages": ["p-40-40"]}]}),
        't:1: turns[0].passages[0]: want an id that ends in -START-END, got "p-40-40"',
    ),
    "a conversation without turns": (jsonl(CONVERSATION | {"turns": []}), "t:1: turns: want at least one turn"),
    "a dialogue without turns": (
        jsonl({"dialog_id": "d", "section": "s", "turns": []}),
        "t:1: turns: want at least one turn",
    ),
    "nested without end": (b'{"a":' * 100_000, "t:1: JSON is nested too deeply"),
    "timestamps go back": (
        jsonl(REQUEST | {"timestamp": 3000}, REQUEST),
        "t:2: timestamp: must not decrease, got 0 after 3000",
    ),
    "too few block ids": (
        jsonl(REQUEST | {"hash_ids": [0]}),
        "t:1: hash_ids: 1100 tokens are 2 full blocks of 512 tokens, got 1 ids",
    ),
    "block id as text": (
        jsonl(REQUEST | {"hash_ids": [0, "1", 2]}),
        't:1: hash_ids[1]: want a whole number of at least 0, got "1"',
    ),
    "fork scope": (
        jsonl(RECORDED | {"hash_id_scope": "global"}),
        "t:1: want block_size 64 and hash_id_scope 'local'",
    ),
    "recording without requests": (
        jsonl(RECORDED | {"requests": []}),
        "t:1: requests: want at least one request",
    ),
    "request of no known type": (
        jsonl(RECORDED | {"requests": [ASKED | {"type": "x"}]}),
        "t:1: requests[0].type: want 'n', 's' or 'subagent', got \"x\"",
    ),
    "requests out of order": (
        jsonl(RECORDED | {"requests": [ASKED | {"t": 9}, ASKED]}),
        "t:1: requests[1].t: must not decrease, got 0 after 9",
    ),
    "tokens that are not their blocks": (
        jsonl(RECORDED | {"requests": [ASKED | {"in": 500}]}),
        "t:1: hash_runs: 500 tokens are 7 full blocks of 64 tokens, got 3",
    ),
    "has_sessions as text": (
        jsonl(HEADER | {"has_sessions": "no"}),
        't:1: has_sessions: want true or false, got "no"',
    ),
    "shared prefix of global ids": (
        jsonl(HEADER | {"block_scope": "global"}, SESSION | {"shared_prefix": {"key": "k", "blocks": 1}}),
        "t:2: shared_prefix: only for block_scope 'session'; equal global ids are shared already",
    ),
    "turn is a list": (jsonl(HEADER, SESSION | {"turns": [[]]}), "t:2: turns[0]: want a JSON object, got []"),
    "no name": (jsonl(HEADER, SESSION | {"session_id": ""}), 't:2: session_id: want text, got ""'),
    "one block twice in a prompt": (
        jsonl(REQUEST | {"hash_ids": [4, 4, 5]}),
        "t:1: hash_ids: block 4 is named twice in one prompt",
    ),
}


@pytest.mark.parametrize("case", WRITTEN)
def test_a_malformed_trace_is_refused_in_one_line(case: str) -> None:
    content, message = WRITTEN[case]
    assert refusal(content) == message


def plain() -> bytes:
    """Return the shipped trace, unpacked."""
    return gzip.decompress(SHIPPED.read_bytes())


def edited(line: int, old: str, new: str) -> Callable[[], bytes]:
    """Return the maker of the shipped trace with one edit on one line."""

    def make() -> bytes:
        rows = plain().decode().split("\n")
        assert old in rows[line - 1]
        rows[line - 1] = rows[line - 1].replace(old, new, 1)
        return "\n".join(rows).encode()

    return make


def flipped(data: bytes, place: int) -> bytes:
    """Return bytes with one bit turned over."""
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


MUTATED: dict[str, tuple[Callable[[], bytes], str]] = {
    "gzip cut short": (lambda: SHIPPED.read_bytes()[:9000], "t:{}: the compressed file is cut short"),
    "gzip cut in its trailer": (lambda: SHIPPED.read_bytes()[:-4], "t:202: the compressed file is cut short"),
    "gzip with a wrong checksum": (
        lambda: flipped(SHIPPED.read_bytes(), len(SHIPPED.read_bytes()) - 8),
        "t:202: the compressed file is damaged: CRC check failed",
    ),
    "gzip with a tail": (
        lambda: SHIPPED.read_bytes() + b"tail",
        "t:202: the compressed file is damaged: Not a gzipped file (b'ta')",
    ),
    "gzip of nothing": (lambda: gzip.compress(b""), "t: the file is empty"),
    "gzip header alone": (lambda: SHIPPED.read_bytes()[:10], "t:1: the compressed file is cut short"),
    "xz cut short": (lambda: lzma.compress(plain())[:-30], "t:{}: the compressed file is cut short"),
    "xz damaged": (
        lambda: flipped(lzma.compress(plain()), 2000),
        "t:{}: the compressed file is damaged: Corrupt input data",
    ),
    "xz within gzip": (lambda: gzip.compress(lzma.compress(plain())), "t:1: not UTF-8 at byte 1 of the line"),
    "last line cut": (
        lambda: plain()[:-40],
        "t:201: not JSON: Unterminated string starting at column {} (is the file cut short?)",
    ),
    "header lost": (
        lambda: plain().partition(b"\n")[2],
        UNKNOWN,
    ),
    "header twice": (
        lambda: plain().partition(b"\n")[0] + b"\n" + plain(),
        "t:2: unknown key 'format'; "
        "known: session_id, turns, layout, document_id, start_s, chunk_tokens, shared_prefix, chunk_words, priority",
    ),
    "key misspelt": (
        edited(7, '"answer_tokens"', '"answer_token"'),
        "t:7: turns[0]: unknown key 'answer_token'; did you mean 'answer_tokens'?",
    ),
    "key lost": (edited(7, '"new_tokens": ', '"think_s": 1.0, "new_tokens": '), "t:7: key 'think_s' is given twice"),
    "number as text": (
        edited(8, '"chunk_tokens": [512', '"chunk_tokens": ["512"'),
        't:8: chunk_tokens[0]: want a whole number of at least 1, got "512"',
    ),
    "chunk size of zero": (
        edited(8, '"chunk_tokens": [512', '"chunk_tokens": [0'),
        "t:8: chunk_tokens[0]: want a whole number of at least 1, got 0",
    ),
    "sign": (
        edited(9, '"think_s": 0.0', '"think_s": -0.5'),
        "t:9: turns[0].think_s: want seconds, a number of at least 0, got -0.5",
    ),
    "comma lost": (edited(10, '", "', '" "'), "t:10: not JSON: Expecting ',' delimiter at column {}"),
    "chunk moved outside": (
        edited(11, '"chunks": [', '"chunks": [10, '),
        "t:11: turns[0].chunks: chunk 10 is asked for, but chunk_tokens has 10 chunks",
    ),
    "scope misspelt": (
        edited(1, '"block_scope": "session"', '"block_scope": "sessions"'),
        "t:1: block_scope: want session or global, got \"sessions\"; did you mean 'session'?",
    ),
    "start as text": (
        edited(12, '"start_s": null', '"start_s": "noon"'),
        't:12: start_s: want seconds, a number of at least 0, got "noon"',
    ),
    "UTF-16": (lambda: plain().decode().encode("utf-16"), "t:1: not UTF-8 at byte 1 of the line"),
    "zeros at the end": (lambda: plain() + bytes(64), "t:202: not JSON: Expecting value at column 1"),
}


@pytest.mark.parametrize("case", MUTATED)
def test_a_mutated_trace_is_refused_in_one_line(case: str) -> None:
    make, message = MUTATED[case]
    found = refusal(make())
    front, hole, back = message.partition("{}")  # where {} stands for a number that depends on the compressor
    assert found.startswith(front)
    assert found.endswith(back)
    assert found[len(front) : len(found) - len(back)].isdigit() if hole else found == message


def test_files_that_are_none_are_refused() -> None:
    Path("folder").mkdir()
    os.mkfifo("pipe")
    for name, message in (
        ("absent", "absent: cannot be opened: no such file or directory"),
        ("folder", "folder: is a folder; want a file"),
        ("pipe", "pipe: is not a regular file; it must be readable more than once"),
        ("nul\0", "nul\0: cannot be opened: embedded null byte"),
    ):
        with pytest.raises(InputError) as caught:
            open_trace(Path(name))
        assert str(caught.value) == message


def test_an_endless_line_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 1 << 20)
    bomb = gzip.compress(bytes(30 << 20))  # 30 kB that unpack to one line of 30 MiB
    assert refusal(bomb) == "t:1: line is longer than 1 MiB"


def test_an_xz_file_that_claims_gigabytes_is_refused() -> None:
    honest = bytearray(lzma.compress(b"x", check=lzma.CHECK_CRC32))
    size = (honest[12] + 1) * 4
    place = honest.index(b"\x21\x01", 12)  # LZMA2 filter, one byte of properties: the dictionary size
    honest[place + 2] = 40  # 4 GiB
    end = 12 + size - 4
    honest[end : end + 4] = struct.pack("<I", zlib.crc32(bytes(honest[12:end])))
    assert refusal(bytes(honest)) == "t: unpacking it takes more than 256 MiB of memory"


def valid_files() -> dict[str, bytes]:
    """Return small valid files of every format, to be mutated."""
    nested = {"t": 2.5, "type": "subagent", "agent_id": "a", "requests": [ASKED]}
    native = jsonl(
        HEADER | {"layout": None},
        {
            "session_id": "r",
            "turns": [TURN | {"block_runs": [[0, 4], [9, 4]]}],
            "shared_prefix": {"key": "k", "blocks": 2},
        },
        SESSION | {"layout": "independent", "turns": [TURN | {"chunks": [1]}, TURN]},
    )
    return {
        "native": native,
        "gzip": gzip.compress(native),
        "xz": lzma.compress(native),
        "mooncake": jsonl(REQUEST, REQUEST | {"timestamp": 3000, "hash_ids": [0, 1, 9]}),
        "claude": jsonl(RECORDED | {"requests": [ASKED, nested, ASKED | {"t": 9}], "dup_group": "g"}),
        "series": b'# {"format": "simkv.series", "version": 1, "kind": "capacity"}\nt_s,bps\n0,1e6\n1,0\n2.5,3000000\n',
    }


@pytest.mark.parametrize("name", valid_files())
def test_mutated_bytes_are_read_or_refused_in_bounded_time(name: str) -> None:
    original = valid_files()[name]
    path = Path("mutant")
    errors: list[str] = []
    for seed in range(400):
        path.write_bytes(with_bytes_changed(original, random.Random(f"{name} {seed}")))
        started_s = time.process_time()
        try:
            if name == "series":
                read_series(path)
            else:
                for _ in open_trace(path).sessions():
                    pass
        except InputError as error:
            errors.append(str(error))
        assert time.process_time() - started_s < 1
    assert len(errors) > 100
    assert all(error.startswith("mutant") and "\n" not in error for error in errors)
