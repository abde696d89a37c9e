"""Points on the workers of a Dask cluster: one that runs somewhere, or one of processes on this machine.

The scheduler holds no more points than its workers can begin soon, and of each a few kilobytes: files go by name.
A worker that has another simkv, or another file by that name, is refused, for it would give other numbers.
"""

from __future__ import annotations

import logging
import pickle
import queue
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import simkv
from simkv.errors import InputError, SimkvError
from simkv.scenario import Scenario
from simkv.sweep.executors import TRIES, Outcome, Work
from simkv.sweep.point_process import run_limited
from simkv.sweep.points import content, files_of

if TYPE_CHECKING:
    from distributed import Client, Future

#: Points that the scheduler holds for each thread of its workers: one runs, one waits.
AHEAD = 2
#: [s] after which the scheduler is asked again whether it is still there, and how many workers it has.
ASK_S = 5.0
#: [s] that a scheduler may take to answer; a busy one of a large cluster takes a few.
ANSWER_S = 60.0
#: [s] without any worker after which those of this machine are given up; starting one takes 2.
GIVE_UP_S = 120.0
#: [s] to connect.
CONNECT_S = 15.0

_log = logging.getLogger("simkv")


class Task(NamedTuple):
    """What is sent to a worker for one point.

    Attributes
    ----------
    version : of the simkv that sends it.
    payload : pickled (work, item).
    files : path -> hash of the content, of every file that the item names.
    limit_s : [s] of the point; None = as long as it takes.
    """

    version: str
    payload: bytes
    files: Mapping[str, Any]
    limit_s: float | None


@dataclass(frozen=True)
class Dask:
    """The workers of a Dask cluster; `pip install 'simkv[dask]'`.

    Attributes
    ----------
    address : of a scheduler that runs, such as "tcp://10.0.0.1:8786"; None = workers on this machine, for this sweep.
    workers : processes on this machine, when there is no address; a script wants the `__main__` guard then.
    time_limit_s : [s] of a point, from when it begins; it then runs in a process of its own beside the worker,
        which is ended. None = as long as it takes.

    Examples
    --------
    >>> Dask("tcp://10.0.0.1:8786", time_limit_s=600.0).address
    'tcp://10.0.0.1:8786'
    """

    address: str | None = None
    workers: int = 1
    time_limit_s: float | None = None

    def run(self, work: Work, items: Sequence[Any]) -> Iterator[tuple[int, Outcome]]:
        """Yield as points are done.

        Raises
        ------
        InputError : no scheduler at the address, or workers with another simkv.
        SimkvError : the scheduler is gone.
        """
        if not items:
            return
        with self._client() as client:
            _check_versions(client)
            yield from _Points(client, work, items, self.time_limit_s).outcomes()

    @contextmanager
    def _client(self) -> Iterator[Client]:
        """Connect; end what was started here when done, whatever happened."""
        try:
            from distributed import Client  # noqa: PLC0415 - an extra, and slow to import
        except ImportError:
            raise InputError("the executor 'dask' wants: pip install 'simkv[dask]'") from None

        with self._cluster() as place:
            try:
                client = Client(place, timeout=CONNECT_S, set_as_default=False, name="simkv")
            except (OSError, ValueError) as error:
                raise InputError(f"no Dask scheduler answers there: {error}", str(self.address)) from None
            logger = logging.getLogger("distributed.client")
            level = logger.level
            logger.setLevel(logging.CRITICAL)  # that a scheduler is gone is told once, by us, and not as a traceback
            try:
                yield client
            finally:
                _close(client)
                logger.setLevel(level)

    @contextmanager
    def _cluster(self) -> Iterator[Any]:
        if self.address is not None:
            yield self.address
            return
        try:
            cluster = self._started()
        except (RuntimeError, OSError) as error:
            raise SimkvError(
                f"worker processes do not start: {error} (a script that starts them wants `if __name__ == '__main__':`)"
            ) from None
        with cluster:
            yield cluster

    def _started(self) -> Any:
        """Start workers on this machine; nobody else can reach them."""
        from distributed import LocalCluster  # noqa: PLC0415

        return LocalCluster(
            n_workers=self.workers,
            threads_per_worker=1,  # points are Python: two threads of a process would take turns
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
            silence_logs=logging.ERROR,
            memory_limit=0,  # the machine's, as for other processes; Dask would end workers at a share of it
            scheduler_kwargs={"dashboard_address": "127.0.0.1:0", "allowed_failures": TRIES - 1},
            preload=[__name__],
        )


