"""Questions that a scenario may ask already and that have few answers: admission, composition, initiator.

They are written like any plug-in, but other packages cannot add to them: an answer that nothing would
apply must be refused, not accepted.
"""

from __future__ import annotations

from dataclasses import dataclass

from simkv.errors import InputError
from simkv.registry import Registry, did_you_mean


class ClosedRegistry(Registry[object]):
    """A registry that takes no entry points and imports no dotted path."""

    def get(self, name: str) -> type:
        """Return the class called `name`, which must be one of simkv's own.

        Raises
        ------
        InputError : it is not.

        Examples
        --------
        >>> ADMISSION.get("second-time")
        Traceback (most recent call last):
        simkv.errors.InputError: admission policy 'second-time' is not simulated yet; known: always
        """
        if name in self._factories:
            return self._factories[name]
        known = sorted(self._factories)
        if hint := did_you_mean(name, known):
            raise InputError(f"unknown {self.kind} {name!r}{hint}; known: {', '.join(known)}")
        raise InputError(f"{self.kind} {name!r} is not simulated yet; known: {', '.join(known)}")

    def _load_entry_points(self) -> None:
        """Take none."""


ADMISSION = ClosedRegistry("admission policy", "")
INITIATOR = ClosedRegistry("initiator", "")
COMPOSITION = ClosedRegistry("composition", "")


@ADMISSION.register("always")
@dataclass(frozen=True)
class Always:
    """Store whatever arrives, as long as eviction makes room."""


@INITIATOR.register("push")
@dataclass(frozen=True)
class Push:
    """The source predicts and sends unasked; it knows what receivers hold from messages alone."""


@INITIATOR.register("pull")
@dataclass(frozen=True)
class Pull:
    """The receiver predicts and asks; it knows its own buffer, and its wishes take a delay to arrive."""


@COMPOSITION.register("naive")
@dataclass(frozen=True)
class Naive:
    """Reuse independent chunks as they are; the quality of the answers is not modelled (semantics B3)."""


@COMPOSITION.register("blend")
@dataclass(frozen=True)
class Blend:
    """Recompute a share of each reused independent chunk at its real cost (semantics B3).

    Parameters
    ----------
    share : of a chunk's tokens, in (0, 1]; 0.15 after CacheBlend (Yao et al., EuroSys 2025, section 5).
    """

    share: float = 0.15

    def __post_init__(self) -> None:
        """Refuse what is no share."""
        if not 0.0 < self.share <= 1.0:
            raise ValueError(f"want share in (0, 1], got {self.share}")
