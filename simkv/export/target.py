"""What is a target of an export, and which part of a saved run does it get?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from simkv.report.reading import SavedRun, SavedSweep


class Choice(NamedTuple):
    """Which part of a saved run is exported, where a target takes one arm or replication.

    Attributes
    ----------
    arm : its name; None = the target's own choice, or a refusal that asks for one.
    replication : which one.
    sessions : of a timeline: the requests of so many sessions, those that came first; None = all.
    window_s : [s] of a timeline: from when to when; None = from the start, as far as it stays small enough.
    """

    arm: str | None = None
    replication: int = 0
    sessions: int | None = None
    window_s: tuple[float, float] | None = None


@dataclass(frozen=True)
class Export:
    """A target.

    Attributes
    ----------
    make : saved folder, choice -> file name to its bytes.
    doc : one line for people.
    takes : the fields of a choice that it goes by; any other is refused, not ignored.
    """

    make: Callable[[SavedRun | SavedSweep, Choice], dict[str, bytes]]
    doc: str
    takes: tuple[str, ...]
