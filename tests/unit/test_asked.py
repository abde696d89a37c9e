"""Requests read fast are the requests of the format's own reader, and so are the mistakes in them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simkv.errors import InputError
from simkv.kv.runmap import REGION_BLOCKS
from simkv.workload import asked, open_trace
from simkv.workload.asked import mooncake
from simkv.workload.readers.mooncake import BLOCK_TOKENS

Plain = tuple[float, int, int, tuple[int, ...]]
GOOD = '{"timestamp": 0, "input_length": 600, "output_length": 20, "hash_ids": [0, 4]}'


def through_the_format(path: Path, size: int) -> Iterator[Plain]:
    """Yield arrival, lengths and engine blocks by the general reader, cut block by block."""
    for session in open_trace(path).sessions():
        (turn,) = session.turns
        ids = [run.start + i for run in turn.block_runs for i in range(run.count)]
        tokens = BLOCK_TOKENS * len(ids) + turn.new_tokens
        if turn.last_block is not None:
            ids.append(turn.last_block)
        named = [id_ * (BLOCK_TOKENS // size) + i for id_ in ids for i in range(BLOCK_TOKENS // size)]
        assert session.start_s is not None
        yield session.start_s, tokens, turn.answer_tokens, tuple(named[: tokens // size])


def fast(path: Path, size: int) -> Iterator[Plain]:
    for each in mooncake(path, size):
        named = tuple(run.start + i for run in each.runs for i in range(run.count))
        assert all(run.count > 0 for run in each.runs)
        yield each.arrival_s, each.input_tokens, each.output_tokens, named


def until_it_fails(requests: Iterator[Plain]) -> tuple[list[Plain], str]:
    found = []
    try:
        for request in requests:
            found.append(request)
    except InputError as error:
        return found, str(error)
    return found, ""


def alike(path: Path, size: int) -> tuple[int, str]:
    """Compare both readings; return how many requests there are and the error that ends them.

    Where a compressed file breaks off, those of the lines that were read together with the end are not told.
    """
    (ours, our_error), (theirs, their_error) = (until_it_fails(read(path, size)) for read in (fast, through_the_format))
    assert our_error == their_error
    theirs = theirs[: len(ours)] if our_error else theirs
    assert [each[1:] for each in ours] == [each[1:] for each in theirs]
    assert [each[0] for each in ours] == pytest.approx([each[0] for each in theirs], abs=1e-6)  # a timedelta's digits
    return len(ours), our_error


@st.composite
def lines(draw: st.DrawFn) -> bytes:
    """Return valid lines, each usual or written in one of the ways that the format allows besides."""
    timestamp: float = 0
    found = []
    for _ in range(draw(st.integers(1, 8))):
        timestamp += draw(st.sampled_from([0, 1, 3000, 0.5, 0.125, 10**6]))
        tokens = draw(st.integers(1, 4) | st.integers(1, 6 * BLOCK_TOKENS) | st.sampled_from([512, 1024, 1025, 1023]))
        full, every = tokens // BLOCK_TOKENS, -(-tokens // BLOCK_TOKENS)
        count = draw(st.sampled_from([full, every]))
        start = draw(st.integers(0, 100) | st.just(REGION_BLOCKS - 20))
        ids = list(range(start, start + count))
        if draw(st.booleans()):
            ids = draw(st.lists(st.integers(0, 200), min_size=count, max_size=count, unique=True))
        record = {"timestamp": timestamp, "input_length": tokens}
        record |= {"output_length": draw(st.integers(0, 5)), "hash_ids": ids}  # type: ignore[dict-item]
        items = draw(st.permutations(list(record.items()))) if draw(st.booleans()) else list(record.items())
        separators = draw(st.sampled_from([(", ", ": "), (",", ":"), (" ,  ", " :\t")]))
        text = json.dumps(dict(items), separators=separators)
        if draw(st.booleans()):
            text = text.replace("timestamp", "\\u0074imestamp")
        found.append(draw(st.sampled_from(["", "  ", "\t"])) + text + draw(st.sampled_from(["", " ", "\r"])))
    return ("\n".join(found) + draw(st.sampled_from(["", "\n"]))).encode()


@given(
    content=lines(), size=st.sampled_from([1, 16, 64, 512]), packed=st.booleans(), at_once=st.sampled_from([1, 3, 256])
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_valid_files_are_the_same_requests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, size: int, packed: bool, at_once: int
) -> None:
    monkeypatch.setattr(asked, "_LINES_AT_ONCE", at_once)
    path = tmp_path / "trace.jsonl"
    path.write_bytes(gzip.compress(content) if packed else content)
    count, error = alike(path, size)
    assert error == ""
    assert count == len(content.splitlines())


#: A damaged second line, and the message that it ends in.
DAMAGED: list[tuple[str, str]] = [
    ("", "empty line; want a JSON object"),
    ("{", "not JSON: Expecting property name enclosed in double quotes at column 2 (is the file cut short?)"),
    (GOOD + "," + GOOD, "not JSON: Extra data at column 79"),
    (GOOD[:-1], "not JSON: Expecting ',' delimiter at column 78 (is the file cut short?)"),
    ("[" + GOOD + "]", "want a JSON object, got [{"),
    ("7", "want a JSON object, got 7"),
    (GOOD.replace("0,", "NaN,", 1), "NaN is not a number that a trace may hold"),
    (GOOD.replace("{", '{"timestamp": 0, '), "key 'timestamp' is given twice"),
    (GOOD.replace("{", '{"more": 0, '), "unknown key 'more'; known: "),
    (GOOD.replace('"output_length": 20, ', ""), "key 'output_length' is missing"),
    (GOOD.replace('"output_length": 20', '"output_length": 20.0'), "output_length: want a whole number of at least 0"),
    (GOOD.replace('"output_length": 20', '"output_length": true'), "output_length: want a whole number of at least 0"),
    (GOOD.replace("20", "-1"), "output_length: want a whole number of at least 0, got -1"),
    (GOOD.replace("20", "1" * 13), "output_length: want at most 1000000000000, got 1111111111111"),
    (GOOD.replace("20", "1" * 5000), "a number has thousands of digits"),
    (GOOD.replace("600", "0"), "input_length: want a whole number of at least 1, got 0"),
    (GOOD.replace("600", '"600"'), 'input_length: want a whole number of at least 1, got "600"'),
    (GOOD.replace("600", "1600"), "hash_ids: 1600 tokens are 3 full blocks of 512 tokens, got 2 ids"),
    (GOOD.replace("[0, 4]", "[4, 4]"), "hash_ids: block 4 is named twice in one prompt"),
    (GOOD.replace("[0, 4]", "[0, -4]"), "hash_ids[1]: want a whole number of at least 0, got -4"),
    (GOOD.replace("[0, 4]", "[0, 4.0]"), "hash_ids[1]: want a whole number of at least 0, got 4.0"),
    (GOOD.replace("[0, 4]", "[0, [4]]"), "hash_ids[1]: want a whole number of at least 0, got [4]"),
    (GOOD.replace("[0, 4]", f"[0, {REGION_BLOCKS}]"), "hash_ids[1]: want an id below "),
    (GOOD.replace("[0, 4]", "null"), "hash_ids: want a list of block ids, got null"),
    (GOOD.replace('p": 0', 'p": -1'), "timestamp: want seconds, a number of at least 0, got -1"),
    (GOOD.replace('p": 0', 'p": null'), "timestamp: want seconds, a number of at least 0, got null"),
    ("[" * 20_000, "JSON is nested too deeply"),
]


@pytest.mark.parametrize(("line", "message"), DAMAGED)
def test_damaged_lines_are_the_same_mistakes(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text(f"{GOOD}\n{line}\n{GOOD}\n")
    count, error = alike(path, 16)
    assert count == 1
    assert error.startswith(f"{path}:2: {message}")


@pytest.mark.parametrize(
    "content",
    [
        (GOOD.replace('p": 0', 'p": 5') + "\n" + GOOD).encode(),  # goes back in time
        GOOD.encode() + b"\n\xff\n",
        gzip.compress((GOOD + "\n" + GOOD).encode())[:-9],
        gzip.compress((GOOD + "\n").encode() * 50)[:60] + b"\0" * 40,
    ],
    ids=["back in time", "not text", "cut short", "damaged"],
)
def test_damaged_files_are_the_same_mistakes(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_bytes(content)
    assert alike(path, 16)[1].startswith(f"{path}:")


@given(st.integers(0, 2**32 - 1), st.integers(0, 999), st.sampled_from(list('{}[],:" 0-\\ea\n')))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_changed_character_is_the_same_mistake_or_none(tmp_path: Path, seed: int, at: int, character: str) -> None:
    """In the second or third line: the first one also says which format this is."""
    text = f"{GOOD}\n{GOOD}\n"
    place = at % len(text)
    changed = text[:place] + character + text[place + seed % 2 :]
    path = tmp_path / "trace.jsonl"
    path.write_text(f"{GOOD}\n{changed}")
    alike(path, 16)


@pytest.mark.parametrize("size", [0, 7, 1024])
def test_blocks_that_do_not_divide_are_refused(tmp_path: Path, size: Any) -> None:
    with pytest.raises(InputError, match="want a block that divides Mooncake's 512 tokens"):
        list(mooncake(tmp_path / "trace.jsonl", size))


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_bytes(b"")
    _, error = alike(path, 16)
    assert error.startswith(f"{path}: ")
