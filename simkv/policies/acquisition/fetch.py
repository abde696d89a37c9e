"""The source sends KV."""

from __future__ import annotations

from dataclasses import dataclass

from simkv.policies.acquisition.question import ACQUISITION, AcquisitionView, Plan


@ACQUISITION.register("fetch")
@dataclass
class Fetch:
    """Fetch KV from its source, which computes it first where it must.

    Source: CacheGen (Liu et al., SIGCOMM'24) and Mooncake (Qin et al., FAST'25) load remote KV this way.
    """

    def decide(self, view: AcquisitionView) -> Plan:
        """Return the only plan it has."""
        return Plan.FETCH
