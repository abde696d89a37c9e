"""Which blocks make up a prompt, which are the same content, and which can be nobody else's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from simkv.errors import InputError
from simkv.kv.block import Run
from simkv.kv.prefix import MOST_VERSIONS, OPEN_LOOP, OWN_IDS, Content, Conversation, Part, in_parts, is_own, tokens_in
from simkv.kv.runmap import REGION_BITS, REGION_BLOCKS
from simkv.request import Edit, Session, TraceHeader, Turn


def content(scope: Any = "session", *, layout: Any = None, has_sessions: bool = True) -> Content:
    return Content(TraceHeader(16, layout, scope, has_sessions, {}))


def reading(*chunks: tuple[int, ...], layout: Any = "document_first", **more: Any) -> Session:
    """Return a session that asks chunks of 16, 40 and 16 tokens; questions of 20 tokens, answers of 12."""
    turns = tuple(Turn(20, 12, chunks=asked) for asked in chunks)
    return Session(more.pop("name", "s"), turns, layout, chunk_tokens=(16, 40, 16), **more)


def talk(*runs: tuple[Run, ...], **more: Any) -> Session:
    return Session(more.pop("name", "s"), tuple(Turn(5, 7, block_runs=each) for each in runs), **more)


def placed_blocks(conversation: Conversation, turn: int) -> set[int]:
    parts = conversation.prompt(turn).parts
    return {block for part in parts for block in range(part.run.start, part.run.end)}


# -- documents ----------------------------------------------------------------------------------------------


def test_document_first_loads_all_chunks_up_to_the_last_one_asked() -> None:
    conversation = Conversation(reading((1,), (0,), (2,)), 0, content())
    first, second, third = (conversation.prompt(turn) for turn in range(3))
    assert [part.item for part in first.parts] == [part.item for part in second.parts] == [0, 1]
    assert [part.item for part in third.parts] == [0, 1, 2]
    assert [prompt.prompt_tokens for prompt in (first, second, third)] == [56 + 20, 56 + 52, 72 + 84]
    assert first.chained
    assert first.spans == (Run(first.parts[0].run.start, 1 + 3),)  # 40 tokens take three blocks


def test_a_further_chunk_makes_a_new_version_of_the_dialogue() -> None:
    conversation = Conversation(reading((0,), (0,), (1,), (1,)), 0, content())
    prompts = [conversation.prompt(turn) for turn in range(4)]
    assert [prompt.own_known_tokens for prompt in prompts] == [0, 32, 0, 96]
    assert prompts[0].own.start == prompts[1].own.start != prompts[2].own.start == prompts[3].own.start


def test_of_an_answer_all_but_the_last_token_has_kv() -> None:
    prompt = Conversation(reading((0,)), 0, content()).prompt(0)
    assert (prompt.own.count, prompt.kept_blocks) == (2, 1)  # 32 tokens fill two blocks, 31 of them have KV


def test_independent_chunks_stand_as_they_are_asked() -> None:
    conversation = Conversation(reading((2, 0), (1,), layout="independent"), 0, content())
    first, second = conversation.prompt(0), conversation.prompt(1)
    assert [part.item for part in first.parts] == [2, 0]
    assert [part.item for part in second.parts] == [1]
    assert not first.chained
    assert (first.prompt_tokens, second.prompt_tokens) == (32 + 20, 40 + 52)
    assert second.own_known_tokens == 32  # no version: the dialogue's KV is reused behind other chunks
    assert conversation.chain(2) == (first.parts[0],)


def edited(session: Session, edits: dict[int, tuple[Edit, ...]]) -> Session:
    """Return a session some of whose turns edit its document."""
    turns = tuple(replace(turn, edits=edits.get(index, ())) for index, turn in enumerate(session.turns))
    return replace(session, turns=turns)


def test_an_edit_in_the_context_makes_a_new_version_of_the_dialogue() -> None:
    """Chunk 1 is edited before it is loaded, chunk 0 afterwards: only the latter stands in front of the dialogue."""
    edits = {1: (Edit(1, 8, 40),), 2: (Edit(0, 8, 16),)}
    conversation = Conversation(edited(reading((0,), (0,), (0,), (0,)), edits), 0, content())
    prompts = [conversation.prompt(turn) for turn in range(4)]
    assert [prompt.own_known_tokens for prompt in prompts] == [0, 32, 0, 96]
    assert prompts[0].own.start == prompts[1].own.start != prompts[2].own.start == prompts[3].own.start


def test_independent_chunks_are_edited_beside_the_dialogue() -> None:
    session = edited(reading((0, 1), (0, 1), layout="independent"), {1: (Edit(1, 20, 40),)})
    conversation = Conversation(session, 0, content())
    first, second = conversation.prompt(0), conversation.prompt(1)
    assert second.own_known_tokens == 32
    assert [part.item for part in second.parts] == [0, 1, 1]
    assert second.parts[0] == first.parts[0]
    assert second.parts[1].run == Run(first.parts[1].run.start, 1)
    assert second.prompt_tokens == 16 + 40 + 52


@pytest.mark.parametrize("layout", ["document_first", "independent"])
def test_the_recorded_order_knows_the_version_of_each_turn(layout: str) -> None:
    session = edited(reading((1,), (2,), (0, 1), layout=layout), {1: (Edit(1, 20, 70),), 2: (Edit(0, 0, 5),)})
    conversation = Conversation(session, 0, content())
    told = conversation.accesses()
    assert told == [tuple(part.run for part in conversation.prompt(turn).parts) for turn in range(3)]


def test_a_document_and_its_edits_are_fewer_than_a_dialogue_has_versions() -> None:
    turns = tuple(Turn(1, 1, chunks=(0,), edits=(Edit(0, 0, 1),)) for _ in range(MOST_VERSIONS))
    with pytest.raises(InputError, match="fewer than 4096 chunks, got 1 and 4096 turns that edit it"):
        Conversation(Session("s", turns, "document_first", chunk_tokens=(1,)), 0, content())


def test_interleaved_layouts_are_refused() -> None:
    with pytest.raises(InputError, match=r"session s: layout 'interleaved' cannot be played: .* want 'document_first'"):
        Conversation(reading((0,), layout="interleaved"), 0, content())


def test_a_document_has_fewer_chunks_than_a_dialogue_has_versions() -> None:
    session = Session("s", (Turn(1, 1, chunks=(0,)),), "document_first", chunk_tokens=(1,) * MOST_VERSIONS)
    with pytest.raises(InputError, match="want a document of fewer than 4096 chunks, got 4096"):
        Conversation(session, 0, content())


def test_equal_documents_are_shared_and_others_are_not() -> None:
    blocks = content()
    sessions = [reading((0,), name=name, document_id=document) for name, document in ("ad", "bd", ("c", None))]
    one, same, other = (Conversation(session, draw, blocks) for draw, session in enumerate(sessions))
    assert one.chain(0) == same.chain(0)
    assert one.chain(0)[0].run != other.chain(0)[0].run
    assert one.private_spans() == ()
    assert other.private_spans()[0].start == other.chain(0)[0].run.start


def test_a_session_drawn_again_shares_no_document_with_itself() -> None:
    blocks = content()
    sessions = [reading((0,), name=name, document_id="d") for name in "abab"]
    draws = [Conversation(session, draw, blocks).chain(0)[0].run for draw, session in enumerate(sessions)]
    assert draws[0] == draws[1] != draws[2] == draws[3]  # the copy of a shares with the copy of b


def test_own_blocks_are_nobody_elses() -> None:
    blocks = content()
    runs = [Conversation(reading((0,)), draw, blocks).prompt(0).own for draw in range(3)]
    assert len({run.start >> REGION_BITS for run in runs}) == 3
    assert all(is_own(run) for run in runs)
    assert min(run.start for run in runs) > OWN_IDS


# -- runs of blocks -----------------------------------------------------------------------------------------


def test_what_is_named_first_is_fresh_and_then_not_any_more() -> None:
    conversation = Conversation(talk((Run(0, 4),), (Run(0, 6),)), 0, content())
    first, second = conversation.prompt(0), conversation.prompt(1)
    assert [(part.run.count, part.fresh) for part in first.parts] == [(4, True)]
    assert [(part.run.count, part.fresh) for part in second.parts] == [(4, False), (2, True)]
    assert (first.fresh_blocks, second.fresh_blocks) == (4, 2)
    assert (first.prompt_tokens, second.prompt_tokens) == (64 + 5, 96 + 5)
    assert second.asked == (second.parts[0].run,)


def test_only_the_shared_prefix_is_shared() -> None:
    blocks = content()
    runs = (Run(1, 8),)
    sessions = [talk(runs, name=name, shared_key=key, shared_blocks=3) for name, key in ("ak", "bk", "cl")]
    a, b, c = (placed_blocks(Conversation(session, draw, blocks), 0) for draw, session in enumerate(sessions))
    again = placed_blocks(Conversation(sessions[0], 3, blocks), 0)
    assert len(a & b) == 3
    assert len(a & again) == 3  # drawn again: private blocks are others
    assert not a & c


def test_ids_below_the_first_are_private_too() -> None:
    blocks = content()
    session = talk((Run(100, 4),), (Run(3, 4),), (Run(98, 8),), shared_key="k", shared_blocks=2)
    one, other = (Conversation(session, draw, blocks) for draw in range(2))
    assert len(placed_blocks(one, 0) & placed_blocks(other, 0)) == 2
    assert not placed_blocks(one, 1) & placed_blocks(other, 1)
    assert len(placed_blocks(one, 2) & placed_blocks(other, 2)) == 2
    unshared = [Conversation(talk((Run(9, 1),), (Run(2, 4),)), draw, blocks) for draw in (2, 3)]
    assert not placed_blocks(unshared[0], 1) & placed_blocks(unshared[1], 1)


def test_global_ids_are_shared_as_they_are() -> None:
    blocks = content("global")
    a, b = (Conversation(talk((Run(7, 2),), name=name), draw, blocks) for draw, name in enumerate("ab"))
    assert placed_blocks(a, 0) == placed_blocks(b, 0) == {7, 8}
    assert a.private_spans() == ()


def test_ids_stay_inside_their_region() -> None:
    conversation = Conversation(talk((Run(REGION_BLOCKS - 1, 2),)), 0, content())
    with pytest.raises(InputError, match=f"block {REGION_BLOCKS} is beyond the {REGION_BLOCKS} ids"):
        conversation.prompt(0)


# -- the future ---------------------------------------------------------------------------------------------


def test_of_the_future_only_what_exists_is_told() -> None:
    """Semantics B1: of the next turn's chain, what some prompt has named by now."""
    conversation = Conversation(talk((Run(0, 4),), (Run(0, 4), Run(10, 2)), (Run(0, 4), Run(10, 5))), 0, content())
    assert conversation.future_parts(1) == {}
    first = conversation.prompt(0).parts[0].run
    ((item, parts),) = conversation.future_parts(1).items()
    assert (item, [part.run for part in parts]) == (first, [first])
    conversation.prompt(1)
    ((item, parts),) = conversation.future_parts(2).items()
    assert [part.run.count for part in parts] == [4, 2]
    assert [part.tokens for part in parts] == [64, 32]