class _Points:
    """The points of one sweep: which are at the scheduler, and what came of them."""

    def __init__(self, client: Client, work: Work, items: Sequence[Any], limit_s: float | None) -> None:
        self.client, self.work, self.items, self.limit_s = client, work, items, limit_s
        self.sent: dict[Any, tuple[int, Future[Outcome]]] = {}
        self.alone_s = time.monotonic()
        self.done: queue.SimpleQueue[Future[Outcome]] = queue.SimpleQueue()

    def outcomes(self) -> Iterator[tuple[int, Outcome]]:
        """Yield as points are done; those whose workers died run again alone, so that no neighbour is blamed."""
        suspects: list[int] = []
        try:
            yield from self._stream(range(len(self.items)), suspects)
            for place in suspects:
                guilty: list[int] = []
                yield from self._stream([place], guilty)
                if guilty:
                    yield place, {"status": "failed", "error": "its worker died each time, also where it ran alone"}
        finally:
            self._cancel()

    def _stream(self, places: Sequence[int], died: list[int]) -> Iterator[tuple[int, Outcome]]:
        """Yield the outcomes of some points, and note those whose workers died again and again."""
        left = iter(places)
        room, asked_s = self._room(), time.monotonic()
        while True:
            while len(self.sent) < room and (place := next(left, None)) is not None:
                self._send(place)
            if not self.sent:
                return
            if time.monotonic() - asked_s > ASK_S:
                room, asked_s = self._room(), time.monotonic()
            try:
                future = self.done.get(timeout=ASK_S)
            except queue.Empty:
                continue
            place, _ = self.sent.pop(future.key)
            outcome = self._outcome(future, place, died)
            if outcome is not None:
                yield place, outcome

    def _send(self, place: int) -> None:
        future = self.client.submit(perform, task_of(self.work, self.items[place], self.limit_s), pure=False)
        self.sent[future.key] = (place, future)
        future.add_done_callback(self.done.put)

    def _outcome(self, future: Future[Outcome], place: int, died: list[int]) -> Outcome | None:
        """Return what came of a point; None when there is nothing to tell yet."""
        from distributed import CancelledError, KilledWorker  # noqa: PLC0415

        try:
            outcome: Outcome = future.result(timeout=ANSWER_S)
        except KilledWorker:
            died.append(place)
            return None
        except (CancelledError, TimeoutError, OSError):
            if future.status == "error":  # the work's own
                raise
            self._answer()  # raises when the scheduler is gone
            self._send(place)  # somebody restarted the workers, or a result was lost with its worker
            return None
        except ModuleNotFoundError as error:
            raise InputError(f"a worker cannot run points: {error}; want simkv {simkv.__version__} there") from None
        finally:
            future.release()
        return outcome

    def _room(self) -> int:
        """Return how many points the scheduler may hold now; see to it that there are workers, where they are ours.

        Raises
        ------
        SimkvError : the scheduler is gone, or processes of this machine are and stay so.
        """
        threads = sum(self._answer().values())
        ours = self.client.cluster
        if threads:
            self.alone_s = time.monotonic()
        elif ours is None:
            _log.warning("the Dask scheduler has no workers; the sweep goes on when it has")
        elif time.monotonic() - self.alone_s > GIVE_UP_S:
            raise SimkvError("worker processes died and do not come back; what was done is kept, and can be resumed")
        if ours is not None and threads < len(ours.worker_spec):
            ours.scale(len(ours.worker_spec))  # Dask does not replace a process that died while it started
        return max(1, threads) * AHEAD

    def _answer(self) -> Mapping[str, int]:
        """Return threads by worker.

        Raises
        ------
        SimkvError : the scheduler does not answer.
        """
        try:
            if self.client.status == "running" and self.client.scheduler is not None:
                told: Mapping[str, int] = self.client.sync(self.client.scheduler.ncores, callback_timeout=ANSWER_S)
                return told
        except (OSError, TimeoutError):
            pass
        raise SimkvError("the Dask scheduler is gone or does not answer; what was done is kept, and can be resumed")

    def _cancel(self) -> None:
        """Take back what is not done; nobody will ask for it."""
        if self.sent and self.client.status == "running":
            with suppress(Exception):  # it is over either way
                self.client.cancel([future for _, future in self.sent.values()], force=True)


