"""The traces that simkv plays, as dialogues: Claude Code, Mooncake, and simkv's own sessions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from simkv.dialogues.chains import named_chains
from simkv.dialogues.question import About, Dialogue, Query
from simkv.request import Session
from simkv.workload.readers import Trace, open_trace


def about_trace(trace: Trace) -> About:
    """Return what the items of a trace are; the first session with KV decides."""
    scope = trace.header.block_scope
    if not trace.header.has_sessions:
        return About("none", "not known: requests have no session, and strangers make no history", scope)
    for session in trace.sessions():
        if session.chunk_tokens:
            return About("chunk", "the last chunk of the document that the query asks for", scope)
        if any(turn.block_runs for turn in session.turns):
            break
    return About("local", "the chain of blocks that the request continues", scope)


def dialogues_of(trace: Trace) -> Iterator[Dialogue]:
    """Yield a dialogue a session."""
    return (_dialogue(session, trace.header.has_sessions) for session in trace.sessions())


def open_recorded(path: Path, format: str | None) -> Trace:
    """Open a trace of any format that simkv plays."""
    return open_trace(path, format)


def _dialogue(session: Session, has_sessions: bool) -> Dialogue:
    chains = named_chains([turn.block_runs for turn in session.turns]) if has_sessions else [None]
    queries = []
    for index, (turn, chain) in enumerate(zip(session.turns, chains, strict=True)):
        is_first = index == 0
        queries.append(
            Query(
                item=turn.chunks[-1] if turn.chunks else chain,
                pieces=turn.chunks,
                documents=(session.session_id,) * len(turn.chunks),
                gap_s=None if is_first else turn.think_s,
                gap_kind="" if is_first else turn.gap_kind,
                runs=turn.block_runs,
                question=" ".join(turn.words),
                heard=" ".join(turn.words),
            )
        )
    group = session.document_id or ""
    texts = tuple(" ".join(words) for words in session.chunk_words)
    return Dialogue(session.session_id, tuple(queries), group, "", len(session.chunk_tokens), texts)
