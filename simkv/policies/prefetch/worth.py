"""What is it worth to move something ahead of time? The arithmetic that prefetch policies share; pure functions.

Notation: p = probability that the next query needs it, S = its bytes, B = rate of the link, rho_0 = demand's share of
it, B' = (1 - rho_0) B what demand leaves, v = probability that what it displaces would have been used, mu = price [s]
of a wasted byte, g = [s] saved if it is there in time, phi = the part of g that is saved although it may come late.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from simkv.policies.prefetch.question import Kind, PrefetchView
from simkv.predictors.gap import Gap
from simkv.predictors.question import Item
from simkv.predictors.timing.distributions import Memoryless
from simkv.units import BITS_PER_BYTE

_SLICES = 64  # of the integral in `hidden`; an error of 1/128 at most, where the next query's time is certain


class Candidate(NamedTuple):
    """Something that might be moved: what it is worth, and what it takes of a budget."""

    value: float
    size: float
    item: Item


class Busy(NamedTuple):
    """[s] From now until the source has made, and has sent, all that goes before."""

    made_s: float = 0.0
    sent_s: float = 0.0


# -- of what a view tells --------------------------------------------------------------------------


def likely(view: PrefetchView, above: float = 0.0) -> list[tuple[float, Item]]:
    """Return (probability, item) of what is more probable than `above`, most probable first, equals by item."""
    found = sorted((-p, item) for item, p in view.probabilities().items() if p > above)
    return [(-p, item) for p, item in found]


def spare_bps(view: PrefetchView) -> float | None:
    """Return [bit/s] B' = (1 - rho_0) B, what demand is believed to leave; None while no rate is known."""
    rate_bps = view.link.rate_bps()
    return rate_bps * (1 - view.link.demand_ratio()) if rate_bps is not None else None


def gap_of(view: PrefetchView, think_s: float) -> Gap:
    """Return the time to the next query; memoryless of mean `think_s` while nobody can tell."""
    return view.until_next() or Memoryless(think_s)


def displacement(view: PrefetchView, given: float | None) -> float:
    """Return v: as given, or the part of what speculation pushed out that was asked for again; 0 before any was."""
    if given is not None:
        return given
    record = view.record
    return record.missed_blocks / record.displaced_blocks if record.displaced_blocks else 0.0


def saved_s(view: PrefetchView, item: Item, kind: Kind, rate_bps: float) -> float:
    """Return [s] g of an item: what the query that asks for it is spared; of text all but its prefill over there."""
    compute_s = view.compute_s(item)
    if kind == "compute":
        return compute_s
    send_s = transfer_s(view.lacking_bytes(item, kind), rate_bps)
    return gain_s(view.link.delay_s, compute_s if kind == "kv" else 0.0, send_s)


def work_s(view: PrefetchView, item: Item, kind: Kind, spare_bps: float) -> float:
    """Return [s] what an item takes of the scarce resource: S / B' of the link, or the source's GPU if only made."""
    return view.compute_s(item) if kind == "compute" else transfer_s(view.lacking_bytes(item, kind), spare_bps)


def behind(busy: Busy, view: PrefetchView, item: Item, kind: Kind, spare_bps: float) -> Busy:
    """Return until when source and link are busy if an item goes behind all that: made one by one, sent one by one.

    The recurrence of a flow shop of two machines (Johnson, "Optimal two- and three-stage production schedules", Naval
    Research Logistics Quarterly 1, 1954).
    """
    made_s = busy.made_s + (view.compute_s(item) if kind != "text" else 0.0)
    if kind == "compute":
        return Busy(made_s, made_s)
    return Busy(made_s, max(busy.sent_s, made_s) + transfer_s(view.lacking_bytes(item, kind), spare_bps))


# -- time ------------------------------------------------------------------------------------------


def transfer_s(size_bytes: float, rate_bps: float) -> float:
    """Return [s] S / B; without end where nothing is left of the link.

    Examples
    --------
    >>> transfer_s(1_000_000, 8e6), transfer_s(1, 0.0), transfer_s(0, 0.0)
    (1.0, inf, 0.0)
    """
    if rate_bps <= 0:
        return math.inf if size_bytes else 0.0
    return size_bytes * BITS_PER_BYTE / rate_bps


def gain_s(delay_s: float, compute_s: float, send_s: float) -> float:
    """Return [s] g, what a query waits for what is not there: a + C + S/B, for KV is sent when it is complete.

    Examples
    --------
    >>> gain_s(0.1, 2.0, 3.0)
    5.1
    """
    return delay_s + compute_s + send_s


def hidden_if_partial(x: float) -> float:
    """Return phi = (1 - e^-x) / x where what has come of it when the query comes is of use; x = S / B' over think time.

    The think time is exponential (papers.md 6.1, item 4).

    Examples
    --------
    >>> hidden_if_partial(0.0), round(hidden_if_partial(1.0), 6), hidden_if_partial(math.inf)
    (1.0, 0.632121, 0.0)
    """
    return -math.expm1(-x) / x if x > 0 else 1.0


def hidden_if_whole(x: float) -> float:
    """Return phi = e^-x where it is of use only if all of it is there; think time exponential.

    Examples
    --------
    >>> round(hidden_if_whole(1.0), 6)
    0.367879
    """
    return math.exp(-x)


