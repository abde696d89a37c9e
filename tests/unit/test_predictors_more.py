"""What popularity, PPM-C, the ensemble and the dialled oracle say, against numbers worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from simkv import history, testing
from simkv.errors import InputError
from simkv.history import Remembered
from simkv.kv.block import Run
from simkv.kv.prefix import Content, Conversation
from simkv.predictors import PREDICTORS, History, Item, Outcome, Predictor, retold
from simkv.predictors.ensemble import Ensemble
from simkv.request import Session, TraceHeader, Turn
from simkv.rng import stream
from simkv.scoring import Scorer

CHUNKS = 12
BLOCK_TOKENS = 16


def reader(asked: Iterable[int], chunks: int = CHUNKS, draw: int = 0) -> Conversation:
    """Return a conversation over a document, whose turns ask these chunks."""
    turns = tuple(Turn(5, 5, chunks=(chunk,)) for chunk in asked)
    session = Session("s", turns, "independent", chunk_tokens=(BLOCK_TOKENS,) * chunks)
    return Conversation(session, draw, Content(TraceHeader(BLOCK_TOKENS, "independent", "session", True, {})))


def agent(chains: Iterable[int], draw: int = 0) -> Conversation:
    """Return a conversation that uses these chains, each one block longer at every use."""
    length: dict[int, int] = {}
    turns = []
    for chain in chains:
        length[chain] = length.get(chain, 3) + 1
        turns.append(Turn(5, 5, block_runs=(Run(1000 * chain, length[chain]),)))
    return Conversation(Session("s", tuple(turns)), draw, Content(TraceHeader(BLOCK_TOKENS, None, "global", True, {})))


def play(predictor: Predictor, conversation: Conversation, sees_future: bool = False) -> list[dict[Item, float]]:
    """Predict before each query, observe after it; return the predictions."""
    memory = Remembered(conversation)
    found = []
    for turn in range(len(conversation.session.turns)):
        future = list(conversation.future_parts(turn))
        found.append(dict(predictor.predict(memory.view((lambda items=future: items) if sees_future else None))))
        outcome = memory.learn(conversation.prompt(turn))
        assert outcome is not None
        predictor.observe(outcome)
    return found


def taught(name: str, moves: list[int], **params: object) -> Predictor:
    """Return a predictor that has seen one conversation's moves."""
    predictor = PREDICTORS.create(name, params)
    for at, move in enumerate(moves):
        predictor.observe(Outcome(0, tuple(moves[:at]), move))
    return predictor


def after(predictor: Predictor, moves: list[int]) -> dict[Item, float]:
    """Return the prediction after these moves, where move m reaches item m."""
    return dict(predictor.predict(History(0, (), tuple(moves), lambda move: move, 100)))


HARDER: list[tuple[str, dict[str, object]]] = [
    ("popularity", {"smoothing": 0.0}),
    ("popularity", {"smoothing": 0.5}),
    ("ppm-c", {"order": 0}),
    ("ppm-c", {"order": 5}),
    ("ensemble", {"loss": "log", "eta": 1.0}),
    ("ensemble", {"members": ("sequential", "ppm-c"), "eta": 3.0}),
    ("ensemble", {"members": ("popularity",)}),
    ("dialled-oracle", {"accuracy": 1.0, "confidence": 1.0}),
    ("dialled-oracle", {"accuracy": 0.3, "confidence": 0.9, "seed": 5}),
]


@pytest.mark.parametrize(("name", "params"), HARDER)
def test_contract_with_other_parameters(name: str, params: dict[str, object]) -> None:
    """All that is promised of predictors holds beyond the defaults."""
    testing.check_predictor(name, params)


# -- popularity ------------------------------------------------------------------------------------


def test_popularity_counts_chunks_by_index() -> None:
    """Two readers asked 0 three times, 1 and 2 once; of four chunks each starts at 1: 4, 2, 2 and 1 of 9."""
    predictor = PREDICTORS.create("popularity")
    play(predictor, reader([0, 1, 0], chunks=4))
    play(predictor, reader([2, 0], chunks=4, draw=1))
    found = predictor.predict(Remembered(reader([], chunks=4)).view(None))
    assert found == {0: 4 / 9, 1: 2 / 9, 2: 2 / 9, 3: 1 / 9}


