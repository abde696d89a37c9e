"""How certain is a share that comes from dialogues? Ratios of sums, with dialogues resampled.

Queries of one dialogue are never taken as independent: the bootstrap resamples dialogues, or batches of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from simkv.predictability.prequential import MOST_BATCHES, Scores, T
from simkv.scoring import Ranks, Scorer
from simkv.statistics import Estimate, mean_interval, ratio_of_means

#: Decimals of what is handed over: more would be rounding noise.
DECIMALS = 6


@dataclass(slots=True)
class Ratio:
    """A sum over a sum, by dialogue.

    Parameters
    ----------
    most : the ratio can be no more, and neither can its interval; infinity for what is no share.

    Examples
    --------
    >>> share = Ratio()
    >>> share.add(1, 4), share.add(3, 4)
    (None, None)
    >>> share.estimate(seed=1).value
    0.5
    """

    parts: list[tuple[float, float]]
    most: float

    def __init__(self, most: float = 1.0) -> None:
        self.parts = []
        self.most = most

    def add(self, above: float, below: float) -> None:
        """Add one dialogue."""
        self.parts.append((above, below))

    def value(self) -> float | None:
        """Return the ratio of the sums, None where the lower one is 0."""
        below = sum(part[1] for part in self.parts)
        return sum(part[0] for part in self.parts) / below if below else None

    def estimate(self, seed: int) -> Estimate:
        """Return the ratio of the sums, None where the lower one is 0, and its 95 % interval."""
        return ratio(self.parts, seed, self.most)


def ratio(parts: Sequence[tuple[float, float]], seed: int, most: float = 1.0) -> Estimate:
    """Return sum / sum with its interval, from (above, below) a dialogue."""
    batches = [(0.0, 0.0)] * min(len(parts), MOST_BATCHES)
    for index, (above, below) in enumerate(parts):
        so_far = batches[index % len(batches)]
        batches[index % len(batches)] = (so_far[0] + above, so_far[1] + below)
    known = [pair for pair in batches if pair[1]]
    found = ratio_of_means([above for above, _ in known], [below for _, below in known], seed)
    return found if found.high is None else replace(found, high=min(most, found.high))


def of_scores(scores: Scores[T], seed: int, top: int = 0, of: str = "") -> Estimate:
    """Return one score of a predictor with its interval: the top-k share, or `brier` or `log_score`."""
    parts = []
    for batch in scores.batches:
        value = batch.top(top) if top else getattr(batch, of)()
        if value is not None:
            parts.append((value * batch.queries, float(batch.queries)))
    return ratio(parts, seed, 1.0 if top else math.inf)


def told(estimate: Estimate) -> dict[str, Any]:
    """Return an estimate as plain data."""
    ends = estimate.interval
    return {"value": _rounded(estimate.value), "ci95": ends and [_rounded(end) for end in ends]}


def told_scores(scores: Scores[Scorer], seed: int) -> dict[str, Any]:
    """Return all scores of a predictor as plain data."""
    whole = scores.whole()
    split = whole.split()
    curve = whole.reliability_curve()
    return {
        "top1": told(of_scores(scores, seed, top=1)),
        "top3": told(of_scores(scores, seed, top=3)),
        "brier": told(of_scores(scores, seed, of="brier")),
        "brier_split": split
        and {
            "reliability": _rounded(split.reliability),
            "resolution": _rounded(split.resolution),
            "uncertainty": _rounded(split.uncertainty),
        },
        "log_score_nats": told(of_scores(scores, seed, of="log_score")),
        "ece": _rounded(whole.calibration_error()),
        "reliability": [
            {"count": b.count, "forecast": _rounded(b.forecast), "frequency": _rounded(b.frequency)} for b in curve
        ],
    }


def told_mean(values: Iterable[float | None]) -> dict[str, Any]:
    """Return the mean over shuffles with its interval as plain data."""
    made = list(values)
    return told(mean_interval(made)) | {"shuffles": len(made)}


def told_shuffled(shuffles: Iterable[Ranks]) -> dict[str, Any]:
    """Return what shuffled orders gave: mean, its interval over shuffles, and the highest."""
    made = list(shuffles)
    found: dict[str, Any] = {"shuffles": len(made)}
    for k in (1, 3):
        values = [value for value in (scorer.top(k) for scorer in made) if value is not None]
        found[f"top{k}"] = told(mean_interval(values)) | {"highest": _rounded(max(values, default=None))}
    return found


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DECIMALS)
