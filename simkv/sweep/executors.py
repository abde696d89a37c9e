"""Where points run: in this process, or in several on this machine. Another place is one more small class.

An executor changes when a point runs and nothing else: what it returns is a pure function of the scenario.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Protocol

from pebble import ProcessExpired, ProcessPool

from simkv.errors import SimkvError
from simkv.sweep.pool_watch import LOOK_S, PoolWatch, begin_beating

#: One record, as the journal keeps it, without the point's id.
Outcome = Mapping[str, Any]
Work = Callable[[Any], Outcome]

#: [s] that a pool may be silent beyond the time limit of a point before it is taken for stuck; starting takes 1.
GRACE_S = 30.0
#: Times that a point runs when its process dies: a killed worker says nothing about the point, two do.
TRIES = 2
#: What workers share from the start: imported once, in the fork server, not once a worker.
PRELOADED = ["simkv.sweep.running", "simkv.compare", "simkv.simulation", "simkv.report.summary"]

_log = logging.getLogger("simkv")


class Executor(Protocol):
    """Runs the work for each item.

    Examples
    --------
    >>> list(InProcess().run(lambda item: {"status": item}, ["finished"]))
    [(0, {'status': 'finished'})]
    """

    def run(self, work: Work, items: Sequence[Any]) -> Iterator[tuple[int, Outcome]]:
        """Yield (place, outcome) as items are done, in any order, each place once."""
        ...


@dataclass(frozen=True)
class InProcess:
    """One after another, here; knows no time limit, for nothing here could end a point."""

    def run(self, work: Work, items: Sequence[Any]) -> Iterator[tuple[int, Outcome]]:
        """Yield in order."""
        for place, item in enumerate(items):
            yield place, work(item)


@dataclass(frozen=True)
class Processes:
    """As many processes as wanted; a script that uses them needs the usual `if __name__ == "__main__":` guard.

    Attributes
    ----------
    workers : processes at once.
    time_limit_s : [s] of a point, from when it begins; None = as long as it takes.
    """

    workers: int
    time_limit_s: float | None = None

    def run(self, work: Work, items: Sequence[Any]) -> Iterator[tuple[int, Outcome]]:
        """Yield as points are done. A stuck pool is replaced; two in a row that bring nothing are an error."""
        left = dict(enumerate(items))
        in_vain = 0
        while left and in_vain < TRIES:
            before = len(left)
            for place, outcome in self._one_pool(work, left):
                del left[place]
                yield place, outcome
            in_vain = in_vain + 1 if len(left) == before else 0
        if left:
            raise SimkvError(
                "worker processes are silent or dead though points are left; resume with fewer workers "
                "(a script that starts them wants `if __name__ == '__main__':`)"
            )

    def _one_pool(self, work: Work, left: Mapping[int, Any]) -> Iterator[tuple[int, Outcome]]:
        """Yield what one pool gets done; ends early when it is stuck or dies."""
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # before the fork server starts, whose children inherit it
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        heard, told = context.Pipe(duplex=False)
        pool = ProcessPool(min(self.workers, len(left)), initializer=_begin, initargs=(told,), context=context)
        try:
            yield from self._outcomes(pool, PoolWatch(heard), work, left)
        except BrokenProcessPool:  # every worker died with nothing to do, so that no point is to blame
            return
        finally:
            pool.stop()  # type: ignore[no-untyped-call]
            pool.join()
            told.close()
            heard.close()

    def _outcomes(
        self, pool: ProcessPool, watch: PoolWatch, work: Work, left: Mapping[int, Any]
    ) -> Iterator[tuple[int, Outcome]]:
        tries = dict.fromkeys(left, 1)
        waiting = {self._submit(pool, work, item): place for place, item in dict(left).items()}
        came_s = time.monotonic()
        while waiting:
            done, _ = wait(waiting, timeout=LOOK_S, return_when=FIRST_COMPLETED)
            if not done and self._is_stuck(watch, time.monotonic() - came_s):
                _log.warning(
                    "worker processes do not go on; %d points begin again in new ones (%s)", len(waiting), watch.told()
                )
                return
            if done:
                watch.progress()
                came_s = time.monotonic()
            for future in done:
                place = waiting.pop(future)
                outcome = self._outcome(future)
                if outcome is None and tries[place] < TRIES:
                    tries[place] += 1
                    waiting[self._submit(pool, work, left[place])] = place
                else:
                    yield place, outcome or {"status": "failed", "error": f"its process died {TRIES} times"}

    def _is_stuck(self, watch: PoolWatch, silent_s: float) -> bool:
        """Return whether nothing will come any more: nobody computes, or a point should have been ended long ago."""
        return watch.is_stuck() or (self.time_limit_s is not None and silent_s > self.time_limit_s + GRACE_S)

    def _submit(self, pool: ProcessPool, work: Work, item: Any) -> Future[Outcome]:
        try:
            future: Future[Outcome] = pool.schedule(work, args=(item,), timeout=self.time_limit_s)
        except RuntimeError as error:  # the pool has ended meanwhile
            raise BrokenProcessPool from error
        return future

    def _outcome(self, future: Future[Outcome]) -> Outcome | None:
        """Return what came of a point; None when its process died."""
        try:
            return future.result()
        except TimeoutError:
            return {"status": "failed", "error": f"took longer than the time limit of {self.time_limit_s:g} s"}
        except (ProcessExpired, CancelledError):
            return None


def _begin(to_parent: Connection) -> None:
    """Leave Ctrl-C to the parent, which stops the pool; tell it that this process lives."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    begin_beating(to_parent)
