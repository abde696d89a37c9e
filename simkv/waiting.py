"""What did a turn wait for before its first token? Its stretches and their causes, from when its stages came."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from simkv.jobs import Job

#: What a turn may wait for before its first token, in the order in which it may come.
CAUSES = {
    "memory": "for memory at the server",
    "question": "its question travels to the source",
    "source_queue": "at the source: for its GPU, for room, or for what another request computes",
    "source_compute": "the source computes what was missing",
    "coding": "the GPU at the source codes what is sent, after what it does before",
    "link_queue": "for its turn on the link",
    "transfer": "on the wire, alone or with others",
    "link_delay": "delay of the link",
    "unpacking": "the GPU of the server decodes what came, after what it does before",
    "local": "for what this server computes, for another request or ahead of time",
    "gpu_queue": "for the GPU of the server",
    "prefill": "prefill of what is not cached",
}


@dataclass(slots=True, eq=False)
class JobTrace:
    """One job, and when its stages were reached [s]; None = they were not.

    Attributes
    ----------
    begun_s : the source began.
    gpu_s, computed_s : the first step of its prefill began; all of it was made.
    whole_s, coded_s : all that it needs was at the source; it was in the form in which it is sent.
    promoted_s : a request came to wait for it.
    stopped_s : the source stopped it.
    landed_s : it arrived.
    """

    job: Job
    link: str
    begun_s: float
    gpu_s: float | None = None
    computed_s: float | None = None
    whole_s: float | None = None
    coded_s: float | None = None
    promoted_s: float | None = None
    stopped_s: float | None = None
    landed_s: float | None = None


@dataclass(slots=True)
class Readiness:
    """How a turn came to have all that it needs. Times [s]; None = not reached.

    Attributes
    ----------
    memory_s, ready_s : it got all the memory it needs; all it waited for was here.
    brought_by : what made it ready: the last job to land, or in words what else it waited for.
    """

    memory_s: float | None = None
    ready_s: float | None = None
    brought_by: JobTrace | str = ""


class Wait(NamedTuple):
    """A stretch of the time to first token, and its cause, a key of `CAUSES`."""

    cause: str
    start_s: float
    end_s: float


def waits(row: dict[str, Any], told: Readiness) -> list[Wait]:
    """Return what a turn waited for between arrival and first token; the stretches leave no gap.

    Parameters
    ----------
    row : its row of the request table; None = not reached.

    Examples
    --------
    >>> waits({"arrival_s": 1.0, "scheduled_s": 1.0, "first_token_s": 1.5}, Readiness(1.0, 1.0))
    [Wait(cause='prefill', start_s=1.0, end_s=1.5)]
    """
    ends = [("memory", told.memory_s if told.memory_s is not None else told.ready_s)]  # or it is rejected then
    if told.memory_s is not None and told.ready_s is not None:
        by = told.brought_by
        ends += _stages(by, told) if isinstance(by, JobTrace) else [("local", told.ready_s)]
    ends += [("gpu_queue", row["scheduled_s"]), ("prefill", row["first_token_s"])]
    found, at_s = [], row["arrival_s"]
    for cause, end_s in ends:
        if end_s is not None and end_s > at_s:
            found.append(Wait(cause, at_s, end_s))
            at_s = end_s
    return found


def _stages(by: JobTrace, told: Readiness) -> list[tuple[str, float | None]]:
    """Return when the stages of what came last ended, of which those before the turn are passed over."""
    flow = by.job.flow
    start_s, end_s = (flow.start_s, flow.end_s) if flow is not None else (None, None)
    return [
        ("question", by.begun_s),
        ("source_queue", by.gpu_s if by.gpu_s is not None else by.whole_s),
        ("source_compute", by.computed_s),
        ("source_queue", by.whole_s),
        ("coding", by.coded_s),
        ("link_queue", start_s),
        ("transfer", end_s),
        ("link_delay", by.landed_s),
        ("unpacking", told.ready_s),
    ]
