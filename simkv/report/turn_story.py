"""The story of one turn as text: when what happened, what it waited for, and what had been decided before."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

from simkv.report.layout import UNDEFINED, WIDTH, grid
from simkv.units import format_bps, format_bytes, format_seconds

#: Why a part was missing, in words.
_CAUSES = {
    "late": "late: speculated, but still under way",
    "evicted": "evicted: it had been here",
    "wrong": "wrong: something else was speculated",
    "cancelled": "cancelled: its speculation was stopped",
    "refused": "refused: its speculation found no room",
    "uncreated": "uncreated: the session had asked for nothing before",
    "unpredicted": "unpredicted: nothing was speculated",
}


def to_text(told: dict[str, Any], causes: dict[str, str]) -> str:
    """Return what `explain.explain` found out, for a terminal.

    Parameters
    ----------
    causes : what a turn may wait for, in words.
    """
    where = f"session {told['session']} ({told['session_id']}), turn {told['turn']}"
    lines = [f"{told['scenario']}: {where}, replication {told['replication']}, seed {told['seed']}"]
    for arm in told["arms"]:
        lines += ["", *_arm(arm, causes)]
    return "\n".join(lines) + "\n"


def _arm(arm: dict[str, Any], causes: dict[str, str]) -> Iterator[str]:
    arrival_s = arm["request"]["arrival_s"]
    ended = UNDEFINED if arm["ttft_s"] is None else f"first token after {_s(arm['ttft_s'])}"
    mark = f" [{arm['reference']}]" if arm["reference"] else ""
    yield f"== {arm['name']}{mark}: {ended}, {arm['request']['status']}"
    events = sorted(_events(arm), key=lambda event: event[0])
    yield from grid(
        {
            "what": [what for _, what in events],
            "at s": [_at(at) for at, _ in events],
            "after s": _since(events, arrival_s),
        }
    )
    yield ""
    yield from _found(arm["look_up"])
    yield ""
    yield from _waited(arm, causes)
    if arm["transfers"]:
        yield ""
        yield from _moved(arm["transfers"])
    if arm["speculative_bytes"]:
        yield "speculative bytes of the session up to the first token: " + _named_bytes(arm["speculative_bytes"])
    for decision in arm["decisions"]:
        yield from textwrap.wrap(_decision(decision), WIDTH, subsequent_indent="    ", break_on_hyphens=False)


def _events(arm: dict[str, Any]) -> Iterator[tuple[float, str]]:
    request = arm["request"]
    told = {
        f"arrives at {request['server']}, {request['input_tokens']} tokens": request["arrival_s"],
        "has its memory": arm["memory_s"] if arm["memory_s"] != request["arrival_s"] else None,
        "its question reaches the source": arm["asked_s"],
        "has all that it needs": arm["ready_s"],
        f"prefill begins, {request['cached_tokens']} tokens cached": request["scheduled_s"],
        "first token": request["first_token_s"],
        f"last token, of {request['output_tokens']}": request["last_token_s"],
    }
    yield from ((at_s, what) for what, at_s in told.items() if at_s is not None)
    for each in arm["promoted"]:
        yield each["at_s"], f"promoted: item {_item(each['item'])}, {each['was']}"


def _found(looks: list[dict[str, Any]]) -> Iterator[str]:
    """Tell each part; the parts of a long prompt that are simply here stand in one line."""
    plain = [look for look in looks if look["resident"] == look["blocks"] and not look["speculated"]]
    if plain:
        yield f"look-up: {sum(look['blocks'] for look in plain)} blocks here by earlier demand"
    for look in looks:
        if look in plain:
            continue
        counts = {name: look[name] for name in ("resident", "arriving", "missing") if look[name]}
        told = ", ".join(f"{count} {name}" for name, count in counts.items())
        if look["new"]:
            told += "; new with this turn"
        elif look["cause"]:
            told += f"; {_CAUSES[look['cause']]}"
        elif look["speculated"]:
            told += f"; {look['speculated']} of them brought by speculation"
        yield f"look-up: item {_item(look['item'])}, {look['blocks']} blocks: {told}"


def _waited(arm: dict[str, Any], causes: dict[str, str]) -> list[str]:
    waits = arm["waits"]
    return grid(
        {
            "waited": [causes[wait["cause"]] for wait in waits] + ["time to first token"],
            "s": [_at(wait["seconds"]) for wait in waits] + [_at(arm["ttft_s"])],
        }
    )


def _moved(transfers: list[dict[str, Any]]) -> list[str]:
    times = {
        "begun": "begun_s",
        "computed": "computed_s",
        "sending": "sending_s",
        "sent": "sent_s",
        "here": "arrived_s",
    }
    classes = ("demand", "speculative")
    return grid(
        {
            "moved or made": [f"{each['kind']} {_item(each['item'])}" for each in transfers],
            "link": [each["link"] for each in transfers],
            **{head: [_at(each[name]) for each in transfers] for head, name in times.items()},
            **{name: [format_bytes(each["wire_bytes"].get(name, 0)) for each in transfers] for name in classes},
            "became": [each["outcome"] or UNDEFINED for each in transfers],
        }
    )


def _decision(told: dict[str, Any]) -> str:
    """Return one decision: moment, what was seen, what was decided, what came of it."""
    saw = told["saw"]
    seen = [f"asked {_items(saw['asked'])}"]
    if saw["hinted"]:
        seen.append(f"hinted {_items(saw['hinted'])}")
    if "probabilities" in saw:
        seen.append("P " + ", ".join(f"{_item(item)}: {p:.3g}" for item, p in saw["probabilities"]))
    if saw.get("rate_bps") is not None:
        seen.append(f"link {format_bps(saw['rate_bps'])}")
    if "demand_ratio" in saw:
        seen.append(f"its load {saw['demand_ratio']:.3g}")
    if "backlog_bytes" in saw:
        seen.append(f"backlog {format_bytes(saw['backlog_bytes'])}")
    if "until_next_s" in saw:
        seen.append(f"next query in {_about(saw['until_next_s'])}")
    came = [f"{name.replace('_', ' ')} {_items(told[name])}" for name in _RESULTS if told[name]]
    wanted = ", ".join(map(_wish, told["decided"])) or "nothing"
    return f"decision at {_at(told['at_s'])} s ({told['moment']}): saw {'; '.join(seen)}; wants {wanted}" + "".join(
        f"; {each}" for each in came
    )


_RESULTS = ("held", "under_way", "begun", "stopped")


def _wish(told: dict[str, Any]) -> str:
    until = "" if told["deadline_s"] is None else f" by {_at(told['deadline_s'])} s"
    return f"{told['kind']} {_item(told['item'])}{until}"


def _named_bytes(spent: dict[str, int]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {format_bytes(count)}" for name, count in spent.items())


def _items(items: list[Any]) -> str:
    return ", ".join(map(_item, items)) or UNDEFINED


def _item(item: Any) -> str:
    return str(item) if isinstance(item, int) else f"{item[0]}+{item[1]}"


def _about(deciles_s: list[float] | None) -> str:
    """Return the median and the range of eight tenths of a time that is not known for sure."""
    if deciles_s is None:
        return UNDEFINED
    low_s, middle_s, high_s = map(_s, deciles_s)
    return middle_s if low_s == high_s else f"{middle_s} [{low_s}, {high_s}]"


def _s(value_s: float) -> str:
    return format_seconds(value_s)


def _at(value_s: float | None) -> str:
    return UNDEFINED if value_s is None else f"{value_s:.3f}"


def _since(events: list[tuple[float, str]], arrival_s: float) -> list[str]:
    return [f"+{at - arrival_s:.3f}" for at, _ in events]