def test_popularity_shares_among_the_chunks_that_there_are() -> None:
    """In a shorter document the others' share is no one's to have; without smoothing nothing new is expected."""
    predictor = PREDICTORS.create("popularity", {"smoothing": 0.0})
    play(predictor, reader([0, 1, 0, 3], chunks=4))
    assert predictor.predict(Remembered(reader([], chunks=2)).view(None)) == {0: 2 / 3, 1: 1 / 3}
    assert predictor.predict(Remembered(reader([], chunks=5)).view(None)) == {0: 2 / 4, 1: 1 / 4, 3: 1 / 4}


def test_popularity_that_learnt_nothing() -> None:
    """With smoothing all are alike, without it nothing is known."""
    view = Remembered(reader([], chunks=4)).view(None)
    assert PREDICTORS.create("popularity").predict(view) == dict.fromkeys(range(4), 0.25)
    assert PREDICTORS.create("popularity", {"smoothing": 0.0}).predict(view) == {}


def test_popularity_counts_moves_of_chains() -> None:
    """Moves -1, 0, -1, 1, 0: the last chain twice, the one before once, a new one twice; each starts at 1."""
    conversation = agent([0, 0, 1, 0, 0])
    memory, predictor = Remembered(conversation), PREDICTORS.create("popularity")
    play(predictor, conversation)
    for turn in range(5):
        memory.learn(conversation.prompt(turn))
    assert memory.moves == [-1, 0, -1, 1, 0]
    assert predictor.predict(memory.view(None)) == {Run(0, 7): 3 / 8, Run(1000, 4): 2 / 8}


def test_popularity_takes_sessions_apart() -> None:
    """Moves of two readers in turn add up to chunks of their own."""
    predictor = PREDICTORS.create("popularity", {"smoothing": 0.0})
    for outcome in (Outcome(1, (), 1), Outcome(2, (), 4), Outcome(1, (1,), 1), Outcome(2, (4,), -2)):
        predictor.observe(outcome)
    assert predictor.predict(Remembered(reader([])).view(None)) == {0: 1 / 4, 1: 2 / 4, 3: 1 / 4}


# -- PPM-C -----------------------------------------------------------------------------------------

A, B, C, D, R = 1, 2, 3, 4, 5
ABRACADABRA = [A, B, R, A, C, A, D, A, B, R, A]


def test_ppm_c_after_abracadabra() -> None:
    """What follows "ra", "a" and anything in abracadabra, with escapes t / (n + t), by hand.

    "ra" was followed by c: c 1/2, escape 1/2. "a" by b b c d, without c: b 2/6, d 1/6, escape 3/6 (three different
    moves). Anything, without b c d: a 5/12, r 2/12, escape 5/12, which is left over.
    """
    found = after(taught("ppm-c", ABRACADABRA, order=2), ABRACADABRA)
    wanted = {C: 1 / 2, B: 1 / 2 * 2 / 6, D: 1 / 2 * 1 / 6, A: 1 / 4 * 5 / 12, R: 1 / 4 * 2 / 12}
    assert found == pytest.approx(wanted, abs=1e-15)
    assert 1 - sum(found.values()) == pytest.approx(1 / 4 * 5 / 12, abs=1e-15)


def test_ppm_c_of_order_0() -> None:
    """Counts 5, 2, 1, 1, 2 of 11 and five different moves: 5/16, 2/16, ..., 5/16 left over."""
    found = after(taught("ppm-c", ABRACADABRA, order=0), ABRACADABRA)
    assert found == pytest.approx({A: 5 / 16, B: 2 / 16, C: 1 / 16, D: 1 / 16, R: 2 / 16}, abs=1e-15)


def test_ppm_c_does_not_escape_from_what_it_never_saw() -> None:
    """Contexts never seen cost nothing: "c r" is unknown, "r" was followed by a twice."""
    found = after(taught("ppm-c", ABRACADABRA, order=2), [C, R])
    assert found[A] == pytest.approx(2 / 3)
    assert after(taught("ppm-c", [], order=2), [C, R]) == {}


