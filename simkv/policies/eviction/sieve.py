"""A queue by arrival, and a hand that spares what was used again."""

from __future__ import annotations

from dataclasses import dataclass, field

from simkv.kv.block import Run
from simkv.policies.eviction.order import Node, RunLine
from simkv.policies.eviction.question import EVICTION, Coming

_USED, _AGAIN = 1, 2  # values of a node: used once, which it came for; and more often since the hand passed


@EVICTION.register("sieve")
@dataclass
class Sieve:
    """Walk from the oldest to the newest; evict what was not used again since the walk last passed, spare what was.

    Source: Zhang et al., "SIEVE is simpler than LRU: an efficient turn-key eviction algorithm for web caches",
    NSDI 2024.
    """

    _line: RunLine = field(default_factory=RunLine, init=False, repr=False)
    _hand: Node | None = field(default=None, init=False, repr=False)

    def inserted(self, run: Run, now_s: float) -> None:
        """Put a new run at the end of the queue."""
        self._line.append(run)

    def used(self, run: Run, now_s: float) -> None:
        """Note a second use where it stands."""
        for node in reversed(self._line.isolate(run)):
            if node.value < _AGAIN:
                node.value += 1
                self._line.join(node)

    def removed(self, run: Run) -> None:
        """Forget it."""
        self._line.cut(run)

    def victim(self, need_bytes: int) -> Run | None:
        """Walk on to the first run that was not used again, and return it."""
        line = self._line
        node = self._hand or line.end.after
        while True:
            while node.line is None:  # it has left; the hand goes on to what came after it
                node = node.after
            if node is line.end:
                node = node.after
                if node is line.end:
                    self._hand = None
                    return None
            if node.value < _AGAIN:
                self._hand = node
                return node.run
            node.value = _USED
            node = node.after

    def coming(self, run: Run) -> Coming:
        """Return as many as the victim gives: what comes in stands behind the hand until it comes round."""
        victim = self.victim(1)
        return Coming(1 if victim is None else victim[1])

    def passed(self, run: Run, now_s: float) -> None:
        """Do nothing: everything is stored."""
