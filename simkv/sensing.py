"""What does whoever speculates learn of a link from the transfers that it sees end? (semantics C1)"""

from __future__ import annotations

import math

from simkv.network.link import Flow, Link, Traffic
from simkv.network.slicing import carried_bits, speculative_part
from simkv.policies.estimation.question import Estimator
from simkv.policies.prefetch.question import LinkView
from simkv.units import BITS_PER_BYTE

LOAD_MEMORY_S = 60.0  # [s] demand of a minute ago weighs 1/e: long against one transfer, short against a day's load


class LinkSense:
    """One link, as one end of it knows it; of a link cut into slices, the one that speculation has.

    Parameters
    ----------
    estimator : makes a rate of what is measured.
    hears_reports : the estimator is told the true capacity of some past moment.
    sees_all : this end sends everything on the link and measures what it carries in all; else only its own transfers.

    Attributes
    ----------
    backlog_bytes : [bytes] of speculation asked for and not arrived, all conversations together.
    """

    def __init__(self, link: Link, estimator: Estimator, *, hears_reports: bool, sees_all: bool) -> None:
        self.backlog_bytes = 0
        self._asked_bytes: dict[int, int] = {}  # the same of each conversation
        self._link = link
        self._estimator = estimator
        self._report = speculative_part(link).capacity.rate_at if hears_reports else None
        self._is_sliced = speculative_part(link) is not link
        self._sees_all = sees_all
        self._demand_bits = 0.0  # faded
        self._since_s = 0.0  # when that was last right

    def arrived(self, flow: Flow) -> None:
        """Take in one transfer that is known to have arrived; what went over another slice tells nothing."""
        if self._is_sliced and Traffic.SPECULATIVE not in flow.wire_bytes_by_class:
            return
        now_s = self._link.env.now
        self._fade(now_s)
        self._demand_bits += flow.wire_bytes_by_class.get(Traffic.DEMAND, 0) * BITS_PER_BYTE
        if flow.end_s is None or flow.end_s <= flow.start_s:
            return
        duration_s = flow.end_s - flow.start_s
        bits = float(flow.wire_bytes * BITS_PER_BYTE)
        if self._sees_all:  # the link was busy all the time, so it carried what it could
            bits = max(bits, carried_bits(self._link, flow))
        self._estimator.measured(bits / duration_s, duration_s, now_s)

    def expects(self, conversation: int, change_bytes: int) -> None:
        """More, or less, speculation of a conversation has been asked for and not arrived."""
        left_bytes = self._asked_bytes.get(conversation, 0) + change_bytes
        self.backlog_bytes += change_bytes
        self._asked_bytes[conversation] = left_bytes
        if not left_bytes:
            del self._asked_bytes[conversation]  # memory is for what is under way

    def view(self, conversation: int) -> LinkView:
        """Return what policies may know of it when they decide for a conversation."""
        return LinkView(
            rate_bps=self._rate_bps,
            demand_ratio=self._demand_ratio,
            backlog_bytes=lambda: self.backlog_bytes - self._asked_bytes.get(conversation, 0),
            delay_s=self._link.delay_s,
        )

    def _rate_bps(self) -> float | None:
        return self._estimator.estimate_bps(self._link.env.now, self._report)

    def _demand_ratio(self) -> float:
        rate_bps = self._rate_bps()
        now_s = self._link.env.now
        if not rate_bps or now_s <= 0:
            return 0.0
        self._fade(now_s)
        seen_s = LOAD_MEMORY_S * -math.expm1(-now_s / LOAD_MEMORY_S)  # what one bit/s since the start would have left
        return min(1.0, self._demand_bits / seen_s / rate_bps)

    def _fade(self, now_s: float) -> None:
        self._demand_bits *= math.exp((self._since_s - now_s) / LOAD_MEMORY_S)
        self._since_s = now_s