def task_of(work: Work, item: Any, limit_s: float | None = None) -> Task:
    """Return what is sent for an item: some kilobytes, for files go by name."""
    import cloudpickle  # type: ignore[import-untyped]  # noqa: PLC0415 - Dask's; takes functions of a notebook too

    files = files_of(item) if isinstance(item, Scenario) else {}
    return Task(simkv.__version__, cloudpickle.dumps((work, item)), files, limit_s)


def perform(task: Task) -> Outcome:
    """Run a point; what a worker does.

    Raises
    ------
    InputError : this worker has another simkv.

    Examples
    --------
    >>> perform(Task(simkv.__version__, pickle.dumps((dict, {"status": "finished"})), {}, None))
    {'status': 'finished'}
    """
    if task.version != simkv.__version__:
        raise InputError(f"has simkv {simkv.__version__}, the sweep {task.version}; want the same", _where())
    wrong = next((f"{path}: {what}" for path, told in task.files.items() if (what := _difference(path, told))), None)
    if wrong is not None:
        return {"status": "failed", "error": f"{wrong} on worker {_where()}"}
    if task.limit_s is not None:
        return run_limited(task.payload, task.limit_s)
    work, item = pickle.loads(task.payload)
    outcome: Outcome = work(item)
    return outcome


def dask_setup(worker: Any) -> None:
    """Leave Ctrl-C to the parent, which ends the cluster; Dask calls this in each worker that we start."""
    import signal  # noqa: PLC0415

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _difference(path: str, told: Any) -> str:
    """Return what is wrong with a file here; "" when it is the sender's."""
    try:
        here = content(path)
    except InputError as error:  # of a URL
        return error.message
    except OSError as error:
        return f"{(error.strerror or str(error)).lower()}"
    return "" if here == told else "holds something else than where the sweep was started"


def _where() -> str:
    """Return the worker's address and the name of its machine."""
    import socket  # noqa: PLC0415

    from distributed import get_worker  # noqa: PLC0415

    try:
        address = get_worker().address
    except ValueError:  # not in a worker
        address = "here"
    return f"{address} ({socket.gethostname()})"


def _check_versions(client: Client) -> None:
    """Refuse workers that have another simkv; those that come later refuse their first point.

    Raises
    ------
    InputError : names the worker, what it has and what is wanted.
    """

    def version() -> str | None:  # nested, so that it travels as code to where there may be no simkv
        try:
            import simkv  # noqa: PLC0415
        except ImportError:
            return None
        return str(simkv.__version__)

    for worker, found in client.run(version, on_error="return").items():
        if isinstance(found, Exception):  # it is gone already
            continue
        if found != simkv.__version__:
            had = "no simkv" if found is None else f"simkv {found}"
            raise InputError(f"has {had}, the sweep {simkv.__version__}; want the same", f"worker {worker}")


def _close(client: Client) -> None:
    """Close the connection, also when the scheduler is gone."""
    with suppress(Exception):
        client.close(timeout=5)
