"""The paged pool with its prefix cache, one sentence at a time."""

from __future__ import annotations

import pytest

from simkv.compute.sequence import GpuSequence
from simkv.errors import InputError, InvariantError
from simkv.kv.block import Run
from simkv.kv.radix import BlockPool, PagedContent

OWN = 1 << 40


def asks(tokens: int, *runs: tuple[int, int], own: int = OWN, answer_is_asked: bool = False) -> GpuSequence:
    """Return a sequence of so many tokens whose blocks begin with runs of ids."""
    content = PagedContent(tuple(Run(*run) for run in runs), own, answer_is_asked)
    return GpuSequence(tokens, output_tokens=100, content=content, on_finished=lambda: None)


def admit(pool: BlockPool, sequence: GpuSequence, budget_tokens: int = 10_000) -> tuple[int, int]:
    """Admit a sequence, and compute its first chunk, as a scheduler does; return (new, cached) tokens."""
    new = pool.admit(sequence, budget_tokens)
    cached = sequence.context_tokens
    sequence.context_tokens += new
    sequence.prefill_left_tokens -= new
    pool.check()
    return new, cached


def end(pool: BlockPool, sequence: GpuSequence, decoded: int = 0) -> None:
    """Let a sequence end whose answer has so many tokens of KV."""
    before = -(-sequence.context_tokens // pool.block_tokens)
    sequence.context_tokens += decoded
    pool.grow(-(-sequence.context_tokens // pool.block_tokens) - before)
    pool.release(sequence, sequence.context_tokens)
    pool.check()


def is_cached(pool: BlockPool, tokens: int, *runs: tuple[int, int], own: int = OWN) -> int:
    """Return [tokens] that such a prompt would find, without asking for them."""
    content = asks(tokens, *runs, own=own).content
    return pool.block_tokens * sum(taken for _, taken in pool._match(content, (tokens - 1) // pool.block_tokens))


def test_a_prompt_takes_its_blocks_and_gives_them_back() -> None:
    """The last is taken though it is not full."""
    pool = BlockPool(10, 4)
    sequence = asks(9, (0, 2))
    assert admit(pool, sequence) == (9, 0)
    assert pool.free_blocks == 7
    end(pool, sequence, decoded=4)  # 13 tokens: a fourth block
    assert pool.free_blocks == 10


def test_what_was_computed_is_found_while_it_is_used_and_when_it_is_free() -> None:
    pool = BlockPool(10, 4)
    first, second, third = (asks(9, (0, 2)) for _ in range(3))
    admit(pool, first)
    assert admit(pool, second) == (1, 8)
    assert pool.free_blocks == 10 - 3 - 1
    end(pool, first)
    end(pool, second)
    assert pool.free_blocks == 10
    assert admit(pool, third) == (1, 8)
    assert pool.free_blocks == 7


def test_a_common_front_is_shared_and_the_rest_is_not() -> None:
    """A run is split where two prompts part; each part has its users."""
    pool = BlockPool(20, 4)
    a, b, c = asks(32, (0, 8)), asks(32, (0, 5), (100, 3)), asks(32, (0, 2), (200, 6))
    assert [admit(pool, sequence) for sequence in (a, b, c)] == [(32, 0), (12, 20), (24, 8)]
    assert pool.free_blocks == 20 - 8 - 3 - 6
    end(pool, a)
    assert pool.free_blocks == 3 + 3  # b and c hold the front
    end(pool, b)
    assert pool.free_blocks == 6 + 3 + 3
    end(pool, c)
    assert pool.free_blocks == 20
    assert is_cached(pool, 33, (0, 8)) == is_cached(pool, 33, (0, 5), (100, 3)) == 32


def test_a_prompt_is_found_as_far_as_it_has_come() -> None:
    """Chunk by chunk; and whoever found its front goes on with blocks of its own, which others find."""
    pool = BlockPool(20, 4)
    a = asks(32, (0, 8))
    assert admit(pool, a, budget_tokens=10) == (10, 0)
    assert is_cached(pool, 33, (0, 8)) == 8
    assert pool.extend(a, 10)
    a.context_tokens, a.prefill_left_tokens = 20, 12
    assert is_cached(pool, 33, (0, 8)) == 20
    assert pool.free_blocks == 15
    assert admit(pool, asks(24, (0, 6))) == (4, 20)
    assert is_cached(pool, 33, (0, 8)) == 24


def test_what_two_compute_at_once_is_found_in_one_copy() -> None:
    """b asks for what it may not hit, the last block; what follows in its own copy is in nobody's reach.

    Here simkv differs from vLLM, which would find b's blocks behind it as long as a's copy of the block is there.
    """
    pool = BlockPool(20, 4)
    a, b = asks(8, (0, 2)), asks(8, (0, 2), own=2 * OWN, answer_is_asked=True)
    assert [admit(pool, sequence) for sequence in (a, b)] == [(8, 0), (4, 4)]
    assert pool.free_blocks == 20 - 2 - 1
    end(pool, b, decoded=8)
    assert is_cached(pool, 16, (0, 2), own=2 * OWN) == 8
    end(pool, a)
    assert pool.free_blocks == 20
    assert admit(pool, asks(9, (0, 2))) == (1, 8)


def test_an_answer_is_found_where_somebody_may_ask_for_it() -> None:
    """The next turn of a conversation does; a single request's answer is worth nothing when it has ended."""
    for answer_is_asked, cached in ((True, 16), (False, 8)):
        pool = BlockPool(20, 4)
        turn = asks(10, (0, 2), answer_is_asked=answer_is_asked)
        admit(pool, turn)
        end(pool, turn, decoded=8)
        assert is_cached(pool, 30, (0, 2), (OWN, 5)) == cached


def test_who_is_preempted_finds_its_answer_again() -> None:
    pool = BlockPool(20, 4)
    sequence = asks(10, (0, 2))
    admit(pool, sequence)
    pool.grow(2)  # eight tokens of answer
    sequence.prefill_left_tokens, sequence.context_tokens = 19, 0
    pool.release(sequence, 18)
    pool.check()
    assert pool.free_blocks == 20
    assert admit(pool, sequence) == (3, 16)
    assert pool.free_blocks == 15


def test_blocks_are_freed_tail_first_and_lost_when_they_are_taken() -> None:
    """Blocks that were never used come first, then the one that was not full, then the end of what is cached."""
    pool = BlockPool(6, 4)
    sequence = asks(18, (0, 4))
    admit(pool, sequence)
    end(pool, sequence)
    found = []
    for _ in range(6):
        pool.grow(1)
        found.append(is_cached(pool, 18, (0, 4)))
    assert found == [16, 16, 12, 8, 4, 0]
    assert (pool.free_blocks, pool.evicted_blocks) == (0, 4)


def test_who_was_freed_first_is_taken_first_whatever_is_in_use() -> None:
    pool = BlockPool(6, 4)
    a, b = asks(9, (0, 2)), asks(9, (10, 2))
    admit(pool, a)
    admit(pool, b)
    end(pool, b)
    end(pool, a)
    pool.grow(3)  # all of b's
    assert (is_cached(pool, 9, (10, 2)), is_cached(pool, 9, (0, 2))) == (0, 8)


def test_a_hit_counts_against_free_blocks() -> None:
    """Two of three free blocks are hit: one is left where two are wanted."""
    pool = BlockPool(3, 4)
    sequence = asks(9, (0, 2))
    admit(pool, sequence)
    end(pool, sequence)
    assert admit(pool, asks(13, (0, 2))) == (0, 0)
    assert admit(pool, asks(13)) == (0, 0)
    assert pool.free_blocks == 3
    assert admit(pool, asks(12, (0, 2))) == (4, 8)


def test_the_whole_prompt_must_fit_or_its_first_chunk() -> None:
    for reserve_prompt, new in ((True, 0), (False, 8)):
        pool = BlockPool(3, 4, reserve_prompt=reserve_prompt)
        sequence = asks(16)
        assert admit(pool, sequence, budget_tokens=8) == (new, 0)
        assert pool.free_blocks == 3 - new // 4


def test_an_extension_that_does_not_fit_takes_nothing() -> None:
    pool = BlockPool(3, 4, reserve_prompt=False)
    sequence = asks(16)
    admit(pool, sequence, budget_tokens=6)
    assert not pool.extend(sequence, 10)
    assert pool.free_blocks == 1
    assert pool.extend(sequence, 6)
    assert pool.free_blocks == 0


def test_without_a_prefix_cache_nothing_is_found() -> None:
    pool = BlockPool(20, 4, caches_prefixes=False)
    a, b = asks(9, (0, 2)), asks(9, (0, 2))
    admit(pool, a)
    assert admit(pool, b) == (9, 0)
    assert pool.free_blocks == 20 - 3 - 3
    end(pool, a)
    end(pool, b)
    assert pool.free_blocks == 20


def test_what_could_never_run_is_told() -> None:
    pool = BlockPool(3, 4)
    assert pool.fits(12)
    assert not pool.fits(13)


def test_a_pool_that_cannot_be() -> None:
    for sizes in ((0, 4), (3, 0)):
        with pytest.raises(InputError, match="want at least 1 block of 1 token"):
            BlockPool(*sizes)


def test_more_than_there_is_cannot_be_taken() -> None:
    with pytest.raises(InvariantError, match="2 more blocks were taken than are free"):
        BlockPool(3, 4).grow(5)


def test_a_block_that_is_counted_twice_is_noticed() -> None:
    pool = BlockPool(3, 4)
    pool.free_blocks = 2
    with pytest.raises(InvariantError, match="2 blocks are free, 3 of them are in the queue"):
        pool.check()


def test_a_long_prompt_takes_few_nodes() -> None:
    """100,000 tokens in 49 chunks are one run; a thousand prompts that share half of it are one more each."""
    pool = BlockPool(4_000_000)
    sequence = asks(100_000, (0, 6250))
    admit(pool, sequence, budget_tokens=2048)
    while sequence.prefill_left_tokens:
        tokens = min(sequence.prefill_left_tokens, 2048)
        assert pool.extend(sequence, tokens)
        sequence.context_tokens += tokens
        sequence.prefill_left_tokens -= tokens
    assert len(pool._nodes) == 1
    for number in range(1000):
        half = asks(100_000, (0, 3125), (10**6 * (number + 1), 3125))
        assert admit(pool, half, budget_tokens=50_000) == (50_000, 50_000)
    assert len(pool._nodes) == 2 + 1000
    end(pool, sequence, decoded=1000)
    assert len(pool._queue) == 1 + 2  # what was never used; the answer; the half that nobody shares