def hidden_if_certain(think_s: float, take_s: float) -> float:
    """Return phi = min(1, Z B' / S) where the think time Z is certain; `take_s` = S / B'.

    Examples
    --------
    >>> hidden_if_certain(2.0, 4.0), hidden_if_certain(9.0, 4.0), hidden_if_certain(0.0, 0.0)
    (0.5, 1.0, 1.0)
    """
    return min(1.0, think_s / take_s) if take_s > 0 else 1.0


def hidden(gap: Gap, wait_s: float, take_s: float) -> float:
    """Return phi for any think time Z: the mean part of [wait, wait + take] that has passed when the query comes.

    phi = 1/t times the integral of P(Z > z) from w to w + t; for an exponential Z this is e^(-w/m) (1 - e^-x) / x, for
    a certain one min(1, Z/t), both at w = 0.

    Parameters
    ----------
    wait_s : [s] until it begins: what goes before it.
    take_s : [s] that it takes from then on.

    Examples
    --------
    >>> gap = Memoryless(10.0)
    >>> abs(hidden(gap, 0.0, 20.0) - hidden_if_partial(2.0)) < 1e-4
    True
    >>> round(hidden(gap, 10.0, 20.0) / hidden(gap, 0.0, 20.0), 6) == round(math.exp(-1), 6)
    True
    """
    if math.isinf(wait_s) or math.isinf(take_s):
        return 0.0
    if take_s <= 0:
        return 1 - gap.cdf(wait_s)
    step_s = take_s / _SLICES
    return sum(1 - gap.cdf(wait_s + (index + 0.5) * step_s) for index in range(_SLICES)) / _SLICES


# -- thresholds ------------------------------------------------------------------------------------


def load_threshold(demand_ratio: float, displaced: float) -> float:
    """Return p_th = rho_0 + v: above it prefetching shortens the mean access time of a link that all share alike.

    Examples
    --------
    >>> load_threshold(0.5, 0.1)
    0.6
    """
    return demand_ratio + displaced


def price_in_transfers(price_s_per_byte: float, rate_bps: float, demand_ratio: float) -> float:
    """Return kappa = mu B (1 - rho_0)^2: the price of a wasted byte over what it takes to send one, under load.

    Examples
    --------
    >>> price_in_transfers(1e-6, 8e6, 0.5)
    0.25
    """
    return price_s_per_byte * rate_bps / BITS_PER_BYTE * (1 - demand_ratio) ** 2


def shared_threshold(demand_ratio: float, kappa: float) -> float:
    """Return p* = (rho_0 + kappa) / (1 + kappa) for a link that all share alike, where nothing is displaced.

    Examples
    --------
    >>> shared_threshold(0.5, 0.0), shared_threshold(0.5, 0.25), shared_threshold(0.5, math.inf)
    (0.5, 0.6, 1.0)
    """
    return 1.0 if math.isinf(kappa) else (demand_ratio + kappa) / (1 + kappa)


def priority_threshold(gain_s: float, displaced: float, waste_s: float) -> float:
    """Return p* = (v g + mu S) / (g + mu S) where demand goes first; 0 where nothing is lost.

    Parameters
    ----------
    waste_s : [s] mu S, the price of all its bytes.

    Examples
    --------
    >>> priority_threshold(3.0, 0.0, 1.0), priority_threshold(1.0, 0.2, 0.0), priority_threshold(0.0, 0.2, 0.0)
    (0.25, 0.2, 0.0)
    """
    whole = gain_s + waste_s
    return (displaced * gain_s + waste_s) / whole if whole > 0 else 0.0


def utility_s(p: float, phi: float, gain_s: float, displaced: float, waste_s: float) -> float:
    """Return [s] U = p g phi - v g - mu S (1 - p): expected seconds won, less those lost.

    At phi = 1 it is 0 at the threshold under priority.

    Examples
    --------
    >>> utility_s(0.5, 1.0, 4.0, 0.1, 1.0)
    1.1
    >>> abs(utility_s(priority_threshold(4.0, 0.1, 1.0), 1.0, 4.0, 0.1, 1.0)) < 1e-12
    True
    """
    return p * gain_s * phi - displaced * gain_s - waste_s * (1 - p)


def ceiling(hit_ratio: float) -> float:
    """Return 1 / (1 - h): no more often does the mean time to first token shrink, however well hits go.

    Examples
    --------
    >>> round(ceiling(0.8), 12), ceiling(1.0)
    (5.0, inf)
    """
    return 1 / (1 - hit_ratio) if hit_ratio < 1 else math.inf


# -- several at once -------------------------------------------------------------------------------


def fitting(candidates: Iterable[Candidate], budget: float) -> list[Candidate]:
    """Return the candidates of most value for what they take that fit a budget together, in this order.

    It is the best order where things can be cut; else it is within one item of the best (Dantzig, "Discrete variable
    extremum problems", Operations Research 5(2), 1957). What takes nothing always fits; what does not fit is passed
    over for what does.

    Examples
    --------
    >>> [c.item for c in fitting([Candidate(6, 4, 0), Candidate(5, 2, 1), Candidate(2, 2, 2)], 6)]
    [1, 0]
    """
    chosen, left = [], budget
    for candidate in sorted(candidates, key=_by_density):
        if candidate.size <= left:
            chosen.append(candidate)
            left -= candidate.size
    return chosen


def _by_density(candidate: Candidate) -> tuple[float, Item]:
    value, size, item = candidate
    return (-value / size if size else -math.inf), item
