"""Which server serves this turn? The form in which every routing policy answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from simkv.kv.reusable import Reusable
from simkv.registry import Registry


class VisibleRequest(NamedTuple):
    """What a real system knows of a request when it arrives: never its answer, never what follows.

    Attributes
    ----------
    session, turn : which conversation, and how far it is.
    prompt_tokens : [tokens] of the prompt.
    home : index of the server that served the session's previous turn; None for its first.
    reusable : the blocks of the prompt: who has its tokens can hash them.
    """

    session: int
    turn: int
    prompt_tokens: int
    home: int | None
    reusable: Reusable = Reusable(())


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

    @property
    def prefill_tokens(self) -> int:
        """[tokens] to compute for those that have emitted none yet: of their prompts, what was not cached when sent."""

    @property
    def context_tokens(self) -> int:
        """[tokens] of the prompts of all that are in it; answers are not counted."""

    def cached_tokens(self, request: VisibleRequest) -> int:
        """Return [tokens] of the request's prompt whose KV it holds and need not compute, as cache events tell.

        Of a chain the longest resident prefix, of independent chunks each; not what is still on its way there.
        """


class Routing(Protocol):
    """One method to write."""

    def choose(self, request: VisibleRequest, servers: Sequence[ServerView]) -> int:
        """Return the index of the server for a turn; `servers` are in the order of the scenario."""


ROUTING: Registry[Routing] = Registry("routing policy", "simkv.routing")
