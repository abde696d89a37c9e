"""The figures of one scenario: each a number, and a line that says what it means here."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean, median

from simkv import build
from simkv.errors import InputError
from simkv.feasibility.arithmetic import break_even_bps, ceiling, chunk_load
from simkv.feasibility.loads import (
    Busy,
    Way,
    down_load,
    helped_time,
    helped_turns,
    serving_busy,
    source_busy,
    up_load,
    ways_of,
)
from simkv.feasibility.route import Route, routes
from simkv.feasibility.setting import Setting
from simkv.scenario import Scenario
from simkv.units import format_bps, format_bytes, format_seconds

OVERLOAD, SURPLUS = 0.9, 0.05
"""Loads beyond which a comparison tells little: at 0.9 a queue is about ten services long (M/G/1: 1 / (1 - load));
below 0.05 one request in twenty meets another."""

ALIKE = 0.005  # what would read as "by 1 x"
LITTLE_TO_GAIN = 1.05  # a ceiling below it: even perfect prefetch is lost in the noise between replications
HOPELESS = 10.0  # x of semantics H4 runs from 0.1 to 10; above, no chunk is ever hidden


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of semantics A2.

    Attributes
    ----------
    name : as the glossary has it.
    of : the server, link or model that it belongs to; "" = the whole scenario.
    value, unit : None = without bound, or unknown because the traffic has no rate.
    text : one line for people.
    warning : because of it, a comparison will tell little.
    """

    name: str
    of: str
    value: float | None
    unit: str
    text: str
    warning: bool = False


def check_arms(scenario: Scenario) -> None:
    """Build every arm once, which finds what no key alone can show: policies and buffers that do not fit the trace.

    Raises
    ------
    InputError : an arm cannot be built.
    """
    for arm in scenario.arms:
        try:
            build.build(scenario.for_arm(arm.name), 0, scenario.seed)
        except InputError as error:
            raise InputError(f"arm {arm.name!r}: {error.message}", error.where) from None


def figures(scenario: Scenario) -> list[Figure]:
    """Return what can be known of a scenario before any run.

    Looks at no more than 200 sessions and 2,000 requests of the first replication.

    Raises
    ------
    InputError : the trace or a series cannot be read.

    Examples
    --------
    >>> from pathlib import Path
    >>> from simkv.scenario import from_text
    >>> text = '''
    ... {simkv: 1, name: alone, model: Qwen2.5-3B, seed: 1,
    ...  workload: {generator: sequential-reading, sessions: 20, session_rate: 2 /min},
    ...  servers: {gpu: {gpu: analytic-l40s, buffers: {hbm: {size: 16 GiB}}}}}'''
    >>> found = figures(from_text(text, Path("alone.yaml")))
    >>> [(figure.name, figure.of) for figure in found]
    [('KV bytes per token', 'Qwen2.5-3B'), ('offered load', 'gpu')]
    """
    setting = Setting(scenario)
    found = [_kv_size(setting)]
    ways = routes(setting)
    for route in ways:
        found += _break_evens(setting, route)
    for route in ways:
        found += _hiding(setting, route)
    found += _link_loads(setting)
    found += _gpu_loads(setting)
    if ways:
        found += [_unhindered(setting), *_ceilings(setting)]
    return found


def _kv_size(setting: Setting) -> Figure:
    kv_bytes = setting.shape.kv_bytes_per_token
    times = kv_bytes / setting.text_bytes(1)
    text = f"a token of {setting.shape.name} is {kv_bytes:,} bytes of KV, {times:,.0f} times its text"
    return Figure("KV bytes per token", setting.shape.name, kv_bytes, "bytes", text)


# -- is moving KV worth it? ------------------------------------------------------------------------


def _break_evens(setting: Setting, route: Route) -> Iterator[Figure]:
    """Yield break-even bandwidths of KV against text and, where the text is here already, against recompute."""
    k_bytes, rate = setting.shape.kv_bytes_per_token, route.server_tokens_per_s
    text_bytes = 0 if route.blend_ratio else setting.text_bytes(1)
    name = "break-even bandwidth of KV against text"

    stored_bps = break_even_bps(k_bytes, rate, text_bytes_per_token=text_bytes, blend_ratio=route.blend_ratio)
    yield _break_even(
        route, name, stored_bps, f"once {route.source} has it", "sending text", (route.kv_s, route.text_s)
    )
    if math.isfinite(route.source_tokens_per_s):
        made_bps = break_even_bps(
            k_bytes,
            rate,
            text_bytes_per_token=text_bytes,
            source_tokens_per_s=route.source_tokens_per_s,
            blend_ratio=route.blend_ratio,
        )
        made_s, when = route.compute_s + route.kv_s, f"if {route.source} must compute it first"
        yield _break_even(route, f"{name}, computed first", made_bps, when, "sending text", (made_s, route.text_s))

    own_bps = break_even_bps(k_bytes, rate, blend_ratio=route.blend_ratio)
    own_s, when = route.unit_tokens / rate, f"where {route.server} has the text"
    name = "break-even bandwidth of KV against recompute"
    yield _break_even(route, name, own_bps, when, "recomputing it", (route.kv_s, own_s))


