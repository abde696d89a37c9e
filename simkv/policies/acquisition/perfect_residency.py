"""Everything movable is simply there: an infeasible reference."""

from __future__ import annotations

from dataclasses import dataclass

from simkv.policies.acquisition.question import ACQUISITION, AcquisitionView, Plan


@ACQUISITION.register("perfect-residency", oracle=True)
@dataclass
class PerfectResidency:
    """Behave as if all movable KV were resident before anyone asks; ignores that it must be made first (B1).

    The most that any prefetcher could gain for one request alone; labelled infeasible (semantics G5).

    Source: "perfect cache" bounds of prefetching studies, e.g. Cao et al., SIGMETRICS'95.
    """

    def decide(self, view: AcquisitionView) -> Plan:
        """Return the only plan it has."""
        return Plan.ASSUME
