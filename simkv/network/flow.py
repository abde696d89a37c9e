"""What is one transfer, and what has it spent in each class?

A flow knows its sizes, its class and its place in the ledger; a link's books turn fluid bits into integer
bytes, once, such that every wire byte lies in exactly one (flow, class). How fast a flow goes is not known
here: `link.py` says how many bits it has left.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

from simkv.network.sharing import Member
from simkv.results import LinkTotals
from simkv.units import BITS_PER_BYTE


class Traffic(IntEnum):
    """The classes, most urgent first (semantics E2)."""

    DEMAND = 0
    SPECULATIVE = 1
    BACKGROUND = 2

    @property
    def label(self) -> str:
        """Its name in results."""
        return _LABELS[self]


_LABELS = [traffic.name.lower() for traffic in Traffic]  # by value; made once, not once a transfer


class TransferRecord(NamedTuple):
    """What one flow sent in one class; a promoted flow has two, a control message none.

    Attributes
    ----------
    link, traffic : names.
    start_s, end_s : [s] from asking for it to the last bit on the wire; the delay comes on top.
    payload_bytes, wire_bytes : [bytes] sent in that time; they sum to the flow's over its records.
    outcome : "delivered", "promoted", "cancelled" or "in_flight_at_end".
    """

    link: str
    traffic: str
    start_s: float
    end_s: float
    payload_bytes: int
    wire_bytes: int
    outcome: str


class Flow(Member):
    """One transfer over one link; made by `Link.send`, read-only for everybody else but for `tag` and `on_sent`.

    Attributes
    ----------
    payload_bytes, wire_bytes : [bytes] asked for; wire bytes include headers.
    traffic : the class it is in now.
    start_s : [s] when it was asked for.
    end_s : [s] when its last bit left the link; None before.
    arrived : its last bit is at the other end.
    cancelled : `on_arrival` will never be called.
    wire_bytes_by_class : [bytes] what it sent in each class that it has left or ended in. Once it has ended
        they sum to `wire_bytes`, or to what it sent before it was cut.
    tag : free for the caller.
    on_sent : set by the caller; called when its last bit has left, unless it was cancelled.
    """

    __slots__ = (
        "_bits_left",
        "_booked_payload_bytes",
        "_booked_wire_bytes",
        "_goal_bits",
        "_on_arrival",
        "_part_start_s",
        "_row",
        "_waiting_bits",
        "arrived",
        "cancelled",
        "control",
        "end_s",
        "on_sent",
        "payload_bytes",
        "start_s",
        "tag",
        "traffic",
        "wire_bytes",
        "wire_bytes_by_class",
    )

    def __init__(
        self,
        payload_bytes: int,
        wire_bytes: int,
        traffic: Traffic,
        start_s: float,
        *,
        control: bool,
        weight: float,
        on_arrival: Callable[[Flow], None],
        bits_left: Callable[[Flow, float], float],
    ) -> None:
        super().__init__(weight)
        self.payload_bytes = payload_bytes
        self.wire_bytes = wire_bytes
        self.traffic = traffic
        self.control = control
        self.start_s = self._part_start_s = start_s
        self.end_s: float | None = None
        self.arrived = False
        self.cancelled = False
        self.wire_bytes_by_class: dict[Traffic, int] = {}
        self.tag: object = None
        self.on_sent: Callable[[], None] | None = None
        self._bits_left = bits_left
        self._on_arrival = on_arrival
        self._goal_bits = float(self.wire_bytes * BITS_PER_BYTE)  # what it will have sent when it ends
        self._waiting_bits = self._goal_bits  # what it has left, while in no band
        self._booked_wire_bytes = 0
        self._booked_payload_bytes = 0
        self._row: TransferRecord | None = None  # its last record, until the outcome is known

    def sent_wire_bytes(self, now_s: float) -> int:
        """Return [bytes] that have left on the wire by `now_s`, which is not before the link's last event."""
        if self.end_s is not None:
            return self._booked_wire_bytes
        sent = round((self._goal_bits - self._bits_left(self, now_s)) / BITS_PER_BYTE)
        return min(max(sent, self._booked_wire_bytes), self.wire_bytes)


class Books:
    """The ledger of one link.

    Parameters
    ----------
    link : the link's name.
    record : receives one record for each class that a flow was in, control messages left out; None to
        keep totals alone.
    """

    def __init__(self, link: str, record: Callable[[TransferRecord], None] | None) -> None:
        self.totals = LinkTotals(wire_bytes_by_class={t.label: 0 for t in Traffic})
        self._link = link
        self._record = record

    def book(self, flow: Flow, t_s: float) -> None:
        """Put what a flow sent since its last booking into its class; the parts sum exactly."""
        sent = flow.sent_wire_bytes(t_s)
        payload_sent = sent * flow.payload_bytes // flow.wire_bytes if flow.wire_bytes else 0
        wire_bytes = sent - flow._booked_wire_bytes
        payload_bytes = payload_sent - flow._booked_payload_bytes
        flow._booked_wire_bytes, flow._booked_payload_bytes = sent, payload_sent
        flow.wire_bytes_by_class[flow.traffic] = wire_bytes
        label = flow.traffic.label
        totals = self.totals
        totals.payload_bytes += payload_bytes
        totals.overhead_bytes += wire_bytes - payload_bytes
        totals.wire_bytes_by_class[label] += wire_bytes
        if flow.control:
            totals.control_bytes += wire_bytes
            if flow.traffic is Traffic.SPECULATIVE:
                totals.speculative_control_bytes += wire_bytes
        elif self._record is not None:
            flow._row = TransferRecord(self._link, label, flow._part_start_s, t_s, payload_bytes, wire_bytes, "")
        flow._part_start_s = t_s

    def close(self, flow: Flow, outcome: str) -> None:
        """Say how the part of a flow that was booked last ended."""
        if self._record is not None and flow._row is not None:
            self._record(flow._row._replace(outcome=outcome))
