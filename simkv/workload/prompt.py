"""How many tokens is each prompt of a session, by its trace alone?

This is the length that a trace's own author would count: what the client sends with the dialogue so far. What of
it a server finds cached, and which chunks a layout forces it to load besides, is the simulation's business.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from simkv.request import Session


def prompt_tokens(session: Session, block_tokens: int) -> Iterator[int]:
    """Yield [tokens] the prompt length of each turn.

    Parameters
    ----------
    session : its turns name block runs (all full blocks of the prompt) or chunks. With chunks, the prompt is the
        dialogue so far plus the chunks asked so far; in a `document_first` layout all chunks before them too. Chunks
        are as long as the last edit left them.
    block_tokens : [tokens] a block.

    Examples
    --------
    >>> from simkv.request import Turn
    >>> turns = (Turn(5, 7, chunks=(0,)), Turn(6, 7, chunks=(2,)))
    >>> list(prompt_tokens(Session("s", turns, "document_first", chunk_tokens=(100, 100, 100)), 10))
    [105, 318]
    >>> list(prompt_tokens(Session("s", turns, "independent", chunk_tokens=(100, 100, 100)), 10))
    [105, 218]
    """
    dialogue_tokens = 0
    chunk_tokens = list(session.chunk_tokens)
    asked: set[int] = set()
    for turn in session.turns:
        if turn.block_runs:
            yield sum(run.count for run in turn.block_runs) * block_tokens + turn.new_tokens
            continue
        for edit in turn.edits:
            chunk_tokens[edit.chunk] = edit.tokens
        asked.update(range(1 + max(turn.chunks, default=-1)) if session.layout == "document_first" else turn.chunks)
        document_tokens = sum(chunk_tokens[chunk] for chunk in asked)
        dialogue_tokens += turn.new_tokens
        yield document_tokens + dialogue_tokens
        dialogue_tokens += turn.answer_tokens


def cut_before(session: Session, block_tokens: int, max_input_tokens: int) -> Session:
    """Return the session up to, and without, its first prompt over a limit.

    Parameters
    ----------
    max_input_tokens : [tokens] longest prompt that is kept.

    Examples
    --------
    >>> from simkv.request import Turn
    >>> session = Session("s", (Turn(5, 1), Turn(50, 1), Turn(5, 1)))
    >>> len(cut_before(session, 16, 20).turns)
    1
    """
    for index, tokens in enumerate(prompt_tokens(session, block_tokens)):
        if tokens > max_input_tokens:
            return dataclasses.replace(session, turns=session.turns[:index])
    return session
