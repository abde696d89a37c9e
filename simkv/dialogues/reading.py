"""Which dialogues does a file hold? Opens every public set that simkv knows, and every trace that it plays."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simkv.dialogues import (  # noqa: F401 - importing them registers them
    canard,
    chat,
    coqa,
    lmcache,
    mtrag,
    multiwoz,
    quac,
    sgd,
    squad,
    tau_bench,
    trec,
)
from simkv.dialogues.question import DIALOGUES, About, Dialogue, DialogueFormat
from simkv.dialogues.recorded import about_trace, dialogues_of, open_recorded
from simkv.errors import InputError
from simkv.registry import unknown
from simkv.workload.readers import FORMATS, TraceFormat
from simkv.workload.readers.records import Records


@dataclass(frozen=True, slots=True)
class DialogueSet:
    """All dialogues of a file.

    Attributes
    ----------
    path, format : the file, and the name of its format.
    about : what its items are.
    dialogues : in order; at least one has a query.
    """

    path: Path
    format: str
    about: About
    dialogues: tuple[Dialogue, ...]


def read_dialogues(path: Path, format: str | None = None, chunks: int | None = None) -> DialogueSet:
    """Read a file whole: JSON objects, a line each or one for all, or whatever a trace may be; plain, gzip or xz.

    Parameters
    ----------
    format : a name in `DIALOGUES` or of a trace format; None = the one that recognises the first object.
    chunks : equal chunks that a text is cut into, where answers have positions; None = the format's default.

    Raises
    ------
    InputError : with file and line, what was found and what is wanted.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "one.jsonl"
    >>> _ = path.write_text('{"traj": [{"tool_calls": [{"function": {"name": "search"}}]}], "task_id": 3}')
    >>> read_dialogues(path).dialogues[0].queries[0].item
    'search'
    """
    path = Path(path)
    _check_known(format)
    records = Records(path)
    with closing(records):
        try:
            name = format or _recognised(records.first)
            if name not in DIALOGUES:
                _refuse_chunks(name, chunks)
                trace = open_recorded(path, name)
                return _checked(path, name, about_trace(trace), tuple(dialogues_of(trace)))
            reader = _reader(name, chunks)
            return _checked(path, name, reader.about, tuple(reader.dialogues(record for _, record in records)))
        except ValueError as error:
            raise InputError(str(error), f"{path}:{records.line}") from error


def _check_known(format: str | None) -> None:
    known = sorted({*DIALOGUES, *FORMATS})
    if format is not None and format not in known:
        raise unknown("format", format, known)


def _refuse_chunks(name: str, chunks: int | None) -> None:
    if chunks is not None:
        raise InputError(f"chunks: only where answers have positions in a text, and format {name!r} has none")


def _reader(name: str, chunks: int | None) -> DialogueFormat:
    if chunks is None or "chunks" in DIALOGUES.fields(name):
        return DIALOGUES.create(name, {} if chunks is None else {"chunks": chunks})
    _refuse_chunks(name, chunks)
    raise AssertionError


def _checked(path: Path, name: str, about: About, dialogues: tuple[Dialogue, ...]) -> DialogueSet:
    if not any(dialogue.queries for dialogue in dialogues):
        raise InputError("want at least one dialogue with a query, got none", str(path))
    return DialogueSet(path, name, about, dialogues)


def _recognised(first: dict[str, Any]) -> str:
    """Return the name of the format that the first object belongs to."""
    for name in DIALOGUES:
        reader: DialogueFormat = DIALOGUES.create(name)
        if reader.recognises(first):
            return name
    for name in FORMATS:
        trace: TraceFormat = FORMATS.create(name)
        if trace.recognises(first):
            return name
    known = ", ".join(sorted({*DIALOGUES, *FORMATS}))
    raise ValueError(f"not a dialogue set or trace that simkv knows (want one of {known}; --format names it)")
