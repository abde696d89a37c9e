"""The wall clock, for what waits on disks and sockets: the 20th percentile of a burst."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

from .journal import Burst
from .wire import Peer

_LEAST_S, _LEAST_SAMPLES, _MOST_SAMPLES = 0.04, 5, 60


def q20(values: list[float]) -> float:
    """Return the 20th percentile.

    Examples
    --------
    >>> q20([5.0, 1.0, 2.0, 3.0, 4.0])
    1.8
    """
    ordered = sorted(values)
    place = 0.2 * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


@contextlib.contextmanager
def on_core(core: int | None) -> Iterator[None]:
    """Keep this thread on one core for a while; None = leave it alone."""
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def burst(call: Callable[[], float], core: int | None = None) -> Burst:
    """Return the time of one call; it tells itself how long what matters of it took [s].

    Parameters
    ----------
    core : the one to stay on meanwhile; None = any.
    """
    samples: list[float] = []
    with on_core(core):
        call()
        while len(samples) < _MOST_SAMPLES and (sum(samples) < _LEAST_S or len(samples) < _LEAST_SAMPLES):
            samples.append(call())
    return Burst(q20(samples), median(samples), 0.0, len(samples))


class Waiting:
    """Disk and TCP calls.

    Parameters
    ----------
    peer : the other end of the link.
    folder : where the file to write lies; None = that of temporary files.
    """

    def __init__(self, peer: Peer, folder: Path | None = None) -> None:
        self._peer = peer
        number, name = tempfile.mkstemp(prefix="simkv-calibrate-", dir=folder)
        os.close(number)
        self._file = Path(name)

    @property
    def core(self) -> int | None:
        """The core that the other end runs on, if it is here."""
        return self._peer.core

    def close(self) -> None:
        """Take the file away."""
        self._file.unlink(missing_ok=True)

    def call(self, op: str, size_bytes: int) -> Callable[[], float]:
        """Return the call of one operation; each returns how long it took [s]."""
        payload = memoryview(bytearray(os.urandom(min(size_bytes, 2**20)) * -(-size_bytes // 2**20)))[:size_bytes]
        if op == "tcp_send":
            return _timed(lambda: self._peer.send(payload))
        if op == "tcp_receive":
            return _timed(lambda: self._peer.receive(payload))
        if op == "disk_write":
            return _timed(lambda: self._write(payload))
        self._write(payload)
        return lambda: self._read(payload)

    def _write(self, payload: memoryview) -> None:
        """Write a file and wait until the disk has it."""
        with self._file.open("wb", buffering=0) as file:
            file.write(payload)
            os.fsync(file.fileno())

    def _read(self, room: memoryview) -> float:
        """Read the file, which the system was asked to forget, and return how long that took [s]."""
        with self._file.open("rb", buffering=0) as file:
            with contextlib.suppress(AttributeError, OSError):
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            began = time.perf_counter()
            file.readinto(room)
            return time.perf_counter() - began


def _timed(call: Callable[[], object]) -> Callable[[], float]:
    def timed() -> float:
        began = time.perf_counter()
        call()
        return time.perf_counter() - began

    return timed
