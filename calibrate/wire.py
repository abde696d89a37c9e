"""KV over TCP between two processes: the receiver, and the sender's calls. Nothing here needs PyTorch.

A request is one byte of what is wanted and eight bytes of how many bytes; `S`: they follow, and one byte answers when
all have arrived; `R`: they are sent back; `Q`: the receiver ends.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
import sys
from types import TracebackType

from simkv.errors import InputError

_HEAD = struct.Struct("!cQ")
_MOST_BYTES = 2**32
_TIMEOUT_S = 60.0


def serve(host: str, port: int, announce: bool = True, core: int | None = None) -> None:
    """Receive and send until told to end.

    Parameters
    ----------
    host, port : where to listen; port 0 = any that is free.
    announce : print the port, for whoever started this process.
    core : the only one to run on; None = any.
    """
    if core is not None:
        os.sched_setaffinity(0, {core})
    with socket.create_server((host, port)) as server:
        if announce:
            sys.stdout.write(f"{server.getsockname()[1]}\n")
            sys.stdout.flush()
        while True:
            link, _ = server.accept()
            with link, contextlib.suppress(ConnectionError):
                link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if _answer_all(link):
                    return


def _answer_all(link: socket.socket) -> bool:
    """Answer one sender; return whether it told to end."""
    room = memoryview(bytearray(1))
    while True:
        head = _read(link, memoryview(bytearray(_HEAD.size)))
        if head is None:
            return False
        kind, size = _HEAD.unpack(head)
        if kind == b"Q" or size > _MOST_BYTES:
            return bool(kind == b"Q")
        if len(room) < size:
            room = memoryview(bytearray(size))
        if kind == b"R":
            link.sendall(room[:size])
        elif _read(link, room[:size]) is not None:
            link.sendall(b"A")


def _read(link: socket.socket, room: memoryview) -> memoryview | None:
    """Fill some memory from a link; None when it has ended."""
    done = 0
    while done < len(room):
        count = link.recv_into(room[done:])
        if not count:
            return None
        done += count
    return room


class Peer:
    """The other end, in a process of its own here, or on another host.

    Parameters
    ----------
    address : HOST:PORT of `simkv calibrate --serve`; "" = start one here.

    Attributes
    ----------
    core : the one that a receiver here runs on, where the system can say so. A sender that stays on it too repeats
        itself; where the two ends run apart, the same bytes take from one to three times as long.
    """

    def __init__(self, address: str = "") -> None:
        self._child: subprocess.Popen[str] | None = None
        host, _, port = address.rpartition(":")
        self.core: int | None = None
        if not address:
            if hasattr(os, "sched_getaffinity"):
                self.core = max(os.sched_getaffinity(0))
            words = (sys.executable, "-c", f"from {__name__} import serve; serve('127.0.0.1', 0, core={self.core})")
            self._child = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
            assert self._child.stdout is not None
            host, port = "127.0.0.1", self._child.stdout.readline().strip()
        try:
            self._link = socket.create_connection((host, int(port)), _TIMEOUT_S)
        except (OSError, ValueError) as error:
            raise InputError(
                f"--peer {address}: want HOST:PORT where `simkv calibrate --serve` runs ({error})"
            ) from None
        self._link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Peer:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End a process that was started here; leave another host's receiver as it is."""
        self.close()

    def close(self) -> None:
        """See `__exit__`."""
        with contextlib.suppress(OSError):
            if self._child is not None:
                self._link.sendall(_HEAD.pack(b"Q", 0))
        self._link.close()
        if self._child is not None:
            assert self._child.stdout is not None
            self._child.stdout.close()
            self._child.wait(_TIMEOUT_S)

    def send(self, payload: memoryview) -> None:
        """Send bytes, and wait until all have arrived."""
        self._link.sendall(_HEAD.pack(b"S", len(payload)))
        self._link.sendall(payload)
        if _read(self._link, memoryview(bytearray(1))) is None:
            raise InputError("the receiver has gone")

    def receive(self, room: memoryview) -> None:
        """Ask for as many bytes as there is room for, and wait for them."""
        self._link.sendall(_HEAD.pack(b"R", len(room)))
        if _read(self._link, room) is None:
            raise InputError("the receiver has gone")
