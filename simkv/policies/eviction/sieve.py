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
        nodes = self._line.isolate(run)
        hand = self._standing()
        for node in reversed(nodes):
            if node.value < _AGAIN:
                node.value += 1
                if node is not hand:  # what the hand has passed stays apart from where it stands
                    self._line.join(node)

    def removed(self, run: Run) -> None:
        """Forget it."""
        self._line.cut(run)

    def victim(self, need_bytes: int) -> Run | None:
        """Walk on to the first run that was not used again, and return it."""
        line, node = self._line, self._standing()
        while True:
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

    def _standing(self) -> Node:
        """Return where the hand stands; where it stood may have left, and what came after it is next."""
        node = self._hand or self._line.end.after
        while node.line is None:
            node = node.after
        self._hand = node
        return node

    def coming(self, run: Run) -> Coming:
        """Return as many as the victim gives: what comes in stands behind the hand until it comes round."""
        if self.victim(1) is None or self._hand is None:
            return Coming(1)
        blocks, is_newest = self._hand.run[1], self._hand.after is self._line.end
        return Coming(max(1, blocks - is_newest))  # the last of the newest leaves with what has come behind it

    def passed(self, run: Run, now_s: float) -> None:
        """Do nothing: everything is stored."""
