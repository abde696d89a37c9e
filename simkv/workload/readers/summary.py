"""What is in a trace? `check` reads all of it and states facts; `info` adds distributions and reuse.

Percentiles interpolate linearly between order statistics, as pandas does. Reuse is counted in full blocks (or
document chunks) of the prompts: the share of references whose block an earlier request of the same scope named.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from simkv.errors import InputError
from simkv.kv.block import Run
from simkv.request import Session
from simkv.workload.prompt import prompt_tokens
from simkv.workload.readers.trace import Trace, open_trace


def check(path: Path) -> dict[str, object]:
    """Read a whole trace, refusing what is wrong, and return facts about it.

    Raises
    ------
    InputError : at the first line that is wrong; or two sessions of one name, or one document of two shapes.
    """
    trace = open_trace(path)
    names: set[str] = set()
    documents: dict[str, tuple[int, ...]] = {}
    starts = 0
    for session in trace.sessions():
        if session.session_id in names:
            raise InputError(f"two sessions are called {session.session_id!r}", str(path))
        names.add(session.session_id)
        if session.document_id is not None:
            shape = documents.setdefault(session.document_id, session.chunk_tokens)
            if shape != session.chunk_tokens:
                raise InputError(f"document {session.document_id!r} has chunks of other sizes than before", str(path))
        starts += session.start_s is not None
    return {**_header_facts(trace), "documents": len(documents), "recorded_starts": starts, **trace.notes()}


def _header_facts(trace: Trace) -> dict[str, object]:
    header = trace.header
    return {
        "format": trace.format,
        "block_tokens": header.block_tokens,
        "layout": header.layout,
        "block_scope": header.block_scope,
        "has_sessions": header.has_sessions,
        "provenance": header.provenance,
    }


def info(source: Path | Trace) -> dict[str, object]:
    """Read a whole trace, a file's or one that is open, and describe it.

    Returns
    -------
    The header's facts; sessions and requests; mean, p50, p90, p99 and max of turns a session, of input, new and
    answer tokens a request, and of think time by gap kind (never pooled); and `reuse`: references, those named
    before, and their share, None where no turn needs anything. Where all sessions have recorded starts: from the first
    to the last `span_s`, and `requests_per_s` over it, None where they are one moment.
    """
    trace = source if isinstance(source, Trace) else open_trace(source)
    tally = _Tally(trace.header.block_tokens)
    seen = IdSet()
    for session in trace.sessions():
        if trace.header.block_scope == "session":
            seen = IdSet()
        tally.add(session, seen)
    return {**_header_facts(trace), **trace.notes(), **tally.facts()}


@dataclass
class _Tally:
    """What `info` counts while it reads; a few bytes a request."""

    block_tokens: int
    turns: array[float] = field(default_factory=lambda: array("d"))
    input_tokens: array[float] = field(default_factory=lambda: array("d"))
    new_tokens: array[float] = field(default_factory=lambda: array("d"))
    answer_tokens: array[float] = field(default_factory=lambda: array("d"))
    think_s: dict[str, array[float]] = field(default_factory=dict)
    starts: array[float] = field(default_factory=lambda: array("d"))
    references: int = 0
    seen_before: int = 0

    def add(self, session: Session, seen: IdSet) -> None:
        """Count one session; `seen` holds the ids that its scope has named so far."""
        self.turns.append(len(session.turns))
        if session.start_s is not None:
            self.starts.append(session.start_s)
        self.input_tokens.extend(prompt_tokens(session, self.block_tokens))
        chunks = IdSet()  # a session's document is its own here, even where others read it too
        for index, turn in enumerate(session.turns):
            self.new_tokens.append(turn.new_tokens)
            self.answer_tokens.append(turn.answer_tokens)
            if index:
                self.think_s.setdefault(turn.gap_kind, array("d")).append(turn.think_s)
            for run in turn.block_runs:
                self._count(run, seen)
            for chunk in turn.chunks:
                self._count(Run(chunk, 1), chunks)

    def _count(self, run: Run, seen: IdSet) -> None:
        self.references += run.count
        self.seen_before += run.count - seen.add(run)

    def facts(self) -> dict[str, object]:
        """Return the counts as `info` hands them over."""
        share = self.seen_before / self.references if self.references else None
        return {
            **self._rate(),
            "turns": describe(self.turns),
            "input_tokens": describe(self.input_tokens),
            "new_tokens": describe(self.new_tokens),
            "answer_tokens": describe(self.answer_tokens),
            "think_s": {kind: describe(values) for kind, values in sorted(self.think_s.items())},
            "reuse": {"references": self.references, "seen_before": self.seen_before, "share": share},
        }

    def _rate(self) -> dict[str, object]:
        if not self.starts or len(self.starts) < len(self.turns):
            return {}
        span_s = max(self.starts) - min(self.starts)
        return {"span_s": span_s, "requests_per_s": math.fsum(self.turns) / span_s if span_s else None}


class IdSet:
    """A set of block ids, kept as runs.

    Examples
    --------
    >>> ids = IdSet()
    >>> ids.add(Run(10, 5)), ids.add(Run(12, 5)), ids.add(Run(10, 7))
    (5, 2, 0)
    """

    def __init__(self) -> None:
        self._starts: list[int] = []  # disjoint and not adjacent, in order
        self._ends: list[int] = []

    def add(self, run: Run) -> int:
        """Add the ids of a run and return how many of them are new."""
        first = bisect_left(self._ends, run.start)  # the first run that touches or lies behind the new one
        last = first
        start, end, known = run.start, run.end, 0
        while last < len(self._starts) and self._starts[last] <= run.end:
            known += max(0, min(run.end, self._ends[last]) - max(run.start, self._starts[last]))
            start = min(start, self._starts[last])
            end = max(end, self._ends[last])
            last += 1
        self._starts[first:last] = [start]
        self._ends[first:last] = [end]
        return run.count - known


def describe(values: Iterable[float]) -> dict[str, float]:
    """Return count, mean, p50, p90, p99 and max; empty for no values.

    Examples
    --------
    >>> describe([4.0, 2.0])
    {'count': 2, 'mean': 3.0, 'p50': 3.0, 'p90': 3.8, 'p99': 3.98, 'max': 4.0}
    """
    ordered = sorted(values)
    if not ordered:
        return {}
    return {
        "count": len(ordered),
        "mean": math.fsum(ordered) / len(ordered),
        "p50": quantile(ordered, 0.5),
        "p90": quantile(ordered, 0.9),
        "p99": quantile(ordered, 0.99),
        "max": ordered[-1],
    }


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the value below which a share of sorted values lies, interpolated linearly.

    Examples
    --------
    >>> quantile([1.0, 2.0, 4.0], 0.75)
    3.0
    """
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)
