"""What predictors learn, against counts made by hand; and how conversations turn into moves."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from simkv import history
from simkv.errors import InputError
from simkv.history import Remembered
from simkv.kv.block import Run
from simkv.kv.prefix import Content, Conversation
from simkv.predictors import PREDICTORS, History, Item, Outcome, Predictor
from simkv.predictors.question import LONGEST_CONTEXT
from simkv.request import Session, TraceHeader, Turn
from simkv.rng import stream

CHUNKS = 12
BLOCK_TOKENS = 16


def remembered(chunks: int = CHUNKS, asked: Iterable[int] = (), draw: int = 0) -> tuple[Conversation, Remembered]:
    """Return a conversation over a document whose turns ask these chunks, and an empty memory of it."""
    turns = tuple(Turn(5, 5, chunks=(chunk,)) for chunk in asked)
    session = Session("s", turns, "independent", chunk_tokens=(BLOCK_TOKENS,) * chunks)
    conversation = Conversation(session, draw, Content(TraceHeader(BLOCK_TOKENS, "independent", "session", True, {})))
    return conversation, Remembered(conversation)


def read(predictor: Predictor, asked: list[int], chunks: int = CHUNKS) -> list[dict[Item, float]]:
    """Play a conversation: before each query predict, then observe; return the predictions."""
    conversation, memory = remembered(chunks, asked)
    found = []
    for turn in range(len(asked)):
        found.append(dict(predictor.predict(memory.view(None))))
        outcome = memory.learn(conversation.prompt(turn))
        assert outcome is not None
        predictor.observe(outcome)
    return found


def after(predictor: Predictor, moves: list[int], at: int = 5) -> dict[Item, float]:
    """Return the prediction after these moves, with the reader at one chunk of many."""
    return dict(predictor.predict(History(0, (at,), tuple(moves), lambda move: at + move, 100)))


def markov(order: int, moves: list[int]) -> Predictor:
    """Return a Markov predictor that has seen one conversation's moves."""
    predictor = PREDICTORS.create("markov", {"order": order})
    for at, move in enumerate(moves):
        predictor.observe(Outcome(0, tuple(moves[:at]), move))
    return predictor


def test_order_1_counts_what_followed() -> None:
    """After 1 came 1, 1, 2 and 3; after 2 came 1; each by its share."""
    predictor = markov(1, [1, 1, 1, 2, 1, 3])
    assert after(predictor, [1]) == {6: 2 / 4, 7: 1 / 4, 8: 1 / 4}
    assert after(predictor, [9, 2]) == {6: 1.0}


def test_order_0_counts_moves_alone() -> None:
    """Whatever came before: four of 1, one of 2, one of 3."""
    predictor = markov(0, [1, 1, 1, 2, 1, 3])
    assert after(predictor, [2]) == after(predictor, []) == {6: 4 / 6, 7: 1 / 6, 8: 1 / 6}


def test_a_context_never_seen_falls_back_to_the_next_shorter() -> None:
    """(3, 1) was never seen, so what followed 1 counts; 7 was never seen, so all moves count."""
    predictor = markov(2, [1, 1, 1, 2, 1, 3])
    assert after(predictor, [2, 1]) == {8: 1.0}
    assert after(predictor, [3, 1]) == {6: 2 / 4, 7: 1 / 4, 8: 1 / 4}
    assert after(predictor, [7]) == {6: 4 / 6, 7: 1 / 6, 8: 1 / 6}


def test_a_short_past_uses_the_context_that_it_has() -> None:
    """At the first query of a conversation an order-2 chain knows the frequencies of first moves and all others."""
    predictor = markov(2, [1, 2])
    assert after(predictor, []) == {6: 0.5, 7: 0.5}


def test_nothing_seen_nothing_predicted() -> None:
    """A predictor that learnt nothing predicts nothing."""
    assert after(markov(2, []), [1, 1]) == {}


