"""As many as paid lately."""

from __future__ import annotations

from dataclasses import dataclass, field

from simkv.policies.prefetch.question import PREFETCH, Kind, Prefetch, PrefetchView, Record
from simkv.policies.prefetch.worth import likely
from simkv.policies.ranges import check_ratio


@PREFETCH.register("feedback-throttled")
@dataclass
class FeedbackThrottled:
    """Move the most probable items; how many at once goes up and down by what became of the last ones.

    After every `interval` fates a step of one. Inaccurate: down if late or polluting. Accurate: up if late. In between:
    down if polluting, else up if late. Accurate and in time: down if polluting. Else the number stays.

    Attributes
    ----------
    most : items at once, never more and never less than one; it begins in the middle.
    interval : fates between two steps.
    high, low : accuracy (used / known) from which on it is high, and below which it is low.
    lateness : late / used above which it is late.
    pollution : part of what speculation pushed out that was asked for again, above which it is polluting.
    kind : "kv", "text" or "compute".

    Source: Srinath, Mutlu, Kim, Patt, "Feedback directed prefetching: improving the performance and
    bandwidth-efficiency of hardware prefetchers", HPCA'07: the cases of its table 2, accuracies 0.75 and 0.40, lateness
    0.01. Its pollution is a share of all misses, and its interval counts evictions; here both are of speculation alone.
    """

    most: int = 5
    interval: int = 8
    high: float = 0.75
    low: float = 0.40
    lateness: float = 0.01
    pollution: float = 0.05
    kind: Kind = "kv"
    _degree: int = field(default=0, init=False, repr=False)
    _stepped_at: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.most < 1:
            raise ValueError(f"most must be at least 1 item, got {self.most}")
        if self.interval < 1:
            raise ValueError(f"interval must be at least 1, got {self.interval}")
        if not 0 <= self.low <= self.high <= 1:
            raise ValueError(f"low must be in [0, 1] and not above high, got {self.low} and {self.high}")
        for name, ratio in (("lateness", self.lateness), ("pollution", self.pollution)):
            check_ratio(name, ratio)
        self._degree = (self.most + 1) // 2

    def decide(self, view: PrefetchView) -> list[Prefetch]:
        """Return the most probable items that are not there."""
        record = view.record
        if record.settled - self._stepped_at >= self.interval:
            self._stepped_at = record.settled
            self._degree = min(self.most, max(1, self._degree + self._step(record)))
        absent = [item for _, item in likely(view) if not view.held(item)]
        return [Prefetch(item, self.kind) for item in absent[: self._degree]]

    def _step(self, record: Record) -> int:
        accuracy = record.used / record.known
        is_late = record.late > self.lateness * record.used
        is_polluting = record.missed_blocks > self.pollution * record.displaced_blocks
        if accuracy < self.low:
            return -1 if is_late or is_polluting else 0
        if is_late and (accuracy >= self.high or not is_polluting):
            return 1
        return -1 if is_polluting else 0
