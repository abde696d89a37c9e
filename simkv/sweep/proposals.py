"""Who proposes the next points of a search: optuna, seeded, in memory; what it was told before is told again.

The space is that of the lines of a sweep: a list is a choice, a range is everything between its ends, whole numbers
alone where it has no unit and all of its values are whole.
"""

# ruff: noqa: PLC0415 - optuna is an extra, and takes half a second to come in

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from simkv.errors import InputError
from simkv.scenario.grid import Axis, written
from simkv.sweep.points import as_written

if TYPE_CHECKING:
    import optuna

#: Sampler -> proposals at once. Of NSGA-II they are a generation; TPE learns from each answer, so that fewer at once
#: find more, and more keep more workers busy.
BATCHES = {"tpe": 8, "nsga2": 20, "random": 20}


class Proposer:
    """Proposes values of axes, given what came of those before.

    Parameters
    ----------
    sampler : a name of `BATCHES`.
    metrics : how many are minimised.
    seed : equal seeds and answers give equal proposals.

    Examples
    --------
    >>> from simkv.scenario.grid import read_axis
    >>> proposer = Proposer([read_axis("a=0..1:lin:3"), read_axis("b=x,y")], "random", 1, seed=1)  # doctest: +SKIP
    >>> proposer.ask(2)  # doctest: +SKIP
    [{'a': '0.417022', 'b': 'y'}, {'a': '0.000114375', 'b': 'x'}]
    """

    def __init__(self, axes: Sequence[Axis], sampler: str, metrics: int, seed: int) -> None:
        import_optuna().logging.set_verbosity(import_optuna().logging.ERROR)
        self._axes = {"+".join(axis.paths): axis for axis in axes}
        self._space = {name: _distribution(axis) for name, axis in self._axes.items()}
        self._study = import_optuna().create_study(directions=["minimize"] * metrics, sampler=_sampler(sampler, seed))
        self._open: list[optuna.Trial] = []
        self._worst: list[float] = []

    def ask(self, count: int) -> list[dict[str, object]]:
        """Return so many proposals, each path -> value; `answer` wants one answer for each."""
        self._open = [self._study.ask(self._space) for _ in range(count)]
        return [self._values(trial.params) for trial in self._open]

    def answer(self, answers: Sequence[Sequence[float] | None]) -> None:
        """Tell what came of the proposals, in their order; None of one that failed.

        Samplers leave failed trials out of what they learn: of 60 proposals of TPE for the least x above an edge, below
        which all fails, 50 failed. So a failed one also stands as a trial with the worst values seen so far.
        """
        found = [list(values) for values in answers if values is not None]
        self._worst = [max(column) for column in zip(*found, *([self._worst] if self._worst else []), strict=True)]
        trial_of = import_optuna().trial
        for trial, values in zip(self._open, answers, strict=True):
            if values is not None:
                self._study.tell(trial, list(values))
                continue
            self._study.tell(trial, state=trial_of.TrialState.FAIL)
            if self._worst:
                known = {"params": trial.params, "distributions": trial.distributions}
                self._study.add_trial(trial_of.create_trial(values=self._worst, **known))
        self._open = []

    def _values(self, params: Mapping[str, Any]) -> dict[str, object]:
        found: dict[str, object] = {}
        for name, axis in self._axes.items():
            span = axis.span
            chosen = axis.values[params[name]] if span is None else (written(params[name], span.unit),)
            found |= zip(axis.paths, chosen, strict=True)
        return found


def import_optuna() -> Any:
    """Return the library, or say how to get it."""
    try:
        import optuna
    except ModuleNotFoundError:
        raise InputError("a search needs optuna: pip install 'simkv[tune]'") from None
    return optuna


def space_of(axis: Axis) -> list[str]:
    """Return what an axis proposes, as text that is equal for equal spaces.

    Examples
    --------
    >>> from simkv.scenario.grid import read_axis
    >>> space_of(read_axis("links.down.capacity=1..4 Mbit/s:log:3")), space_of(read_axis("seed=1,2"))
    (['number', 'log', '1.0', '4.0', 'Mbit/s'], ['one of', '1', '2'])
    """
    if axis.span is None:
        return ["one of", *("|".join(map(as_written, value)) for value in axis.values)]
    span = axis.span
    kind = "whole number" if span.is_whole else "number"
    return [kind, span.scale, repr(span.first), repr(span.last), span.unit]


def _distribution(axis: Axis) -> Any:
    distributions, span = import_optuna().distributions, axis.span
    if span is None:
        return distributions.CategoricalDistribution(list(range(len(axis.values))))
    low, high, is_log = min(span.first, span.last), max(span.first, span.last), span.scale == "log"
    if span.is_whole:
        return distributions.IntDistribution(int(low), int(high), log=is_log)
    return distributions.FloatDistribution(low, high, log=is_log)


def _sampler(name: str, seed: int) -> Any:
    samplers = import_optuna().samplers
    if name == "tpe":
        return samplers.TPESampler(seed=seed)
    if name == "nsga2":
        return samplers.NSGAIISampler(population_size=BATCHES[name], seed=seed)
    return samplers.RandomSampler(seed=seed)
