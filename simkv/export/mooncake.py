"""The load of a run as a Mooncake trace: when each request came, how long it was, and what it shared with others.

For a real server: aiperf (`mooncake_trace`) and others replay it. A closed loop has its arrivals only once it was
simulated, so this is the load of one arm and replication, as an open loop. Form and block size are those of the FAST'25
release: a line a request, an id for each 512 tokens that stands for all before it, too; the last may be partial.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from typing import Any

from simkv import build, drawing
from simkv.errors import InputError
from simkv.export.chosen import one_arm, rows_of
from simkv.export.target import Choice
from simkv.kv.prefix import Content, Conversation, Prompt
from simkv.report.reading import SavedRun, SavedSweep
from simkv.request import Session
from simkv.units import MS_PER_S
from simkv.workload.readers.mooncake import BLOCK_TOKENS

#: Tokens that follow each other in some text: where they begin in it, and how many.
Stretch = tuple[int, int]


def make(saved: SavedRun | SavedSweep, choice: Choice) -> dict[str, bytes]:
    """Return the trace of one arm and replication."""
    run, arm = one_arm(saved, choice.arm, "a trace")
    replication = run.check_replication(choice.replication)
    lines = [json.dumps(line) for line in _lines(run, arm, replication)]
    return {f"{arm}.jsonl": "".join(f"{line}\n" for line in lines).encode()}


def _lines(run: SavedRun, arm: str, replication: int) -> Iterator[dict[str, Any]]:
    rows = run.requests
    rows = rows[(rows["arm"] == arm) & (rows["replication"] == replication)]
    prompts = _prompts(run, arm, replication)
    ids = _Ids()
    for row in rows_of(rows.sort_values(["arrival_s", "request_id"])):
        yield {
            "timestamp": round(row["arrival_s"] * MS_PER_S),
            "input_length": row["input_tokens"],
            "output_length": row["output_tokens"],
            "hash_ids": ids.of(prompts[row["session"], row["turn"]]),
        }


def _prompts(run: SavedRun, arm: str, replication: int) -> dict[tuple[int, int], list[Stretch]]:
    """Return the text of each prompt, by draw and turn."""
    scenario, seed = run.scenario.for_arm(arm), int(run.manifest["seed"])
    traffic = build.read_traffic(scenario, replication, seed)
    content = Content(traffic.header)
    if traffic.stream is not None:
        sessions: Iterator[Session] = traffic.stream.sessions()
    else:
        sessions = (draw.session for draw in drawing.draws_of(scenario, traffic.sessions(), replication, seed))
    tails = count(1)
    found = {}
    for draw, session in enumerate(sessions):
        if any(turn.edits for turn in session.turns):
            raise InputError(
                f"session {session.session_id} edits its document, and a Mooncake trace cannot name what is left of it",
                str(run.path),
            )
        conversation = Conversation(session, draw, content)
        for turn in range(len(session.turns)):
            found[draw, turn] = _text(conversation, turn, conversation.prompt(turn), content.block_tokens, tails)
    return found


def _text(
    conversation: Conversation, turn: int, prompt: Prompt, block_tokens: int, tails: Iterator[int]
) -> list[Stretch]:
    """Return where the tokens of a prompt lie, front to back; equal places are equal text."""
    told = [(part.run.start * block_tokens, part.tokens) for part in prompt.parts]
    if conversation.chunks:
        told.append((prompt.own.start * block_tokens, prompt.own_prompt_tokens))
    elif named := conversation.last_block(conversation.session.turns[turn]):
        told.append((named[0].start * block_tokens, prompt.own_prompt_tokens))
    else:  # new tokens of a trace of block runs are nobody else's
        told.append((-next(tails) << 40, prompt.own_prompt_tokens))
    return [stretch for stretch in told if stretch[1]]


class _Ids:
    """Names of 512 tokens behind what is before them, in order of first use."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, tuple[Stretch, ...]], int] = {}

    def of(self, text: list[Stretch]) -> list[int]:
        """Return the ids of a prompt."""
        found: list[int] = []
        before = -1
        for window in _windows(text):
            before = self._known.setdefault((before, window), len(self._known))
            found.append(before)
        return found


def _windows(text: list[Stretch]) -> Iterator[tuple[Stretch, ...]]:
    """Yield each 512 tokens of a text, the last as many as are left.

    Examples
    --------
    >>> list(_windows([(0, 600), (600, 10), (9000, 500)]))
    [((0, 512),), ((512, 98), (9000, 414)), ((9414, 86),)]
    """
    window: list[Stretch] = []
    room = BLOCK_TOKENS
    for start, tokens in text:
        at, left = start, tokens
        while left:
            taken = min(room, left)
            if window and sum(window[-1]) == at:
                window[-1] = (window[-1][0], window[-1][1] + taken)
            else:
                window.append((at, taken))
            at, left, room = at + taken, left - taken, room - taken
            if not room:
                yield tuple(window)
                window, room = [], BLOCK_TOKENS
    if window:
        yield tuple(window)
