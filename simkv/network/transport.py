"""How many bytes a message fills on the wire: payload plus the headers of the transport that carries it.

Start-up of a cold connection, random loss and congestion control are left out: both transports send at
whatever rate the link gives them. That is the measured behaviour of a warm TCP connection, within 0.1 to
1 % of a Linux kernel for back-to-back messages; a cold one needs slow start on top.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from simkv.registry import unknown

IP_PACKET_BYTES = 1500
"""Ethernet's MTU (RFC 894): the largest IP packet on almost every path."""

HEADER_BYTES = 52
"""IPv4 header 20 (RFC 791) + TCP header 20 (RFC 9293) + timestamps option 10, padded to 12 (RFC 7323)."""

SEGMENT_BYTES = IP_PACKET_BYTES - HEADER_BYTES
"""Payload of a full packet: 1448 bytes, as Linux sends by default."""


class Transport(Protocol):
    """What a link asks of a transport."""

    @property
    def name(self) -> str:
        """Its name in scenarios."""

    @property
    def is_ideal(self) -> bool:
        """Whether nothing is buffered below the scheduler, so that preemption is immediate."""

    def wire_bytes(self, payload_bytes: int) -> int:
        """Return [bytes] that the message fills on the wire; 0 for an empty message. Pure."""


@dataclass(frozen=True, slots=True)
class Ideal:
    """No headers and immediate preemption: for theory, and for links inside a machine.

    Examples
    --------
    >>> Ideal().wire_bytes(1000)
    1000
    """

    name: str = "ideal"
    is_ideal: bool = True

    def wire_bytes(self, payload_bytes: int) -> int:
        """Return [bytes] on the wire: the payload alone."""
        return payload_bytes


@dataclass(frozen=True, slots=True)
class Warm:
    """A TCP connection past its slow start: 1448 payload bytes in each 1500-byte IP packet.

    The last packet may be short and has a full header, so a control message costs its bytes + 52.

    Examples
    --------
    >>> Warm().wire_bytes(2 * 1448)
    3000
    >>> Warm().wire_bytes(100)
    152
    """

    name: str = "warm"
    is_ideal: bool = False

    def wire_bytes(self, payload_bytes: int) -> int:
        """Return [bytes] on the wire: payload and one header a packet."""
        packets = -(-payload_bytes // SEGMENT_BYTES)
        return payload_bytes + packets * HEADER_BYTES


_BY_NAME: dict[str, type[Ideal] | type[Warm]] = {"ideal": Ideal, "warm": Warm}


def names() -> list[str]:
    """Return the names that `make` knows, sorted."""
    return sorted(_BY_NAME)


def make(name: str) -> Transport:
    """Return the transport called `name`.

    Raises
    ------
    InputError : when there is none.

    Examples
    --------
    >>> make("warm")
    Warm(name='warm', is_ideal=False)
    """
    if name not in _BY_NAME:
        raise unknown("transport", name, names())
    return _BY_NAME[name]()
