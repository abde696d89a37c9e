"""The story of one request, top to bottom. Read this first.

A turn arrives, is routed, looks up which of the KV it needs is resident, acquires the rest, is prefilled and
decoded in batches with others, and leaves its KV behind. What each step means is told in one place each:
`server.py` (what a server holds and lacks), `first_look.py` (what speculation did for a request), `sending.py`
(what the holder of KV computes, sends and pushes ahead of time), `kv_ahead.py` and `text_ahead.py` (what becomes
of that at the receiver), `compute/gpu.py` (the batch), `network/link.py` (the wire).
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence

from simpy import Environment, Event

from simkv.claim import Claim
from simkv.compute.gpu import GpuSequence
from simkv.kv.prefix import OPEN_LOOP, Conversation, Part, Prompt
from simkv.kv.reusable import Reusable
from simkv.policies.prefetch.question import Foresight
from simkv.policies.routing import Routing
from simkv.predictors.question import Item
from simkv.recorder import Recorder, Request
from simkv.server import Server


class Serving:
    """All servers that serve, and the story that every request lives through on them."""

    def __init__(self, env: Environment, servers: Sequence[Server], routing: Routing, recorder: Recorder) -> None:
        self.env = env
        self.recorder = recorder
        self._servers = servers
        self._views = tuple(server.load.view for server in servers)
        self._routing = routing
        self._visited: dict[Conversation, list[int]] = {}  # the servers of each that has not ended, its home last
        self._requests = 0

    def serve(self, conversation: Conversation, turn: int, foresight: Foresight) -> Generator[Event, object, None]:
        """Carry one turn from its arrival to its last token."""
        request, prompt = self._arrive(conversation, turn)
        server = self._route(conversation, request, prompt)
        ready, finished = self.env.event(), self.env.event()

        # Look up what is resident; wait for what is in flight, fetch or recompute the rest. The same message
        # tells the source what was asked: there it predicts what comes next and pushes it (steps 3, 4 and 8).
        claim = Claim(conversation, prompt, foresight, on_ready=ready.succeed)
        server.claim(claim)
        if not ready.triggered:
            yield ready
        request.stall_s = self.env.now - request.arrival_s
        if claim.rejected:
            request.status = "rejected"
            server.load.left(request.request_id)
            return

        # Prefill what is not cached, then decode; the GPU batches this with everybody else's.
        request.cached_tokens, prefill_tokens = server.tokens(claim)
        sequence = GpuSequence(
            prefill_tokens,
            request.cached_tokens,
            request.output_tokens,
            priority=conversation.session.priority,
            content=claim,
            page_shift_tokens=claim.own_tokens - request.cached_tokens - prefill_tokens,
            on_scheduled=lambda: self._scheduled(request),
            on_first_token=lambda: self._first_token(request, server, claim),
            on_refilled=lambda: server.prefilled(claim),
            on_finished=lambda: _happens(finished),
        )
        server.gpu.submit(sequence)
        yield finished

        # Leave the KV behind: whoever needs the room evicts it.
        server.release(claim)
        server.load.left(request.request_id)
        self._finish(request, claim, sequence)

    def hinted(self, conversation: Conversation, items: Mapping[Item, tuple[Part, ...]]) -> None:
        """A client says what it will ask next: the server that it was on last hands it on."""
        visited = self._visited.get(conversation)
        if visited:
            self._servers[visited[-1]].hinted(conversation, items)

    def ended(self, conversation: Conversation) -> None:
        """A session is over: nothing more is moved for it, to whichever server."""
        conversation.has_ended = True
        visited = self._visited.pop(conversation)
        self._servers[visited[-1]].load.sessions -= 1
        if conversation.key != OPEN_LOOP:
            for index in visited:
                self._servers[index].session_ended(conversation)

    def _arrive(self, conversation: Conversation, turn: int) -> tuple[Request, Prompt]:
        prompt = conversation.prompt(turn)
        request = Request(self._requests, conversation.session.session_id, conversation.draw, turn, self.env.now)
        request.input_tokens, request.output_tokens = prompt.prompt_tokens, prompt.output_tokens
        self._requests += 1
        self.recorder.arrived(request)
        return request, prompt

    def _route(self, conversation: Conversation, request: Request, prompt: Prompt) -> Server:
        visited = self._visited.setdefault(conversation, [])
        home = visited[-1] if visited else None
        visible = request.visible(home, Reusable.of(prompt))
        choice = self._routing.choose(visible, self._views)
        if choice != home:
            if choice in visited:
                visited.remove(choice)
            visited.append(choice)
            self._servers[choice].load.sessions += 1
            if home is not None:
                self._servers[home].load.sessions -= 1
        server = self._servers[choice]
        server.load.sent(request.request_id, visible)
        request.server = server.name
        return server

    def _scheduled(self, request: Request) -> None:
        request.scheduled_s = self.env.now

    def _first_token(self, request: Request, server: Server, claim: Claim) -> None:
        request.first_token_s = self.env.now
        server.load.prefilled(request.request_id)
        server.prefilled(claim)

    def _finish(self, request: Request, claim: Claim, sequence: GpuSequence) -> None:
        request.last_token_s = self.env.now
        request.status = "finished"
        request.ready_at_arrival = claim.ready_at_arrival
        request.interference_s, request.preemptions = sequence.interference_s, sequence.preemptions
        for column, units in claim.units().items():
            setattr(request, column, units)


def _happens(event: Event) -> None:
    event.succeed()
