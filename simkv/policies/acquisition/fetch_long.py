"""The source sends KV where enough of it lacks."""

from __future__ import annotations

from dataclasses import dataclass

from simkv.policies.acquisition.question import ACQUISITION, AcquisitionView, Plan


@ACQUISITION.register("fetch-long")
@dataclass
class FetchLong:
    """Fetch KV where at least so many tokens lack; have the text of fewer prefilled here.

    A fetch costs a round trip and headers, however little it brings; few tokens are computed sooner than that.

    Parameters
    ----------
    min_tokens : [tokens] that must lack; 0 and 1 are `fetch`.

    Source: LMCache, `min_retrieve_tokens`; SGLang HiCache, `prefetch_threshold`.
    """

    min_tokens: int = 256  # SGLang's default

    def __post_init__(self) -> None:
        if self.min_tokens < 0:
            raise ValueError(f"min_tokens: want at least 0, got {self.min_tokens}")

    def decide(self, view: AcquisitionView) -> Plan:
        """Return the plan by how much lacks."""
        return Plan.FETCH if view.missing_tokens >= self.min_tokens else Plan.TEXT
