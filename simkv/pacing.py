"""In which order does what has a deadline go over a link? Earliest deadline first, one at a time.

What nobody gave a deadline shares the link at once with all else of its class, as the network does by itself. A source
that knows when things are needed does better: sharing would let all of them come late together.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush

from simkv.jobs import Job


class Line:
    """The speculative jobs with deadlines that wait for one link.

    Parameters
    ----------
    send : begins the transfer of a job.

    Notes
    -----
    What is being sent is never interrupted by an earlier deadline; demand interrupts it, on the link itself.

    Source: earliest deadline first, Liu and Layland, "Scheduling algorithms for multiprogramming in a hard real-time
    environment", JACM 20(1), 1973; optimal on one machine for jobs that can be interrupted.
    """

    def __init__(self, send: Callable[[Job], None]) -> None:
        self._send = send
        self._waiting: list[tuple[float, int, Job]] = []
        self._sending: Job | None = None
        self._count = 0

    def enter(self, job: Job) -> None:
        """Take in a job that is complete: it is sent when its turn comes."""
        assert job.deadline_s is not None
        self._count += 1
        heappush(self._waiting, (job.deadline_s, self._count, job))
        if self._sending is None:
            self._next()

    def over(self, job: Job) -> None:
        """A job's last bit has left, or it was cancelled or became demand: let the next one go."""
        if job is self._sending:
            self._sending = None
            self._next()

    def _next(self) -> None:
        while self._waiting and self._sending is None:
            _, _, job = heappop(self._waiting)
            if not job.cancelled and not job.demand:  # else it has been dealt with
                self._sending = job
                self._send(job)
