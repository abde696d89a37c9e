"""Everything lives for a fixed time."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from simkv.kv.block import Run
from simkv.policies.eviction.order import RunLine
from simkv.policies.eviction.question import EVICTION, Coming


@EVICTION.register("ttl")
@dataclass
class Ttl:
    """Drop what was not used for so long, room or no room; where room is short, evict what would expire first.

    Parameters
    ----------
    ttl_s : how long a block lives.
    renew : every use lets it live as long again; False = counted from when it came.

    Source: Fofack et al., "Performance evaluation of hierarchical TTL-based cache networks", Computer Networks 65,
    2014; the default is the lifetime of cached prompts in Anthropic's documentation ("Prompt caching", 5 minutes).
    """

    ttl_s: float = 300.0
    renew: bool = True
    _line: RunLine = field(default_factory=RunLine, init=False, repr=False)  # by the time of expiry

    def __post_init__(self) -> None:
        if not 0 < self.ttl_s < math.inf:
            raise ValueError(f"ttl_s must be above 0 and finite, got {self.ttl_s}")

    def inserted(self, run: Run, now_s: float) -> None:
        """Let it live from now on."""
        self._line.append(run, now_s + self.ttl_s)

    def used(self, run: Run, now_s: float) -> None:
        """Let it live as long again."""
        if self.renew:
            self._line.renew(run, now_s + self.ttl_s)

    def removed(self, run: Run) -> None:
        """Forget it."""
        self._line.cut(run)

    def victim(self, need_bytes: int) -> Run | None:
        """Return the run that would expire first."""
        return self._line.first()

    def expired(self, now_s: float) -> Run | None:
        """Return a run whose time is over."""
        node = self._line.end.after
        return node.run if node.run[1] and node.value <= now_s else None

    def coming(self, run: Run) -> Coming:
        """Return as many as are here: what comes in lives longest."""
        return Coming(max(1, self._line.blocks))

    def passed(self, run: Run, now_s: float) -> None:
        """Do nothing: everything is stored."""
