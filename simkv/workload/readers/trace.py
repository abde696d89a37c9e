"""Which sessions does a trace file hold? Opens every format that simkv reads.

A trace is read record by record each time its sessions are asked for, so memory does not grow with its length, but for
formats that must gather or sort it (they say so).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from simkv.errors import InputError
from simkv.remote import local
from simkv.request import Session, TraceHeader
from simkv.workload.prompt import cut_before
from simkv.workload.readers import (  # noqa: F401 - importing them registers them
    aiperf,
    azure,
    bailian,
    burstgpt,
    canard,
    claude_code,
    lmcache,
    mooncake,
    mtrag,
    native,
    openai_log,
    plain_dialogue,
    replayed,
    sharegpt,
    squad,
    vllm_bench,
)
from simkv.workload.readers.question import FORMATS, TraceFormat
from simkv.workload.readers.records import Records


class Trace:
    """A trace file: what is true of all of it, and its sessions as often as wanted. Made by `open_trace`.

    Attributes
    ----------
    path : the file.
    format, params : name of its format, and what was said of it.
    header : what is true of the whole trace.
    """

    def __init__(
        self,
        path: Path,
        format: tuple[str, Mapping[str, Any]],
        header: TraceHeader,
        max_input_tokens: int | None,
        limit: int | None,
    ) -> None:
        self.path = path
        self.format, self.params = format
        self.header = header
        self._max_input_tokens = max_input_tokens
        self._limit = limit
        self._notes: dict[str, object] = {}

    def sessions(self) -> Iterator[Session]:
        """Read the file from its start and yield its sessions in order.

        Raises
        ------
        InputError : `file:line: ...`, at the first line that is wrong; or at the end, when no session was left.
        """
        counts = {"sessions": 0, "requests": 0, "sessions_cut": 0, "requests_cut": 0}
        reader: TraceFormat = FORMATS.create(self.format, self.params)
        records = Records(self.path)
        with closing(records):
            try:
                for found in reader.sessions(records):
                    session = self._cut(found, counts)
                    if session.turns:
                        counts["sessions"] += 1
                        counts["requests"] += len(session.turns)
                        yield session
                    if counts["requests"] == self._limit:
                        break
            except ValueError as error:
                raise InputError(str(error), f"{self.path}:{records.line}") from error
        self._notes = {name: count for name, count in counts.items() if count or name in ("sessions", "requests")}
        self._notes |= reader.left_out
        if not counts["sessions"]:
            raise InputError(self._why_empty(counts), str(self.path))

    def notes(self) -> dict[str, object]:
        """Return what the last complete reading of `sessions()` found.

        `sessions` and `requests` yielded and, where not 0, `sessions_cut` and `requests_cut` (by
        `max_input_tokens`), and what the format left out.
        """
        return dict(self._notes)

    def _cut(self, session: Session, counts: dict[str, int]) -> Session:
        """Return the session within `max_input_tokens` and `limit`."""
        kept = session
        if self._max_input_tokens is not None:
            kept = cut_before(session, self.header.block_tokens, self._max_input_tokens)
            counts["requests_cut"] += len(session.turns) - len(kept.turns)
            counts["sessions_cut"] += len(kept.turns) < len(session.turns)
        if self._limit is not None and counts["requests"] + len(kept.turns) > self._limit:
            kept = dataclasses.replace(kept, turns=kept.turns[: self._limit - counts["requests"]])
        return kept

    def _why_empty(self, counts: dict[str, int]) -> str:
        if counts["requests_cut"]:
            return f"no session is left: every first request has more than {self._max_input_tokens} input tokens"
        left_out = ", ".join(f"{name} {count}" for name, count in self._notes.items() if count)
        return f"the trace has no sessions{f' ({left_out})' if left_out else ''}"


def open_trace(
    path: Path | str,
    format: str | None = None,
    max_input_tokens: int | None = None,
    limit: int | None = None,
    params: Mapping[str, Any] | None = None,
) -> Trace:
    """Open a trace: plain, gzip or xz; its format told from the first record, or given by name.

    Parameters
    ----------
    path : the file, or its URL; it must be a regular one, for it is read each time its sessions are asked for.
    format : a name in `FORMATS`; None = the one that recognises the first record.
    max_input_tokens : [tokens] a session is cut before its first request with a longer prompt.
    limit : read no more than so many requests; the session that reaches it is cut there.
    params : of the format, by field: what the file does not say, such as `{"block_tokens": 32}`.

    Raises
    ------
    InputError : no such file, not a trace, or a bad parameter.

    Examples
    --------
    >>> import tempfile
    >>> from simkv.request import Session, TraceHeader, Turn
    >>> header = TraceHeader(16, "independent", "session", True, {"source": "an example"})
    >>> path = Path(tempfile.mkdtemp()) / "one.jsonl"
    >>> lines = native.header_line(header), native.session_line(Session("s", (Turn(5, 7),), "independent"), header)
    >>> _ = path.write_text(chr(10).join(lines))
    >>> [session.session_id for session in open_trace(path).sessions()]
    ['s']
    """
    path = local(path)
    for value, what in ((max_input_tokens, "max_input_tokens"), (limit, "limit")):
        if value is not None and value < 1:
            raise InputError(f"{what}: want at least 1, got {value}")
    if format is not None:
        FORMATS.get(format)
    records = Records(path)
    with closing(records):
        try:
            name = format or recognised(records.first)
            reader: TraceFormat = FORMATS.create(name, params)
            return Trace(path, (name, dict(params or {})), reader.header(records.first), max_input_tokens, limit)
        except ValueError as error:
            raise InputError(str(error), f"{path}:{records.line}") from error


def recognised(first: Mapping[str, Any]) -> str:
    """Return the name of the format that a first record belongs to.

    Examples
    --------
    >>> recognised({"TIMESTAMP": "", "ContextTokens": "", "GeneratedTokens": ""})
    'azure-llm'
    """
    for name in FORMATS:
        reader: TraceFormat = FORMATS.create(name)
        if reader.recognises(dict(first)):
            return name
    raise ValueError(f"not the first record of a trace that simkv knows ({', '.join(FORMATS)})")


def is_trace(path: Path) -> bool:
    """Return whether a file begins as a trace of some format does."""
    try:
        records = Records(path)
    except InputError:
        return False
    with closing(records):
        try:
            return bool(recognised(records.first))
        except ValueError:
            return False
