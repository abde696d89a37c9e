"""What is promised of predictors: probabilities of things that exist, learnt from the past alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

from simkv.history import Remembered
from simkv.kv.block import Run
from simkv.kv.prefix import Content, Conversation
from simkv.predictors import Item
from simkv.request import Session, TraceHeader, Turn
from simkv.rng import stream
from simkv.testing.subject import Subject

_EPSILON = 1e-9  # rounding in a sum of probabilities
_CHUNKS = 12


def predictor_answers(subject: Subject) -> str:
    """Play conversations, predicting before each query and observing after it; return all predictions."""
    predictor = subject.make()
    said = []
    for conversation in _conversations(subject.needs_chunks):
        memory = Remembered(conversation)
        for turn in range(len(conversation.session.turns)):
            future = list(conversation.future_parts(turn))
            view = memory.view(_always(future) if subject.is_oracle else None)
            seen = (list(view.asked), list(view.moves))
            answer = predictor.predict(view)
            kept = dict(answer)
            subject.want(kept == dict(predictor.predict(view)), "asked again, it predicts something else")
            subject.want(seen == (list(view.asked), list(view.moves)), "it changes the history that it is shown")
            known = {*range(conversation.chunks), *memory.asked, *(future if subject.is_oracle else ())}
            _check_probabilities(subject, kept, known)
            outcome = memory.learn(conversation.prompt(turn))
            if outcome is not None:
                predictor.observe(outcome)
            subject.want(dict(answer) == kept, "it changes a given answer when it learns; want a new mapping")
            said.append(str(kept))
    return "\n".join(said)


def _check_probabilities(subject: Subject, answer: Mapping[Item, float], known: set[Item]) -> None:
    for item, probability in answer.items():
        subject.want(item in known, f"it predicts {item!r}, which is no item of the session")
        subject.want(0 <= probability <= 1, f"it gives {item!r} the probability {probability}")
    total = math.fsum(answer.values())
    subject.want(total <= 1 + _EPSILON, f"each query asks for one item, and its probabilities sum to {total}")


def _always(items: list[Item]) -> Callable[[], list[Item]]:
    return lambda: items


def _conversations(only_chunks: bool) -> Iterator[Conversation]:
    """Yield readers of documents: in order, in reverse, jumping; then agents that alternate between chains."""
    draws = stream(4, "conversations")
    forth = list(range(_CHUNKS))
    walks = [forth, forth[::-1], [draws.randrange(_CHUNKS) for _ in range(40)], [], forth]
    content = Content(TraceHeader(16, "independent", "session", True, {}))
    for draw, walk in enumerate(walks):
        turns = (Turn(5, 5), *(Turn(5, 5, chunks=(chunk,)) for chunk in walk))  # the first asks for nothing
        session = Session(f"reader-{draw}", turns, "independent", chunk_tokens=(16,) * _CHUNKS)
        yield Conversation(session, draw, content)
    if only_chunks:
        return
    content = Content(TraceHeader(16, None, "global", True, {}))
    for draw in range(3):
        chains = [draws.randrange(draw + 1) for _ in range(30)]
        runs = [Run(10_000 * draw + 1000 * chain, 4 + turn) for turn, chain in enumerate(chains)]
        yield Conversation(
            Session(f"agent-{draw}", tuple(Turn(5, 5, block_runs=(run,)) for run in runs)), draw, content
        )
