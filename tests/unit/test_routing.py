"""Which server serves a turn, by what a router knows of requests, of load and of what is cached where."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from simkv import testing
from simkv.compute.steptime import FixedStepTime
from simkv.errors import InputError
from simkv.kv.block import Run
from simkv.kv.prefix import Part
from simkv.kv.radix import BlockPool
from simkv.kv.reusable import Reusable
from simkv.policies.routing import ROUTING, Routing, ServerView, VisibleRequest
from simkv.policies.routing.least_loaded import LeastLoaded
from simkv.policies.routing.power_of_two import PowerOfTwo
from simkv.policies.routing.prefix_aware import PrefixAware
from simkv.policies.routing.random import Random
from simkv.replay import Engine, Records, Replay
from simkv.rng import stream
from simkv.workload.asked import Asked
from tests.conftest import ROOT
from tests.unit.little_worlds import little, run_turn, session, turn

Z_999 = 3.29  # standard deviations that hold 99.9 % of a normal distribution
PER_TOKEN = "{name: fixed, prefill_per_token: 1 s}"


@dataclass(frozen=True)
class Known:
    """What is known of a server, by hand."""

    name: str = "s"
    sessions: int = 0
    requests: int = 0
    prefill_tokens: int = 0
    context_tokens: int = 0
    cached: int = 0

    def cached_tokens(self, request: VisibleRequest) -> int:
        return self.cached


def asks(session: int = 0, turn: int = 0, prompt_tokens: int = 100) -> VisibleRequest:
    return VisibleRequest(session, turn, prompt_tokens, None)


@pytest.mark.parametrize("name", list(ROUTING))
def test_every_policy_keeps_the_contract(name: str) -> None:
    testing.check_routing(name)


# -- random and half random -----------------------------------------------------------------------


@pytest.mark.parametrize("make", [Random, PowerOfTwo, PrefixAware])
def test_draws_are_keyed_by_session_and_turn_not_by_the_order_of_calls(make: type[Any]) -> None:
    servers, turns = [Known()] * 5, [(each, turn) for each in range(20) for turn in range(5)]
    policy = make()
    forth = {key: policy.choose(asks(*key), servers) for key in turns}
    assert {key: policy.choose(asks(*key), servers) for key in reversed(turns)} == forth
    assert {key: make(seed=1).choose(asks(*key), servers) for key in turns} != forth
    assert len(set(forth.values())) == 5


def test_random_spreads_turns_evenly() -> None:
    counts = Counter(Random().choose(asks(each), [Known()] * 4) for each in range(4000))
    assert sorted(counts) == [0, 1, 2, 3]
    assert max(abs(count - 1000) for count in counts.values()) < Z_999 * (4000 * 0.25 * 0.75) ** 0.5


def test_of_two_drawn_servers_the_emptier_is_taken() -> None:
    """The busiest of four is never the emptier; the emptiest is taken whenever it is drawn: in half of all cases."""
    servers = [Known(requests=requests) for requests in (3, 9, 0, 5)]
    counts = Counter(PowerOfTwo().choose(asks(each), servers) for each in range(4000))
    assert counts[1] == 0
    assert abs(counts[2] - 2000) < Z_999 * 1000**0.5
    assert abs(counts[0] - 4000 / 3) < Z_999 * (4000 * 2 / 9) ** 0.5


def test_with_two_servers_both_are_drawn() -> None:
    policy = PowerOfTwo()
    assert {policy.choose(asks(each), [Known(requests=1), Known()]) for each in range(50)} == {1}
    assert {policy.choose(asks(each), [Known(), Known()]) for each in range(50)} == {0, 1}
    assert policy.choose(asks(), [Known()]) == 0


# -- by load and by what is cached ----------------------------------------------------------------


def test_the_least_loaded_by_requests_or_tokens() -> None:
    servers = [Known(requests=2, context_tokens=10), Known(requests=1, context_tokens=900), Known(requests=1)]
    assert LeastLoaded().choose(asks(), servers[:2]) == 1
    assert LeastLoaded().choose(asks(), servers) == 1  # of equals the first
    assert LeastLoaded("tokens").choose(asks(), servers[:2]) == 0


@pytest.mark.parametrize(
    ("weight", "first", "second", "choice"),
    [
        (1.0, Known(), Known(cached=80), 1),  # 100 against 20
        (1.0, Known(), Known(cached=80, context_tokens=79), 1),  # 100 against 20 + 79
        (1.0, Known(), Known(cached=80, context_tokens=81), 0),  # 100 against 20 + 81
        (1.0, Known(), Known(cached=80, context_tokens=50, prefill_tokens=31), 0),  # 100 against 51 + 50
        (2.0, Known(), Known(cached=80, context_tokens=81), 1),  # 200 against 40 + 81
        (0.0, Known(), Known(cached=80, context_tokens=1), 0),  # balance alone
        (0.0, Known(prefill_tokens=99), Known(context_tokens=1), 0),
    ],
)
def test_prefix_aware_weighs_what_is_cached_against_load(
    weight: float, first: Known, second: Known, choice: int
) -> None:
    assert PrefixAware(weight).choose(asks(), [first, second]) == choice
    assert PrefixAware(weight).choose(asks(), [second, first]) == 1 - choice


def test_equals_share_what_is_new() -> None:
    servers = [Known(), Known(context_tokens=1), Known()]
    assert {PrefixAware().choose(asks(each), servers) for each in range(50)} == {0, 2}


def test_a_negative_weight_is_refused() -> None:
    with pytest.raises(InputError, match="overlap_weight must be 0 or more, got -1"):
        ROUTING.create("prefix-aware", {"overlap_weight": -1.0})


# -- what is cached of a prompt -------------------------------------------------------------------


def parts(*runs: tuple[int, int, object]) -> tuple[Part, ...]:
    return tuple(Part(Run(start, count), 16 * count, item) for start, count, item in runs)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("here", "chained", "alone"),
    [
        ({0: 2, 2: 2, 4: 2, 90: 1}, 6 * 16 + 16, 6 * 16 + 16),  # all, and the whole block of dialogue
        ({0: 2, 2: 1, 4: 2, 90: 1}, 3 * 16, 5 * 16 + 16),  # a hole in the second part
        ({0: 0, 2: 2, 4: 2, 90: 0}, 0, 4 * 16),
        ({}, 0, 0),
    ],
)
def test_a_chain_ends_at_its_first_hole_and_chunks_count_each(here: dict[int, int], chained: int, alone: int) -> None:
    prompt = parts((0, 2, "a"), (2, 2, "b"), (4, 2, "c"))

    def leading(run: Run) -> int:
        return here.get(run.start, 0)

    assert Reusable(prompt, True, 90, 20).cached_tokens(leading, 16) == chained
    assert Reusable(prompt, False, 90, 20).cached_tokens(leading, 16) == alone


def test_of_an_independent_chunk_in_pieces_nothing_counts_behind_its_first_hole() -> None:
    prompt = parts((0, 2, 7), (2, 2, 7), (4, 1, 8))
    here = {0: 1, 2: 2, 4: 1}
    assert Reusable(prompt, chained=False).cached_tokens(lambda run: here[run.start], 16) == 16 + 16


def test_a_pool_tells_what_it_would_hit_and_changes_nothing() -> None:
    """Two blocks of 64 tokens; of a prompt that is cached whole the last block is computed again, as in vLLM."""
    replay = Replay([Asked(0.0, 64, 1, (Run(0, 4),))], Engine(blocks=10), [FixedStepTime(0.0, 0.0)])
    replay.run()
    pool: BlockPool = replay.pools[0]
    before = list(pool._queue)
    assert pool.cached_tokens((Run(0, 4),), 70) == 64
    assert pool.cached_tokens((Run(0, 4),), 64) == 48
    assert pool.cached_tokens((Run(0, 2), Run(9, 2)), 70) == 32
    assert pool.cached_tokens((Run(1, 4),), 70) == 0
    assert pool.cached_tokens((), 70) == 0
    assert list(pool._queue) == before
    assert BlockPool(10, caches_prefixes=False).cached_tokens((Run(0, 4),), 70) == 0


# -- what a router is shown while a world is played -----------------------------------------------


@pytest.fixture
def spying(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Any]]:
    """Return what registers a routing policy `spying` that notes what a function makes of what it is shown."""

    def register(look: Callable[[VisibleRequest, Sequence[ServerView]], object]) -> list[Any]:
        shown: list[Any] = []

        @dataclass
        class Spying:
            _under: Routing = field(default_factory=lambda: ROUTING.create("round-robin"), init=False)

            def choose(self, request: VisibleRequest, servers: Sequence[ServerView]) -> int:
                shown.append(look(request, servers))
                return self._under.choose(request, servers)

        monkeypatch.setitem(ROUTING._factories, "spying", Spying)
        return shown

    return register


ALONE = {"source": "", "sender": "", "routing": "spying"}


@pytest.mark.parametrize(
    ("layout", "sessions"),
    [
        (
            "document_first",
            [session(*[turn(chunk, think=9.0, answer=20) for chunk in (0, 0, 2, 1)], chunks=[24, 40, 16])],
        ),
        ("independent", [session(*[turn(c, think=9.0, answer=20) for c in (0, 2, 0, 1, 2)], chunks=[24, 40, 16])]),
        (None, [session(*[run_turn((0, 3 + each), think=9.0) for each in range(4)])]),
        (
            None,
            [
                session(run_turn((0, 4), (10 * each + 10, 2)), name=str(each), start=9.0 * each)
                | {"shared_prefix": {"key": "tools", "blocks": 4}}
                for each in range(3)
            ],
        ),
    ],
)
@pytest.mark.parametrize("room", [12, 1000])
def test_what_is_said_to_be_cached_is_what_is_found(
    tmp_path: Path, spying: Any, layout: str | None, sessions: list[dict[str, Any]], room: int
) -> None:
    """Where nothing else happens meanwhile, and nothing comes from elsewhere."""
    shown = spying(lambda request, servers: [server.cached_tokens(request) for server in servers])
    played = little(tmp_path, *sessions, layout=layout, receiver_blocks=room, **ALONE)
    assert [each[0] for each in shown] == played.column("cached_tokens")
    assert set(played.column("status")) == {"finished"}
    assert any(played.column("cached_tokens"))


def test_each_server_has_its_own(tmp_path: Path, spying: Any) -> None:
    """Turns go round: the chunk of 32 tokens is where the turns before were."""
    shown = spying(lambda request, servers: [server.cached_tokens(request) for server in servers])
    turns = [turn(0, think=9.0) for _ in range(4)]
    little(tmp_path, session(*turns, chunks=[32]), count=3, **ALONE)
    assert shown == [[0, 0, 0], [32, 0, 0], [32, 32, 0], [32, 32, 32]]


def test_load_is_what_was_sent_and_has_not_ended(tmp_path: Path, spying: Any) -> None:
    """a prefills 33 tokens, a second each, then decodes one more token a second; b finds its chunk there."""
    shown = spying(
        lambda request, servers: [
            (server.name, server.sessions, server.requests, server.prefill_tokens, server.context_tokens)
            for server in servers
        ]
    )
    one: dict[str, Any] = {"chunks": [32], "document_id": "d"}
    little(
        tmp_path,
        session(turn(0, answer=11), name="a", start=0.0, **one),
        session(turn(0, answer=11), name="b", start=10.0, **one),
        session(turn(0, answer=11), name="c", start=38.0, **one),
        session(turn(0, answer=11), name="d", start=200.0, **one),
        gpu="{name: fixed, prefill_per_token: 1 s, decode_step: 1 s}",
        **ALONE,
    )
    assert shown == [
        [("receiver", 0, 0, 0, 0)],
        [("receiver", 1, 1, 33, 33)],
        [("receiver", 2, 2, 0, 66)],
        [("receiver", 0, 0, 0, 0)],
    ]


def test_who_was_rejected_has_left(tmp_path: Path, spying: Any) -> None:
    shown = spying(lambda request, servers: (servers[0].requests, servers[0].prefill_tokens, servers[0].context_tokens))
    told = [session(turn(0), chunks=[size], name=str(size), start=float(size)) for size in (640, 16, 32)]
    played = little(tmp_path, *sorted(told, key=lambda each: each["start_s"]), receiver_blocks=4, **ALONE)
    assert played.column("status") == ["finished", "finished", "rejected"]
    assert shown == [(0, 0, 0)] * 3
    assert played.world.servers[0].load.is_empty


def test_a_request_says_nothing_of_its_answer(tmp_path: Path, spying: Any) -> None:
    shown = spying(lambda request, servers: request)
    for answer in (1, 500):
        document = session(turn(0, answer=answer), chunks=[24], name="a")
        little(tmp_path, document, layout="document_first", **ALONE)
        little(tmp_path, session(run_turn((0, 3), answer=answer)), layout=None, **ALONE)
    assert shown[:2] == shown[2:]
    assert set(VisibleRequest._fields) == {"session", "turn", "prompt_tokens", "home", "reusable"}


def test_a_view_is_read_only(tmp_path: Path, spying: Any) -> None:
    def meddle(request: VisibleRequest, servers: Sequence[ServerView]) -> None:
        for name in ("requests", "sessions", "prefill_tokens", "anything"):
            with pytest.raises(AttributeError):
                setattr(servers[0], name, 0)

    shown = spying(meddle)
    little(tmp_path, session(turn(0), chunks=[16]), **ALONE)
    assert len(shown) == 1


def test_four_servers_read_documents(tmp_path: Path) -> None:
    """Twelve readers, each of a document of its own, question after question about the next chunk."""
    readers = [
        session(
            *[turn(chunk, new=9, answer=40, think=7.0) for chunk in (0, 0, 1, 2, 1, 3)],
            **{"chunks": [256] * 4, "name": str(each), "start": 1.3 * each},
        )
        for each in range(12)
    ]
    cached, shares = {}, {}
    for routing in ("prefix-aware", "sticky", "round-robin", "random"):
        told = {"count": 4, "receiver_blocks": 400, "gpu": "{name: fixed, prefill_per_token: 1 ms, decode_step: 10 ms}"}
        done = little(tmp_path, *readers, layout="document_first", **ALONE | told | {"routing": routing})
        cached[routing] = sum(done.column("cached_tokens")) / sum(done.column("input_tokens"))
        shares[routing] = max(Counter(done.column("server")).values())
    assert cached["prefix-aware"] > 1.3 * cached["round-robin"]
    assert cached["prefix-aware"] == pytest.approx(cached["sticky"], rel=0.1)
    assert cached["random"] < 0.8 * cached["prefix-aware"]
    assert shares["round-robin"] == 18
    assert shares["random"] < 18 + Z_999 * (72 * 0.25 * 0.75) ** 0.5
    assert shares["prefix-aware"] < 36


# -- engines alone --------------------------------------------------------------------------------

SYSTEM = Run(0, 32)  # 512 tokens that all sessions share


def chats(sessions: int = 60, turns: int = 6, seed: int = 3) -> list[Asked]:
    """Return conversations over one system prompt: each turn sends all before it again, and 128 to 640 tokens more."""
    found = []
    for each in range(sessions):
        draws = stream(seed, "chats", each)
        arrival_s, blocks = draws.uniform(0.0, 120.0), 0
        for _ in range(turns):
            blocks += draws.randrange(8, 40)
            runs = (SYSTEM, Run(10_000 * (each + 1), blocks))
            found.append(Asked(arrival_s, 16 * (32 + blocks) + draws.randrange(1, 16), draws.randrange(20, 200), runs))
            arrival_s += draws.expovariate(1 / 20)
    return sorted(found)


ENGINE = Engine(blocks=1200)  # each; the chats have 8,000 in all
STEPS = [FixedStepTime(1e-4, 0.01)] * 4


@dataclass
class Counting:
    """Another policy, and whom it chose."""

    under: Routing
    chosen: Counter[int] = field(default_factory=Counter)

    def choose(self, request: VisibleRequest, servers: Sequence[ServerView]) -> int:
        index = self.under.choose(request, servers)
        self.chosen[index] += 1
        return index


def played(name: str, asked: Sequence[Asked] = (), **params: object) -> tuple[Records, Counter[int]]:
    counting = Counting(ROUTING.create(name, params))
    return Replay(asked or chats(), ENGINE, STEPS, routing=counting).run(), counting.chosen


def hit_ratio(records: Records) -> float:
    return sum(records.cached_tokens) / sum(records.input_tokens)


def test_prefix_aware_finds_more_than_round_robin_and_random_balances_like_it() -> None:
    """Four engines, 60 chats of 6 turns. All but the end of each prompt was sent before, to one engine or another."""
    aware, shares = played("prefix-aware")
    turns, random = played("round-robin"), played("random")
    assert hit_ratio(aware) > 1.25 * hit_ratio(turns[0])
    assert hit_ratio(random[0]) == pytest.approx(hit_ratio(turns[0]), rel=0.1)
    assert sorted(turns[1].values()) == [90] * 4
    assert max(abs(random[1][index] - 90) for index in range(4)) < Z_999 * (360 * 0.25 * 0.75) ** 0.5
    assert 60 < min(shares.values()) <= max(shares.values()) < 120  # no engine is left out or overrun
    waits = [sum(r.first_token_s) - sum(r.arrival_s) for r in (aware, turns[0])]
    assert waits[0] < 0.8 * waits[1]


def test_overlap_without_balance_is_worse_than_with_it() -> None:
    """All ask the same long prompt and decode for long: what is cached draws them to one engine, load spreads them."""
    asked = [Asked(float(index), 4010, 5000, (Run(0, 250),)) for index in range(16)]
    assert len(played("prefix-aware", asked)[1]) == 4
    assert len(played("prefix-aware", asked, overlap_weight=1e6)[1]) == 1


@pytest.mark.parametrize("step_by_step", [False, True])
def test_what_is_cached_is_known_inside_a_leap(step_by_step: bool) -> None:
    """Ten blocks, four of them cached. An answer grows into the last two of these while its steps are jumped over."""
    shown = []

    class First:
        def choose(self, request: VisibleRequest, servers: Sequence[ServerView]) -> int:
            shown.append(servers[0].cached_tokens(request))
            return 0

    prompt = (Run(0, 4),)
    asked = [Asked(0.0, 70, 1, prompt), Asked(1.0, 16, 120), Asked(2.1, 70, 1, prompt)]
    Replay(asked, Engine(blocks=10), STEPS[:2], routing=First(), step_by_step=step_by_step).run()
    assert shown == [0, 0, 32]


def test_without_a_policy_engines_take_turns() -> None:
    assert Replay(chats(), ENGINE, STEPS).run() == played("round-robin")[0]


def test_one_engine_needs_no_router() -> None:
    class Never:
        def choose(self, request: VisibleRequest, servers: Sequence[ServerView]) -> int:
            raise AssertionError

    asked = chats(sessions=5)
    assert Replay(asked, ENGINE, STEPS[:1], routing=Never()).run() == Replay(asked, ENGINE, STEPS[:1]).run()


@pytest.mark.parametrize("blocks", [1200, 160])
def test_when_all_has_ended_a_router_knows_of_no_load(blocks: int) -> None:
    """Also where requests lose their memory, are prefilled again, or are rejected."""
    seen: list[ServerView] = []

    @dataclass
    class Keeping:
        def choose(self, request: VisibleRequest, servers: Sequence[ServerView]) -> int:
            seen[:] = servers
            return LeastLoaded().choose(request, servers)

    replay = Replay(chats(sessions=200), replace(ENGINE, blocks=blocks), STEPS, routing=Keeping())
    records = replay.run()
    assert (blocks == 1200) == (not records.rejected) == (not any(records.preemptions))
    assert [(s.sessions, s.requests, s.prefill_tokens, s.context_tokens) for s in seen] == [(0, 0, 0, 0)] * 4


PROGRAM = """
import json, sys
from tests.unit.test_routing import played
for name in ("prefix-aware", "random", "power-of-two", "least-loaded"):
    records, chosen = played(name)
    print(json.dumps([list(records.last_token_s), list(records.cached_tokens), sorted(chosen.items())]))
"""


def test_choices_do_not_depend_on_the_hash_seed() -> None:
    def said(hash_seed: str) -> Iterator[object]:
        env = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
        done = subprocess.run([sys.executable, "-c", PROGRAM], env=env, check=True, capture_output=True, text=True)
        return map(json.loads, done.stdout.splitlines())

    assert list(said("1")) == list(said("2"))
