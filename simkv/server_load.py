"""What whoever routes requests knows of one server: how busy it is, and how much of a prompt it holds.

These are the books that a router keeps itself, as it hears of first and last tokens, which pass through it
(NVIDIA Dynamo's router keeps the same). Answers are in none of them before they are complete.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter

from simkv.policies.routing.question import ServerView, VisibleRequest


class Load:
    """The requests that were sent to one server and have not left it.

    Parameters
    ----------
    name : of the server.
    cached_tokens : returns [tokens] of a prompt that are cached there now.

    Attributes
    ----------
    sessions, requests, prefill_tokens, context_tokens : see `ServerView`.
    view : what a routing policy sees of it.

    Examples
    --------
    >>> load = Load("a", lambda request: 30)
    >>> load.sent(7, VisibleRequest(0, 0, 100, None)); load.view.requests, load.view.prefill_tokens
    (1, 70)
    >>> load.prefilled(7); load.view.prefill_tokens, load.view.context_tokens
    (0, 100)
    >>> load.left(7); load.view.requests, load.view.context_tokens
    (0, 0)
    """

    __slots__ = (
        "_prefills",
        "_prompts",
        "cached_tokens",
        "context_tokens",
        "name",
        "prefill_tokens",
        "requests",
        "sessions",
        "view",
    )

    def __init__(self, name: str, cached_tokens: Callable[[VisibleRequest], int]) -> None:
        self.name = name
        self.cached_tokens = cached_tokens
        self.sessions = 0
        self.requests = 0
        self.prefill_tokens = 0
        self.context_tokens = 0
        self.view: ServerView = _View(self)
        self._prompts: dict[int, int] = {}  # [tokens] of each request's prompt
        self._prefills: dict[int, int] = {}  # and what was not cached of it, until its first token

    def sent(self, request_id: int, request: VisibleRequest) -> None:
        """A request goes there."""
        missing = request.prompt_tokens - self.cached_tokens(request)
        self._prompts[request_id] = request.prompt_tokens
        self._prefills[request_id] = missing
        self.requests += 1
        self.context_tokens += request.prompt_tokens
        self.prefill_tokens += missing

    def prefilled(self, request_id: int) -> None:
        """A request has emitted a token; only the first one matters."""
        self.prefill_tokens -= self._prefills.pop(request_id, 0)

    def left(self, request_id: int) -> None:
        """A request has its answer, or was rejected."""
        self.prefilled(request_id)
        self.requests -= 1
        self.context_tokens -= self._prompts.pop(request_id)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is there."""
        return not (self.sessions or self.requests or self.prefill_tokens or self.context_tokens)


class _View:
    """What a routing policy sees of a server: live, and nothing to write to."""

    __slots__ = ("_load",)

    def __init__(self, load: Load) -> None:
        self._load = load

    name = property(attrgetter("_load.name"))
    sessions = property(attrgetter("_load.sessions"))
    requests = property(attrgetter("_load.requests"))
    prefill_tokens = property(attrgetter("_load.prefill_tokens"))
    context_tokens = property(attrgetter("_load.context_tokens"))

    def cached_tokens(self, request: VisibleRequest) -> int:
        """See `ServerView`."""
        return self._load.cached_tokens(request)
