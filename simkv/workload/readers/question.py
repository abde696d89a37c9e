"""What a trace format must answer; one plug-in per format, found by name or from the first line."""

from __future__ import annotations

from typing import Any, Protocol

from simkv.registry import Registry
from simkv.request import Session, TraceHeader

#: Key of a trace's provenance under which stands what the recording lacks, and what it may lack. A scenario on such a
#: trace must say where think times come from; without chunks nothing can be played.
MISSING = "missing"
THINK_TIMES, CHUNKS = "think times", "chunks"


class TraceFormat(Protocol):
    """Turns the JSON objects of one file, line by line, into sessions.

    An object reads one file once, front to back, so it may remember what it has seen. Every method may raise
    `ValueError` with one line that says what is wrong; the caller adds file and line.
    """

    def recognises(self, first: dict[str, Any]) -> bool:
        """Return whether the first line of a file is of this format."""
        ...

    def starts_with_header(self) -> bool:
        """Return whether the first line is a header, not a session."""
        ...

    def header(self, first: dict[str, Any]) -> TraceHeader:
        """Return what the first line says of the whole trace."""
        ...

    def session(self, record: dict[str, Any], line: int) -> Session | None:
        """Return the session on one line; None when it repeats one that was read before."""
        ...


FORMATS: Registry[TraceFormat] = Registry("trace format", "simkv.trace_format")
