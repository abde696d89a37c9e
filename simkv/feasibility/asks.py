"""What does the traffic of a scenario ask of each server, turn by turn, if nothing ever waits?

A sample of the first replication's sessions is played through the buffers alone, in the order of think times and
answers: which KV is then there, which must be fetched, which computed. No link, no queue, no speculation.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from simkv import build
from simkv.kv.block import Run, joined
from simkv.kv.buffer import KvBuffer
from simkv.kv.prefix import Content, Conversation, Prompt, in_parts, tokens_in
from simkv.policies import EVICTION
from simkv.request import Session
from simkv.scenario import Scenario
from simkv.workload.arrival import Draw, recorded, resampled, started

MOST_SESSIONS = 200
MOST_REQUESTS = 2000
"""How much of the traffic is looked at: enough for medians and loads, little enough for a second or two."""


@dataclass(slots=True)
class Ask:
    """One turn: what it needs, and what of that is there when nothing is moved ahead of time.

    Attributes
    ----------
    server : name of the server that it came to.
    is_first : no earlier turn of its session could have foretold it.
    think_s, before : [s] think time, and the turn before it; None for a first one.
    prompt_tokens, answer_tokens : [tokens]
    old_tokens : [tokens] of document or named blocks that existed before this turn.
    front_tokens : [tokens] of the prompt before the first that is missing.
    missing_tokens : [tokens] of the old ones that are not here.
    fetched_tokens : [tokens] of the missing ones that the source can send.
    computed_tokens, computed_behind_tokens : [tokens] that the source must compute for it first, and behind how many.
    written_tokens : [tokens] of new KV that is written through to a pool.
    kv_prefill_tokens, text_prefill_tokens : [tokens] that the server prefills when it fetches KV, or text.
    """

    server: str
    is_first: bool
    think_s: float
    before: Ask | None
    prompt_tokens: int
    answer_tokens: int
    old_tokens: int = 0
    front_tokens: int = 0
    missing_tokens: int = 0
    fetched_tokens: int = 0
    computed_tokens: int = 0
    computed_behind_tokens: int = 0
    written_tokens: int = 0
    kv_prefill_tokens: int = 0
    text_prefill_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Sample:
    """The turns that were looked at.

    Attributes
    ----------
    asks : in order of time.
    sessions : how many sessions they belong to.
    has_sessions : False = an open loop of requests.
    turns_per_s : [1/s] how many turns come to all servers together.
    chunk_tokens : [tokens] the median chunk; None where the trace names block runs.
    """

    asks: list[Ask]
    sessions: int
    has_sessions: bool
    turns_per_s: float
    chunk_tokens: int | None


def sampled(scenario: Scenario, block_bytes: int, decode_token_s: dict[str, float], *, unbounded: bool) -> Sample:
    """Return what a sample of the scenario's turns asks for.

    Parameters
    ----------
    block_bytes : [bytes] of KV a block.
    decode_token_s : [s] a token of an answer takes at each server.
    unbounded : as if no buffer ever had to evict.
    """
    traffic = build.read_traffic(scenario, 0, scenario.seed)
    if traffic.stream is not None:
        sessions = list(islice(traffic.stream.sessions(), MOST_REQUESTS))
        draws = [Draw(session, session.start_s or 0.0) for session in sessions]
    else:
        draws = _few(_draws(scenario, traffic.sessions()))
    played = _Player(scenario, block_bytes, traffic.header.block_tokens, unbounded)
    content = Content(traffic.header)
    conversations = [Conversation(draw.session, index, content) for index, draw in enumerate(draws)]
    asks, end_s = [], 0.0
    for at_s, conversation, turn in _in_order(draws, conversations, played, decode_token_s):
        asks.append(played.play(conversation, turn, traffic.header.has_sessions))
        end_s = at_s + conversation.session.turns[turn].answer_tokens * decode_token_s[asks[-1].server]
    rate_per_s = scenario.workload.session_rate_per_s
    if rate_per_s is not None and traffic.stream is None:
        turns_per_s = rate_per_s * len(asks) / len(draws)
    else:
        span_s = end_s - draws[0].start_s
        turns_per_s = len(asks) / span_s if span_s > 0 else 0.0
    chunks = sorted(size for draw in draws for size in draw.session.chunk_tokens)
    chunk_tokens = chunks[len(chunks) // 2] if chunks else None
    return Sample(asks, len(draws), traffic.header.has_sessions, turns_per_s, chunk_tokens)


def _draws(scenario: Scenario, sessions: list[Session]) -> list[Draw]:
    """Return the first replication's sessions as the simulation would draw them."""
    workload = scenario.workload
    if workload.starts == "recorded":
        return recorded(sessions)
    rate_per_s = workload.session_rate_per_s
    assert rate_per_s is not None  # the schema wants it with Poisson starts
    if workload.generator is not None:
        return started(sessions[: workload.sessions], rate_per_s, scenario.seed, 0)
    count = min(workload.sessions or len(sessions), MOST_SESSIONS)
    return resampled(sessions, count, rate_per_s, scenario.seed, 0)


