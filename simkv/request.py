"""What clients ask: sessions of turns, as a trace or a generator gives them.

These are plain facts read from input. What a policy may see of a live request is a view, made where
the question is asked (`policies/`), never these objects: they hold the future.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from simkv.kv.block import Run

Layout = Literal["document_first", "interleaved", "independent"]
GapKind = Literal["human", "tool", "none"]


class Edit(NamedTuple):
    """A new version of one chunk of a document.

    Attributes
    ----------
    chunk : its index.
    kept_tokens : [tokens] at its front that are as before; what follows is new.
    tokens : [tokens] in the new version, >= kept_tokens.
    """

    chunk: int
    kept_tokens: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Turn:
    """One query and its answer.

    Exactly one of `chunks` and `block_runs` says which KV the turn needs; a turn may need none.

    Attributes
    ----------
    new_tokens : [tokens] prompt tokens that first exist at arrival and belong to no block run, >= 1.
    answer_tokens : [tokens] length of the answer, >= 1. No policy may see it.
    think_s : [s] from the end of the previous answer (session start for the first turn) to this arrival.
    gap_kind : who made that gap: a human, a tool call, or nobody (first turn, open loop).
    chunks : indices of the document chunks that the question is about.
    block_runs : all full blocks of the prompt, front to back. Ids never named before come into being
        with this turn: their tokens are new.
    last_block : the block behind them, where the trace names it: partly filled, or prefilled in any case. Serving
        never reuses it; hit counts of a trace include it.
    words : content words of the question, lower case, in its order; a source learns them when the query reaches it.
        None of them = unknown.
    edits : of the document, at this arrival: what the turn asks is asked of the new version.
    """

    new_tokens: int
    answer_tokens: int
    think_s: float = 0.0
    gap_kind: GapKind = "none"
    chunks: tuple[int, ...] = ()
    block_runs: tuple[Run, ...] = ()
    words: tuple[str, ...] = ()
    edits: tuple[Edit, ...] = ()
    last_block: int | None = field(default=None, compare=False)  # nothing that serving plays depends on it


@dataclass(frozen=True, slots=True)
class Session:
    """A conversation: turns that follow each other in a closed loop.

    Attributes
    ----------
    session_id : the name in the trace.
    turns : in order.
    layout : where document chunks stand in the prompt (semantics B2); None for block-run sessions.
    document_id : sessions with an equal id read the same chunks; None = a document of its own.
    chunk_tokens : [tokens] size of each chunk of the document, in order, before any edit.
    start_s : [s] recorded start; None where the trace has none.
    shared_key, shared_blocks : the first `shared_blocks` ids of the session are the same content in
        every session with an equal `shared_key` (tools and system prompt); 0 = nothing shared.
    chunk_words : content words of each chunk, lower case; who holds the document knows them. Empty = unknown.
    priority : of its requests: lower is more urgent.
    """

    session_id: str
    turns: tuple[Turn, ...]
    layout: Layout | None = None
    document_id: str | None = None
    chunk_tokens: tuple[int, ...] = ()
    start_s: float | None = None
    shared_key: str = ""
    shared_blocks: int = 0
    chunk_words: tuple[tuple[str, ...], ...] = ()
    priority: int = 0


@dataclass(frozen=True, slots=True)
class TraceHeader:
    """What is true of a whole trace.

    Attributes
    ----------
    block_tokens : [tokens] a block.
    layout : the sessions' default layout; None when turns name block runs.
    block_scope : "session" = block ids are private to their session; "global" = equal ids are equal content.
    has_sessions : False when the trace has no session identity: every request is a session of one turn,
        open loop, and session predictors refuse it (semantics G3).
    provenance : where it comes from: free-form, JSON-able.
    """

    block_tokens: int
    layout: Layout | None
    block_scope: Literal["session", "global"]
    has_sessions: bool
    provenance: dict[str, object]
