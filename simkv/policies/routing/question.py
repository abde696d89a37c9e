"""Which server serves this turn? The form in which every routing policy answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from simkv.registry import Registry


class ServerView(Protocol):
    """What a router may know of one server; read it during the call only."""

    @property
    def name(self) -> str:
        """Name of the server."""

    @property
    def sessions(self) -> int:
        """How many sessions are at home on it and have not ended."""

    @property
    def requests(self) -> int:
        """How many requests are in it."""


class VisibleRequest(NamedTuple):
    """What a real system knows of a request when it arrives: never its answer, never what follows.

    Attributes
    ----------
    session, turn : which conversation, and how far it is.
    prompt_tokens : [tokens] of the prompt.
    home : index of the server that served the session's previous turn; None for its first.
    """

    session: int
    turn: int
    prompt_tokens: int
    home: int | None


class Routing(Protocol):
    """One method to write."""

    def choose(self, request: VisibleRequest, servers: Sequence[ServerView]) -> int:
        """Return the index of the server for a turn; `servers` are in the order of the scenario."""


ROUTING: Registry[Routing] = Registry("routing policy", "simkv.routing")
