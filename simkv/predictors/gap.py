"""When will the next query come? The form of the answer, which prefetch policies see."""

from __future__ import annotations

from typing import Protocol


class Gap(Protocol):
    """A distribution of the time that is still to pass until the next query of a session."""

    @property
    def mean_s(self) -> float:
        """[s] the expected time."""

    def cdf(self, t_s: float) -> float:
        """Return P(the query comes within `t_s` from now)."""

    def quantile(self, q: float) -> float:
        """Return [s] the time within which the query comes with probability `q`."""
