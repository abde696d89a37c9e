"""A link of which a fixed share is cut off for speculation: a network slice of its own.

5G slices are isolated: what the speculative slice leaves idle, demand does not get, and the other way round. That is
the price of speculating at a rate that no demand can disturb (seed document 0, "proactive resource allocation").
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

from simpy import Environment

from simkv.errors import InputError
from simkv.network.capacity import Capacity, Scaled
from simkv.network.link import Flow, Link, Traffic
from simkv.results import LinkTotals


class SlicedLink(Link):
    """Two isolated links under one name: demand and background on one, speculative payload on the other.

    A transfer that is promoted stays in its slice, before all that is speculative there. Control messages go with
    demand.

    Parameters
    ----------
    capacity : of both together.
    reserved_ratio : share of it that speculation has, between 0 and 1.
    told : as for `Link`.

    Source: network slices as isolated resources, 3GPP TS 23.501 section 5.15; S0.17 of the seeds' checklist.

    Examples
    --------
    >>> from simkv.network.capacity import Constant
    >>> from simkv.network.transport import Ideal
    >>> env = Environment()
    >>> link = SlicedLink(env, "wan", Constant(8e6), 0.0, reserved_ratio=0.25, transport=Ideal())
    >>> done: list[float] = []
    >>> _ = link.send(2_000_000, Traffic.SPECULATIVE, lambda flow: done.append(env.now))
    >>> _ = link.send(3_000_000, Traffic.DEMAND, lambda flow: done.append(env.now))
    >>> env.run()
    >>> done
    [4.0, 8.0]
    """

    def __init__(
        self, env: Environment, name: str, capacity: Capacity, delay_s: float, *, reserved_ratio: float, **told: Any
    ) -> None:
        if not 0 < reserved_ratio < 1:
            raise InputError(f"want a reserved share between 0 and 1, got {reserved_ratio}", f"link {name}")
        super().__init__(env, name, Scaled(capacity, 1 - reserved_ratio), delay_s, **told)
        self._slice = Link(env, name, Scaled(capacity, reserved_ratio), delay_s, **told)
        self._sliced: dict[Flow, None] = {}

    @property
    def totals(self) -> LinkTotals:
        """What both have carried so far; `busy_s` is the longer one's, for they are busy at the same time."""
        whole, part = super().totals, self._slice.totals
        summed = {
            field.name: getattr(whole, field.name) + getattr(part, field.name)
            for field in fields(LinkTotals)
            if field.name not in ("busy_s", "wire_bytes_by_class")
        }
        names = dict.fromkeys([*whole.wire_bytes_by_class, *part.wire_bytes_by_class])
        by_class = {
            name: whole.wire_bytes_by_class.get(name, 0) + part.wire_bytes_by_class.get(name, 0) for name in names
        }
        return LinkTotals(**summed, wire_bytes_by_class=by_class, busy_s=max(whole.busy_s, part.busy_s))

    def send(
        self,
        payload_bytes: int,
        traffic: Traffic,
        on_arrival: Callable[[Flow], None],
        *,
        control: bool = False,
        weight: float = 1.0,
    ) -> Flow:
        """Begin a transfer in the slice that its class has."""
        if traffic is not Traffic.SPECULATIVE or control:
            return super().send(payload_bytes, traffic, on_arrival, control=control, weight=weight)

        def arrived(flow: Flow) -> None:
            self._sliced.pop(flow, None)
            on_arrival(flow)

        flow = self._slice.send(payload_bytes, traffic, arrived, weight=weight)
        self._sliced[flow] = None
        return flow

    def promote(self, flow: Flow) -> None:
        """Make the rest of a flow demand, in its slice."""
        if flow in self._sliced:
            self._slice.promote(flow)
        else:
            super().promote(flow)

    def cancel(self, flow: Flow) -> None:
        """Stop a flow."""
        if flow in self._sliced:
            del self._sliced[flow]
            self._slice.cancel(flow)
        else:
            super().cancel(flow)

    def settle(self) -> None:
        """Close the books of both."""
        super().settle()
        self._slice.settle()

    def capacity_for(self, flow: Flow) -> Capacity:
        """Return the capacity of the slice that a flow goes over."""
        return self._slice.capacity if Traffic.SPECULATIVE in flow.wire_bytes_by_class else self.capacity


def speculative_part(link: Link) -> Link:
    """Return what speculation goes over: its slice, or the link that it shares with all."""
    return link._slice if isinstance(link, SlicedLink) else link


def carried_bits(link: Link, flow: Flow) -> float:
    """Return [bit] that a link, or a flow's slice of it, carried while the flow was under way: all that it could.

    Parameters
    ----------
    flow : one that has ended.
    """
    if flow.end_s is None:
        return 0.0
    capacity = link.capacity_for(flow) if isinstance(link, SlicedLink) else link.capacity
    return capacity.bits_between(flow.start_s, flow.end_s)
