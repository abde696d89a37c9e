"""The journal of a sweep: one line a point that finished or failed, on the disk before the next one counts.

A record that was cut in the middle, because the machine or the process died, is dropped: its point runs again.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Protocol, Self

from simkv.errors import InputError
from simkv.results import SCHEMA_VERSION

NAME = "journal.jsonl"


class Named(Protocol):
    """What a journal is kept of: a sweep or a search."""

    @property
    def name(self) -> str:
        """Name of the scenario."""

    @property
    def paths(self) -> tuple[str, ...]:
        """What varies."""

    @property
    def id(self) -> str:
        """Hash of what must be the same for the journal to be gone on with."""

    @property
    def facts(self) -> dict[str, Any]:
        """What else the first line says."""


class Journal:
    """What is known of a sweep so far, and where more is written.

    Attributes
    ----------
    outcomes : point id -> its record; the last of several counts.

    Examples
    --------
    >>> with Journal(Path("out/mine"), sweep) as journal:  # doctest: +SKIP
    ...     journal.outcomes
    {}
    """

    def __init__(self, folder: Path, sweep: Named) -> None:
        self.folder = folder
        self.path = folder / NAME
        self.sweep = sweep
        self.outcomes: dict[str, Mapping[str, Any]] = {}

    def __enter__(self) -> Self:
        """Open the folder for this process alone, and read what is there."""
        self._check_folder()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._file: BinaryIO = self.path.open("a+b")
        except OSError as error:
            raise InputError(f"cannot be written: {error.strerror}", str(self.folder)) from None
        try:
            self._lock()
            self._read()
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Let others open the folder."""
        self._file.close()

    def write(self, record: Mapping[str, Any]) -> None:
        """Keep the outcome of a point; when this returns, it is on the disk."""
        self._append(record)
        self.outcomes[str(record["point"])] = record

    def _check_folder(self) -> None:
        if self.folder.exists() and not self.folder.is_dir():
            raise InputError("is a file; want a folder for the results", str(self.folder))
        if self.folder.is_dir() and any(self.folder.iterdir()) and not self.path.is_file():
            raise InputError("holds something else than a sweep; want an empty or new folder", str(self.folder))

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError("another sweep writes here now; want another folder, or wait", str(self.folder)) from None

    def _read(self) -> None:
        self._file.seek(0)
        whole, _, _ = self._file.read().rpartition(b"\n")
        lines = whole.splitlines()
        records = [self._record(line, number) for number, line in enumerate(lines, start=1)]
        self._check_same(records)
        self._file.truncate(len(whole) + 1 if whole else 0)
        if not records:
            self._append(self._header())
        for record in records[1:]:
            self.outcomes[record["point"]] = record

    def _record(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict) or ("point" not in record and number > 1):
            raise InputError(
                "is no record of a sweep; remove the line, and its point runs again", f"{self.path}:{number}"
            )
        return record

    def _check_same(self, records: list[dict[str, Any]]) -> None:
        if not records:
            return
        header, ours = records[0], self._header()
        if header.get("format") != ours["format"]:
            raise InputError("is no journal of a sweep", f"{self.path}:1")
        if header.get("sweep") != ours["sweep"]:
            kinds = [key for key in ours if key not in ("format", "schema_version", "sweep")]
            changed = [key for key in kinds if header.get(key) != ours[key]]
            why = ", ".join(f"{key} was {header.get(key)}, is {ours[key]}" for key in changed)
            why = why or "a value, a file that the scenario names, or the scenario itself has changed"
            raise InputError(f"holds another sweep ({why}); want another folder", str(self.folder))

    def _header(self) -> dict[str, Any]:
        import simkv  # noqa: PLC0415 - the front door, when it is asked for the version

        return {
            "format": "simkv.sweep",
            "schema_version": SCHEMA_VERSION,
            "simkv": simkv.__version__,
            "scenario": self.sweep.name,
            "paths": list(self.sweep.paths),
            "sweep": self.sweep.id,
            **self.sweep.facts,
        }

    def _append(self, record: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(record, ensure_ascii=False, allow_nan=False).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
