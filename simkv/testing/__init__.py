"""Does a plug-in keep its contract? The contracts, executable: for simkv's own plug-ins and for yours.

In a test of your package, for each name that you register (a dotted path will do):

    simkv.testing.check_policy("eviction", "my-policy")

Fresh plug-ins are played fixed, varied input; the first broken promise raises AssertionError. What the promises
are is said where the question is asked (`policies/*/question.py`, `predictors/question.py`). Whether answers are
*good* is not checked here.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from simkv.policies import ACQUISITION, BATCHING, ESTIMATORS, EVICTION, PREFETCH, ROUTING
from simkv.predictors import PREDICTORS
from simkv.predictors.timing import TIMING
from simkv.registry import Registry, unknown
from simkv.testing.batching import batching_answers
from simkv.testing.choices import acquisition_answers, routing_answers
from simkv.testing.estimation import check_memory, estimator_answers
from simkv.testing.eviction import check_cost, eviction_answers
from simkv.testing.prediction import predictor_answers
from simkv.testing.prefetch import check_threshold, prefetch_answers
from simkv.testing.subject import Params, Subject
from simkv.testing.timing import timing_answers

__all__ = [
    "answers",
    "check_acquisition",
    "check_batching",
    "check_estimator",
    "check_eviction",
    "check_policy",
    "check_predictor",
    "check_prefetch",
    "check_routing",
    "check_timing",
]

_Check = tuple[Registry[Any], Callable[[Subject], str], Callable[[Subject], None] | None]

#: Kind -> its registry, what plays to it and returns its answers, and what else is checked.
_CHECKS: dict[str, _Check] = {
    "acquisition": (ACQUISITION, acquisition_answers, None),
    "batching": (BATCHING, batching_answers, None),
    "estimator": (ESTIMATORS, estimator_answers, check_memory),
    "eviction": (EVICTION, eviction_answers, check_cost),
    "predictor": (PREDICTORS, predictor_answers, None),
    "prefetch": (PREFETCH, prefetch_answers, check_threshold),
    "routing": (ROUTING, routing_answers, None),
    "timing": (TIMING, timing_answers, None),
}


def check_policy(kind: str, name: str, params: Params | None = None) -> None:
    """Raise unless a plug-in keeps all that is promised of its kind.

    Of every kind: a dataclass with documented fields and a cited source, that gives the same answers when it is
    made anew, also under another hash seed, and draws from no global generator.

    Parameters
    ----------
    kind : the question it answers: acquisition, batching, estimator, eviction, predictor, prefetch, routing or timing.
    name : as it is registered, or a dotted path.
    params : its parameters; None = those of its static method `example_params()`, or else its defaults.

    Raises
    ------
    AssertionError : a promise is broken; the message says whose, and what was found.
    InputError : there is no such kind or plug-in.

    Examples
    --------
    >>> check_policy("routing", "sticky")
    """
    subject, play, further = _subject(kind, name, params)
    subject.check_form()
    before = random.getstate()
    said = _answers(subject, play)
    subject.want(random.getstate() == before, "it draws from the global random generator; take a named stream")
    subject.want(_answers(subject, play) == said, "made and asked anew, it gives other answers")
    elsewhere = subject.answers_elsewhere(kind)
    subject.want(elsewhere in (None, said), "under another PYTHONHASHSEED it gives other answers: no order of a set")
    if further is not None:
        further(subject)


def answers(kind: str, name: str, params: Params | None = None) -> str:
    """Play to a plug-in and return its answers as text, to be compared with those of another run or version.

    Examples
    --------
    >>> print(answers("predictor", "sequential").splitlines()[0])
    {0: 1.0}
    """
    subject, play, _ = _subject(kind, name, params)
    return _answers(subject, play)


def check_acquisition(name: str, params: Params | None = None) -> None:
    """Raise unless an acquisition policy returns plans, and only oracles assume that KV is simply there.

    Examples
    --------
    >>> check_acquisition("fetch")
    """
    check_policy("acquisition", name, params)


def check_batching(name: str, params: Params | None = None) -> None:
    """Raise unless a batching policy ranks sequences by numbers, and gives one the same rank when asked again.

    Examples
    --------
    >>> check_batching("chunked-fcfs")
    """
    check_policy("batching", name, params)


def check_estimator(name: str, params: Params | None = None) -> None:
    """Raise unless a bandwidth estimator expects only what it could have learned, in memory that does not grow.

    Nothing before the first transfer or report, nothing outside all that was measured, a constant rate exactly; only
    oracles and estimators that hear reports are given any, and none of the future.

    Examples
    --------
    >>> check_estimator("ewma")
    """
    check_policy("estimator", name, params)


def check_eviction(name: str, params: Params | None = None) -> None:
    """Raise unless an eviction policy keeps its books at O(log n) a call.

    Victims are only what was inserted and not removed since; all of that is offered in the end; uses and
    removals may cut and span insertions.

    Examples
    --------
    >>> check_eviction("lru")
    """
    check_policy("eviction", name, params)


def check_predictor(name: str, params: Params | None = None) -> None:
    """Raise unless a predictor's answers are probabilities of things that exist.

    Predicting is pure, learning leaves given answers alone, and only oracles are shown the future.

    Examples
    --------
    >>> check_predictor("markov", {"order": 2})
    """
    check_policy("predictor", name, params)


def check_prefetch(name: str, params: Params | None = None) -> None:
    """Raise unless a prefetch policy names things that exist, each once.

    Deciding is pure; only oracles are shown the future; a `threshold` is strict: what equals it is not moved.

    Examples
    --------
    >>> check_prefetch("threshold", {"threshold": 0.2})
    """
    check_policy("prefetch", name, params)


def check_routing(name: str, params: Params | None = None) -> None:
    """Raise unless a routing policy names servers that there are.

    Examples
    --------
    >>> check_routing("round-robin")
    """
    check_policy("routing", name, params)


def check_timing(name: str, params: Params | None = None) -> None:
    """Raise unless a timing predictor's answers are distributions of times that are still to pass.

    Predicting is pure, learning leaves given answers alone, and only oracles are shown the true gap.

    Examples
    --------
    >>> check_timing("exponential")
    """
    check_policy("timing", name, params)


def _answers(subject: Subject, play: Callable[[Subject], str]) -> str:
    """Return what a plug-in says; an error of its own is a broken promise too."""
    try:
        return play(subject)
    except AssertionError:
        raise
    except Exception as error:
        raise AssertionError(f"{subject.label}: it raises {error!r}") from error


def _subject(
    kind: str, name: str, params: Params | None
) -> tuple[Subject, Callable[[Subject], str], Callable[[Subject], None] | None]:
    """Return the plug-in under test, and the checks of its kind."""
    if kind not in _CHECKS:
        raise unknown("kind", kind, _CHECKS)
    registry, play, further = _CHECKS[kind]
    return Subject(registry, name, params), play, further
