"""What is promised of timing predictors: distributions of what is left of a gap, learnt from ended gaps alone."""

from __future__ import annotations

import math
from itertools import pairwise

from simkv.predictors.gap import Gap
from simkv.predictors.timing import TimingView
from simkv.request import GapKind
from simkv.rng import stream
from simkv.testing.subject import Subject

_LEVELS = (0.001, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999)
_TIMES_S = (0.0, 0.001, 0.5, 3.0, 40.0, 1e3, 1e6)
_EPSILON = 1e-9


def timing_answers(subject: Subject) -> str:
    """Play sessions of tool gaps, human gaps and unknown ones, asking before, in and after each; return all answers."""
    predictor = subject.make()
    draws = stream(5, "gaps")
    gaps_s: dict[int, list[float]] = {session: [] for session in range(4)}
    said = []
    for number in range(120):
        session = number % 4
        kind: GapKind = ("tool", "human", "none", "tool")[session]
        gap_s = 0.0 if number % 17 == 0 else math.exp(draws.gauss(2.0 + 3.0 * (kind == "human"), 1.0))
        move = None if number < 4 else draws.randrange(-2, 4)
        known = gaps_s[session]
        view = TimingView(session, kind, move, 0.0, tuple(known), gap_s if subject.is_oracle else None)
        answer = predictor.predict(view)
        before = _shown(answer)
        for elapsed_s in (0.0, gap_s / 2, gap_s * 0.999):
            view.elapsed_s = elapsed_s
            rest = predictor.predict(view)
            subject.want(_shown(rest) == _shown(predictor.predict(view)), "asked again, it predicts something else")
            _check_distribution(subject, rest)
            said.append(_shown(rest))
        subject.want(tuple(view.gaps_s) == tuple(known), "it changes the gaps that it is shown")
        predictor.observe(view, gap_s)
        subject.want(_shown(answer) == before, "it changes a given answer when it learns; want a new distribution")
        known.append(gap_s)
    return "\n".join(said)


def _shown(gap: Gap) -> str:
    return str([gap.mean_s, *map(gap.cdf, _TIMES_S), *map(gap.quantile, _LEVELS)])


def _check_distribution(subject: Subject, gap: Gap) -> None:
    shares = [gap.cdf(t_s) for t_s in _TIMES_S]
    subject.want(all(0 <= share <= 1 for share in shares), f"its cdf gives {shares}, which are no probabilities")
    subject.want(all(low <= high for low, high in pairwise(shares)), f"its cdf falls: {shares}")
    times_s = [gap.quantile(level) for level in _LEVELS]
    subject.want(all(0 <= t_s < math.inf for t_s in times_s), f"its quantiles are {times_s}; want times from now on")
    subject.want(all(low <= high for low, high in pairwise(times_s)), f"its quantiles fall: {times_s}")
    subject.want(0 <= gap.mean_s < math.inf, f"its mean is {gap.mean_s}; want a time from now on")
    for level, t_s in zip(_LEVELS, times_s, strict=True):
        reached = gap.cdf(t_s * (1 + 1e-6) + 1e-12)
        subject.want(reached >= level - 1e-6, f"its quantile of {level} is {t_s}, and its cdf there {reached}")
        short = gap.cdf(t_s * (1 - 1e-6) - 1e-12)
        subject.want(short <= level + 1e-6 or t_s <= _EPSILON, f"before its quantile of {level} its cdf is {short}")