def test_what_reaches_nothing_keeps_its_probability_to_itself() -> None:
    """Moves off the document are not predicted, and the rest is not scaled up for them."""
    predictor = markov(0, [1, 1, 1, 5])
    _, memory = remembered(chunks=3)
    assert predictor.predict(memory.view(None)) == {0: 3 / 4}


def test_sequential_reading_is_learnt_for_sure() -> None:
    """After the first move of all, order 1 predicts the next chunk with probability 1, in every document."""
    predictor = PREDICTORS.create("markov", {"order": 1})
    first = read(predictor, list(range(CHUNKS)))
    second = read(predictor, list(range(CHUNKS)))
    assert first[0] == {}
    assert first[1:] == [{chunk: 1.0} for chunk in range(1, CHUNKS)]
    assert second == [{chunk: 1.0} for chunk in range(CHUNKS)]


def test_a_pattern_of_order_2_is_learnt_by_order_2_alone() -> None:
    """Moves 1, 1, -1, 1, 1, -1, ...: after one 1 anything may come, after two the next is certain."""
    asked, at = [], -1
    for turn in range(60):
        at += (1, 1, -1)[turn % 3]
        asked.append(at)
    for order, wanted in ((2, 1.0), (1, 0.5)):
        predictions = read(PREDICTORS.create("markov", {"order": order}), asked, chunks=100)
        sure = [
            predicted.get(chunk, 0.0)
            for turn, (predicted, chunk) in enumerate(zip(predictions, asked, strict=True))
            if turn >= 30 and turn % 3 != 0  # what follows a 1
        ]
        assert sum(sure) / len(sure) == pytest.approx(wanted, abs=0.03)


def test_a_planted_probability_is_found() -> None:
    """Moves drawn with P(1) = 0.7, P(2) = 0.3 are predicted so, within four standard errors."""
    draws = stream(7, "planted")
    moves = [1 if draws.random() < 0.7 else 2 for _ in range(4000)]
    predicted = after(markov(1, moves), [1])
    assert predicted[6] == pytest.approx(0.7, abs=4 * (0.7 * 0.3 / 2800) ** 0.5)
    assert sum(predicted.values()) == pytest.approx(1.0)


def hit_rate(predictor: Predictor, asked: list[int]) -> float:
    """Return the share of queries whose chunk was predicted above one half."""
    predictions = read(predictor, asked)
    hits = [predicted.get(chunk, 0.0) > 0.5 for predicted, chunk in zip(predictions, asked, strict=True)]
    return sum(hits[1:]) / len(hits)  # nothing can be pushed before the first query


def test_sequential_on_a_reader_and_on_its_reverse() -> None:
    """T queries in order: all but the first are foreseen, (T - 1)/T; in reverse order none is."""
    predictor = PREDICTORS.create("sequential")
    assert hit_rate(predictor, list(range(CHUNKS))) == (CHUNKS - 1) / CHUNKS
    assert hit_rate(predictor, list(reversed(range(CHUNKS)))) == 0.0


def test_sequential_ends_with_the_document() -> None:
    """There is nothing after the last chunk."""
    conversation, memory = remembered(chunks=3, asked=[2])
    memory.learn(conversation.prompt(0))
    assert PREDICTORS.create("sequential").predict(memory.view(None)) == {}


def test_the_oracle_says_what_comes() -> None:
    """Its items are those of the future, for sure; without a future it refuses to guess."""
    _, memory = remembered()
    oracle = PREDICTORS.create("oracle")
    assert oracle.predict(memory.view(lambda: [3, 7])) == {3: 1.0, 7: 1.0}
    with pytest.raises(ValueError, match="without the future"):
        oracle.predict(memory.view(None))


@pytest.mark.parametrize("order", [-1, LONGEST_CONTEXT + 1])
def test_an_order_that_cannot_be_learnt_is_refused(order: int) -> None:
    """Longer contexts than outcomes carry would be accepted and never used."""
    with pytest.raises(InputError, match="order must be 0 to 16"):
        PREDICTORS.create("markov", {"order": order})


