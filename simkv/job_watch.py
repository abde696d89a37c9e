"""Looking on while jobs go through their stages, and telling what is happening when a request becomes ready."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from simkv.build import World
from simkv.jobs import Job
from simkv.sending import Source
from simkv.waiting import JobTrace
from simkv.watching import hook


class JobWatch:
    """Follows every job of a run; who wants to hear of it overrides `job_*`.

    Attributes
    ----------
    jobs : those under way, in order of their begin.
    cause : what is happening that may make a request ready: a job lands, or something else in words.
    """

    def __init__(self) -> None:
        self.jobs: dict[Job, JobTrace] = {}
        self.cause: JobTrace | str = ""
        self.now: Callable[[], float]

    def attach(self, world: World) -> None:
        """Hook the live objects of a run that has not begun."""
        self.now = lambda: world.env.now
        for server in world.servers:
            hook(server, "delivered", self._delivered)
            hook(server, "_take_in", self._taken_in)
            hook(server, "prefilled", partial(self._because, "another request's prefill"))
            hook(server, "unavailable", partial(self._because, "news that the source has it not"))
        for source in world.sources.values():
            hook(source, "begin", partial(self._begun, source))
            hook(source, "_compute", self._computing)
            hook(source, "_computed", self._computed)
            hook(source._coder, "run", self._coding)
            hook(source, "_send", self._coded)
            hook(source, "promote", self._promoted)
            hook(source, "cancel", self._stopped)

    # -- what may be overridden --------------------------------------------------------------------

    def job_began(self, trace: JobTrace) -> None:
        """A source begins a job."""

    def job_promoted(self, trace: JobTrace, on_late: object) -> None:
        """A request comes to wait for a job, and will be told by `on_late`."""

    def job_stopped(self, trace: JobTrace) -> None:
        """A source stops a job."""

    def job_ended(self, job: Job) -> None:
        """A job has ended. Memory follows what is under way."""
        self.jobs.pop(job, None)

    # -- hooks -------------------------------------------------------------------------------------

    def _because(self, cause: JobTrace | str, call: Callable[[], None], *_: object) -> None:
        before, self.cause = self.cause, cause
        call()
        self.cause = before

    def _begun(self, source: Source, call: Callable[[], None], job: Job) -> None:
        trace = self.jobs[job] = JobTrace(job, source._links[job.receiver].name, self.now())
        self.job_began(trace)
        call()

    def _computing(self, call: Callable[[], None], job: Job, _: Any) -> None:
        call()
        if job.sequence is not None and job in self.jobs:
            job.sequence.on_scheduled = partial(self._scheduled, self.jobs[job])

    def _scheduled(self, trace: JobTrace) -> None:
        trace.gpu_s = self.now()

    def _computed(self, call: Callable[[], None], job: Job, _: object) -> None:
        trace = self.jobs.get(job)
        if trace is not None and job.sequence is not None and not job.sequence.prefill_left_tokens:
            trace.computed_s = self.now()
        call()
        if job.landed:
            self.job_ended(job)

    def _promoted(self, call: Callable[[], None], job: Job, on_late: object) -> None:
        trace = self.jobs.get(job)
        if trace is not None and not job.demand:
            trace.promoted_s = self.now()
            self.job_promoted(trace, on_late)
        call()

    def _stopped(self, call: Callable[[], None], job: Job, _: object) -> None:
        trace = self.jobs.get(job)
        if trace is not None and not job.cancelled and not job.landed:
            trace.stopped_s = self.now()
            self.job_stopped(trace)
            self.job_ended(job)
        call()

    def _coding(self, call: Callable[[], None], job: Job, _: object) -> None:
        if job in self.jobs:
            self.jobs[job].whole_s = self.now()
        call()

    def _coded(self, call: Callable[[], None], job: Job) -> None:
        if job in self.jobs:
            self.jobs[job].coded_s = self.now()
        call()

    def _delivered(self, call: Callable[[], None], job: Job) -> None:
        if job in self.jobs:
            self.jobs[job].landed_s = self.now()
        call()

    def _taken_in(self, call: Callable[[], None], job: Job) -> None:
        """Let a server use what a job brought, once it is decoded there."""
        trace = self.jobs.get(job)
        if trace is not None:
            self.job_ended(job)
        self._because(trace or "", call)
