"""A process of a worker's own that runs points one after another, for workers that may not end a point themselves.

A Dask worker runs a point in a thread, which nothing can end, and may start no `multiprocessing` child. So the
point runs in a plain child process, which sets the kernel's alarm before it begins: the alarm ends it wherever it is,
and also when nobody waits for it any more.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, BinaryIO, cast

from simkv.sweep.executors import TRIES

_OF_THREAD = threading.local()


def run_limited(payload: bytes, limit_s: float) -> Mapping[str, Any]:
    """Return the outcome of a point that may take so long; the process stays for the next point of this thread.

    Parameters
    ----------
    payload : pickled (work, item).
    limit_s : [s] from when the point begins.

    Examples
    --------
    >>> run_limited(pickle.dumps((dict, {"status": "finished"})), 60.0)
    {'status': 'finished'}
    """
    for _ in range(TRIES):
        if not hasattr(_OF_THREAD, "process"):
            _OF_THREAD.process = _PointProcess()
        try:
            outcome, error = _OF_THREAD.process.ask(payload, limit_s)
        except (EOFError, OSError, pickle.UnpicklingError):
            ended = _OF_THREAD.process.end()
            del _OF_THREAD.process
            if ended == -signal.SIGALRM:
                return {"status": "failed", "error": f"took longer than the time limit of {limit_s:g} s"}
            continue
        if error is not None:
            raise error
        return dict(outcome)
    return {"status": "failed", "error": f"its process died {TRIES} times"}


class _PointProcess:
    """A child process; it ends when this object does."""

    def __init__(self) -> None:
        paths = os.pathsep.join(path or os.getcwd() for path in sys.path)  # noqa: PTH109 - as Python reads ""
        command = [sys.executable, "-c", f"from {__name__} import main; main()"]
        env = {**os.environ, "PYTHONPATH": paths}
        self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env)
        self.end = weakref.finalize(self, _end, self._child)

    def ask(self, payload: bytes, limit_s: float) -> tuple[Any, Exception | None]:
        """Return the outcome, or the error that the work raised."""
        asked, told = cast("BinaryIO", self._child.stdin), cast("BinaryIO", self._child.stdout)
        pickle.dump((payload, limit_s), asked)
        asked.flush()
        answer: tuple[Any, Exception | None] = pickle.load(told)
        return answer


def _end(child: subprocess.Popen[bytes]) -> int:
    """Close the pipes, upon which an idle child ends; return how it ended."""
    for pipe in (child.stdin, child.stdout):
        with suppress(OSError):  # what was not sent yet has nowhere to go
            cast("BinaryIO", pipe).close()
    return child.wait()


def serve(asked: BinaryIO, told: BinaryIO) -> None:
    """Run what is asked for until nobody asks any more."""
    while True:
        try:
            payload, limit_s = pickle.load(asked)
        except EOFError:
            return
        try:
            work, item = pickle.loads(payload)
            signal.setitimer(signal.ITIMER_REAL, limit_s)
            answer: tuple[Any, Exception | None] = (work(item), None)
        except Exception as error:
            answer = (None, error)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        pickle.dump(answer, told)
        told.flush()


def main() -> None:
    """Be the child process: run what comes over stdin, answer over stdout."""
    import simkv.compare  # noqa: PLC0415
    import simkv.sweep.running  # noqa: F401, PLC0415 - so that the first point's time limit does not pay for them

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started us says when it ends
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a point prints is no answer
    serve(sys.stdin.buffer, answers)
