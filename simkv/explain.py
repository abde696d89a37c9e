"""Why did this turn wait so long? One turn of a saved comparison, told arm by arm.

Equal scenario and seed give equal bytes, so nothing of this is recorded when a comparison runs: one replication is
played again with a tracer, and must give the request that the results folder holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from simkv import again
from simkv.compare import describe
from simkv.errors import InputError
from simkv.kv.block import Run
from simkv.predictors.question import Item
from simkv.registry import did_you_mean
from simkv.report.reading import SavedRun, read_run
from simkv.results import SCHEMA_VERSION, UNIT_COLUMNS
from simkv.tracing import DecisionTrace, PartLook, Tracer, TurnTrace
from simkv.waiting import JobTrace, waits


def explain(folder: Path, session: str, turn: int, arms: Sequence[str] = (), replication: int = 0) -> dict[str, Any]:
    """Return the story of one turn in several arms, as plain lists, dicts, strings and numbers.

    Parameters
    ----------
    folder : as `simkv run` saved it.
    session : its draw index (column `session`), or its `session_id` where only one has it.
    turn : from 0.
    arms : names; none = the baseline and the fastest other arm that a real system could be.
    replication : which one.

    Raises
    ------
    InputError : no such folder, arm, replication, session or turn; or the folder's results cannot be played again.

    Examples
    --------
    >>> explain(Path("nowhere"), "0", 0)
    Traceback (most recent call last):
    simkv.errors.InputError: nowhere: no such folder
    """
    read = read_run(folder)
    names = _chosen(read, list(arms))
    read.check_replication(replication)
    stored = {name: again.stored(read, name, replication) for name in names}
    draw, row = _found(stored[names[0]], session, turn, str(folder))
    told = [_arm(read, name, stored[name], (draw, turn), replication) for name in names]
    return {
        "schema_version": SCHEMA_VERSION,
        "scenario": read.scenario.name,
        "seed": read.manifest["seed"],
        "replication": replication,
        "session": draw,
        "session_id": row["session_id"],
        "turn": turn,
        "arms": told,
    }


# -- the folder ------------------------------------------------------------------------------------


def _chosen(read: SavedRun, wanted: list[str]) -> list[str]:
    """Return the arms to tell of, in the order asked for."""
    if wanted:
        return list(dict.fromkeys(read.check_arm(name) for name in wanted))
    return again.telling(read)


def _info(read: SavedRun, name: str) -> dict[str, str]:
    info = describe(name, read.scenario.for_arm(name).policies)
    return {
        key: getattr(info, key) for key in ("name", "prefetch", "eviction", "predictor", "acquisition", "reference")
    }


def _found(rows: list[dict[str, Any]], session: str, turn: int, where: str) -> tuple[int, dict[str, Any]]:
    """Return the draw index of a session and the row of its turn."""
    by_draw: dict[int, str] = {row["session"]: row["session_id"] for row in rows}
    draws = [draw for draw, name in by_draw.items() if name == session]
    if session.isdecimal() and int(session) in by_draw:
        draws = [int(session)]
    if len(draws) > 1:
        told = ", ".join(map(str, draws[:10]))
        raise InputError(f"session {session!r} was drawn {len(draws)} times; want one of the draws {told}", where)
    if not draws:
        hint = did_you_mean(session, list(dict.fromkeys(by_draw.values())))
        last = max(by_draw, default=-1)
        raise InputError(f"unknown session {session!r}{hint}; want a session_id, or a draw from 0 to {last}", where)
    turns = {row["turn"]: row for row in rows if row["session"] == draws[0]}
    if turn not in turns:
        first, last = min(turns), max(turns)
        raise InputError(f"session {session!r} has no turn {turn}; want {first} to {last}", where)
    return draws[0], turns[turn]


# -- one arm ---------------------------------------------------------------------------------------


def _arm(
    read: SavedRun, name: str, stored: list[dict[str, Any]], which: tuple[int, int], replication: int
) -> dict[str, Any]:
    """Play one arm again and tell of the turn."""
    tracer = Tracer(*which)
    result = again.play(read, name, replication, stored, tracer.attach)
    row = next(row for row in again.rows(result) if (row["session"], row["turn"]) == which)
    assert tracer.told is not None
    return _info(read, name) | _story(row, tracer.told, tracer)


def _story(row: dict[str, Any], told: TurnTrace, tracer: Tracer) -> dict[str, Any]:
    first_s, last_s = row["first_token_s"], row["last_token_s"]
    return {
        "request": {
            name: row[name] for name in again.COLUMNS if name not in ("session", "session_id", "turn", *UNIT_COLUMNS)
        },
        "memory_s": told.memory_s,
        "asked_s": told.asked_s,
        "ready_s": told.ready_s,
        "units": {name: row[name] for name in UNIT_COLUMNS},
        "ttft_s": None if first_s is None else first_s - row["arrival_s"],
        "decode_s": None if last_s is None else last_s - first_s,
        "waits": [{**wait._asdict(), "seconds": wait.end_s - wait.start_s} for wait in waits(row, told)],
        "brought_by": told.brought_by if isinstance(told.brought_by, str) else _job(told.brought_by),
        "look_up": [_look(look) for look in told.looks],
        "promoted": [
            {"item": _item(_item_of(trace)), "kind": trace.job.kind, "was": was, "at_s": trace.promoted_s}
            for trace, was in told.promoted
        ],
        "transfers": list(_transfers(tracer, first_s)),
        "speculative_bytes": told.speculative_bytes,
        "decisions": [_decision(each) for each in tracer.decisions],
    }


def _look(look: PartLook) -> dict[str, Any]:
    counts = ("blocks", "resident", "arriving", "missing", "speculated")
    return {
        "item": _item(look.item),
        "new": look.fresh,
        **{name: getattr(look, name) for name in counts},
        "cause": look.cause,
    }


def _transfers(tracer: Tracer, until_s: float | None) -> Iterator[dict[str, Any]]:
    """Yield what was moved or made for the session up to the first token."""
    for trace in tracer.jobs.values():
        if until_s is None or trace.begun_s < until_s:
            yield _job(trace)


def _job(trace: JobTrace) -> dict[str, Any]:
    job, flow = trace.job, trace.job.flow
    sent = flow.wire_bytes_by_class if flow is not None else {}
    return {
        "item": _item(_item_of(trace)),
        "kind": job.kind,
        "speculative": job.unit is not None,
        "link": trace.link,
        "begun_s": trace.begun_s,
        "computing_s": trace.gpu_s,
        "computed_s": trace.computed_s,
        "sending_s": flow.start_s if flow is not None else None,
        "sent_s": flow.end_s if flow is not None else None,
        "arrived_s": trace.landed_s,
        "promoted_s": trace.promoted_s,
        "stopped_s": trace.stopped_s,
        "wire_bytes": {traffic.label: count for traffic, count in sent.items()},
        "outcome": job.unit.outcome if job.unit is not None else None,
    }


def _decision(told: DecisionTrace) -> dict[str, Any]:
    return {
        "at_s": told.at_s,
        "moment": told.moment,
        "saw": {name: _plain(value) for name, value in told.saw.items()},
        "decided": [{**each._asdict(), "item": _item(each.item)} for each in told.decided],
        "held": [_item(item) for item in told.held],
        "under_way": [_item(item) for item in told.under_way],
        "begun": [_item(_item_of(trace)) for trace in told.begun],
        "stopped": [_item(_item_of(trace)) for trace in told.stopped],
    }


def _item_of(trace: JobTrace) -> Item:
    return trace.job.chain[-1].item if trace.job.chain else trace.job.runs[0]


def _item(item: Item) -> int | list[int]:
    """Return an item as JSON has it: a chunk's index, or [start, count] of a run."""
    return item if isinstance(item, int) else [*item]


def _plain(value: Any) -> Any:
    if isinstance(value, Run | tuple | list):
        return [_plain(each) for each in value]
    return value
