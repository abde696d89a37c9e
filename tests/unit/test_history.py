"""What a source remembers of a conversation: moves by difference in documents, by recency among chains."""

from __future__ import annotations

from simkv.history import MOST_CHAINS, MOST_REMEMBERED, NEW_CHAIN, Remembered
from simkv.kv.block import Run
from simkv.kv.prefix import Content, Conversation
from simkv.predictors.question import LONGEST_CONTEXT
from simkv.request import Session, TraceHeader, Turn


def reading(*chunks: tuple[int, ...], has_sessions: bool = True) -> Conversation:
    turns = tuple(Turn(1, 1, chunks=asked) for asked in chunks)
    session = Session("s", turns, "independent", chunk_tokens=(16,) * 8)
    return Conversation(session, 3, Content(TraceHeader(16, "independent", "session", has_sessions, {})))


def talk(*chains: tuple[Run, ...]) -> Conversation:
    session = Session("s", tuple(Turn(1, 1, block_runs=runs) for runs in chains))
    return Conversation(session, 3, Content(TraceHeader(16, None, "global", True, {})))


def learnt(conversation: Conversation) -> Remembered:
    remembered = Remembered(conversation)
    for turn in range(len(conversation.session.turns)):
        remembered.learn(conversation.prompt(turn))
    return remembered


def test_chunks_move_by_difference() -> None:
    remembered = learnt(reading((2,), (3,), (3,), (), (0, 1)))
    assert remembered.asked == [2, 3, 3, 1]  # a turn that asks nothing is no move; of several the last counts
    assert remembered.moves == [3, 1, 0, -2]  # the first counts from -1
    assert [remembered.item_after(move) for move in (-2, -1, 0, 6, 7)] == [None, 0, 1, 7, None]


def test_an_outcome_is_what_was_seen_before_it_and_what_came() -> None:
    conversation = reading(*[(0,)] * 40)
    remembered = Remembered(conversation)
    outcomes = [remembered.learn(conversation.prompt(turn)) for turn in range(40)]
    assert outcomes[0] is not None
    assert (outcomes[0].session, outcomes[0].before, outcomes[0].move) == (3, (), 1)
    assert outcomes[39] is not None
    assert outcomes[39].before == (0,) * LONGEST_CONTEXT


def test_chains_move_by_recency() -> None:
    main, agent = (Run(0, 4),), (Run(100, 2),)
    remembered = learnt(talk(main, (Run(0, 6),), agent, (Run(0, 9),), (Run(100, 3),)))
    assert remembered.moves == [NEW_CHAIN, 0, NEW_CHAIN, 1, 1]
    assert remembered.item_after(0) == Run(102, 1)
    assert remembered.item_after(1) == Run(6, 3)
    assert remembered.item_after(2) is None
    assert [part.run for part in remembered.parts_of(Run(6, 3))] == [Run(0, 6), Run(6, 3)]
    assert remembered.parts_of(Run(555, 1)) == ()


def test_memory_is_bounded() -> None:
    conversation = reading(*[(0,)] * (5 * MOST_REMEMBERED))
    remembered = learnt(conversation)
    assert MOST_REMEMBERED <= len(remembered.asked) == len(remembered.moves) <= 2 * MOST_REMEMBERED
    assert len(remembered.words) == len(remembered.asked)
    chains = learnt(talk(*[(Run(10 * index, 2),) for index in range(3 * MOST_CHAINS)]))
    assert chains.item_after(MOST_CHAINS - 1) is not None
    assert chains.item_after(MOST_CHAINS) is None


def asking(*words: tuple[str, ...]) -> Conversation:
    turns = tuple(Turn(1, 1, chunks=(0,) if each else (), words=each) for each in words)
    session = Session("s", turns, "independent", chunk_tokens=(16,), chunk_words=(("page",),))
    return Conversation(session, 3, Content(TraceHeader(16, "independent", "session", True, {})))


def test_words_stand_beside_what_they_asked_for() -> None:
    conversation = asking(("one",), (), ("two", "three"), ("four",))
    remembered = Remembered(conversation)
    outcomes = [remembered.learn(conversation.prompt(turn)) for turn in range(4)]
    view = remembered.view(None)
    assert list(view.words) == [("one",), ("two", "three"), ("four",)]  # what asked for nothing left no word
    assert len(view.words) == len(view.asked)
    assert view.chunk_words == (("page",),)
    last = outcomes[3]
    assert last is not None
    assert (last.item, last.last, last.words) == (0, 0, ("four",))
    assert last.words_before == (("one",), ("two", "three"))
    first = outcomes[0]
    assert first is not None
    assert (first.item, first.last, first.words_before) == (0, None, ())


def test_words_of_chains_are_remembered_too() -> None:
    turns = (Turn(1, 1, block_runs=(Run(0, 4),), words=("go",)), Turn(1, 1, block_runs=(Run(0, 6),)))
    conversation = Conversation(Session("s", turns), 3, Content(TraceHeader(16, None, "global", True, {})))
    assert learnt(conversation).words == [("go",), ()]


def test_strangers_make_no_history() -> None:
    remembered = learnt(reading((1,), (2,), has_sessions=False))
    assert remembered.asked == []