def test_ppm_c_escapes_for_sure_from_what_is_all_excluded() -> None:
    """After "ababa": "ba" was followed by b once, "a" by b alone, which is taken; of the rest a was seen three times.

    b: 1/2. Escape from "a" with 1 of 1. Anything, without b: a 3/5, so 1/2 x 3/5.
    """
    found = after(taught("ppm-c", [A, B, A, B, A], order=2), [B, A])
    assert found == pytest.approx({B: 1 / 2, A: 1 / 2 * 3 / 5}, abs=1e-15)


def test_what_reaches_nothing_is_not_predicted() -> None:
    """Moves off the document keep their probability to themselves."""
    predictor = taught("ppm-c", [A, A, R, A], order=0)
    assert predictor.predict(Remembered(reader([], chunks=3)).view(None)) == {0: pytest.approx(3 / 6)}


# -- ensemble --------------------------------------------------------------------------------------


def test_an_ensemble_begins_with_equal_weights() -> None:
    """Nobody has lost anything."""
    ensemble = Ensemble(members=("sequential", "popularity"))
    assert ensemble.weights() == [0.5, 0.5]
    found = ensemble.predict(Remembered(reader([], chunks=4)).view(None))
    assert found == pytest.approx({0: 0.5 + 0.125, 1: 0.125, 2: 0.125, 3: 0.125})


def test_weights_follow_half_the_brier_score() -> None:
    """One query for chunk 0: "sequential" said 1 and lost nothing; "markov" said nothing and lost 1/2."""
    ensemble = Ensemble(members=("sequential", "markov"), eta=2.0)
    ensemble.observe(Outcome(0, (), 1))
    assert ensemble.weights() == pytest.approx([math.e / (1 + math.e), 1 / (1 + math.e)])


def test_weights_follow_the_log_loss() -> None:
    """The member that said nothing counts as having said one in a million."""
    ensemble = Ensemble(members=("sequential", "markov"), loss="log", eta=1.0)
    ensemble.observe(Outcome(0, (), 1))
    assert ensemble.weights() == pytest.approx([1 / (1 + 1e-6), 1e-6 / (1 + 1e-6)])


def test_an_ensemble_of_one_is_that_one() -> None:
    """On documents and on chains."""
    for made, walk in ((reader, [0, 1, 2, 1, 2, 3, 7, 8]), (agent, [0, 1, 0, 1, 2, 2, 0])):
        for name in ("markov", "ppm-c", "popularity"):
            assert play(Ensemble(members=(name,)), made(walk)) == play(PREDICTORS.create(name), made(walk))


def test_weights_are_the_same_whether_anyone_asks_or_not() -> None:
    """Predicting leaves no trace: what members would have said is worked out afterwards."""
    asked, silent = Ensemble(), Ensemble()
    for draw in range(3):
        conversation = reader([0, 1, 2, 3, 2, 5, 6], draw=draw)
        memory = Remembered(conversation)
        for turn in range(7):
            asked.predict(memory.view(None))
            outcome = memory.learn(conversation.prompt(turn))
            assert outcome is not None
            asked.observe(outcome)
            silent.observe(outcome)
    assert asked.weights() == silent.weights()


def test_members_are_weighed_by_what_they_said_of_chains() -> None:
    """Half the Brier score of what each said of the real sessions, from the scorer, gives the same weights."""
    draws = stream(3, "weighed")
    walks = [[draws.randrange(4) for _ in range(40)] for _ in range(5)]
    names = ("markov", "ppm-c", "popularity")
    ensemble = Ensemble(members=names)
    for draw, walk in enumerate(walks):
        play(ensemble, agent(walk, draw=draw))
    losses = []
    for name in names:
        member = PREDICTORS.create(name)
        losses.append(sum(real_loss(member, agent(walk, draw=draw)) for draw, walk in enumerate(walks)))
    shares = [math.exp(-0.5 * (loss - min(losses))) for loss in losses]
    assert ensemble.weights() == pytest.approx([share / sum(shares) for share in shares], rel=1e-9)


