"""How well can the time of the next query be told? Distributions of the next gap, scored on dialogues not learnt from.

Gaps of people and of tools are never pooled (semantics H1), and neither is any other kind with another.
"""

from __future__ import annotations

import math
import statistics
from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from simkv.crps import crps_sample
from simkv.dialogues import Dialogue
from simkv.predictability.estimates import Ratio, told
from simkv.workload.readers.summary import quantile

#: A forecast is handed to the score as so many values, each standing for an equal share of probability.
_VALUES = 99
_LEVELS = [(i + 0.5) / _VALUES for i in range(_VALUES)]
_FEWEST = 20  # gaps in each half, or there is nothing to learn

#: One gap: (the dialogue's previous gap of the kind or None, the gap).
_Gap = tuple[float | None, float]


def gaps(dialogues: Sequence[Dialogue], seed: int) -> dict[str, Any]:
    """Return for each kind of gap the mean CRPS [s] of forecasts that learnt on the other half of the dialogues.

    median : a single value, so that its score is the mean absolute error.
    log_normal : fitted by mean and standard deviation of the logarithm.
    empirical : the gaps of the other half.
    after_previous : the same, of those after a gap in the same third as the dialogue's previous one.
    """
    kinds = sorted({query.gap_kind for dialogue in dialogues for query in dialogue.queries if query.gap_kind})
    kinds = [kind for kind in kinds if kind != "none"]
    if not kinds:
        return {"n/a": "the set has no times"}
    return {kind: _scored([_of(dialogue, kind) for dialogue in dialogues], seed) for kind in kinds}


def _of(dialogue: Dialogue, kind: str) -> list[_Gap]:
    """Return the gaps of a kind; 0 is left out, for it is what a clock of whole seconds says of a short one."""
    found: list[_Gap] = []
    for query in dialogue.queries:
        if query.gap_kind == kind and query.gap_s:
            found.append((found[-1][1] if found else None, query.gap_s))
    return found


def _scored(by_dialogue: Sequence[Sequence[_Gap]], seed: int) -> dict[str, Any]:
    halves: tuple[list[_Gap], list[_Gap]] = ([], [])
    for index, found in enumerate(by_dialogue):
        halves[index % 2].extend(found)
    if min(map(len, halves)) < _FEWEST:
        return {"n/a": f"fewer than {_FEWEST} gaps in a half"}
    makers = {"median": _median, "log_normal": _log_normal, "empirical": _empirical, "after_previous": _after_previous}
    scored: dict[str, Any] = {}
    for name, maker in makers.items():
        forecasts = [maker(halves[1]), maker(halves[0])]  # half 0 is scored by what half 1 taught
        total = Ratio(most=math.inf)
        for index, found in enumerate(by_dialogue):
            total.add(math.fsum(forecasts[index % 2](gap) for gap in found), len(found))
        scored[name] = told(total.estimate(seed))
    lasting = sorted(gap for half in halves for _, gap in half)
    return {"gaps": len(lasting), "p50_s": quantile(lasting, 0.5), "p90_s": quantile(lasting, 0.9), "crps_s": scored}


def _median(learnt: Sequence[_Gap]) -> Callable[[_Gap], float]:
    middle = statistics.median(gap for _, gap in learnt)
    return lambda gap: abs(gap[1] - middle)


def _log_normal(learnt: Sequence[_Gap]) -> Callable[[_Gap], float]:
    logs = [math.log(gap) for _, gap in learnt]
    normal = statistics.NormalDist(statistics.fmean(logs), max(statistics.stdev(logs), 1e-9))
    return _sampled([math.exp(normal.inv_cdf(level)) for level in _LEVELS])


def _empirical(learnt: Sequence[_Gap]) -> Callable[[_Gap], float]:
    ordered = sorted(gap for _, gap in learnt)
    return _sampled([quantile(ordered, level) for level in _LEVELS])


def _after_previous(learnt: Sequence[_Gap]) -> Callable[[_Gap], float]:
    ordered = sorted(gap for _, gap in learnt)
    edges = [quantile(ordered, 1 / 3), quantile(ordered, 2 / 3)]
    thirds: list[list[_Gap]] = [[], [], []]
    for before, gap in learnt:
        if before is not None:
            thirds[bisect_right(edges, before)].append((before, gap))
    of_all = _empirical(learnt)
    of_third = [_empirical(third) if len(third) >= _FEWEST else of_all for third in thirds]
    return lambda gap: (of_all if gap[0] is None else of_third[bisect_right(edges, gap[0])])(gap)


def _sampled(values: list[float]) -> Callable[[_Gap], float]:
    @cache
    def score(observed: float) -> float:
        return crps_sample(values, observed)

    return lambda gap: score(gap[1])
