"""Worlds small enough to compute by hand: a sender, a receiver, and a link on which a block takes one second.

Unless a test says otherwise messages take 0.1 s and fill nothing, GPUs take no time, and there is room for all.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from simkv import simulation
from simkv.build import World, build
from simkv.results import RunResult
from simkv.scenario import Scenario, from_text

TOKEN_BYTES = 12_288  # Qwen2.5-0.5B
BLOCK_BYTES = 16 * TOKEN_BYTES
CLOSE = {"rel": 0, "abs": 1e-9}

SCENARIO = """
simkv: 1
name: little
model: Qwen2.5-0.5B
seed: {seed}
replications: 1
workload: {{trace: {trace}, composition: {composition}{workload}}}
servers:
{sender}
  receiver: {{count: {count}, {source}gpu: {gpu}, engine: {{speculative_step: {step}}},
              buffers: {{hbm: {{size: {room} B}}}}}}
{links}
policies: {{prefetch: {prefetch}, acquisition: {acquisition}, predictor: {predictor}, eviction: {eviction},
           routing: {routing}, initiator: {initiator}, timing: {timing}, codec: {codec}}}
run: {{control_message: {control}{horizon}}}
{arms}
"""
LINKS = """
links:
  down: {{from: sender, to: receiver, delay: {delay}, capacity: {down}, transport: ideal{committed}}}
  up: {{from: receiver, to: sender, delay: {delay}, capacity: {up}, transport: ideal}}
"""
FREE = "{name: fixed}"


def turn(*chunks: int, new: int = 1, answer: int = 1, think: float = 0.0) -> dict[str, Any]:
    """Return a turn that asks chunks."""
    return {"chunks": list(chunks), **_lengths(new, answer, think)}


def run_turn(*runs: tuple[int, int], new: int = 1, answer: int = 1, think: float = 0.0) -> dict[str, Any]:
    """Return a turn whose prompt is runs of blocks."""
    return {"block_runs": [list(run) for run in runs], **_lengths(new, answer, think)}


def _lengths(new: int, answer: int, think: float) -> dict[str, Any]:
    return {"new_tokens": new, "answer_tokens": answer, "think_s": think, "gap_kind": "human"}


def session(
    *turns: dict[str, Any], chunks: Sequence[int] = (), start: float | None = 0.0, name: str = "a", **more: Any
) -> dict[str, Any]:
    """Return one line of a trace."""
    return {"session_id": name, "start_s": start, "chunk_tokens": list(chunks), "turns": list(turns)} | more


def write_trace(
    path: Path, sessions: Sequence[dict[str, Any]], layout: str | None = "independent", **more: Any
) -> Path:
    """Write a trace of sessions."""
    header = {"format": "simkv.sessions", "version": 1, "block_tokens": 16, "layout": layout, "provenance": {}}
    lines = [header | {"block_scope": "session"} | more, *sessions]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def scenario(folder: Path, *sessions: dict[str, Any], layout: str | None = "independent", **told: Any) -> Scenario:
    """Return a scenario of one arm; `header` changes the trace's header, other keywords what SCENARIO names."""
    trace = write_trace(folder / "trace.jsonl", sessions, layout, **told.pop("header", {}))
    sender_gpu = told.pop("sender_gpu", FREE)
    sender_blocks, receiver_blocks = told.pop("sender_blocks", 10_000), told.pop("receiver_blocks", 10_000)
    gpu = f"gpu: {sender_gpu}, engine: {{speculative_step: {told.get('step', 16)}}}, " if sender_gpu else ""
    values = {
        **{"seed": 1, "trace": trace, "composition": "naive", "workload": "", "count": 1, "gpu": FREE, "step": 16},
        **{"prefetch": "none", "acquisition": "fetch", "predictor": "markov", "eviction": "lru", "routing": "sticky"},
        **{"initiator": "push", "timing": "semi-markov", "codec": "identity", "arms": ""},
        **{"control": "0 B", "horizon": "", "delay": "100 ms", "committed": "", "source": "source: sender, "},
        **{"down": "1572.864 kbit/s", "up": "1572.864 kbit/s", "room": receiver_blocks * BLOCK_BYTES},
        "sender": f"  sender: {{{gpu}buffers: {{hbm: {{size: {sender_blocks * BLOCK_BYTES} B}}}}}}",
        **told,
    }
    values.setdefault("links", LINKS.format(**values) if values["source"] else "")
    return from_text(SCENARIO.format(**values), folder / "little.yaml")


@dataclass
class Played:
    """One run: its result, and its live objects as they were at the end."""

    result: RunResult
    world: World

    def column(self, name: str) -> list[Any]:
        """Return a column of the request table."""
        return self.result.requests[name]

    @property
    def units(self) -> dict[str, int]:
        """Return speculated units by outcome, zeros left out."""
        return {outcome: count for outcome, count in self.result.speculative_units.items() if count}

    @property
    def wire_bytes(self) -> dict[str, int]:
        """Return [bytes] of speculation by outcome, zeros left out."""
        return {outcome: count for outcome, count in self.result.speculative_bytes.items() if count}

    def transfers(self, traffic: str, link: str = "down") -> list[tuple[float, float, int, str]]:
        """Return (start_s, end_s, wire bytes, outcome) of what a link carried in a class."""
        names = ("link", "class", "start_s", "end_s", "wire_bytes", "outcome")
        rows = zip(*(self.result.transfers[name] for name in names), strict=True)
        return [row[2:] for row in rows if row[:2] == (link, traffic)]


def play(played: Scenario, *at: tuple[float, Callable[[World], object]]) -> Played:
    """Run a scenario; `at` are things to do with its live objects at given times [s]."""
    worlds: list[World] = []

    def building(*told: Any) -> World:
        world = build(*told)
        for time_s, action in at:
            world.env.timeout(time_s).callbacks.append(lambda _, action=action: action(world))
        worlds.append(world)
        return world

    with mock.patch.object(simulation, "build", building):
        result = simulation.run(played, played.arms[0].name)
    return Played(result, worlds[0])


def little(folder: Path, *sessions: dict[str, Any], **told: Any) -> Played:
    """Make a scenario and run it."""
    return play(scenario(folder, *sessions, **told))
