"""What each prefetch policy moves, against the formula that it stands for (papers.md 6.1).

In the view of these tests a block of 1 MB takes one second on the link, of which demand has a part.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import pytest

from simkv.errors import InputError
from simkv.kv.block import Run
from simkv.kv.prefix import Part
from simkv.policies.prefetch import PREFETCH, LinkView, Moment, Prefetch, PrefetchView, Record, worth
from simkv.policies.prefetch.question import NO_RECORD, Kind
from simkv.predictors import Item
from simkv.predictors.gap import Gap
from simkv.predictors.timing.distributions import Certain, Memoryless

MB = 1_000_000
RATE_BPS = 8e6
CLOSE = {"rel": 0, "abs": 1e-12}


def view(
    chances: dict[Item, float],
    *,
    sizes: dict[Item, int] | None = None,
    held: Sequence[Item] = (),
    rate_bps: float | None = RATE_BPS,
    demand: float = 0.0,
    backlog: int = 0,
    delay_s: float = 0.0,
    compute_s: float = 0.0,
    gap: Gap | None = None,
    buffer_bytes: int = 1000 * MB,
    hinted: Sequence[Item] = (),
    moment: Moment = "query",
    record: Record = NO_RECORD,
) -> PrefetchView:
    """Return a view at 100 s; every item takes 1 MB, text a thousandth of it."""

    def lacking_bytes(item: Item, kind: Kind) -> int:
        size_bytes = (sizes or {}).get(item, MB)
        return 0 if item in held or kind == "compute" else size_bytes // 1000 if kind == "text" else size_bytes

    return PrefetchView(
        now_s=100.0,
        asked=(0,),
        chunks=20,
        probabilities=lambda: chances,
        held=lambda item: item in held,
        item_bytes=lambda item: (sizes or {}).get(item, MB),
        moment=moment,
        hinted=hinted,
        compute_s=lambda _: compute_s,
        until_next=lambda: gap,
        link=LinkView(lambda: rate_bps, lambda: demand, lambda: backlog, delay_s),
        buffer_bytes=buffer_bytes,
        record=record,
        lacking_bytes=lacking_bytes,
    )


class Foreseen:
    """A future in which each turn asks for one item, five seconds after the other."""

    def __init__(self, *parts: tuple[Part, ...]) -> None:
        self.parts = dict(enumerate(parts, 1))

    def next_parts(self, count: int) -> dict[Item, tuple[Part, ...]]:
        """Return the first ones."""
        return dict(list(self.parts.items())[:count])

    def next_gap_s(self) -> float:
        """Return [s] the time between turns."""
        return 5.0

    def earliest_s(self, count: int) -> dict[Item, float]:
        """Return [s] when each is needed."""
        return {item: 5.0 * item for item in self.parts}


def moved(name: str, seen: PrefetchView, **params: object) -> list[Item]:
    """Return the items that a policy moves."""
    return [prefetch.item for prefetch in PREFETCH.create(name, params).decide(seen)]


# -- the arithmetic --------------------------------------------------------------------------------


def mean_access_s(n: float, p: float, v: float, h0: float, offered: float) -> float:
    """Return t(n) of papers.md 6.1 item 1, a transfer taking 1 s and `offered` = lambda s / B."""
    hits = h0 + n * (p - v)
    return (1 - hits) / (1 - offered * (1 - hits + n))


@pytest.mark.parametrize(("v", "h0", "offered"), [*itertools.product((0.0, 0.1), (0.0, 0.3), (0.2, 0.5))])
def test_access_times_shrink_just_above_the_threshold_of_load(v: float, h0: float, offered: float) -> None:
    """The threshold is where the derivative by n changes sign, whatever h0."""
    least = worth.load_threshold((1 - h0) * offered, v)
    before_s = mean_access_s(0.0, least, v, h0, offered)
    assert (
        mean_access_s(1e-6, least + 0.01, v, h0, offered) < before_s < mean_access_s(1e-6, least - 0.01, v, h0, offered)
    )


@pytest.mark.parametrize(("offered", "price"), [*itertools.product((0.2, 0.5), (0.0, 0.1, 2.0))])
def test_with_a_price_the_cost_of_a_query_shrinks_just_above_the_threshold(offered: float, price: float) -> None:
    """Access time plus price of what n prefetches of 1 MB waste, `price` seconds each; B = 1 MB/s."""
    kappa = worth.price_in_transfers(price / MB, RATE_BPS, offered)
    least = worth.shared_threshold(offered, kappa)

    def cost_s(n: float, p: float) -> float:
        return mean_access_s(n, p, 0.0, 0.0, offered) + price * n * (1 - p)

    above, below = min(1.0, least + 0.01), least - 0.01
    assert cost_s(1e-6, above) < cost_s(0.0, above)
    assert cost_s(1e-6, below) > cost_s(0.0, below)


@pytest.mark.parametrize("x", [0.1, 1.0, 5.0])
def test_hidden_time_is_the_closed_form_for_exponential_and_certain_think_times(x: float) -> None:
    """phi of an exponential time behind others is e^-w (1 - e^-x) / x; of a certain one min(1, Z/t)."""
    gap = Memoryless(10.0)
    for wait in (0.0, 0.7):
        wanted = math.exp(-wait) * worth.hidden_if_partial(x)
        assert worth.hidden(gap, 10 * wait, 10 * x) == pytest.approx(wanted, rel=2e-3)
    assert worth.hidden(Certain(3.0), 0.0, x) == pytest.approx(worth.hidden_if_certain(3.0, x), abs=1 / 64)
    assert worth.hidden_if_whole(x) <= worth.hidden_if_partial(x) <= 1


def test_the_knapsack_is_within_one_item_of_the_best() -> None:
    """Against all subsets; and at least all that the fractional optimum takes whole."""
    sizes, values = [3, 5, 4, 7, 1, 6], [4.0, 5.5, 3.0, 9.0, 0.2, 6.5]
    candidates = [worth.Candidate(*pair) for pair in zip(values, sizes, range(6), strict=True)]
    for budget in range(1, 27):
        best = max(
            sum(one.value for one in subset)
            for count in range(7)
            for subset in itertools.combinations(candidates, count)
            if sum(one.size for one in subset) <= budget
        )
        chosen = worth.fitting(candidates, budget)
        assert sum(one.size for one in chosen) <= budget
        assert best - max(values) <= sum(one.value for one in chosen) <= best


# -- the policies ----------------------------------------------------------------------------------


def test_always_k_moves_the_most_probable_that_are_absent() -> None:
    seen = view({1: 0.01, 2: 0.5, 3: 0.2, 4: 0.2}, held=[2])
    assert moved("always-k", seen) == [3]
    assert moved("always-k", seen, k=2) == [3, 4]
    assert moved("always-k", seen, k=9) == [3, 4, 1]


def test_a_threshold_may_wait_for_the_answer_to_end() -> None:
    assert PREFETCH.create("threshold", {"at": "pause"}).moments == {"pause"}  # type: ignore[attr-defined]
    assert PREFETCH.create("threshold").moments == {"query"}  # type: ignore[attr-defined]


@pytest.mark.parametrize(("demand", "wanted"), [(0.0, [1, 2, 3]), (0.3, [1, 2]), (0.5, [1]), (0.8, [])])
def test_load_dependent_is_strictly_above_load_and_displacement(demand: float, wanted: list[Item]) -> None:
    assert moved("load-dependent", view({1: 0.6, 2: 0.5, 3: 0.2}, demand=demand)) == wanted
    assert moved("load-dependent", view({1: 0.6, 2: 0.5}, demand=0.3), displaced=0.25) == [1]


def test_price_aware_on_a_shared_link() -> None:
    """rho_0 = 0.5 and mu B = 1: kappa = 0.25, p* = 0.6."""
    seen = view({1: 0.61, 2: 0.59}, demand=0.5)
    assert moved("price-aware", seen, price_s_per_byte=1 / MB, link="shared") == [1]
    assert moved("price-aware", view({1: 0.51, 2: 0.49}, demand=0.5), price_s_per_byte=0.0, link="shared") == [1]


def test_price_aware_under_priority() -> None:
    """g = 0.5 + 1.5 + 1 s and mu S = 1 s: p* = 0.25; with v = 0.2, (0.6 + 1) / 4 = 0.4. Load does not count."""
    seen = view({1: 0.41, 2: 0.39, 3: 0.26, 4: 0.24}, demand=0.9, delay_s=0.5, compute_s=1.5)
    assert moved("price-aware", seen, price_s_per_byte=1 / MB) == [1, 2, 3]
    assert moved("price-aware", seen, price_s_per_byte=1 / MB, displaced=0.2) == [1]
    assert moved("price-aware", seen, price_s_per_byte=0.0) == [1, 2, 3, 4]  # nothing is lost


def test_cost_benefit_stops_where_being_late_eats_the_benefit() -> None:
    """A query in 2.5 s, a second each: the third is hidden by half, p g phi = 0.3 against 0.05 x 8 of price."""
    chances: dict[Item, float] = dict.fromkeys(range(1, 6), 0.6)
    seen = view(chances, gap=Certain(2.5))
    assert moved("cost-benefit", seen) == [1, 2, 3]  # without a price all that is hidden in part pays
    assert moved("cost-benefit", seen, price_s_per_byte=1 / MB) == [1, 2]  # 0.6 phi > 0.4 needs phi > 2/3
    assert moved("cost-benefit", seen, displaced=0.29) == [1, 2, 3]
    assert moved("cost-benefit", seen, displaced=0.31) == [1, 2]


def test_cost_benefit_goes_by_benefit_per_byte_and_by_the_room_there_is() -> None:
    seen = view({1: 0.5, 2: 0.4, 3: 0.1}, sizes={1: 4 * MB}, delay_s=2.0, gap=Certain(60.0), buffer_bytes=5 * MB)
    # per MB: 0.5 x 6 / 4 = 0.75, 0.4 x 3 = 1.2, 0.1 x 3 = 0.3; room for the first two of that order
    assert moved("cost-benefit", seen) == [2, 1]


def test_the_knapsack_policy_fills_the_think_time_with_what_saves_most() -> None:
    """B' = 0.5 MB/s for 8 s: 4 MB. Per MB: 0.5 x 3/3, 0.4 x 1, 0.9 x 0.5/0.5 (delay 0)."""
    seen = view({1: 0.5, 2: 0.4, 3: 0.9, 4: 0.3}, sizes={1: 3 * MB, 3: MB // 2}, demand=0.5, gap=Certain(8.0))
    assert moved("knapsack", seen) == [3, 1]
    for quantile in (0.1, 0.5, 0.9):  # it needs 2 s of a memoryless time
        least_s = 2.0 / -math.log1p(-quantile)
        assert moved("knapsack", view({1: 0.5}, demand=0.5), think_s=0.99 * least_s, quantile=quantile) == []
        assert moved("knapsack", view({1: 0.5}, demand=0.5), think_s=1.01 * least_s, quantile=quantile) == [1]
    assert moved("knapsack", view({1: 0.5}, compute_s=2.1, gap=Certain(2.0)), kind="compute") == []
    assert moved("knapsack", view({1: 0.5}, compute_s=2.0, gap=Certain(2.0)), kind="compute") == [1]


def test_edf_drops_what_comes_too_late_and_says_when_the_rest_is_needed() -> None:
    """Backlog 1 MB, then a second each, and 0.1 s on the way: 2.1, 3.1, 4.1 against a query in 3.5 s."""
    seen = view({1: 0.3, 2: 0.3, 3: 0.3, 4: 0.1}, backlog=MB, delay_s=0.1, gap=Certain(3.5))
    edf = PREFETCH.create("edf")
    assert edf.decide(seen) == [Prefetch(1, "kv", 103.5), Prefetch(2, "kv", 103.5)]
    assert moved("edf", seen, kind="text") == [1, 2, 3]  # a thousandth of the bytes


def test_edf_counts_what_is_made_while_the_link_sends() -> None:
    """Made at 2, 4, 6 s and sent at 3, 5, 7 s: a flow shop."""
    seen = view({1: 0.3, 2: 0.3, 3: 0.3}, compute_s=2.0, gap=Certain(6.0))
    assert moved("edf", seen) == [1, 2]
    assert moved("edf", seen, kind="compute") == [1, 2]  # the third is made when the query comes: not in time


def test_edf_weighs_being_late_by_its_probability() -> None:
    """In time with probability e^(-t/10) after t = 1, 2, ... seconds."""
    chances: dict[Item, float] = dict.fromkeys(range(1, 20), 0.5)
    for confidence in (0.5, 0.7, 0.9):
        kept = moved("edf", view(chances), confidence=confidence)
        assert len(kept) == math.floor(-10 * math.log(confidence))


def test_spare_bandwidth_moves_what_fits_behind_the_backlog() -> None:
    """B' = 0.5 MB/s for 10 s less 2 MB: 3 MB."""
    seen = view({1: 0.5, 2: 0.4, 3: 0.3, 4: 0.2}, sizes={2: 3 * MB}, demand=0.5, backlog=2 * MB, gap=Certain(10.0))
    assert moved("spare-bandwidth", seen) == [1, 3, 4]
    assert moved("spare-bandwidth", view({1: 0.5}, demand=1.0)) == []


def test_a_hint_is_followed_and_nothing_else() -> None:
    policy = PREFETCH.create("hint-driven")
    assert policy.moments == {"hint"}  # type: ignore[attr-defined]
    assert [move.item for move in policy.decide(view({1: 0.99}, hinted=[7, 3], moment="hint"))] == [7, 3]


@pytest.mark.parametrize(
    ("record", "step"),
    [
        (Record(10, 8, 1, 10, 9, 1), 1),  # accurate and late: up, polluting or not
        (Record(10, 8, 1, 10, 9, 0), 1),
        (Record(10, 8, 0, 10, 9, 1), -1),  # accurate, in time, polluting: down
        (Record(10, 8, 0, 10, 9, 0), 0),
        (Record(10, 5, 1, 10, 9, 0), 1),  # neither: up if late and not polluting
        (Record(10, 5, 1, 10, 9, 1), -1),
        (Record(10, 5, 0, 10, 9, 1), -1),
        (Record(10, 5, 0, 10, 9, 0), 0),
        (Record(10, 3, 1, 10, 9, 0), -1),  # inaccurate: down if late or polluting
        (Record(10, 3, 1, 10, 9, 1), -1),
        (Record(10, 3, 0, 10, 9, 1), -1),
        (Record(10, 3, 0, 10, 9, 0), 0),
    ],
)
def test_feedback_takes_the_steps_of_its_table(record: Record, step: int) -> None:
    """The twelve cases of Srinath et al., table 2; nine items, of which it moves three at first."""
    chances: dict[Item, float] = dict.fromkeys(range(1, 10), 0.1)
    policy = PREFETCH.create("feedback-throttled")
    assert len(policy.decide(view(chances))) == 3
    assert len(policy.decide(view(chances, record=record))) == 3 + step
    assert len(policy.decide(view(chances, record=record))) == 3 + step  # nothing new was learned
    for _ in range(9):
        record = record._replace(settled=record.settled + 8)
        policy.decide(view(chances, record=record))
    assert len(policy.decide(view(chances, record=record))) == {1: 5, 0: 3, -1: 1}[step]


def test_a_reserved_slice_is_asked_for() -> None:
    policy = PREFETCH.create("slice-reserved", {"reserved_ratio": 0.3, "threshold": 0.2})
    assert policy.reserved_ratio == 0.3  # type: ignore[attr-defined]
    assert [move.item for move in policy.decide(view({1: 0.2, 2: 0.3, 3: 0.5}))] == [3, 2]


def test_displacement_is_given_or_what_came_true() -> None:
    """Of 20 blocks pushed out 5 were asked for again: v = 0.25."""
    seen = view({1: 0.3, 2: 0.2}, record=Record(1, 1, 0, 1, 20, 5))
    assert moved("load-dependent", seen) == [1]
    assert moved("load-dependent", seen, displaced=0.0) == [1, 2]
    assert moved("cost-benefit", seen) == [1]
    assert moved("price-aware", seen, price_s_per_byte=0.0) == [1]
    assert moved("adaptive", view({1: 0.3, 2: 0.2}, record=Record(1, 1, 0, 1, 20, 5), gap=Certain(90.0))) == [1]


def test_adaptive_is_a_threshold_until_rate_and_time_are_known() -> None:
    chances: dict[Item, float] = {1: 0.6, 2: 0.4}
    assert moved("adaptive", view(chances)) == [1]
    assert moved("adaptive", view(chances, rate_bps=None, gap=Certain(90.0))) == [1]
    assert moved("adaptive", view(chances, gap=Certain(90.0))) == [1, 2]
    assert moved("adaptive", view(chances), unknown_above=0.3) == [1, 2]


@pytest.mark.parametrize(("mean_s", "price"), [*itertools.product((0.5, 2.0, 20.0), (0.0, 0.5, 3.0))])
def test_adaptive_moves_what_has_a_positive_utility(mean_s: float, price: float) -> None:
    """Exponential time: U = p g phi - mu S (1 - p), g = 0.5 + 1 s, phi = (1 - e^-x) / x, x = 2 s / mean."""
    phi = worth.hidden_if_partial(2.0 / mean_s)
    least = price / (1.5 * phi + price)  # U = 0 there
    for p, wanted in ((least * 0.98, []), (min(1.0, least * 1.02 + 1e-6), [1])):
        seen = view({1: p}, demand=0.5, delay_s=0.5, gap=Memoryless(mean_s))
        assert moved("adaptive", seen, price_s_per_byte=price / MB, quantile=0.9999) == wanted or p == 0.0


def test_adaptive_fills_the_time_with_most_utility_per_byte() -> None:
    """Known to come in 4 s at 1 MB/s; all hidden, U = p g: 0.9 x 3 of 3 MB, 0.5 x 1, 0.4 x 1, 0.2 x 1 of 1 MB."""
    seen = view({1: 0.9, 2: 0.5, 3: 0.4, 4: 0.2}, sizes={1: 3 * MB}, gap=Certain(4.0))
    assert moved("adaptive", seen) == [1, 2]
    late = view({1: 0.9, 2: 0.5, 3: 0.4, 4: 0.2}, sizes={1: 3 * MB}, gap=Certain(2.5))
    assert moved("adaptive", late) == [2, 3]


def test_just_in_time_begins_when_it_can_just_be_there() -> None:
    """Needed in 50 s; computing 2, sending 1 MB at half rate 2, on the way 0.5, margin 0.1; the second 4 s before."""
    seen = view({1: 0.9, 2: 0.8, 3: 0.5}, demand=0.5, delay_s=0.5, compute_s=2.0, gap=Certain(50.0), moment="pause")
    answer = PREFETCH.create("just-in-time").decide(seen)
    assert [move.item for move in answer] == [1, 2]
    assert [move.start_s for move in answer] == pytest.approx([145.4, 141.4], **CLOSE)
    unknown = PREFETCH.create("just-in-time").decide(view({1: 0.9, 2: 0.9}, held=[2], rate_bps=None, gap=Certain(50.0)))
    assert [move.start_s for move in unknown] == pytest.approx([0.0, 149.9], **CLOSE)
    seen.moment = "timer"
    assert PREFETCH.create("just-in-time").decide(seen) == [Prefetch(1), Prefetch(2)]


def test_just_in_time_counts_what_may_be_evicted_until_then() -> None:
    """What is held now may be gone; the tenth part of an exponential time may come before."""
    policy = PREFETCH.create("just-in-time", {"margin_s": 0.0, "think_s": 100.0})
    (move,) = policy.decide(view({1: 0.9}, held=[1], moment="pause"))
    assert move.start_s == pytest.approx(100.0 - 100.0 * math.log(0.9) - 1.0, **CLOSE)


def test_the_feasible_oracle_sends_in_order_of_need_what_the_buffer_holds() -> None:
    """A block is 0.5 MB. The second chain shares two blocks with the first; the third would not fit any more."""
    first, second, third = (Part(Run(start, 2), 32, 0) for start in (0, 2, 10))
    seen = view({}, sizes={1: MB, 2: 2 * MB, 3: MB}, buffer_bytes=2 * MB)
    seen.foresight = Foreseen((first,), (first, second), (third,))
    oracle = PREFETCH.create("feasible-oracle")
    assert oracle.decide(seen) == [Prefetch(1, "kv", 105.0), Prefetch(2, "kv", 110.0)]
    seen.buffer_bytes = 3 * MB
    assert [move.item for move in oracle.decide(seen)] == [1, 2, 3]
    assert moved("feasible-oracle", seen, ahead=1) == [1]


@pytest.mark.parametrize("name", ["price-aware", "cost-benefit", "knapsack", "spare-bandwidth"])
def test_what_weighs_seconds_against_bytes_waits_for_a_rate(name: str) -> None:
    example = getattr(PREFETCH.get(name), "example_params", dict)()
    assert moved(name, view({1: 0.99}, rate_bps=None), **example) == []
    assert moved(name, view({1: 0.99}), **example) == [1]


@pytest.mark.parametrize("name", [name for name in PREFETCH if "kind" in PREFETCH.fields(name)])
@pytest.mark.parametrize("kind", ["kv", "text", "compute"])
def test_each_kind_is_said_with_each_item(name: str, kind: Kind) -> None:
    """The kind that a policy was made with is the kind of all that it moves."""
    if PREFETCH.is_oracle(name):
        pytest.skip("asked without the future here")
    example = getattr(PREFETCH.get(name), "example_params", dict)()
    policy = PREFETCH.create(name, example | {"kind": kind})
    answer = policy.decide(view({1: 0.99}, compute_s=0.5, hinted=[1], moment="hint"))
    assert [(prefetch.item, prefetch.kind) for prefetch in answer] == [(1, kind)]


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("always-k", {"k": 0}, "k must be at least 1"),
        ("load-dependent", {"displaced": 1.5}, "displaced must be in"),
        ("price-aware", {"price_s_per_byte": -1.0}, "price_s_per_byte must be 0 or more"),
        ("price-aware", {"price_s_per_byte": 0.0, "displaced": 0.1, "link": "shared"}, "displaced counts with"),
        ("cost-benefit", {"think_s": 0.0}, "think_s must be above 0"),
        ("knapsack", {"quantile": 1.0}, "quantile must be above 0 and below 1"),
        ("edf", {"confidence": float("nan")}, "confidence must be in"),
        ("feedback-throttled", {"low": 0.8}, "low must be in"),
        ("slice-reserved", {"reserved_ratio": 1.0}, "reserved_ratio must be above 0 and below 1"),
        ("adaptive", {"unknown_above": 1.1}, "unknown_above must be in"),
        ("just-in-time", {"margin_s": -1.0}, "margin_s must be 0 or more"),
        ("feasible-oracle", {"ahead": 65}, "ahead must be from 1 to 64"),
        ("spare-bandwidth", {"threshold": 2.0}, "threshold must be in"),
    ],
)
def test_bad_parameters_are_refused(name: str, params: dict[str, object], message: str) -> None:
    """One line: what, what is wanted."""
    with pytest.raises(InputError, match=message):
        PREFETCH.create(name, params)
