"""What does the traffic of a scenario ask of each server, turn by turn, if nothing ever waits?

A sample of the first replication's sessions is played through the buffers alone, in the order of think times and
answers: which KV is then there, which must be fetched, which computed. No link, no queue, no speculation.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from statistics import median_low

from simkv import build
from simkv.drawing import draws_of
from simkv.kv.block import Run, joined
from simkv.kv.buffer import KvBuffer
from simkv.kv.prefix import Content, Conversation, Part, Prompt, in_parts, tokens_in
from simkv.policies import EVICTION
from simkv.request import TraceHeader
from simkv.scenario import Scenario
from simkv.workload.arrival import Draw

MOST_SESSIONS, MOST_REQUESTS = 200, 2000
"""How much of the traffic is looked at: enough for medians and loads, little enough for a second or two."""

UNBOUNDED_BYTES = 1 << 80  # more than any trace asks for


@dataclass(slots=True)
class Ask:
    """One turn: what it needs, and what of that is there when nothing is moved ahead of time.

    Attributes
    ----------
    server : name of the server that it came to.
    is_first : no earlier turn of its session could have foretold it.
    gap_s : [s] from the moment when the turn before had its KV until this one: what can hide a transfer; None
        where no turn is before.
    prompt_tokens, answer_tokens : [tokens]
    old_tokens : [tokens] of document or named blocks that existed before this turn.
    front_tokens : [tokens] of the prompt before the first that is missing.
    missing_tokens : [tokens] of the old ones that are not here.
    fetched_tokens : [tokens] of the missing ones that the source can send.
    computed_tokens, computed_behind_tokens : [tokens] that the source must compute for it first, and behind how many.
    written_tokens : [tokens] of new KV that is written through to a pool.
    kv_prefill_tokens, text_prefill_tokens : [tokens] that the server prefills when it fetches KV, or text.
    wait_s, prefill_s, decode_s : [s] until fetched KV is here, its own prefill and its answer, nobody in the way.
    text_wait_s, text_prefill_s : [s] the first two where text is fetched.
    """

    server: str
    is_first: bool
    gap_s: float | None
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
    wait_s: float = 0.0
    prefill_s: float = 0.0
    decode_s: float = 0.0
    text_wait_s: float = 0.0
    text_prefill_s: float = 0.0


Price = Callable[[Ask], None]


@dataclass(frozen=True, slots=True)
class Sample:
    """The turns that were looked at.

    Attributes
    ----------
    asks : in order of time.
    sessions : how many sessions they belong to.
    turns_per_s : [1/s] how many turns come to all servers together.
    chunk_tokens : [tokens] the median chunk; None where the trace names block runs.
    """

    asks: list[Ask]
    sessions: int
    turns_per_s: float
    chunk_tokens: int | None


def sampled(
    scenario: Scenario, traffic: build.Traffic, block_bytes: int, price: Price, *, unbounded: bool = False
) -> Sample:
    """Return what a sample of the scenario's turns asks for.

    Parameters
    ----------
    traffic : of its first replication.
    block_bytes : [bytes] of KV a block.
    price : fills in the times of a turn whose tokens are known.
    unbounded : as if no buffer ever had to evict.
    """
    rate_per_s = scenario.workload.session_rate_per_s
    if traffic.stream is not None:
        rate_per_s = None
        draws = [Draw(each, each.start_s or 0.0) for each in islice(traffic.stream.sessions(), MOST_REQUESTS)]
    else:
        draws = _few(draws_of(scenario, traffic.sessions(), 0, scenario.seed, MOST_SESSIONS))
    asks, end_s = _played(
        draws, Content(traffic.header), _Player(scenario, traffic.header, block_bytes, unbounded), price
    )
    span_s = len(draws) / rate_per_s if rate_per_s is not None else end_s - draws[0].start_s
    chunks = [tokens for draw in draws for tokens in draw.session.chunk_tokens]
    return Sample(
        asks,
        sessions=len(draws),
        turns_per_s=len(asks) / span_s if span_s > 0 else 0.0,
        chunk_tokens=median_low(chunks) if chunks else None,
    )


def _few(draws: list[Draw]) -> list[Draw]:
    """Return the first sessions that have few enough turns together; at least one."""
    turns, count = 0, 0
    for draw in draws[:MOST_SESSIONS]:
        turns += len(draw.session.turns)
        if count and turns > MOST_REQUESTS:
            break
        count += 1
    return draws[:count]


def _played(draws: Sequence[Draw], content: Content, player: _Player, price: Price) -> tuple[list[Ask], float]:
    """Return all turns, in the order in which they come when nobody is in the way, and [s] when the last one ends."""
    conversations = [Conversation(draw.session, index, content) for index, draw in enumerate(draws)]
    coming = [(draw.start_s + draw.session.turns[0].think_s, index, 0) for index, draw in enumerate(draws)]
    heapq.heapify(coming)
    asks, end_s = [], 0.0
    gaps_s: dict[int, float] = {}
    while coming:
        at_s, index, turn = heapq.heappop(coming)
        ask = player.play(conversations[index], turn, gaps_s.get(index))
        price(ask)
        asks.append(ask)
        at_s += ask.wait_s + ask.prefill_s + ask.decode_s
        end_s = max(end_s, at_s)
        turns = draws[index].session.turns
        if turn + 1 < len(turns):
            think_s = turns[turn + 1].think_s
            gaps_s[index] = ask.prefill_s + ask.decode_s + think_s
            heapq.heappush(coming, (at_s + think_s, index, turn + 1))
    return asks, end_s


def blend_ratio(scenario: Scenario, header: TraceHeader) -> float:
    """Return the share of each reused chunk that a server recomputes (semantics B3)."""
    composition = scenario.workload.composition
    if header.layout != "independent" or (composition is not None and composition.name != "blend"):
        return 0.0
    params = composition.params if composition is not None else {}
    return float(params.get("share", build.DEFAULT_BLEND_SHARE))


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

    def __init__(self, scenario: Scenario, header: TraceHeader, block_bytes: int, unbounded: bool) -> None:
        servers = scenario.servers
        self._has_sessions = header.has_sessions
        self._block_tokens = header.block_tokens
        self._blend_ratio = blend_ratio(scenario, header)
        self._sources = {name: spec.source for name, spec in servers.items()}
        self._computes = {name: spec.gpu is not None for name, spec in servers.items()}

        def store(name: str) -> _Store:
            size_bytes = servers[name].buffers["hbm"].size_bytes
            return _Store(UNBOUNDED_BYTES if unbounded else max(size_bytes, block_bytes), block_bytes)

        holders = set(self._sources.values())
        self._held = {name: store(name) for name in servers if name in holders}
        serving = [name for name, spec in servers.items() if name not in holders for _ in range(spec.count)]
        self._places = [(name, store(name)) for name in serving]

    def play(self, conversation: Conversation, index: int, gap_s: float | None) -> Ask:
        """Return what one turn asks for; the buffers are then as it leaves them."""
        prompt = conversation.prompt(index)
        server, here = self._places[conversation.draw % len(self._places)]  # as sticky routing spreads sessions
        is_first = self._has_sessions and index == 0
        ask = Ask(server, is_first, gap_s, prompt.prompt_tokens, prompt.output_tokens)
        self._find(ask, prompt, here)
        own = Run(prompt.own.start, prompt.kept_blocks)
        here.take_in([*prompt.spans, own] if own.count else prompt.spans)
        return ask

    def _find(self, ask: Ask, prompt: Prompt, here: _Store) -> None:
        """Fill in what of a prompt is here, what its source can send, and what is left to prefill."""
        parts = prompt.parts
        holes = in_parts(parts, here.absent(prompt.spans))
        missing = [(index, run) for index, run in holes if not parts[index].fresh]
        ask.old_tokens = sum(part.tokens for part in parts if not part.fresh)
        ask.missing_tokens = self._tokens(parts, missing)
        ask.front_tokens = sum(part.tokens for part in parts[: missing[0][0]]) if missing else 0
        source = self._sources[ask.server]
        fetched = self._sent_by(source, ask, prompt, missing) if source is not None else {}
        left = [
            (index, Run(run.start + sent, run.count - sent))
            for index, run in holes
            if (sent := fetched.get(run.start, 0)) < run.count
        ]
        ask.fetched_tokens = self._tokens(parts, holes) - self._tokens(parts, left)
        known = prompt.own_known_tokens
        own_cached = min(here.leading(Run(prompt.own.start, known // self._block_tokens)) * self._block_tokens, known)
        ask.kv_prefill_tokens = self._prefilled(prompt, left, own_cached)
        ask.text_prefill_tokens = self._prefilled(prompt, holes, own_cached)
        if source is not None and not self._computes[source]:
            ask.written_tokens = self._tokens(parts, left)
            self._held[source].take_in(run for _, run in left)

    def _sent_by(self, source: str, ask: Ask, prompt: Prompt, missing: list[tuple[int, Run]]) -> dict[int, int]:
        """Return how many blocks of each missing run, by its start, the source sends; it computes what it can."""
        store = self._held[source]
        if not self._computes[source]:
            sent: dict[int, int] = {}
            for _, run in missing:  # a pool sends up to the first block that it has not
                sent[run.start] = store.leading(run)
                if sent[run.start] < run.count:
                    break
            store.take_in(Run(start, count) for start, count in sent.items() if count)
            return sent
        for index, _ in missing:
            chain = prompt.chain(index)
            spans = joined(part.run for part in chain)
            tokens = self._tokens(chain, in_parts(chain, store.absent(spans)))
            if tokens and not ask.computed_tokens:
                ask.computed_behind_tokens = sum(part.tokens for part in chain) - tokens
            ask.computed_tokens += tokens
            store.take_in(spans)
        return {run.start: run.count for _, run in missing}

    def _prefilled(self, prompt: Prompt, holes: list[tuple[int, Run]], own_cached_tokens: int) -> int:
        """Return [tokens] to prefill when these blocks are not there; in a chain, all behind the first hole too."""
        parts = prompt.parts
        if holes and prompt.chained:
            index, run = holes[0]
            front = Run(parts[index].run.start, run.start - parts[index].run.start)
            before = sum(part.tokens for part in parts[:index]) + self._tokens(parts, [(index, front)])
            return prompt.prompt_tokens - before
        cached = sum(part.tokens for part in parts) - self._tokens(parts, holes) + own_cached_tokens
        blended = 0
        if not prompt.chained:
            cut = {index for index, _ in holes}
            reused = (part.tokens for index, part in enumerate(parts) if index not in cut)
            blended = sum(math.ceil(self._blend_ratio * tokens) for tokens in reused)
        return prompt.prompt_tokens - cached + blended

    def _tokens(self, parts: Sequence[Part], pieces: Iterable[tuple[int, Run]]) -> int:
        return sum(tokens_in(parts[index], run, self._block_tokens) for index, run in pieces)
