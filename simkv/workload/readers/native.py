"""simkv's own trace format, `simkv.sessions`: one session a line behind a header line. Reads and writes it.

Strict: what is not understood is refused, because a trace that is half read answers another question.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

from simkv.request import Edit, GapKind, Layout, Session, TraceHeader, Turn
from simkv.workload.readers import fields
from simkv.workload.readers.question import FORMATS, OneARecord
from simkv.workload.readers.records import Record

NAME = "simkv.sessions"
VERSION = 1
LAYOUTS = ("document_first", "interleaved", "independent")
GAP_KINDS = ("human", "tool", "none")
_HEADER_KEYS = ("format", "version", "block_tokens", "block_scope", "provenance")
_TURN_KEYS = ("new_tokens", "answer_tokens", "think_s", "gap_kind")


@FORMATS.register(NAME)
@dataclass
class NativeFormat(OneARecord):
    """simkv's own sessions: document chunks or block runs, think times, optional recorded starts."""

    _header: TraceHeader | None = field(default=None, init=False)

    def recognises(self, first: dict[str, Any]) -> bool:
        """Return whether the line is a header that calls itself simkv's."""
        return str(first.get("format", "")).startswith("simkv")

    def header(self, first: dict[str, Any]) -> TraceHeader:
        """Return the header of the trace."""
        fields.check_keys(first, _HEADER_KEYS, ("layout", "has_sessions"))
        if first["format"] != NAME:
            raise ValueError(f"format: want {NAME!r}, got {fields.shown(first['format'])}")
        if type(first["version"]) is not int or first["version"] != VERSION:
            raise ValueError(f"version: this simkv reads version {VERSION}, got {fields.shown(first['version'])}")
        has_sessions = first.get("has_sessions", True)
        if type(has_sessions) is not bool:
            raise ValueError(f"has_sessions: want true or false, got {fields.shown(has_sessions)}")
        scope = fields.one_of(first["block_scope"], ("session", "global"), "block_scope")
        self._header = TraceHeader(
            block_tokens=fields.whole(first["block_tokens"], "block_tokens", 1),
            layout=_layout(first.get("layout")),
            block_scope="session" if scope == "session" else "global",
            has_sessions=has_sessions,
            provenance=fields.provenance(first["provenance"]),
        )
        return self._header

    def sessions(self, records: Iterable[Record]) -> Iterator[Session]:
        """Yield the session on each line behind the header."""
        for line, record in records:
            if self._header is None:
                self.header(record)
            else:
                yield self.session(record, line)

    def session(self, record: dict[str, Any], line: int) -> Session:
        """Return the session on one line."""
        header = self._header
        if header is None:
            raise ValueError("a session before the header line")
        fields.check_keys(
            record,
            ("session_id", "turns"),
            ("layout", "document_id", "start_s", "chunk_tokens", "shared_prefix", "chunk_words", "priority"),
        )
        chunk_tokens = tuple(
            fields.whole(tokens, f"chunk_tokens[{index}]", 1)
            for index, tokens in enumerate(fields.items(record.get("chunk_tokens", []), "chunk_tokens", "token counts"))
        )
        now_tokens = list(chunk_tokens)  # of each chunk, edit after edit
        turns = tuple(
            _turn(turn, f"turns[{index}]", now_tokens)
            for index, turn in enumerate(fields.items(record["turns"], "turns", "turns"))
        )
        if not turns:
            raise ValueError("turns: want at least one turn")
        names_blocks = any(turn.block_runs for turn in turns)
        if names_blocks and (chunk_tokens or record.get("document_id") is not None):
            raise ValueError("a session names document chunks or block runs, not both")
        layout = None if names_blocks else _layout(record.get("layout")) or header.layout
        if chunk_tokens and layout is None:
            raise ValueError(f"layout: a session with document chunks wants one of {', '.join(LAYOUTS)}")
        document_id, start_s = record.get("document_id"), record.get("start_s")
        if document_id is not None and any(turn.edits for turn in turns):
            raise ValueError("edits: want document_id null; simkv does not tell other readers of an edit")
        shared_key, shared_blocks = _shared(record.get("shared_prefix"), turns[0], header)
        return Session(
            session_id=fields.name(record["session_id"], "session_id"),
            turns=turns,
            layout=layout,
            document_id=None if document_id is None else fields.name(document_id, "document_id"),
            priority=fields.whole(record.get("priority", 0), "priority"),
            chunk_tokens=chunk_tokens,
            start_s=None if start_s is None else fields.seconds(start_s, "start_s"),
            shared_key=shared_key,
            shared_blocks=shared_blocks,
            chunk_words=_chunk_words(record["chunk_words"], len(chunk_tokens)) if "chunk_words" in record else (),
        )


