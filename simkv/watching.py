"""Looking on without touching: hooks in front of live methods, and what a prefetch policy looks at when it decides.

Nothing is asked that would not be asked anyway: an estimator that is read twice may not be the same afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from simkv.policies.prefetch.question import LinkView, Prefetch, PrefetchPolicy, PrefetchView
from simkv.predictors.gap import Gap
from simkv.predictors.question import Item

T = TypeVar("T")

MOST_ASKED = 8  # newest items of a session's history that are noted
MOST_LIKELY = 5  # most probable items that are noted


def hook(owner: object, name: str, around: Callable[..., Any]) -> None:
    """Let `around(call, *args)` stand in front of a method of one object; `call()` does what the method does.

    Examples
    --------
    >>> class Bell:
    ...     def ring(self, times: int) -> str:
    ...         return "ding " * times
    >>> bell = Bell()
    >>> hook(bell, "ring", lambda call, times: call().strip() + f" ({times})")
    >>> bell.ring(2)
    'ding ding (2)'
    """
    method = getattr(owner, name)
    setattr(owner, name, lambda *args, **told: around(partial(method, *args, **told), *args))


class Watched:
    """A prefetch policy, and what it looked at and answered when it was last asked.

    Attributes
    ----------
    saw : by name; what it did not look at is not there.
    decided : its answer.
    """

    def __init__(self, policy: PrefetchPolicy) -> None:
        self.saw: dict[str, Any] = {}
        self.decided: list[Prefetch] = []
        self._policy = policy

    def decide(self, view: PrefetchView) -> list[Prefetch]:
        """Let the policy decide, and note what it looks at."""
        self.saw = {"asked": list(view.asked[-MOST_ASKED:]), "hinted": list(view.hinted)}
        self.decided = self._policy.decide(self._noting(view))
        return self.decided

    def _noting(self, view: PrefetchView) -> PrefetchView:
        link = view.link
        return replace(
            view,
            probabilities=self._noted("probabilities", view.probabilities, _likeliest),
            until_next=self._noted("until_next_s", view.until_next, _deciles_s),
            held=self._noted_by_item("held", view.held),
            compute_s=self._noted_by_item("compute_s", view.compute_s),
            link=LinkView(
                rate_bps=self._noted("rate_bps", link.rate_bps),
                demand_ratio=self._noted("demand_ratio", link.demand_ratio),
                backlog_bytes=self._noted("backlog_bytes", link.backlog_bytes),
                delay_s=link.delay_s,
            ),
        )

    def _noted(
        self, name: str, look: Callable[[], T], told: Callable[[T], Any] = lambda found: found
    ) -> Callable[[], T]:
        def looked() -> T:
            found = look()
            self.saw[name] = told(found)
            return found

        return looked

    def _noted_by_item(self, name: str, look: Callable[[Item], T]) -> Callable[[Item], T]:
        def looked(item: Item) -> T:
            found = look(item)
            self.saw.setdefault(name, []).append((item, found))
            return found

        return looked


def _likeliest(probabilities: Mapping[Item, float]) -> list[tuple[Item, float]]:
    ranked = sorted(probabilities.items(), key=lambda each: (-each[1], str(each[0])))
    return ranked[:MOST_LIKELY]


def _deciles_s(gap: Gap | None) -> list[float] | None:
    """Return [s] the times within which the next query comes with probability 0.1, 0.5 and 0.9."""
    return None if gap is None else [gap.quantile(q) for q in (0.1, 0.5, 0.9)]
