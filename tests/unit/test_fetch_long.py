"""`fetch-long`: KV where enough of it lacks, text where little does."""

from __future__ import annotations

from pathlib import Path

import pytest

from simkv.errors import InputError
from tests.unit.little_worlds import BLOCK_BYTES, Played, little, session, turn

GPU = "{name: fixed, prefill_per_token: 1 ms, decode_step: 10 ms}"


def played(folder: Path, acquisition: str) -> Played:
    """Two turns: the first asks a chunk of 16 tokens, the second one of 160."""
    folder.mkdir()
    told = session(turn(0, answer=4), turn(1, answer=4, think=1.0), chunks=[16, 160])
    return little(folder, told, acquisition=acquisition, gpu=GPU)


def same(a: Played, b: Played) -> bool:
    return (a.result.requests, a.result.transfers) == (b.result.requests, b.result.transfers)


@pytest.mark.parametrize(("min_tokens", "like"), [(0, "fetch"), (1, "fetch"), (16, "fetch"), (161, "text")])
def test_at_its_ends_it_is_fetch_or_text(tmp_path: Path, min_tokens: int, like: str) -> None:
    """Requests and transfers are equal, byte by byte."""
    ours = played(tmp_path / "ours", f"{{name: fetch-long, min_tokens: {min_tokens}}}")
    assert same(ours, played(tmp_path / "theirs", like))
    other = {"fetch": "text", "text": "fetch"}[like]
    assert not same(ours, played(tmp_path / "others", other))


def test_between_them_it_sends_the_text_of_few_tokens_and_the_kv_of_many(tmp_path: Path) -> None:
    """16 tokens of 4 bytes, then 10 blocks; the few are prefilled here, the many are cached."""
    ours = played(tmp_path / "ours", "{name: fetch-long, min_tokens: 17}")
    assert [bytes_ for _, _, bytes_, _ in ours.transfers("demand")] == [16 * 4, 10 * BLOCK_BYTES]
    assert ours.column("cached_tokens")[0] == 0
    assert ours.column("cached_tokens")[1] >= 160


def test_a_negative_threshold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="min_tokens: want at least 0, got -1"):
        played(tmp_path / "ours", "{name: fetch-long, min_tokens: -1}")