def _layout(value: object) -> Layout | None:
    return None if value is None else cast("Layout", fields.one_of(value, LAYOUTS, "layout"))


def _turn(value: object, at: str, now_tokens: list[int]) -> Turn:
    """Return one turn of a session whose chunks have so many tokens before it; edits change that."""
    turn = fields.mapping(value, at)
    fields.check_keys(turn, _TURN_KEYS, ("chunks", "block_runs", "words", "edits"), at)
    if "chunks" in turn and "block_runs" in turn:
        raise ValueError(f"{at}: want chunks or block_runs, got both")
    return Turn(
        new_tokens=fields.whole(turn["new_tokens"], f"{at}.new_tokens", 1),
        answer_tokens=fields.whole(turn["answer_tokens"], f"{at}.answer_tokens", 1),
        think_s=fields.seconds(turn["think_s"], f"{at}.think_s"),
        gap_kind=cast("GapKind", fields.one_of(turn["gap_kind"], GAP_KINDS, f"{at}.gap_kind")),
        chunks=_chunks(turn["chunks"], f"{at}.chunks", len(now_tokens)) if "chunks" in turn else (),
        block_runs=fields.runs(turn["block_runs"], f"{at}.block_runs") if "block_runs" in turn else (),
        words=fields.words(turn["words"], f"{at}.words") if "words" in turn else (),
        edits=_edits(turn["edits"], f"{at}.edits", now_tokens) if "edits" in turn else (),
    )


def _chunks(value: object, at: str, chunks: int) -> tuple[int, ...]:
    """Return the chunk indices of one turn, each inside the document and named once."""
    found = tuple(fields.whole(chunk, f"{at}[{i}]") for i, chunk in enumerate(fields.items(value, at, "chunk indices")))
    for chunk in found:
        if chunk >= chunks:
            raise ValueError(f"{at}: chunk {chunk} is asked for, but chunk_tokens has {chunks} chunks")
    if len(set(found)) < len(found):
        raise ValueError(f"{at}: a chunk is named twice")
    return found


def _chunk_words(value: object, chunks: int) -> tuple[tuple[str, ...], ...]:
    """Return the content words of each chunk of a document."""
    found = fields.items(value, "chunk_words", "lists of words")
    if len(found) != chunks:
        raise ValueError(f"chunk_words: want a list of words for each of the {chunks} chunks, got {len(found)} lists")
    return tuple(fields.words(words, f"chunk_words[{index}]") for index, words in enumerate(found))