def _break_even(
    route: Route, name: str, value_bps: float, when: str, other: str, times_s: tuple[float, float]
) -> Figure:
    kv_s, other_s = times_s
    beats = f"is as fast as {other}"
    if kv_s < other_s * (1 - ALIKE):
        beats = f"beats {other} by {_times(other_s, kv_s)}"
    elif kv_s > other_s * (1 + ALIKE):
        beats = f"loses to {other} by {_times(kv_s, other_s)}"
    needs = f"break-even {format_bps(value_bps)}"
    if not math.isfinite(value_bps):
        needs = f"no link is fast enough, as {route.source} computes no faster than {route.server} prefills"
    carries = format_bps(route.down.payload_bps(route.kv_bytes))
    text = (
        f"{route.server}: {when}, moving KV {beats}: {format_seconds(kv_s)} against {format_seconds(other_s)} for"
        f" {route.unit}; {needs}, {route.down.name} carries {carries} of payload on average"
    )
    return Figure(name, route.server, _finite(value_bps), "bit/s", text)


# -- can it be hidden? -----------------------------------------------------------------------------


def _hiding(setting: Setting, route: Route) -> Iterator[Figure]:
    """Yield the think time that hides what moves at once, and x of semantics H4."""
    needed_s, text_s = route.hiding_s, route.text_s + route.delays_s
    pieces = [
        f"{format_seconds(route.compute_s)} to compute" if route.compute_s else "",
        f"{format_seconds(route.down.transfer_s(route.kv_bytes))} to send",
        f"{format_seconds(route.delays_s)} of delays" if route.delays_s else "",
    ]
    text = (
        f"{route.server}: hiding {route.unit} ({format_bytes(route.kv_bytes)}) takes {format_seconds(needed_s)}"
        f" ({', '.join(filter(None, pieces))}); as text {format_seconds(text_s)}"
    )
    gaps = [ask.gap_s for ask in setting.asks_of(route.server) if ask.gap_s is not None]
    name = "think time needed to hide one chunk"
    if not gaps:
        yield Figure(name, route.server, needed_s, "s", f"{text}; no turn here follows another, so nothing hides it")
        return
    text += (
        f". Answer and think time last {format_seconds(median(gaps))} (median): enough in {_share(gaps, needed_s)} of"
        f" turns, for text in {_share(gaps, text_s)}"
    )
    yield Figure(name, route.server, needed_s, "s", text)
    yield _x(setting, route, median(gaps))


def _share(gaps: list[float], needed_s: float) -> str:
    return f"{sum(1 for gap_s in gaps if gap_s >= needed_s) / len(gaps):.0%}"


def _x(setting: Setting, route: Route, gap_s: float) -> Figure:
    load = down_load(setting, route.server, route.down, "kv") or 0.0
    spare_bps = route.down.capacity_bps * max(0.0, 1.0 - load)
    x = chunk_load(route.down.wire_bytes(route.kv_bytes), spare_bps, gap_s)
    amount = f"x = {x:.2g}" if math.isfinite(x) else "x is without bound"
    text = (
        f"{route.server}: {amount}: its bytes over what {route.down.name} can carry beside demand"
        f" ({format_bps(spare_bps)}) in the median answer and think time; 1 just fits, a study covers 0.1 to 10"
    )
    if x > HOPELESS:
        text += "; no prefetch is in time, so all look alike"
    return Figure("x of one chunk", route.server, _finite(x), "", text, warning=x > HOPELESS)


# -- is anything overloaded? -----------------------------------------------------------------------


def _link_loads(setting: Setting) -> Iterator[Figure]:
    """Yield the load of every link that carries KV, and name those that will carry nothing."""
    servers = setting.scenario.servers
    ways = ways_of(setting)
    used = set()
    for name, spec in servers.items():
        if spec.source is None:
            continue
        down, up = setting.wire(spec.source, name), setting.wire(name, spec.source)
        used |= {down.name, up.name}
        yield _down_figure(down.name, {way: down_load(setting, name, down, way) for way in ways}, ways)
        if spec.source not in setting.gpus:
            load = up_load(setting, name, up)
            text = (
                f"{up.name}: new KV written through to {spec.source} (background) needs {_load(load)} of its capacity"
            )
            late = "; overload: the pool falls behind" if _over(load) else ""
            yield Figure("offered load", up.name, load, "", text + late, warning=_over(load))
    for name, link in setting.scenario.links.items():
        if name not in used:
            text = f"{name}: will carry nothing: neither {link.from_} nor {link.to} is the other's source"
            yield Figure("offered load", name, 0.0, "", text, warning=True)


