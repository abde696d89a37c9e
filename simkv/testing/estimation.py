"""What is promised of bandwidth estimators: nothing out of thin air, nothing of the future, and no growing memory."""

from __future__ import annotations

import pickle

from simkv.policies.estimation import Estimator, Report
from simkv.rng import stream
from simkv.testing.subject import Subject

_MEASURED = 200
_MOST_STATE = 4_000  # measurements after which what is kept may grow no more
_CLOSE = 1e-9  # relative


def estimator_answers(subject: Subject) -> str:
    """Let transfers end on links of constant, stepping and ragged rates; return all estimates."""
    hears = subject.is_oracle or getattr(subject.plugin_class, "hears_reports", False)
    draws, said = stream(8, "estimation"), []
    for rates_bps in ([3e6], [1e6, 9e6], [draws.uniform(1e4, 1e9) for _ in range(50)]):
        estimator: Estimator = subject.make()
        now_s, seen = 0.0, []
        for count in range(_MEASURED):
            seen.append(rates_bps[count * len(rates_bps) // _MEASURED])
            report = _reports(subject, seen, now_s) if hears else None
            said.append(str(_estimate(subject, estimator, now_s, report, seen[:-1], hears)))
            duration_s = draws.uniform(0.01, 2.0)
            now_s += duration_s
            estimator.measured(seen[-1], duration_s, now_s)
        if not hears and len(rates_bps) == 1:
            last = estimator.estimate_bps(now_s, None)
            found = f"after {_MEASURED} transfers at {rates_bps[0]} bit/s it expects {last!r}"
            subject.want(last is not None and abs(last - rates_bps[0]) <= _CLOSE * rates_bps[0], found)
    return "\n".join(said)


def check_memory(subject: Subject) -> None:
    """Check that what is kept does not grow with the transfers that have passed."""
    estimator: Estimator = subject.make()
    sizes = []
    for count in range(3 * _MOST_STATE):
        estimator.measured(1e6 + count % 7919, 0.5, 0.5 * count)
        if count in (_MOST_STATE, 3 * _MOST_STATE - 1):
            sizes.append(len(pickle.dumps(vars(estimator))))
    found = f"it keeps {sizes[0]} bytes after {_MOST_STATE} transfers and {sizes[1]} after {3 * _MOST_STATE}"
    subject.want(sizes[1] < 1.1 * sizes[0] + 64, found)


def _reports(subject: Subject, seen: list[float], now_s: float) -> Report:
    """Return what tells the capacity of past moments: in this test the last rate at any time."""

    def report(at_s: float) -> float:
        subject.want(at_s <= now_s, f"at {now_s} s it asks for the capacity at {at_s} s, which is in the future")
        subject.want(at_s >= 0, f"it asks for the capacity at {at_s} s, before the beginning")
        return seen[-1]

    return report


def _estimate(
    subject: Subject, estimator: Estimator, now_s: float, report: Report | None, before: list[float], hears: bool
) -> float | None:
    """Ask for an estimate, and check that it could be one."""
    answer = estimator.estimate_bps(now_s, report)
    subject.want(answer == estimator.estimate_bps(now_s, report), "asked again, it expects something else")
    if answer is None:
        subject.want(hears or not before, "it knows nothing although a transfer has ended")
    elif not hears:
        subject.want(bool(before), f"it expects {answer!r} before any transfer has ended")
        low, high = min(before) * (1 - _CLOSE), max(before) * (1 + _CLOSE)
        subject.want(low <= answer <= high, f"it expects {answer!r}, outside all that was measured")
    return answer