def _few(draws: list[Draw]) -> list[Draw]:
    """Return the first sessions that have few enough turns together; at least one."""
    turns, count = 0, 0
    for draw in draws[:MOST_SESSIONS]:
        turns += len(draw.session.turns)
        if count and turns > MOST_REQUESTS:
            break
        count += 1
    return draws[:count]


def _in_order(
    draws: Sequence[Draw], conversations: Sequence[Conversation], player: _Player, decode_token_s: dict[str, float]
) -> Iterator[tuple[float, Conversation, int]]:
    """Yield turns by the time [s] at which they come when think times and answers are all that takes time."""
    coming = [(draw.start_s + draw.session.turns[0].think_s, index, 0) for index, draw in enumerate(draws)]
    heapq.heapify(coming)
    while coming:
        at_s, index, turn = heapq.heappop(coming)
        yield at_s, conversations[index], turn
        turns = draws[index].session.turns
        if turn + 1 < len(turns):
            answer_s = turns[turn].answer_tokens * decode_token_s[player.home(index)]
            heapq.heappush(coming, (at_s + answer_s + turns[turn + 1].think_s, index, turn + 1))


class _Store:
    """A buffer without a clock: what is used is the latest, what is oldest goes."""

    def __init__(self, size_bytes: int, block_bytes: int) -> None:
        self._buffer = KvBuffer(size_bytes, block_bytes, EVICTION.create("lru"), now=lambda: 0.0)

    def absent(self, runs: Iterable[Run]) -> list[Run]:
        """Return what is not here."""
        return [gap for run in runs for gap in self._buffer.absent(run)]

    def leading(self, run: Run) -> int:
        """Return how many blocks from the front of `run` are here."""
        return self._buffer.leading(run)

    def take_in(self, runs: Iterable[Run]) -> None:
        """Make blocks the latest used, storing those that are absent as far as there is room."""
        held, gaps = [], []
        for run in runs:
            look = self._buffer.survey(run)
            gaps += look.absent
            for piece in look.resident:
                self._buffer.pin(piece)
                held.append(piece)
        for gap in gaps:
            if self._buffer.reserve(gap):
                self._buffer.arrive(gap, pin=True)
                held.append(gap)
        for piece in reversed(joined(sorted(held))):
            self._buffer.release(piece)


