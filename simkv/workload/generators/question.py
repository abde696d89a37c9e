"""What a generator must answer. A plug-in is a dataclass whose fields are its parameters."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, Protocol

from simkv.registry import Registry
from simkv.request import Session, TraceHeader
from simkv.workload.series import Series


class Generator(Protocol):
    """Makes sessions. Equal parameters and seed give equal sessions, as often as they are asked for."""

    def header(self) -> TraceHeader:
        """Return what is true of all sessions."""
        ...

    def sessions(self, seed: int) -> Iterator[Session]:
        """Yield the sessions of one seed, in order of their start where they have one."""
        ...


class SeriesGenerator(Protocol):
    """Makes a bandwidth series. Equal parameters and seed give an equal series."""

    def series(self, seed: int) -> Series:
        """Return the series of one seed."""
        ...


GENERATORS: Registry[Generator] = Registry("generator", "simkv.generator")
SERIES_GENERATORS: Registry[SeriesGenerator] = Registry("series generator", "simkv.series_generator")


def provenance(name: str, plugin: Any) -> dict[str, object]:
    """Return what made a trace: the generator's name and all its parameters."""
    return {"generator": name, "parameters": dataclasses.asdict(plugin)}


def want(condition: bool, message: str) -> None:
    """Refuse a parameter.

    Raises
    ------
    ValueError : the condition does not hold; the registry says whose parameter it is.
    """
    if not condition:
        raise ValueError(message)
