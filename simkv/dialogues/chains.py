"""Which chain of blocks does each prompt continue? The rule of `simkv.history`, for a whole session at once."""

from __future__ import annotations

from collections.abc import Sequence

from simkv.history import NEW_CHAIN, Remembered
from simkv.kv.block import Run
from simkv.kv.prefix import Content, Conversation
from simkv.request import Session, TraceHeader, Turn

_BLOCK_TOKENS = 16  # any: nothing here depends on how long a block is


def named_chains(prompts: Sequence[tuple[Run, ...]]) -> list[str | None]:
    """Return the chain of each prompt, by a name of its own in the order of first use; None without blocks.

    Examples
    --------
    >>> named_chains([(Run(0, 4),), (Run(0, 6),), (Run(50, 2),), (Run(0, 7),), ()])
    ['chain 0', 'chain 0', 'chain 1', 'chain 0', None]
    """
    turns = tuple(Turn(1, 1, block_runs=runs) for runs in prompts)
    content = Content(TraceHeader(_BLOCK_TOKENS, None, "global", has_sessions=True, provenance={}))
    conversation = Conversation(Session("session", turns), 0, content)
    memory = Remembered(conversation)
    recent: list[str] = []
    made, found = 0, list[str | None]()
    for index in range(len(turns)):
        outcome = memory.learn(conversation.prompt(index))
        if outcome is None:
            found.append(None)
            continue
        if outcome.move == NEW_CHAIN:
            recent.insert(0, f"chain {made}")
            made += 1
        else:
            recent.insert(0, recent.pop(outcome.move))
        found.append(recent[0])
    return found
