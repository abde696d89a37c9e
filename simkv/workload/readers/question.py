"""What a trace format must answer; one plug-in per format, found by name or from the first record."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from simkv.registry import Registry
from simkv.request import Session, TraceHeader
from simkv.workload.readers.records import Record

#: Key of a trace's provenance under which stands what the recording lacks, and what it may lack. A scenario on such a
#: trace must say where think times come from; without chunks nothing can be played.
MISSING = "missing"
THINK_TIMES, CHUNKS = "think times", "chunks"
#: Key under which stands, in sentences, what the reader took for granted because the recording does not say it.
ASSUMED = "assumed"


class TraceFormat(Protocol):
    """Turns the records of one file into sessions.

    An object reads one file once, front to back, so it may remember what it has seen. Every method may raise
    `ValueError` with one line that says what is wrong; the caller adds file and line.

    Attributes
    ----------
    left_out : what was read and is in no session, by the name that people are told.
    """

    left_out: Counter[str]

    def recognises(self, first: dict[str, Any]) -> bool:
        """Return whether the first record of a file is of this format."""
        ...

    def header(self, first: dict[str, Any]) -> TraceHeader:
        """Return what is true of the whole trace, which the first record tells."""
        ...

    def sessions(self, records: Iterable[Record]) -> Iterator[Session]:
        """Yield the sessions of a file; records come with their lines, and whatever is wrong with one is said at it."""
        ...


@dataclass
class OneARecord(ABC):
    """A format whose records are one session each."""

    left_out: Counter[str] = field(default_factory=Counter, init=False)

    @abstractmethod
    def session(self, record: dict[str, Any], line: int) -> Session | None:
        """Return the session of one record; None when it repeats one that was read before."""

    def sessions(self, records: Iterable[Record]) -> Iterator[Session]:
        """Yield the session of each record."""
        for line, record in records:
            session = self.session(record, line)
            if session is None:
                self.left_out["duplicates_dropped"] += 1
            else:
                yield session


FORMATS: Registry[TraceFormat] = Registry("trace format", "simkv.trace_format")
