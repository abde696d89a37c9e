"""How long does a transfer take on a link that others use too, and which class does each byte count in?

A link has a capacity over time, a propagation delay and a queue discipline. `strict`: demand before
speculative before background, by preemption; inside a class, weighted processor sharing. `ps`: all
classes share alike. Flows are fluid: no packets, no start-up, no loss.

What cannot be preempted (semantics C3). A scheduler hands bytes to a socket or radio buffer ahead of the
wire, up to `committed_bytes`. Three rules:

1. A class becomes busy while a lower one is being sent, or a flow of the class being sent is promoted: a
   *drain* begins. For as long as `committed_bytes` take at full capacity, or until they have nothing left,
   the lower classes keep the link, in their own ledger. Who is in them is frozen: a flow sent there meanwhile
   joins at the end of the drain, and promotions and cancellations there take effect then. Classes above are
   not frozen.
2. A flow is cancelled while its class is being sent, outside a drain: it is cut to its share, by weight, of
   `committed_bytes`, and ends when that is sent.
3. A flow of a class that is not being sent has nothing committed: changes act at once.

So a demand waits for at most `committed_bytes`, and `committed_bytes=0` is ideal preemption: each class has
a clock of its own that lower classes never touch, and demand times are bit-identical with and without them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import count
from typing import Literal

from simpy import Environment

from simkv.clock import Order, call_at
from simkv.errors import InputError
from simkv.network.capacity import Capacity
from simkv.network.flow import Books, Flow, Traffic, TransferRecord
from simkv.network.sharing import Band
from simkv.network.transport import Transport
from simkv.results import LinkTotals
from simkv.units import BITS_PER_BYTE

__all__ = ["Flow", "Link", "Traffic", "TransferRecord"]


class Link:
    """One direction between two servers.

    Parameters
    ----------
    name : its name in results.
    capacity : what it carries on the wire, headers included (semantics E1).
    delay_s : [s] one-way propagation delay, >= 0.
    transport : adds the headers.
    discipline : "strict" or "ps"; see the module.
    committed_bytes : [bytes] that cannot be preempted; None = the rate of the moment x `rtt_s`, 0 for an
        ideal transport.
    rtt_s : [s] round-trip time of the path; None = twice `delay_s`.
    record : receives one record for each class that a flow was in.

    Notes
    -----
    O(log n) an event; a step of the capacity costs nothing. One wake-up is armed at a time.

    Examples
    --------
    >>> from simkv.network.capacity import Constant
    >>> from simkv.network.transport import Ideal
    >>> env = Environment()
    >>> link = Link(env, "wan", Constant(8e6), 0.01, transport=Ideal())
    >>> done: list[float] = []
    >>> slow = link.send(2_000_000, Traffic.SPECULATIVE, lambda flow: done.append(env.now))
    >>> fast = link.send(1_000_000, Traffic.DEMAND, lambda flow: done.append(env.now))
    >>> env.run()
    >>> done
    [1.01, 3.01]
    """

    def __init__(
        self,
        env: Environment,
        name: str,
        capacity: Capacity,
        delay_s: float,
        *,
        transport: Transport,
        discipline: Literal["strict", "ps"] = "strict",
        committed_bytes: int | None = None,
        rtt_s: float | None = None,
        record: Callable[[TransferRecord], None] | None = None,
    ) -> None:
        where = f"link {name}"
        if discipline not in ("strict", "ps"):
            raise InputError(f"want discipline 'strict' or 'ps', got {discipline!r}", where)
        for what, value in (("delay_s", delay_s), ("rtt_s", rtt_s), ("committed_bytes", committed_bytes)):
            if value is not None and not (0.0 <= value < math.inf):
                raise InputError(f"{what} is a finite number, not below 0; got {value}", where)
        self.env, self.name = env, name
        self.capacity, self.delay_s = capacity, delay_s
        self.rtt_s = 2.0 * delay_s if rtt_s is None else rtt_s
        self.transport = transport
        self.discipline = discipline
        self._books = Books(name, record)
        self._committed_bytes = 0 if committed_bytes is None and transport.is_ideal else committed_bytes
        numbers = count()
        bands = len(Traffic) if discipline == "strict" else 1
        self._bands: list[Band[Flow]] = [Band(capacity, numbers) for _ in range(bands)]
        self._open: dict[Flow, None] = {}  # asked for and not arrived, cancelled or settled; in order
        self._serving: int | None = None  # which band is being sent
        self._busy_since_s: float | None = None
        self._frozen_from = len(self._bands)  # bands from here on are frozen by a drain
        self._drain_end_s = math.inf
        self._joining: dict[Flow, None] = {}  # wait for the end of the drain to enter their band
        self._leaving: list[Flow] = []  # to be promoted, or cut off if cancelled, at the end of the drain
        self._due_s = math.inf
        self._due_is_completion = False
        self._wake_up = 0  # number of the armed one; an event with another number is stale
        self._rearm = False

    @property
    def totals(self) -> LinkTotals:
        """What it has carried so far: flows that ended, and the parts of promoted ones."""
        return self._books.totals

    def send(
        self,
        payload_bytes: int,
        traffic: Traffic,
        on_arrival: Callable[[Flow], None],
        *,
        control: bool = False,
        weight: float = 1.0,
    ) -> Flow:
        """Begin a transfer and return it; `on_arrival(flow)` is called `delay_s` after its last bit left.

        Parameters
        ----------
        payload_bytes : [bytes] >= 0; an empty message takes `delay_s` and fills nothing.
        traffic : its class.
        control : a control message: counted apart in the totals, and in no record.
        weight : its share of the link relative to others of its class, > 0.
        """
        if payload_bytes < 0:
            raise InputError(f"a transfer has 0 bytes or more, got {payload_bytes}", f"link {self.name}")
        if not (0.0 < weight < math.inf):
            raise InputError(f"the weight of a transfer is a finite number above 0, got {weight}", f"link {self.name}")
        flow = Flow(
            payload_bytes,
            self.transport.wire_bytes(payload_bytes),
            traffic,
            self.env.now,
            control=control,
            weight=weight,
            on_arrival=on_arrival,
            bits_left=self._bits_left,
        )
        self._open[flow] = None
        if flow.wire_bytes == 0:
            self._end(flow, flow.start_s)
        else:
            self._enter(flow, flow.start_s)
            self._reconsider(flow.start_s)
        return flow

    def promote(self, flow: Flow) -> None:
        """Make the rest of a flow demand; what it spent so far stays in its old class.

        Nothing happens when it is demand already, has sent its last bit or was cancelled.
        """
        if flow.traffic is Traffic.DEMAND or flow.cancelled or flow.end_s is not None or flow not in self._open:
            return
        now_s = self.env.now
        band = self._band_of(flow)
        if self.discipline == "ps":
            self._split_off_demand(flow, now_s)
            return
        waits = flow in self._joining
        if band == self._serving and not self._is_draining:
            self._begin_drain(now_s)
        if band >= self._frozen_from and not waits:
            if flow not in self._leaving:
                self._leaving.append(flow)
        else:
            self._become_demand(flow, now_s)
        self._reconsider(now_s)

    def cancel(self, flow: Flow) -> None:
        """Stop a flow: its `on_arrival` is never called; what is committed of it still drains.

        Nothing happens when it has arrived or was cancelled before.
        """
        if flow.cancelled or flow not in self._open:
            return
        now_s = self.env.now
        flow.cancelled = True
        if flow.end_s is not None:  # all of it is on its way
            self._close(flow, "cancelled")
            return
        band = self._band_of(flow)
        if flow in self._joining:
            del self._joining[flow]
            self._end(flow, now_s)
        elif band >= self._frozen_from:
            if flow not in self._leaving:
                self._leaving.append(flow)
        elif band != self._serving or not self._cut(flow, now_s):
            self._take_out(flow, now_s)
            self._end(flow, now_s)
        self._reconsider(now_s)

    def settle(self) -> None:
        """Close the books at the end of a run: what is still under way is recorded as in flight.

        None of it arrives afterwards. A cancelled flow that still drains stays "cancelled".
        """
        now_s = self.env.now
        for flow in list(self._open):
            if flow.end_s is None:
                flow._waiting_bits, flow._entry = self._bits_left(flow, now_s), -1
                self._books.book(flow, now_s)
            self._close(flow, "cancelled" if flow.cancelled else "in_flight_at_end")
        self._note_busy(False, now_s)
        for band in self._bands:
            band.clear()
        self._joining.clear()
        self._leaving.clear()
        self._frozen_from, self._drain_end_s, self._serving = len(self._bands), math.inf, None
        self._wake_up += 1

    # --- who is sent -------------------------------------------------------------------------------------

    @property
    def _is_draining(self) -> bool:
        return self._frozen_from < len(self._bands)

    def _band_of(self, flow: Flow) -> int:
        return int(flow.traffic) if self.discipline == "strict" else 0

    def _enter(self, flow: Flow, t_s: float) -> None:
        """Let a flow into its band, beginning a drain if it takes the link from a lower one."""
        index = self._band_of(flow)
        if index >= self._frozen_from:
            self._joining[flow] = None
            return
        band = self._bands[index]
        if index == self._serving:
            band.advance(t_s)
            self._rearm = True
        elif not band and not self._is_draining and self._serving is not None and index < self._serving:
            self._begin_drain(t_s)
        band.add(flow, flow._waiting_bits)

    def _take_out(self, flow: Flow, t_s: float) -> None:
        if flow in self._joining:
            del self._joining[flow]
            return
        index = self._band_of(flow)
        if index == self._serving:
            self._bands[index].advance(t_s)
            self._rearm = True
        flow._waiting_bits = self._bands[index].remove(flow)

    def _cut(self, flow: Flow, t_s: float) -> bool:
        """Leave a flow of the band being sent only what is committed of it; False if that is nothing."""
        band = self._bands[self._band_of(flow)]
        share_bits = self._committed_bits(t_s) * flow._weight / band.total_weight
        if share_bits <= 0.0:
            return False
        band.advance(t_s)
        flow._goal_bits -= band.cut(flow, share_bits)
        self._rearm = True
        return True

    def _become_demand(self, flow: Flow, t_s: float) -> None:
        self._take_out(flow, t_s)
        self._split_off_demand(flow, t_s)
        self._enter(flow, t_s)

    def _committed_bits(self, t_s: float) -> float:
        if self._committed_bytes is None:
            return self.capacity.rate_at(t_s) * self.rtt_s
        return float(self._committed_bytes * BITS_PER_BYTE)

    def _begin_drain(self, t_s: float) -> None:
        committed_bits = self._committed_bits(t_s)
        if committed_bits > 0.0 and self._serving is not None:
            self._frozen_from = self._serving
            self._drain_end_s = self.capacity.time_when(t_s, committed_bits)
            self._rearm = True

    def _end_drain(self, t_s: float) -> None:
        self._frozen_from, self._drain_end_s = len(self._bands), math.inf
        self._serving = None  # nobody is preempted by who enters now: the committed bytes are gone
        leaving, self._leaving = self._leaving, []
        joining, self._joining = self._joining, {}
        for flow in leaving:
            if flow.end_s is not None:  # its last bit was among the committed ones
                continue
            if flow.cancelled:
                self._take_out(flow, t_s)
                self._end(flow, t_s)
            else:
                self._become_demand(flow, t_s)
        for flow in joining:
            self._enter(flow, t_s)

    def _reconsider(self, t_s: float) -> None:
        """Send the first busy band that may be sent, and arm the wake-up if anything about it changed."""
        bands, index = self._bands, self._frozen_from if self._is_draining else 0
        while index < len(bands) and not bands[index].members:
            index += 1
        first_busy = index if index < len(bands) else None
        if first_busy != self._serving or (first_busy is None and self._busy_since_s is not None):  # after a drain
            self._switch(first_busy, t_s)
        if self._rearm:
            self._arm()

    def _switch(self, index: int | None, t_s: float) -> None:
        if self._serving is not None and self._bands[self._serving]:  # preempted
            self._bands[self._serving].advance(t_s)
            for flow in self._bands[self._serving].pop_finished():
                self._complete(flow, t_s)
        if index is not None:
            self._bands[index].resume(t_s)
        self._note_busy(index is not None, t_s)
        self._serving = index
        self._rearm = True

    def _arm(self) -> None:
        self._rearm = False
        self._wake_up += 1
        if self._serving is None:
            return
        finish_s = self._bands[self._serving].next_finish_s()
        self._due_is_completion = finish_s <= self._drain_end_s
        self._due_s = min(finish_s, self._drain_end_s)
        if self._due_s < math.inf:
            number = self._wake_up
            call_at(self.env, self._due_s, Order.TRANSFER_END, lambda: self._on_due(number))

    def _on_due(self, number: int) -> None:
        if number != self._wake_up or self._serving is None:
            return
        t_s = self._due_s  # not env.now, which may be off by a rounding step
        band = self._bands[self._serving]
        if self._due_is_completion:
            done = band.pop_next(t_s)
        else:
            band.advance(t_s)
            done = band.pop_finished()
        for flow in done:
            self._complete(flow, t_s)
        if self._is_draining and (t_s >= self._drain_end_s or not any(self._bands[self._frozen_from :])):
            self._end_drain(t_s)
        self._rearm = True
        self._reconsider(t_s)

    # --- the books ---------------------------------------------------------------------------------------

    def _note_busy(self, busy: bool, t_s: float) -> None:
        if busy and self._busy_since_s is None:
            self._busy_since_s = t_s
        elif not busy and self._busy_since_s is not None:
            self._books.totals.busy_s += t_s - self._busy_since_s
            self._busy_since_s = None

    def _bits_left(self, flow: Flow, now_s: float) -> float:
        if flow._entry < 0:
            return flow._waiting_bits
        index = self._band_of(flow)
        # beyond the armed event nobody knows yet who shares the link
        return self._bands[index].bits_left(flow, min(now_s, self._due_s) if index == self._serving else None)

    def _split_off_demand(self, flow: Flow, t_s: float) -> None:
        self._books.book(flow, t_s)
        self._books.close(flow, "promoted")
        flow.traffic = Traffic.DEMAND

    def _complete(self, flow: Flow, t_s: float) -> None:
        flow._waiting_bits = 0.0
        self._end(flow, t_s)

    def _end(self, flow: Flow, t_s: float) -> None:
        """Book a flow whose last bit has left, and let it arrive unless it was cancelled."""
        self._books.book(flow, t_s)
        flow.end_s = t_s
        if flow.cancelled:
            self._close(flow, "cancelled")
        else:
            call_at(self.env, t_s + self.delay_s, Order.TRANSFER_END, lambda: self._arrive(flow))
            if flow.on_sent is not None:
                call_at(self.env, t_s, Order.TRANSFER_END, flow.on_sent)

    def _arrive(self, flow: Flow) -> None:
        if flow in self._open:
            flow.arrived = True
            self._close(flow, "delivered")
            flow._on_arrival(flow)

    def _close(self, flow: Flow, outcome: str) -> None:
        self._open.pop(flow, None)
        self._books.close(flow, outcome)
