"""The text is sent, the receiver prefills it."""

from __future__ import annotations

from dataclasses import dataclass

from simkv.policies.acquisition.question import ACQUISITION, AcquisitionView, Plan


@ACQUISITION.register("text")
@dataclass
class Text:
    """Fetch the text and prefill it here: what a system without KV transfer does (semantics A1).

    Source: the baseline of every KV transfer paper, e.g. CacheGen (Liu et al., SIGCOMM'24), section 7.
    """

    def decide(self, view: AcquisitionView) -> Plan:
        """Return the only plan it has."""
        return Plan.TEXT
