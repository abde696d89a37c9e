"""What a request need not compute: up to the first hole, of a chain or of one independent chunk."""

from __future__ import annotations

from unittest import mock

import pytest

from simkv.claim import Claim
from simkv.kv.block import Run
from simkv.kv.prefix import Part, Prompt

FRONT, BACK, OTHER = Part(Run(0, 2), 32, 0), Part(Run(9, 1), 16, 0), Part(Run(20, 1), 16, 1)


def claim(*recomputed: tuple[int, Run], chained: bool) -> Claim:
    """Return a request for an edited chunk of two parts, and for another chunk."""
    prompt = Prompt((FRONT, BACK, OTHER), (), 0, chained, Run(1 << 60, 1), 0, 65, 1, 0, (0, 1))
    made = Claim(mock.Mock(), prompt, mock.Mock(), on_ready=lambda: None)
    made.recomputed = list(recomputed)
    return made


@pytest.mark.parametrize(
    ("recomputed", "chained", "cached"),
    [
        ([], True, 64),
        ([(0, Run(1, 1))], True, 16),
        ([(0, Run(1, 1))], False, 16 + 16),  # what is behind the hole in the chunk is no use, the other chunk is
        ([(1, Run(9, 1))], True, 32),
        ([(1, Run(9, 1))], False, 32 + 16),
        ([(0, Run(0, 2)), (1, Run(9, 1))], False, 16),
        ([(2, Run(20, 1))], False, 48),
    ],
)
def test_behind_a_hole_in_a_chunk_nothing_of_it_is_used(
    recomputed: list[tuple[int, Run]], chained: bool, cached: int
) -> None:
    assert claim(*recomputed, chained=chained).cached_tokens(16) == cached


def test_a_part_of_a_chunk_needs_what_is_before_it() -> None:
    prompt = claim(chained=False).prompt
    assert [prompt.chain(index) for index in range(3)] == [(FRONT,), (FRONT, BACK), (OTHER,)]
    assert claim(chained=True).prompt.chain(2) == (FRONT, BACK, OTHER)