def test_outcomes_carry_the_longest_context() -> None:
    """What a source hands out is what learners may ask for."""
    assert history.LONGEST_CONTEXT == LONGEST_CONTEXT
    conversation, memory = remembered(chunks=100, asked=range(40))
    outcome = None
    for turn in range(40):
        outcome = memory.learn(conversation.prompt(turn))
    nothing = ((),) * LONGEST_CONTEXT
    assert outcome == Outcome(0, (1,) * LONGEST_CONTEXT, 1, item=39, last=38, words_before=nothing)


# -- chains of block runs --------------------------------------------------------------------------


def chains(*prompts: tuple[Run, ...]) -> tuple[Conversation, Remembered]:
    """Return a conversation whose turns name these blocks, ids being content."""
    session = Session("s", tuple(Turn(5, 5, block_runs=runs) for runs in prompts))
    conversation = Conversation(session, 0, Content(TraceHeader(BLOCK_TOKENS, None, "global", True, {})))
    return conversation, Remembered(conversation)


def test_chains_move_by_recency() -> None:
    """New, continued, a second chain, back to the first, to the second, again the second."""
    first, second = Run(0, 10), Run(100, 10)
    conversation, memory = chains(
        (first,),
        (first, Run(10, 5)),
        (second,),
        (first, Run(10, 9)),
        (second, Run(110, 1)),
        (second, Run(110, 4)),
    )
    for turn in range(6):
        memory.learn(conversation.prompt(turn))
    assert memory.moves == [-1, 0, -1, 1, 1, 0]


def test_a_chain_is_asked_by_its_last_run() -> None:
    """Move 0 is the chain just used, 1 the one before; what an item needs is the whole chain, itself last."""
    conversation, memory = chains((Run(0, 10),), (Run(0, 10), Run(20, 5)), (Run(100, 3),))
    for turn in range(3):
        memory.learn(conversation.prompt(turn))
    assert memory.item_after(0) == Run(100, 3)
    assert memory.item_after(1) == Run(20, 5)
    assert memory.item_after(2) is None
    assert memory.item_after(-1) is None
    assert [part.run for part in memory.parts_of(Run(20, 5))] == [Run(0, 10), Run(20, 5)]


def test_a_prompt_that_leaves_its_chain_midway_is_a_new_chain() -> None:
    """Sharing a front is not continuing: the last block of the old chain is not in the prompt."""
    conversation, memory = chains((Run(0, 10),), (Run(0, 8), Run(50, 4)), (Run(0, 10), Run(10, 1)))
    for turn in range(3):
        memory.learn(conversation.prompt(turn))
    assert memory.moves == [-1, -1, 1]


def test_markov_learns_an_alternation_between_two_chains() -> None:
    """A main agent and its helper take turns: the other chain, for sure, once that was seen."""
    prompts = []
    for turn in range(1, 9):
        prompts += [(Run(0, 10 * turn),), (Run(1000, 10 * turn),)]
    conversation, memory = chains(*prompts)
    predictor = PREDICTORS.create("markov", {"order": 2})
    predictions = []
    for turn in range(len(prompts)):
        predictions.append(dict(predictor.predict(memory.view(None))))
        outcome = memory.learn(conversation.prompt(turn))
        assert outcome is not None
        predictor.observe(outcome)
    for turn in range(6, len(prompts)):
        ((item, probability),) = predictions[turn].items()
        assert isinstance(item, Run)
        assert probability == 1.0
        assert item.start // 1000 == turn % 2


def test_a_query_for_nothing_teaches_nothing() -> None:
    """A turn without chunks or blocks is no move."""
    session = Session("s", (Turn(5, 5),), "independent", chunk_tokens=(16,))
    conversation = Conversation(session, 0, Content(TraceHeader(16, "independent", "session", True, {})))
    assert Remembered(conversation).learn(conversation.prompt(0)) is None
