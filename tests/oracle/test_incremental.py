"""Growth, overlap and an edit, each computed by hand to 1e-9: what naive resend, whole blocks and a delta cost.

On the link a block of 16 tokens takes one second; a question and the last byte each take 0.1 s more; GPUs take no
time. So time to first token is 0.2 s + what is sent.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from simkv.kv.delta import Stretch, ToSend, to_send
from tests.unit.little_worlds import BLOCK_BYTES, CLOSE, TOKEN_BYTES, Played, little, session, turn

WAYS = ("resend", "fetch", "{name: delta, version: 0 B}")


def edit(chunk: int, kept: int, tokens: int) -> dict[str, Any]:
    return {"edits": [{"chunk": chunk, "kept_tokens": kept, "tokens": tokens}]}


def ttft_s(played: Played) -> list[float]:
    pairs = zip(played.column("first_token_s"), played.column("arrival_s"), strict=True)
    return [first - arrival for first, arrival in pairs]


def sent_bytes(played: Played) -> int:
    return sum(wire_bytes for _, _, wire_bytes, _ in played.transfers("demand"))


def ways(folder: Path, *turns: dict[str, Any], chunks: list[int], layout: str) -> dict[str, Played]:
    """Play a session once each way."""
    told = session(*turns, chunks=chunks)
    return {
        way.strip("{").split(",")[0].split()[-1]: little(folder, told, layout=layout, acquisition=way) for way in WAYS
    }


def test_growth(tmp_path: Path) -> None:
    """A chunk of 40 tokens grows to 72: two of its three blocks were full, and 8 tokens stand in the third."""
    grown = turn(0, think=1.0) | edit(0, 40, 72)
    found = ways(tmp_path, turn(0), grown, chunks=[40], layout="document_first")
    assert ttft_s(found["resend"]) == pytest.approx([0.2 + 3, 0.2 + 2 + 3], **CLOSE)
    assert ttft_s(found["fetch"]) == pytest.approx([0.2 + 3, 0.2 + 3], **CLOSE)  # 40 tokens from the third block on
    assert ttft_s(found["delta"]) == pytest.approx([0.2 + 2.5, 0.2 + 2], **CLOSE)  # 40 tokens, then 32 new ones
    assert [sent_bytes(each) for each in found.values()] == [8 * BLOCK_BYTES, 6 * BLOCK_BYTES, 72 * TOKEN_BYTES]
    told = to_send([[Stretch("a", 40)]], [Stretch("a", 72)], 16)
    assert told == ToSend(72, 40, 32)


def test_overlap_of_independent_chunks(tmp_path: Path) -> None:
    """Of chunks b and c, asked after a and b, only c is new; whole blocks leave a delta nothing to save."""
    found = ways(tmp_path, turn(0, 1), turn(1, 2, think=1.0), chunks=[32, 32, 32], layout="independent")
    assert ttft_s(found["resend"]) == pytest.approx([4.2, 4.2], **CLOSE)
    assert ttft_s(found["fetch"]) == pytest.approx([4.2, 2.2], **CLOSE)
    assert ttft_s(found["delta"]) == pytest.approx([4.2, 2.2], **CLOSE)
    old, new = [Stretch("a", 32), Stretch("b", 32)], [Stretch("b", 32), Stretch("c", 32)]
    assert to_send([old], new, 16, independent=True) == ToSend(64, 32, 32)
    assert to_send([old], new, 16) == ToSend(64, 64, 64)  # as an exact prefix nothing of it serves again


def test_overlap_of_a_prefix(tmp_path: Path) -> None:
    """Chunks before the one asked are in the context anyway; zero overlap costs the full KV, full overlap nothing."""
    found = ways(
        tmp_path, turn(1), turn(2, think=1.0), turn(0, think=1.0), chunks=[32, 32, 32], layout="document_first"
    )
    assert ttft_s(found["resend"]) == pytest.approx([4.2, 6.2, 6.2], **CLOSE)
    assert ttft_s(found["fetch"]) == pytest.approx([4.2, 2.2, 0.0], **CLOSE)
    assert ttft_s(found["delta"]) == pytest.approx([4.2, 2.2, 0.0], **CLOSE)


def test_an_edit_in_the_middle(tmp_path: Path) -> None:
    """From token 20 of the second chunk on all is new: 12 tokens of it, and the third chunk, two blocks."""
    edited = turn(0, think=1.0) | edit(1, 20, 32)
    found = ways(tmp_path, turn(2), edited, chunks=[32, 32, 32], layout="document_first")
    assert ttft_s(found["resend"]) == pytest.approx([6.2, 6.2], **CLOSE)
    assert ttft_s(found["fetch"]) == pytest.approx([6.2, 0.2 + 1 + 2], **CLOSE)
    assert ttft_s(found["delta"]) == pytest.approx([6.2, 0.2 + 0.75 + 2], **CLOSE)
    old = [Stretch("a", 32), Stretch("b", 32), Stretch("c", 32)]
    new = [Stretch("a", 32), Stretch("b", 20), Stretch("b'", 12), Stretch("c", 32)]
    assert to_send([old], new, 16) == ToSend(96, 48, 44)
    assert [played.column("cached_tokens")[1] for played in found.values()] == [96, 96, 96]  # the dialogue is not


def test_an_edit_of_an_independent_chunk_leaves_the_others_alone(tmp_path: Path) -> None:
    edited = turn(0, 1, 2, think=1.0) | edit(1, 20, 32)
    found = ways(tmp_path, turn(0, 1, 2), edited, chunks=[32, 32, 32], layout="independent")
    assert ttft_s(found["resend"]) == pytest.approx([6.2, 6.2], **CLOSE)
    assert ttft_s(found["fetch"]) == pytest.approx([6.2, 1.2], **CLOSE)
    assert ttft_s(found["delta"]) == pytest.approx([6.2, 0.95], **CLOSE)


def test_a_version_that_was_never_there_costs_the_full_kv(tmp_path: Path) -> None:
    """The old version of the edited chunk was evicted: there is room for two blocks of document only."""
    turns = turn(0, new=1), turn(1, think=1.0), turn(0, think=1.0) | edit(0, 8, 16)
    told = session(*turns, chunks=[16, 32])
    way = "{name: delta, version: 0 B}"
    roomy = little(tmp_path, told, layout="independent", acquisition=way)
    tight = little(tmp_path, told, layout="independent", acquisition=way, receiver_blocks=3)
    assert ttft_s(roomy) == pytest.approx([1.2, 2.2, 0.7], **CLOSE)
    assert ttft_s(tight) == pytest.approx([1.2, 2.2, 1.2], **CLOSE)


def test_naming_versions_and_importance_cost_what_they_are(tmp_path: Path) -> None:
    """Each run that is sent names its versions; each position brings its metadata."""
    told = session(turn(0), turn(0, think=1.0) | edit(0, 20, 32), chunks=[32])
    way = f"{{name: delta, version: {2 * TOKEN_BYTES} B, importance: {TOKEN_BYTES} B}}"
    played = little(tmp_path, told, layout="document_first", acquisition=way)
    assert ttft_s(played) == pytest.approx([0.2 + 2 * 2 + 0.125, 0.2 + 2 * 0.75 + 0.125], **CLOSE)


def test_an_edit_is_computed_from_its_block_on_before_it_is_sent(tmp_path: Path) -> None:
    """The sender prefills 1 s a token: 32 tokens first, then the 16 of the block that the edit falls into."""
    told = session(turn(0), turn(0, think=1.0) | edit(0, 20, 32), chunks=[32])
    gpu = "{name: fixed, prefill_per_token: 1 s}"
    for layout in ("document_first", "independent"):
        played = little(tmp_path, told, layout=layout, sender_gpu=gpu)
        assert ttft_s(played) == pytest.approx([0.2 + 32 + 2, 0.2 + 16 + 1], **CLOSE)


def test_an_oracle_pushes_what_no_edit_makes_anew(tmp_path: Path) -> None:
    """Turn 1 will edit chunk 1 and ask chunk 2: of that chain only chunk 0 and a block of chunk 1 stay right."""
    turns = turn(0, answer=1), turn(2, think=100.0) | edit(1, 20, 32)
    told = session(*turns, chunks=[32, 32, 32])
    played = little(tmp_path, told, layout="document_first", prefetch="oracle", predictor="oracle")
    pushed = played.transfers("speculative")
    assert [row[2] for row in pushed] == [BLOCK_BYTES]
    assert played.units == {"used_in_time": 1}
    assert ttft_s(played) == pytest.approx([2.2, 0.2 + 1 + 2], **CLOSE)


def test_what_was_pushed_of_an_older_version_is_never_used(tmp_path: Path) -> None:
    """The sequential reader pushes chunk 1; the next turn edits chunk 0 and asks both: the push was for nothing."""
    told = session(turn(0), turn(1, think=100.0) | edit(0, 0, 32), chunks=[32, 32])
    played = little(tmp_path, told, layout="document_first", prefetch="sequential", predictor="sequential")
    assert played.units == {"never_used": 1}
    assert ttft_s(played) == pytest.approx([2.2, 4.2], **CLOSE)