def test_members_are_weighed_by_what_they_said_of_documents() -> None:
    """The same once a reader has shown how long documents are, while no move that is known leads off them."""
    draws = stream(3, "weighed")
    walks = [list(range(30)), *([draws.randrange(10) for _ in range(40)] for _ in range(5))]
    names = ("markov", "ppm-c", "popularity")
    ensemble, members = Ensemble(members=names), [PREDICTORS.create(name) for name in names]
    play(ensemble, reader(walks[0], chunks=30))
    for member in members:
        play(member, reader(walks[0], chunks=30))
    before = ensemble.weights()
    losses = [0.0] * 3
    for draw, walk in enumerate(walks[1:]):
        play(ensemble, reader(walk, chunks=30, draw=draw))
        for index, member in enumerate(members):
            losses[index] += real_loss(member, reader(walk, chunks=30, draw=draw))
    shares = [weight * math.exp(-0.5 * (loss - min(losses))) for weight, loss in zip(before, losses, strict=True)]
    assert ensemble.weights() == pytest.approx([share / sum(shares) for share in shares], rel=1e-9)


def real_loss(member: Predictor, conversation: Conversation) -> float:
    """Return half the Brier score of a member, summed over a session that its source remembers."""
    memory, scorer = Remembered(conversation), Scorer()
    for turn in range(len(conversation.session.turns)):
        said = dict(member.predict(memory.view(None)))
        chains = [memory.item_after(rank) for rank in range(history.MOST_CHAINS)]
        outcome = memory.learn(conversation.prompt(turn))
        assert outcome is not None
        member.observe(outcome)
        if conversation.session.turns[turn].chunks:
            asked: Item = memory.asked[-1]
        else:
            asked = (chains[outcome.move] if outcome.move >= 0 else None) or Run(-1, 1)
        scorer.add(said, asked)
    return (scorer.brier() or 0.0) * scorer.queries / 2


def test_members_that_know_documents_only_say_nothing_of_chains() -> None:
    """Else "the next chunk" would be the chain before the last."""
    predictions = play(Ensemble(members=("sequential",)), agent([0, 1, 0, 1]))
    assert predictions == [{}] * 4


def test_a_chain_retold_is_a_chain_remembered() -> None:
    """Recency, new chains and forgetting are those of what a source remembers."""
    assert retold.MOST_CHAINS == history.MOST_CHAINS
    draws = stream(5, "retold")
    conversation = agent([draws.randrange(25) for _ in range(300)])
    memory, session = Remembered(conversation), None
    for turn in range(300):
        outcome = memory.learn(conversation.prompt(turn))
        assert outcome is not None
        session = session or retold.begun_by(outcome)
        known = [memory.item_after(rank) is not None for rank in range(20)]
        session.learn(outcome.move)
        assert known == [session.item_after(rank) is not None for rank in range(20)]
    assert len(session.chains if session else []) == 16


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"members": ("oracle", "markov")}, "no oracles and no ensembles, got 'oracle'"),
        ({"members": ("ensemble",)}, "no oracles and no ensembles, got 'ensemble'"),
        ({"members": ()}, "at least one"),
        ({"members": ("markov", "markov")}, "must be different"),
        ({"members": ("markow",)}, "did you mean 'markov'"),
        ({"eta": 0.0}, "eta must be above 0"),
        ({"loss": "hinge"}, "loss must be brier or log"),
    ],
)
def test_ensembles_that_cannot_be(params: dict[str, object], message: str) -> None:
    """The message says what is wanted."""
    with pytest.raises(InputError, match=message):
        PREDICTORS.create("ensemble", params)


# -- dialled oracle --------------------------------------------------------------------------------


def test_fully_dialled_it_is_the_oracle() -> None:
    """Accuracy 1 and confidence 1, on documents and on chains."""
    for made, walk in ((reader, [0, 5, 2, 2, 7]), (agent, [0, 1, 0, 1, 2])):
        dialled = PREDICTORS.create("dialled-oracle", {"accuracy": 1.0, "confidence": 1.0})
        assert play(dialled, made(walk), True) == play(PREDICTORS.create("oracle"), made(walk), True)


