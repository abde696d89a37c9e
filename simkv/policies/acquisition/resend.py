"""The source sends everything, every time."""

from __future__ import annotations

from dataclasses import dataclass

from simkv.policies.acquisition.question import ACQUISITION, AcquisitionView, Plan


@ACQUISITION.register("resend")
@dataclass
class Resend:
    """Send the whole movable context of each turn again, whatever is resident: the naive baseline (semantics B5).

    What a sender does that keeps no account of its receiver; the bytes are demand.

    Source: the stateless transfer of one prompt's KV, e.g. CacheGen (Liu et al., SIGCOMM'24), repeated each turn.
    """

    def decide(self, view: AcquisitionView) -> Plan:
        """Return the only plan it has."""
        return Plan.RESEND
