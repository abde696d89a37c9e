"""Does a pool of processes still compute? Silence alone is no proof, for a point may take hours.

Each worker tells once a second how much CPU time it has used. A point uses some all the time; processes that are
stopped, dead, or wait for work that never comes do not.
"""

from __future__ import annotations

import os
import threading
import time
from multiprocessing.connection import Connection
from typing import NamedTuple

#: [s] between two beats of a worker.
BEAT_S = 1.0
#: [s] between two looks of the parent.
LOOK_S = 2.0
#: Looks in a row without computing, after which a pool is taken for stuck. They are counted, not timed: when the
#: machine sleeps, or a person stops the whole program, the parent does not look either.
QUIET_LOOKS = 30
#: [s] of CPU time between two looks that is computing: 1 %; a beat takes 0.0001 s.
COMPUTING_S = 0.02


class _Beat(NamedTuple):
    cpu_s: float
    heard_s: float


class PoolWatch:
    """What the parent knows of its workers.

    Parameters
    ----------
    beats : where workers tell their beats, as `begin_beating` sends them.
    """

    def __init__(self, beats: Connection) -> None:
        self._beats = beats
        self._known: dict[int, _Beat] = {}
        self._quiet = 0

    def progress(self) -> None:
        """Note that a point came back."""
        self._quiet = 0

    def is_stuck(self) -> bool:
        """Look once; return whether no worker has computed for so many looks."""
        before = {pid: beat.cpu_s for pid, beat in self._known.items()}
        while self._beats.poll():
            pid, cpu_s = self._beats.recv()
            self._known[pid] = _Beat(cpu_s, time.monotonic())
        used_s = sum(beat.cpu_s - before.get(pid, 0.0) for pid, beat in self._known.items())
        self._quiet = 0 if used_s > COMPUTING_S else self._quiet + 1
        return self._quiet >= QUIET_LOOKS

    def told(self) -> str:
        """Return what is known of each worker, in words."""
        now_s = time.monotonic()
        return ", ".join(
            f"process {pid}: {beat.cpu_s:.1f} s of CPU time, last heard of {now_s - beat.heard_s:.0f} s ago"
            for pid, beat in sorted(self._known.items())
        )


def begin_beating(to_parent: Connection) -> None:
    """Tell the parent each second how much CPU time this process has used, until the parent is gone."""

    def beat() -> None:
        while True:
            try:
                to_parent.send((os.getpid(), time.process_time()))  # short enough to be written at once or not at all
            except OSError:
                return
            time.sleep(BEAT_S)

    threading.Thread(target=beat, name="beat", daemon=True).start()
