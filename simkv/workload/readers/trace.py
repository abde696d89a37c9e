"""Which sessions does a trace file hold? Opens every format that simkv reads.

A trace is read line by line each time its sessions are asked for, so memory does not grow with its length.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from simkv.errors import InputError
from simkv.remote import local
from simkv.request import Session, TraceHeader
from simkv.workload.prompt import cut_before
from simkv.workload.readers import canard, claude_code, mooncake, mtrag, native, squad  # noqa: F401  # registers them
from simkv.workload.readers.fields import parse_object
from simkv.workload.readers.lines import numbered_lines
from simkv.workload.readers.question import FORMATS, TraceFormat


class Trace:
    """A trace file: what is true of all of it, and its sessions as often as wanted. Made by `open_trace`.

    Attributes
    ----------
    path : the file.
    format : name of its format.
    header : what is true of the whole trace.
    """

    def __init__(
        self, path: Path, format_name: str, header: TraceHeader, max_input_tokens: int | None, limit: int | None
    ) -> None:
        self.path = path
        self.format = format_name
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
        counts = {"sessions": 0, "requests": 0, "sessions_cut": 0, "requests_cut": 0, "duplicates_dropped": 0}
        reader: TraceFormat = FORMATS.create(self.format)
        with closing(numbered_lines(self.path)) as lines:
            for number, line in lines:
                found = self._read(reader, number, line)
                if found is None:
                    counts["duplicates_dropped"] += not (number == 1 and reader.starts_with_header())
                    continue
                session = self._cut(found, counts)
                if session.turns:
                    counts["sessions"] += 1
                    counts["requests"] += len(session.turns)
                    yield session
                if counts["requests"] == self._limit:
                    break
        self._notes = {name: count for name, count in counts.items() if count or name in ("sessions", "requests")}
        if not counts["sessions"]:
            raise InputError(self._why_empty(counts), str(self.path))

    def notes(self) -> dict[str, object]:
        """Return what the last complete reading of `sessions()` found.

        `sessions` and `requests` yielded and, where not 0, `sessions_cut` and `requests_cut` (by
        `max_input_tokens`) and `duplicates_dropped`.
        """
        return dict(self._notes)

    def _read(self, reader: TraceFormat, number: int, line: bytes) -> Session | None:
        """Return the session on a line; None for a header and for a duplicate."""
        try:
            record = parse_object(line)
            if number == 1:
                reader.header(record)
                if reader.starts_with_header():
                    return None
            return reader.session(record, number)
        except ValueError as error:
            raise InputError(str(error), f"{self.path}:{number}") from error

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
        return "the trace has no sessions"


def open_trace(
    path: Path | str, format: str | None = None, max_input_tokens: int | None = None, limit: int | None = None
) -> Trace:
    """Open a trace: plain, gzip or xz; its format told from the first line, or given by name.

    Parameters
    ----------
    path : the file, or its URL; it must be a regular one, for it is read each time its sessions are asked for.
    format : a name in `FORMATS`; None = the one that recognises the first line.
    max_input_tokens : [tokens] a session is cut before its first request with a longer prompt.
    limit : read no more than so many requests; the session that reaches it is cut there.

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
    with closing(numbered_lines(path)) as lines:
        number, line = next(lines, (0, b""))
    if not number:
        raise InputError("the file is empty", str(path))
    try:
        first = parse_object(line)
        format = format or _recognised(first)
        reader: TraceFormat = FORMATS.create(format)
        return Trace(path, format, reader.header(first), max_input_tokens, limit)
    except ValueError as error:
        raise InputError(str(error), f"{path}:1") from error


def _recognised(first: dict[str, object]) -> str:
    """Return the name of the format that the first line belongs to."""
    for name in FORMATS:
        reader: TraceFormat = FORMATS.create(name)
        if reader.recognises(first):
            return name
    raise ValueError(f"not the first line of a trace that simkv knows ({', '.join(FORMATS)})")