def test_document_chunks_exist_from_the_start() -> None:
    conversation = Conversation(reading((0,), (2, 1)), 0, content())
    future = conversation.future_parts(1)
    assert list(future) == [2, 1]
    assert [part.item for part in future[2]] == [0, 1, 2]


def test_chunks_of_strangers_are_told_apart() -> None:
    blocks = content(layout="independent", has_sessions=False)
    a, b = (
        Conversation(reading((1,), layout="independent", name=name), draw, blocks) for draw, name in enumerate("ab")
    )
    assert a.key == b.key == OPEN_LOOP
    assert set(a.future_parts(0)).isdisjoint(b.future_parts(0))


def test_recorded_accesses() -> None:
    chained = Conversation(reading((1,), (0,), (2,)), 0, content())
    assert [[run.count for run in runs] for runs in chained.accesses()] == [[1, 3], [1, 3], [1, 3, 1]]
    alone = Conversation(reading((1,), (0, 2), layout="independent"), 0, content())
    assert [[run.count for run in runs] for runs in alone.accesses()] == [[3], [1, 1]]
    named = Conversation(talk((Run(0, 4),), (Run(0, 6),)), 0, content())
    assert [[run.count for run in runs] for runs in named.accesses()] == [[4], [6]]


def test_an_open_loop_reads_its_trace_twice_and_finds_the_same_documents() -> None:
    blocks = content(layout="independent", has_sessions=False)
    session = reading((1,), layout="independent")
    assert Conversation(session, 0, blocks).accesses() == Conversation(session, 7, blocks).accesses()


# -- where runs lie -----------------------------------------------------------------------------------------


def test_the_last_block_of_a_part_may_be_partly_filled() -> None:
    part = Part(Run(10, 3), 40, 0)
    assert [tokens_in(part, run, 16) for run in (Run(10, 3), Run(12, 1), Run(10, 1), Run(11, 2))] == [40, 8, 16, 24]


def test_runs_are_cut_where_parts_meet() -> None:
    parts = [Part(Run(0, 4), 64, 0), Part(Run(4, 4), 64, 1), Part(Run(20, 4), 64, 2)]
    found = in_parts(parts, [Run(22, 9), Run(3, 3)])
    assert found == [(0, Run(3, 1)), (1, Run(4, 2)), (2, Run(22, 2))]
