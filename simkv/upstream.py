"""What does a server tell the source of its KV, in which class, at what price? (semantics C2)

Every message pays delay and bytes on the uplink. What demand causes is demand class, the rest speculative. A
source is told what arrives and what goes whether it pushes or not: a directory that only pushing arms paid for
in demand class would delay their demand, and theirs alone (semantics E2).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from simpy import Environment

from simkv.clock import Order, call_at
from simkv.jobs import Job, Query, Receiver
from simkv.kv.block import Run
from simkv.kv.prefix import Conversation, Part
from simkv.kv.runmap import RunSet
from simkv.mind import Wish
from simkv.network.link import Link, Traffic
from simkv.predictors.question import Item
from simkv.pulling import Puller
from simkv.request import GapKind
from simkv.sending import Source


class Upstream:
    """One server's line to its source.

    Parameters
    ----------
    receiver : the server.
    control_bytes : [bytes] of payload in a control message.
    make_puller : makes what asks for KV ahead of time; None = the source pushes, or nobody speculates.
    """

    def __init__(
        self,
        env: Environment,
        receiver: Receiver,
        source: Source,
        uplink: Link,
        *,
        control_bytes: int,
        make_puller: Callable[[Receiver, Callable[[Query, list[Wish], RunSet], None]], Puller] | None,
    ) -> None:
        self._env = env
        self._receiver = receiver
        self._source = source
        self._uplink = uplink
        self._control_bytes = control_bytes
        self._evicted: list[Run] = []  # since the last notice
        self._puller = make_puller(receiver, self._pull) if make_puller is not None else None

    def ask(self, query: Query) -> None:
        """Say what a turn asks, and what of it is lacking."""
        words_bytes = sum(len(word.encode()) + 1 for word in query.prompt.words)
        if query.kv or query.texts:
            self._tell(Traffic.DEMAND, lambda: self._source.query(query), words_bytes)
        elif self._source.ahead is not None and self._source.ahead.learns:  # nothing to send, something to learn
            self._tell(Traffic.SPECULATIVE, lambda: self._source.query(query), words_bytes)
        if self._puller is not None:
            self._puller.query(query)

    def has_arrived(self, job: Job, kept: list[Run]) -> None:
        """Say that a job is here, and what of it is kept."""
        if self._puller is not None:
            self._puller.has_arrived(job)
        self._tell(job.traffic, lambda: self._source.has_arrived(job, kept))

    def refuse(self, job: Job, traffic: Traffic) -> None:
        """Say that a push is not wanted."""
        self._tell(traffic, lambda: self._source.was_refused(job))

    def was_evicted(self, run: Run, traffic: Traffic) -> None:
        """Say that blocks are gone: one message for all that go at one instant."""
        if not self._evicted:
            call_at(self._env, self._env.now, Order.DECISION, lambda: self._send_evictions(traffic))
        self._evicted.append(run)

    def has_ended(self, conversation: Conversation) -> None:
        """Say that a conversation is over."""
        if self._puller is not None:
            self._puller.has_ended(conversation)
        if (ahead := self._source.ahead) is not None:
            self._tell(Traffic.SPECULATIVE, lambda: ahead.has_ended(conversation))

    def has_answered(self, conversation: Conversation, kind: GapKind) -> None:
        """Say that an answer has ended, and why: who makes the gap that follows."""
        if self._puller is not None:
            self._puller.paused(conversation, kind)
        if (ahead := self._source.ahead) is not None and ahead.listens("pause"):
            self._tell(Traffic.SPECULATIVE, lambda: ahead.paused(conversation, kind))

    def hint(self, conversation: Conversation, items: Mapping[Item, tuple[Part, ...]]) -> None:
        """Hand on what a client says it will ask."""
        if self._puller is not None:
            self._puller.hinted(conversation, items)
        if (ahead := self._source.ahead) is not None and ahead.listens("hint"):
            self._tell(Traffic.SPECULATIVE, lambda: ahead.hinted(conversation, items))

    def _pull(self, query: Query, wishes: list[Wish], held: RunSet) -> None:
        """Ask for what is wished for ahead of time, and say what of that is here already."""
        if (ahead := self._source.ahead) is not None:
            self._tell(Traffic.SPECULATIVE, lambda: ahead.pulled(query, wishes, held))

    def write_through(self, runs: list[Run], block_bytes: int) -> None:
        """Send newly computed blocks to a source that only stores; its metadata says what it has."""
        source = self._source
        if source.gpu is not None:
            return
        new = [gap for run in runs for gap in source.buffer.absent(run)]
        if new:
            payload_bytes = sum(run.count for run in new) * block_bytes
            self._uplink.send(payload_bytes, Traffic.BACKGROUND, lambda _: source.store(new))

    def _send_evictions(self, traffic: Traffic) -> None:
        evicted, self._evicted = self._evicted, []
        by_speculation = traffic is Traffic.SPECULATIVE
        if self._puller is not None and by_speculation:
            self._puller.displaced(self._receiver, evicted)
        self._tell(traffic, lambda: self._source.was_evicted(self._receiver, evicted, by_speculation=by_speculation))

    def _tell(self, traffic: Traffic, action: Callable[[], None], words_bytes: int = 0) -> None:
        """Send a control message, and the words of a question with it; `action` happens when it arrives."""
        self._uplink.send(self._control_bytes + words_bytes, traffic, lambda _: action(), control=True)