def _edits(value: object, at: str, now_tokens: list[int]) -> tuple[Edit, ...]:
    """Return the edits of one turn, each of a chunk that there is and edited once; `now_tokens` is as they leave it."""
    found: list[Edit] = []
    for index, each in enumerate(fields.items(value, at, "edits")):
        where = f"{at}[{index}]"
        edit = fields.mapping(each, where)
        fields.check_keys(edit, ("chunk",), ("kept_tokens", "tokens"), where)
        chunk = fields.whole(edit["chunk"], f"{where}.chunk")
        if chunk >= len(now_tokens):
            raise ValueError(f"{where}.chunk: chunk {chunk} is edited, but chunk_tokens has {len(now_tokens)} chunks")
        if any(chunk == before.chunk for before in found):
            raise ValueError(f"{at}: chunk {chunk} is edited twice")
        tokens = fields.whole(edit.get("tokens", now_tokens[chunk]), f"{where}.tokens", 1)
        kept_tokens = fields.whole(edit.get("kept_tokens", 0), f"{where}.kept_tokens")
        if kept_tokens > min(tokens, now_tokens[chunk]):
            most = f"want at most {min(tokens, now_tokens[chunk])}, the shorter of the chunk before and after"
            raise ValueError(f"{where}.kept_tokens: {most}, got {kept_tokens}")
        if kept_tokens == tokens == now_tokens[chunk]:
            raise ValueError(f"{where}: keeps all {tokens} tokens, so it edits nothing")
        now_tokens[chunk] = tokens
        found.append(Edit(chunk, kept_tokens, tokens))
    return tuple(found)


def _shared(value: object, first: Turn, header: TraceHeader) -> tuple[str, int]:
    """Return the key and the length of the prefix that this session shares with others."""
    if value is None:
        return "", 0
    shared = fields.mapping(value, "shared_prefix")
    fields.check_keys(shared, ("key", "blocks"), (), "shared_prefix")
    key = fields.name(shared["key"], "shared_prefix.key")
    blocks = fields.whole(shared["blocks"], "shared_prefix.blocks", 1)
    if header.block_scope != "session":
        raise ValueError("shared_prefix: only for block_scope 'session'; equal global ids are shared already")
    leading = first.block_runs[0].count if first.block_runs else 0
    if blocks > leading:
        raise ValueError(f"shared_prefix.blocks: want at most {leading}, the first run of turns[0], got {blocks}")
    return key, blocks


def header_line(header: TraceHeader) -> str:
    """Return the header as a line of the format, without its line end.

    Examples
    --------
    >>> header_line(TraceHeader(16, None, "global", True, {}))[:66]
    '{"format": "simkv.sessions", "version": 1, "block_tokens": 16, "la'
    """
    record: dict[str, object] = {
        "format": NAME,
        "version": VERSION,
        "block_tokens": header.block_tokens,
        "layout": header.layout,
        "block_scope": header.block_scope,
        "provenance": header.provenance,
    }
    if not header.has_sessions:
        record["has_sessions"] = False
    return json.dumps(record)


def session_line(session: Session, header: TraceHeader) -> str:
    """Return a session as a line of the format, without its line end.

    Examples
    --------
    >>> line = session_line(Session("s", (Turn(5, 7),)), TraceHeader(16, None, "session", True, {}))
    >>> line[:74]
    '{"session_id": "s", "document_id": null, "start_s": null, "chunk_tokens": '
    """
    record: dict[str, object] = {"session_id": session.session_id}
    if session.layout is not None and session.layout != header.layout:
        record["layout"] = session.layout
    record["document_id"] = session.document_id
    record["start_s"] = session.start_s
    record["chunk_tokens"] = session.chunk_tokens
    if session.shared_blocks:
        record["shared_prefix"] = {"key": session.shared_key, "blocks": session.shared_blocks}
    if session.chunk_words:
        record["chunk_words"] = session.chunk_words
    if session.priority:
        record["priority"] = session.priority
    record["turns"] = [_turn_record(turn) for turn in session.turns]
    return json.dumps(record)


def _turn_record(turn: Turn) -> dict[str, object]:
    record: dict[str, object] = {}
    if turn.chunks:
        record["chunks"] = turn.chunks
    if turn.block_runs:
        record["block_runs"] = turn.block_runs
    if turn.edits:
        record["edits"] = [edit._asdict() for edit in turn.edits]
    record |= {
        "new_tokens": turn.new_tokens,
        "answer_tokens": turn.answer_tokens,
        "think_s": turn.think_s,
        "gap_kind": turn.gap_kind,
    }
    if turn.words:
        record["words"] = turn.words
    return record