def _down_figure(name: str, loads: dict[Way, float | None], ways: dict[Way, list[str]]) -> Figure:
    load = loads[min(loads)] if loads else None  # of what is missing, where there is such an arm
    if load is None:
        return Figure("offered load", name, None, "", f"{name}: load unknown, the traffic has no rate")
    words = {"kv": "demanded KV", "resent": "KV sent again each turn", "text": "demanded text"}
    said = ", ".join(f"{words[way]} needs {_load(share)}" for way, share in sorted(loads.items()))
    text = f"{name}: {said} of its mean capacity"
    if any(_over(share) for share in loads.values()):
        over = [arm for way, share in loads.items() if _over(share) for arm in ways[way]]
        text += f"; overload: queues decide, policies look alike ({', '.join(over)})"
        return Figure("offered load", name, load, "", text, warning=True)
    if load < SURPLUS:
        text += "; surplus: transfers hardly ever meet, so sharing and priorities make no difference"
        return Figure("offered load", name, load, "", text, warning=True)
    return Figure("offered load", name, load, "", text)


def _gpu_loads(setting: Setting) -> Iterator[Figure]:
    servers = setting.scenario.servers
    sources = {spec.source for spec in servers.values()}
    ways = ways_of(setting)
    for name, spec in servers.items():
        if name not in setting.gpus:
            continue
        each = f"{name} (each of {spec.count})" if spec.count > 1 else name
        if name in sources:
            busy = source_busy(setting, name)
            yield _gpu_figure(name, f"{each}: busy computing KV for others", {"kv": busy}, serves=False)
        else:
            found: dict[Way, Busy | None] = {
                "text" if way == "text" else "kv": serving_busy(setting, name, way) for way in ways
            }
            yield _gpu_figure(name, f"{each}: busy serving", found, serves=True)


def _gpu_figure(name: str, title: str, found: dict[Way, Busy | None], *, serves: bool) -> Figure:
    known = {way: busy for way, busy in found.items() if busy is not None}
    if not known:
        return Figure("offered load", name, None, "", f"{title}: unknown, the traffic has no rate")
    words = {"kv": " where KV is fetched", "text": " where text is"}
    said = ", ".join(_span(busy) + (words[way] if len(known) > 1 else "") for way, busy in sorted(known.items()))
    value = known[min(known)].packed  # of "kv", where there is such an arm
    text = f"{title} {said}, as shares of time"
    if any(_over(busy.packed) for busy in known.values()):
        return Figure("offered load", name, value, "", f"{text}; overload: queues decide, policies look alike", True)
    if serves and all(busy.alone < SURPLUS for busy in known.values()):
        return Figure("offered load", name, value, "", f"{text}; surplus: requests hardly ever share a step", True)
    return Figure("offered load", name, value, "", text)


def _span(busy: Busy) -> str:
    packed, alone = _load(busy.packed), _load(busy.alone)
    return alone if packed == alone else f"{packed} (full steps) to {alone} (one request at a time)"


# -- what is there to gain? ------------------------------------------------------------------------


def _unhindered(setting: Setting) -> Figure:
    """Return mean time to first token while nobody queues: KV fetched, text fetched, all KV here."""
    asks = setting.sample.asks
    kv_s = fmean(ask.wait_s + ask.prefill_s for ask in asks)
    text_s = fmean(ask.text_wait_s + ask.text_prefill_s for ask in asks)
    own_s = fmean(ask.prefill_s for ask in asks)
    text = (
        f"while nobody queues and nothing is prefetched, mean time to first token is {format_seconds(kv_s)} where KV is"
        f" fetched, {format_seconds(text_s)} where text is, {format_seconds(own_s)} with all KV here"
    )
    return Figure("time to first token, nobody queues", "", kv_s, "s", text)


def _ceilings(setting: Setting) -> Iterator[Figure]:
    """Yield how much prefetch could gain, counted in turns and in time."""
    turns, unbounded = helped_turns(setting.sample.asks), helped_turns(setting.unbounded.asks)
    bound = ceiling(turns)
    kept = "" if f"{turns:.0%}" == f"{unbounded:.0%}" else f" ({unbounded:.0%} if buffers never evicted)"
    text = (
        f"{turns:.0%} of turns{kept} need KV that is not here and could have been pushed: were all turns alike and"
        f" hits free, N <= 1 / (1 - h) = {_amount(bound)}"
    )
    yield Figure("ceiling of N", "", _finite(bound), "", text)

    share = helped_time(setting.sample.asks)
    bound = ceiling(share)
    text = (
        f"of all time to first token, {share:.0%} is those turns' wait for KV: N <= {_amount(bound)} while nobody"
        " queues; queues that prefetch shortens come on top"
    )
    little = bound < LITTLE_TO_GAIN
    if little:
        text += "; surplus: next to nothing is left for prefetch to gain, so its policies look alike"
    yield Figure("ceiling of N, by time", "", _finite(bound), "", text, warning=little)


def _load(load: float | None) -> str:
    return "an unknown share" if load is None else f"{load:.2g}" if load >= 0.001 else "under 0.001"


def _over(load: float | None) -> bool:
    return load is not None and load > OVERLOAD


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _amount(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else "without bound"


def _times(more: float, less: float) -> str:
    return f"{more / less:.3g} x" if less > 0 else "any factor"
