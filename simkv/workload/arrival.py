"""Who arrives when: sessions in a closed loop, or requests at recorded times where a trace has no sessions.

A replication draws sessions with replacement and their starts from a Poisson process; a turn comes its think
time after the previous answer *in the simulation* (semantics G2, G3). Every draw is keyed by what it is for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from simpy import Environment, Event

from simkv.clock import Order, call_at
from simkv.errors import InputError
from simkv.kv.block import Run
from simkv.kv.prefix import Content, Conversation, Part
from simkv.request import Session
from simkv.rng import stream, uniform
from simkv.serving import Serving
from simkv.workload.hints import Hints

#: What later turns will ask for: each item with all that it needs, itself last.
Future = dict[int | Run, tuple[Part, ...]]

MOST_AHEAD = 64  # requests of an open loop that an oracle may look ahead; bounds memory


class Draw(NamedTuple):
    """One session of a replication and when it starts [s]."""

    session: Session
    start_s: float


def resampled(sessions: Sequence[Session], count: int, rate_per_s: float, seed: int, replication: int) -> list[Draw]:
    """Return `count` sessions drawn with replacement, started by a Poisson process.

    Examples
    --------
    >>> from simkv.request import Turn
    >>> pool = [Session("a", (Turn(1, 1),)), Session("b", (Turn(1, 1),))]
    >>> draws = resampled(pool, 3, 0.1, seed=1, replication=0)
    >>> draws == resampled(pool, 3, 0.1, seed=1, replication=0), len(draws)
    (True, 3)
    """
    draws, at_s = [], 0.0
    for index in range(count):
        at_s += stream(seed, replication, index, "start").expovariate(rate_per_s)
        which = stream(seed, replication, index, "session").randrange(len(sessions))
        draws.append(Draw(sessions[which], at_s))
    return draws


def started(sessions: Iterable[Session], rate_per_s: float, seed: int, replication: int) -> list[Draw]:
    """Return the sessions as they are, started by a Poisson process."""
    draws, at_s = [], 0.0
    for index, session in enumerate(sessions):
        at_s += stream(seed, replication, index, "start").expovariate(rate_per_s)
        draws.append(Draw(session, at_s))
    return draws


def recorded(sessions: Iterable[Session]) -> list[Draw]:
    """Return the sessions as they are, started when the trace says, in order of start."""
    draws = []
    for session in sessions:
        if session.start_s is None:
            raise InputError(
                f"session {session.session_id} has no recorded start; want session_rate, such as '2 /min'",
                "workload.starts",
            )
        draws.append(Draw(session, session.start_s))
    return sorted(draws, key=lambda draw: draw.start_s)


class _SessionForesight:
    """What comes next in one session."""

    __slots__ = ("_conversation", "_turn")

    def __init__(self, conversation: Conversation, turn: int) -> None:
        self._conversation = conversation
        self._turn = turn

    def next_parts(self, count: int) -> Future:
        """Return the items of the next turns of the session."""
        last = min(self._turn + count, len(self._conversation.session.turns) - 1)
        return _merged(self._conversation.future_parts(turn) for turn in range(self._turn + 1, last + 1))

    def next_gap_s(self) -> float | None:
        """Return [s] the think time before the next turn; None when this is the last."""
        turns = self._conversation.session.turns
        return turns[self._turn + 1].think_s if self._turn + 1 < len(turns) else None

    def earliest_s(self, count: int) -> dict[int | Run, float]:
        """Return [s] the think times up to the turn that first asks for each item."""
        at_s, found = 0.0, dict[int | Run, float]()
        last = min(self._turn + count, len(self._conversation.session.turns) - 1)
        for turn in range(self._turn + 1, last + 1):
            at_s += self._conversation.session.turns[turn].think_s
            for item in self._conversation.future_parts(turn):
                found.setdefault(item, at_s)
        return found


def _merged(futures: Iterable[Future]) -> Future:
    """Return what several turns will ask for, soonest first."""
    merged: Future = {}
    for future in futures:
        for item, parts in future.items():
            merged.setdefault(item, parts)
    return merged


class ClosedLoop:
    """Sessions whose turns wait for the previous answer.

    Parameters
    ----------
    draws : in order of start.
    content : the run's id space.
    hints : what clients say ahead of time; None = nothing.
    """

    def __init__(self, draws: Sequence[Draw], content: Content, hints: Hints | None = None) -> None:
        self._hints = hints
        self._conversations = [
            (Conversation(draw.session, index, content), draw.start_s) for index, draw in enumerate(draws)
        ]

    def accesses(self) -> list[tuple[Run, ...]]:
        """Return the shareable blocks of each turn, in recorded order: think times alone, answers at once."""
        timed = []
        for conversation, start_s in self._conversations:
            at_s = start_s
            for turn, runs in zip(conversation.session.turns, conversation.accesses(), strict=True):
                at_s += turn.think_s
                timed.append((at_s, conversation.draw, runs))
        timed.sort(key=lambda each: each[:2])
        return [runs for _, _, runs in timed]

    def begin(self, env: Environment, serving: Serving) -> None:
        """Schedule the starts of all sessions."""
        for conversation, start_s in self._conversations:
            call_at(env, start_s, Order.ARRIVAL, self._starter(env, serving, conversation))
        self._conversations = []  # a session that has ended is forgotten

    def _starter(self, env: Environment, serving: Serving, conversation: Conversation) -> Callable[[], None]:
        return lambda: void(env.process(self._play(env, serving, conversation)))

    def _play(self, env: Environment, serving: Serving, conversation: Conversation) -> Generator[Event, object, None]:
        """Live one session: think, ask, read the answer, think again."""
        for index, turn in enumerate(conversation.session.turns):
            if index and self._hints is not None:
                self._hint(env, serving, conversation, index, self._hints)
            if index or turn.think_s > 0:
                yield _arrival(env, env.now + turn.think_s)
            yield from serving.serve(conversation, index, _SessionForesight(conversation, index))
        serving.ended(conversation)

    def _hint(self, env: Environment, serving: Serving, conversation: Conversation, turn: int, hints: Hints) -> None:
        """Let the client say what it will ask, not before the answer before it has ended."""
        hint = hints.of(conversation, turn)
        if hint is not None:
            at_s = env.now + max(0.0, conversation.session.turns[turn].think_s - hint.lead_s)
            call_at(env, at_s, Order.ARRIVAL, lambda: serving.hinted(conversation, hint.items))


def void(_: object) -> None:
    """Drop a value where an action is wanted."""


def _arrival(env: Environment, at_s: float) -> Event:
    """Return an event at an absolute time, behind the transfers and steps that end then (semantics D5)."""
    event = env.event()
    call_at(env, at_s, Order.ARRIVAL, lambda: void(event.succeed()))
    return event


class _Coming(NamedTuple):
    """A request that has been read and has not arrived, and when it will."""

    conversation: Conversation
    at_s: float


class OpenLoop:
    """Requests without session identity, at recorded times jittered inside the clock's quantum (H2).

    Streams: memory grows with what is in flight and with the look-ahead of oracles, not with the trace.

    Parameters
    ----------
    sessions : re-iterable source of sessions of one turn, in order of arrival.
    content : the run's id space.
    quantum_s : [s] resolution of the trace's clock; 0 = exact.
    """

    def __init__(
        self, sessions: Callable[[], Iterator[Session]], content: Content, quantum_s: float, seed: int, replication: int
    ) -> None:
        self._sessions = sessions
        self._content = content
        self._quantum_s = quantum_s
        self._seed = seed
        self._replication = replication
        self._ahead: deque[_Coming] = deque()
        self._now: Callable[[], float] = lambda: 0.0

    def accesses(self) -> list[tuple[Run, ...]]:
        """Return the shareable blocks of each request, in recorded order; reads the whole trace."""
        return [access for session in self._sessions() for access in Conversation(session, 0, self._content).accesses()]

    def begin(self, env: Environment, serving: Serving) -> None:
        """Start the process that lets requests in."""
        self._now = lambda: float(env.now)
        env.process(self._let_in(env, serving))

    def next_parts(self, count: int) -> Future:
        """Return the items of the next requests in recorded order; for oracles."""
        if count > MOST_AHEAD:
            raise InputError(f"an oracle may look {MOST_AHEAD} requests ahead in an open loop, got {count}")
        return _merged(coming.conversation.future_parts(0) for coming in islice(self._ahead, count))

    def next_gap_s(self) -> float | None:
        """Return None: nobody comes back."""
        return None

    def earliest_s(self, count: int) -> dict[int | Run, float]:
        """Return [s] how long it is until the request that first asks for each item."""
        found: dict[int | Run, float] = {}
        for coming in islice(self._ahead, count):
            for item in coming.conversation.future_parts(0):
                found.setdefault(item, coming.at_s - self._now())
        return found

    def _let_in(self, env: Environment, serving: Serving) -> Generator[Event, object, None]:
        coming = self._jittered()
        while True:
            while len(self._ahead) <= MOST_AHEAD and (following := next(coming, None)) is not None:
                self._ahead.append(following)
            if not self._ahead:
                return
            at_s = self._ahead[0].at_s
            if at_s > env.now:
                yield _arrival(env, at_s)
            env.process(self._serve(env, serving, self._ahead.popleft().conversation))

    def _serve(self, env: Environment, serving: Serving, conversation: Conversation) -> Generator[Event, object, None]:
        yield from serving.serve(conversation, 0, self)
        serving.ended(conversation)

    def _jittered(self) -> Iterator[_Coming]:
        """Spread the requests of one tick of the clock over its quantum, keeping their order."""
        tick: list[Session] = []
        drawn = 0
        for session in self._sessions():
            if tick and session.start_s != tick[0].start_s:
                yield from self._spread(tick, drawn)
                drawn += len(tick)
                tick = []
            tick.append(session)
        yield from self._spread(tick, drawn)

    def _spread(self, tick: list[Session], first: int) -> Iterator[_Coming]:
        jitters = sorted(
            uniform(self._seed, self._replication, first + i, "jitter") * self._quantum_s for i in range(len(tick))
        )
        for offset, (session, jitter_s) in enumerate(zip(tick, jitters, strict=True)):
            conversation = Conversation(session, first + offset, self._content)
            yield _Coming(conversation, (session.start_s or 0.0) + jitter_s)
