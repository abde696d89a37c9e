"""Every burst as it is measured, one line each, so that a run that was cut goes on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

from simkv.errors import InputError

_FORMAT = 1


class Burst(NamedTuple):
    """What one visit to one point gave.

    Attributes
    ----------
    value_s : [s] of one call, by the clock of the operation.
    wall_s : [s] median of the wall time of one call.
    preempted : share of the samples during which another program got the core.
    samples : how many there were.
    error : why there is none; "" = there is.
    """

    value_s: float
    wall_s: float
    preempted: float
    samples: int
    error: str = ""


class Journal:
    """The bursts of a run, by point and round.

    Parameters
    ----------
    path : of the file; continued where it exists.
    head : what decides the values: only a journal with an equal head is continued.

    Raises
    ------
    InputError : the file belongs to another run, or is no journal.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.jsonl"
    >>> with Journal(path, {"plan": "x"}) as journal:
    ...     journal.add("gather:64,8", 0, Burst(1e-6, 1e-6, 0.0, 30), 0.5)
    >>> with Journal(path, {"plan": "x"}) as journal:
    ...     journal.resumed, journal.elapsed_s, journal.has("gather:64,8", 0)
    (1, 0.5, True)
    """

    def __init__(self, path: Path, head: Mapping[str, Any]) -> None:
        self.path = path
        self.bursts: dict[str, dict[int, Burst]] = {}
        #: [s] that earlier runs have spent.
        self.elapsed_s = 0.0
        told = {"journal": _FORMAT, **head}
        whole = self._load(told) if path.exists() else 0
        self.resumed = sum(len(rounds) for rounds in self.bursts.values())
        try:
            self._file: IO[bytes] = path.open("r+b" if whole else "wb")
            self._file.truncate(whole)  # a line that was cut is not one
            self._file.seek(whole)
        except OSError as error:
            raise InputError(f"cannot be written: {(error.strerror or str(error)).lower()}", str(path)) from None
        if not whole:
            self._write(told)

    def __enter__(self) -> Journal:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file; it stays."""
        self._file.close()

    def _load(self, told: Mapping[str, Any]) -> int:
        """Read what is whole; return where it ends [bytes]."""
        raw = self.path.read_bytes()
        end = raw.rfind(b"\n") + 1
        lines = raw[:end].split(b"\n")[:-1]
        if not lines:
            return 0
        head = self._parsed(lines[0], 1)
        for key, value in told.items():
            if head.get(key) != value:
                found = f"{key} {str(head.get(key))[:16]!r}, want {str(value)[:16]!r}"
                hint = "remove it to begin again, or name another --out"
                raise InputError(f"the journal of another run ({found}): {hint}", str(self.path))
        for number, line in enumerate(lines[1:], 2):
            self._keep(self._parsed(line, number), number)
        return end

    def _parsed(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            found = json.loads(line)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise InputError("not a journal of a calibration; remove it to begin again", f"{self.path}:{number}")
        return found

    def _keep(self, told: Mapping[str, Any], number: int) -> None:
        try:
            burst = Burst(told["t"], told["w"], told["p"], told["n"], told.get("e", ""))
            self.bursts.setdefault(told["c"], {})[told["r"]] = burst
            self.elapsed_s = told["at"]
        except KeyError as error:
            raise InputError(f"the key {error} is missing; remove it to begin again", f"{self.path}:{number}") from None

    def has(self, key: str, turn: int) -> bool:
        """Return whether a point was visited in a round, or has failed for good."""
        rounds = self.bursts.get(key, {})
        return turn in rounds or any(burst.error for burst in rounds.values())

    def add(self, key: str, turn: int, burst: Burst, elapsed_s: float) -> None:
        """Keep a burst, on disk before the next one begins."""
        self.bursts.setdefault(key, {})[turn] = burst
        told = {"c": key, "r": turn, "t": burst.value_s, "w": burst.wall_s, "p": burst.preempted, "n": burst.samples}
        self._write(told | {"at": round(elapsed_s, 3)} | ({"e": burst.error} if burst.error else {}))

    def _write(self, told: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(told).encode() + b"\n")
        self._file.flush()

    def remove(self) -> None:
        """Take the file away: the profile holds all of it."""
        self._file.close()
        self.path.unlink()
