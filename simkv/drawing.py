"""Which sessions come in a replication of a scenario, when do they start, and how long do their readers think?"""

from __future__ import annotations

from simkv.request import Session
from simkv.scenario import Scenario
from simkv.workload.arrival import Draw, recorded, resampled, started
from simkv.workload.thinking import THINK, with_think_times


def draws_of(
    scenario: Scenario, sessions: list[Session], replication: int, seed: int, most: int | None = None
) -> list[Draw]:
    """Return the sessions of a replication with their starts and, where the trace has none, their think times.

    Parameters
    ----------
    sessions : all that the trace holds, or that the generator makes for this replication.
    most : no more than so many are drawn; None = as many as the scenario wants.
    """
    workload = scenario.workload
    rate_per_s = workload.session_rate_per_s
    count = workload.sessions or len(sessions)
    if most is not None:
        count = min(count, most)
    if rate_per_s is None:  # the schema wants it with Poisson starts
        draws = recorded(sessions)
    elif workload.generator is not None:
        draws = started(sessions[:count], rate_per_s, seed, replication)
    else:
        draws = resampled(sessions, count, rate_per_s, seed, replication)
    if workload.think is None:
        return draws
    return with_think_times(draws, THINK.create(*workload.think), seed, replication)
