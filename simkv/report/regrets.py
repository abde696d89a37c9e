"""What does an arm lose by not knowing the future? Its mean TTFT minus that of an arm that differs in that alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from simkv.report.comparison import ArmInfo
from simkv.statistics import Estimate

#: Why there is none, by question.
_NO_REFERENCE = {
    "prefetch": "no arm differs from it in prefetch and predictor alone and knows the next turn",
    "eviction": "no arm differs from it in eviction alone and evicts by the recorded order of use",
}
_IS_REFERENCE = "it is the reference point itself"


@dataclass(frozen=True, slots=True)
class Regret:
    """Seconds of mean TTFT, over the turns finished in both, that a reference point saves.

    Attributes
    ----------
    reference : the arm that knows; of several the fastest; None where there is none.
    reason : why there is no regret; "" where there is.
    seconds : arm - reference; below 0 where knowing did not help.
    """

    reference: str | None
    reason: str
    seconds: Estimate

    def to_json(self) -> dict[str, Any]:
        """Return it as the JSON has it."""
        return {
            "reference": self.reference,
            "seconds": self.seconds.value,
            "ci95": self.seconds.interval,
            "reason": self.reason or None,
        }


def references(arms: Sequence[ArmInfo], fastest: Callable[[Sequence[str]], str | None]) -> dict[tuple[str, str], str]:
    """Return (arm, question) -> the arm that its regret is measured against, itself included.

    Parameters
    ----------
    fastest : returns the one of some arms with the lowest mean TTFT; None of none.
    """
    found = {}
    for arm in arms:
        for question, names in (("prefetch", arm.prefetch_oracles), ("eviction", arm.eviction_oracles)):
            name = fastest(names)
            if name is not None:
                found[arm.name, question] = name
    return found


def regrets(
    arm: str, against: Mapping[tuple[str, str], str], difference: Callable[[str, str], Estimate]
) -> dict[str, Regret]:
    """Return an arm's regret of each question.

    Parameters
    ----------
    against : as `references` returns it.
    difference : returns arm - other in mean TTFT.
    """
    found = {}
    for question, reason in _NO_REFERENCE.items():
        other = against.get((arm, question))
        if other is None or other == arm:
            found[question] = Regret(None, reason if other is None else _IS_REFERENCE, Estimate(None))
        else:
            found[question] = Regret(other, "", difference(arm, other))
    return found