class _Player:
    """All buffers of a scenario, and what one turn after the other finds in them."""

    def __init__(self, scenario: Scenario, block_bytes: int, block_tokens: int, unbounded: bool) -> None:
        servers = scenario.servers
        self._block_tokens = block_tokens
        self._sources = {name: spec.source for name, spec in servers.items()}
        self._computes = {name: spec.gpu is not None for name, spec in servers.items()}

        def store(name: str) -> _Store:
            size_bytes = servers[name].buffers["hbm"].size_bytes
            return _Store(1 << 80 if unbounded else max(size_bytes, block_bytes), block_bytes)

        holders = set(self._sources.values())
        self._held = {name: store(name) for name in servers if name in holders}
        serving = [name for name, spec in servers.items() if name not in holders for _ in range(spec.count)]
        self._places = [(name, store(name)) for name in serving]
        self._last: dict[int, Ask] = {}

    def home(self, draw: int) -> str:
        """Return the name of the server that a session comes to: each in turn, as sticky routing spreads them."""
        return self._places[draw % len(self._places)][0]

    def play(self, conversation: Conversation, index: int, has_sessions: bool) -> Ask:
        """Return what one turn asks for; the buffers are then as it leaves them."""
        turn = conversation.session.turns[index]
        prompt = conversation.prompt(index)
        server, here = self._places[conversation.draw % len(self._places)]
        before = self._last.get(conversation.draw)
        is_first = has_sessions and before is None
        ask = Ask(server, is_first, turn.think_s, before, prompt.prompt_tokens, prompt.output_tokens)
        self._find(ask, prompt, here)
        own = Run(prompt.own.start, prompt.kept_blocks)
        here.take_in([*prompt.spans, own] if own.count else prompt.spans)
        self._last[conversation.draw] = ask
        return ask

    def _find(self, ask: Ask, prompt: Prompt, here: _Store) -> None:
        parts = prompt.parts
        holes = in_parts(parts, here.absent(prompt.spans))
        missing = [(index, run) for index, run in holes if not parts[index].fresh]
        ask.old_tokens = sum(part.tokens for part in parts if not part.fresh)
        ask.missing_tokens = self._tokens(prompt, missing)
        ask.front_tokens = sum(part.tokens for part in parts[: missing[0][0]]) if missing else 0
        source = self._sources[ask.server]
        fetched = self._ask_source(ask, prompt, missing, source) if source is not None else []
        ask.fetched_tokens = self._tokens(prompt, fetched)
        known = prompt.own_known_tokens
        own_cached = min(here.leading(Run(prompt.own.start, known // self._block_tokens)) * self._block_tokens, known)
        left = [hole for hole in holes if hole not in fetched]
        ask.kv_prefill_tokens = self._prefilled(prompt, left, own_cached)
        ask.text_prefill_tokens = self._prefilled(prompt, holes, own_cached)
        if source is not None and not self._computes[source]:
            ask.written_tokens = self._tokens(prompt, left)
            self._held[source].take_in(run for _, run in left)

    def _ask_source(
        self, ask: Ask, prompt: Prompt, missing: list[tuple[int, Run]], source: str
    ) -> list[tuple[int, Run]]:
        """Return which of the missing blocks the source sends; it computes what it lacks, if it can."""
        store, parts = self._held[source], prompt.parts
        if not self._computes[source]:
            stored = [(index, Run(run.start, store.leading(run))) for index, run in missing]
            found = [(index, run) for index, run in stored if run.count]
            store.take_in(run for _, run in found)
            return [hole for hole in missing if hole in found]
        for index, _ in missing:
            chain = parts[: index + 1] if prompt.chained else (parts[index],)
            spans = joined(part.run for part in chain)
            tokens = self._tokens_of(chain, store.absent(spans))
            ask.computed_tokens += tokens
            if tokens:
                ask.computed_behind_tokens = sum(part.tokens for part in chain) - tokens
            store.take_in(spans)
        return missing

    def _prefilled(self, prompt: Prompt, holes: list[tuple[int, Run]], own_cached_tokens: int) -> int:
        """Return [tokens] to prefill when these blocks are not there: in a chain all behind the first, too."""
        in_holes = self._tokens(prompt, holes)
        if holes and prompt.chained:
            index, run = holes[0]
            part = prompt.parts[index]
            front = sum(before.tokens for before in prompt.parts[:index])
            front += tokens_in(part, Run(part.run.start, run.start - part.run.start), self._block_tokens)
            return prompt.prompt_tokens - front
        in_parts_ = sum(part.tokens for part in prompt.parts)
        return prompt.prompt_tokens - in_parts_ + in_holes - own_cached_tokens

    def _tokens(self, prompt: Prompt, pieces: Iterable[tuple[int, Run]]) -> int:
        return sum(tokens_in(prompt.parts[index], run, self._block_tokens) for index, run in pieces)

    def _tokens_of(self, chain: Sequence[object], runs: list[Run]) -> int:
        return 0