def test_dialled_to_0_it_is_always_wrong() -> None:
    """Something else of the document, with the confidence that was dialled."""
    asked = [0, 5, 2, 2, 7, 11]
    dialled = PREDICTORS.create("dialled-oracle", {"accuracy": 0.0, "confidence": 0.6})
    for said, chunk in zip(play(dialled, reader(asked), True), asked, strict=True):
        ((item, probability),) = said.items()
        assert item != chunk
        assert item in range(CHUNKS)
        assert probability == 0.6


def test_a_chain_goes_on_under_another_name() -> None:
    """What continues is not wrong although its last run has grown; with one chain there is nothing wrong to name."""
    dialled = PREDICTORS.create("dialled-oracle", {"accuracy": 0.0})
    assert play(dialled, agent([0, 0, 0]), True) == [{}] * 3
    predictions = play(PREDICTORS.create("dialled-oracle", {"accuracy": 0.0}), agent([0, 1, 0, 1, 0]), True)
    assert [item.start // 1000 for said in predictions[2:] for item in said if isinstance(item, Run)] == [1, 0, 1]


def test_draws_belong_to_the_query() -> None:
    """What it says of a session does not depend on the others, nor on how often it was asked."""
    alone = PREDICTORS.create("dialled-oracle", {"accuracy": 0.5})
    walk = list(range(CHUNKS)) * 3
    wanted = play(alone, reader(walk, draw=1), True)
    among = PREDICTORS.create("dialled-oracle", {"accuracy": 0.5})
    play(among, reader(walk, draw=2), True)
    assert play(among, reader(walk, draw=1), True) == wanted
    assert play(among, reader(walk, draw=3), True) != wanted
    other = PREDICTORS.create("dialled-oracle", {"accuracy": 0.5, "seed": 1})
    assert play(other, reader(walk, draw=1), True) != wanted


def test_a_higher_accuracy_errs_on_fewer_of_the_same_queries() -> None:
    """Arms of a comparison that differ in accuracy share their luck."""
    walk = list(range(CHUNKS)) * 5

    def right(accuracy: float) -> set[int]:
        predictor = PREDICTORS.create("dialled-oracle", {"accuracy": accuracy})
        said = play(predictor, reader(walk), True)
        return {turn for turn, chunk in enumerate(walk) if chunk in said[turn]}

    assert right(0.2) < right(0.5) < right(0.9)


def test_queries_for_several_things() -> None:
    """As many are named as will be needed, or as many others as there are."""
    view = Remembered(reader([], chunks=3)).view(lambda: [0, 1])
    assert PREDICTORS.create("dialled-oracle", {"accuracy": 1.0}).predict(view) == {0: 0.8, 1: 0.8}
    assert PREDICTORS.create("dialled-oracle", {"accuracy": 0.0}).predict(view) == {2: 0.8}


def test_the_dialled_oracle_needs_the_future() -> None:
    """It does not guess."""
    with pytest.raises(ValueError, match="without the future"):
        PREDICTORS.create("dialled-oracle").predict(Remembered(reader([])).view(None))


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("popularity", {"smoothing": -1.0}, "smoothing must not be negative"),
        ("ppm-c", {"order": 17}, "order must be 0 to 16"),
        ("dialled-oracle", {"accuracy": 1.5}, r"accuracy must be in \[0, 1\]"),
        ("dialled-oracle", {"confidence": -0.5}, r"confidence must be in \[0, 1\]"),
    ],
)
def test_parameters_that_cannot_be(name: str, params: Mapping[str, Any], message: str) -> None:
    """The message says what is wanted."""
    with pytest.raises(InputError, match=message):
        PREDICTORS.create(name, params)


def test_a_scenario_may_name_the_members() -> None:
    """A list in YAML, written back as it was read."""
    from simkv.scenario import plugins

    value = {"name": "ensemble", "members": ("markov", "sequential"), "loss": "log", "eta": 1}
    plugin = plugins.read("predictor", value)
    assert plugin.params["members"] == ("markov", "sequential")
    assert plugins.read("predictor", plugins.write("predictor", plugin)) == plugin
