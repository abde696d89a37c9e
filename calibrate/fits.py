"""What form do measured times have: a fit of relative errors, or their table, by the error on held-out points."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import nnls

from simkv.compute.op_law import OpLaw, Term
from simkv.compute.op_table import OpTable, Row
from simkv.errors import InputError


@dataclass(frozen=True)
class Errors:
    """How far predictions lie from held-out times, as shares of these.

    Attributes
    ----------
    n : points.
    median, p95, largest : of the absolute error.
    signed_median : above 0 where predictions are too long.
    """

    n: int = 0
    median: float = 0.0
    p95: float = 0.0
    largest: float = 0.0
    signed_median: float = 0.0


@dataclass(frozen=True)
class Choice:
    """How an operation is priced.

    Attributes
    ----------
    predict : "fit", "table" or "composed".
    terms, coefficients : of the fitted form [s].
    condition : number of the weighted system; large = terms that the points cannot tell apart.
    chosen, rejected : errors of what prices it, and of the other way; None = there is no other.
    """

    predict: str
    terms: tuple[str, ...] = ()
    coefficients: tuple[float, ...] = ()
    condition: float = 0.0
    chosen: Errors = field(default_factory=Errors)
    rejected: Errors | None = None


def fit(axes: Sequence[str], rows: Sequence[Row], terms: Sequence[str]) -> tuple[tuple[float, ...], float]:
    """Return the coefficients [s] of a form, none below 0, and the condition of the system.

    Each row counts by its relative error (weight 1/t).

    Examples
    --------
    >>> found, _ = fit(["tokens"], [(1, 3.0), (2, 5.0), (4, 9.0)], ["1", "tokens"])
    >>> [round(value, 9) for value in found]
    [1.0, 2.0]
    """
    parsed = [Term.parse(text) for text in terms]
    matrix = np.array([[term.at(dict(zip(axes, row, strict=False))) / row[-1] for term in parsed] for row in rows])
    scale = np.linalg.norm(matrix, axis=0)
    scale[scale == 0] = 1.0
    found, _ = nnls(matrix / scale, np.ones(len(rows)), maxiter=50 * len(terms))
    return tuple(float(value) for value in found / scale), float(np.linalg.cond(matrix / scale))


def errors(predicted: Sequence[float], measured: Sequence[float]) -> Errors:
    """Return the errors of predictions.

    Examples
    --------
    >>> errors([1.1, 2.0, 2.7], [1.0, 2.0, 3.0]).median
    0.1
    """
    if not measured:
        return Errors()
    signed = np.array(predicted) / np.array(measured) - 1
    size = np.abs(signed)
    numbers = (np.median(size), np.quantile(size, 0.95), size.max(), np.median(signed))
    return Errors(len(measured), *(round(float(value), 6) for value in numbers))


def choose(name: str, train: Sequence[Row], held_out: Sequence[Row], terms: Sequence[str]) -> Choice:
    """Return the way that errs less on held-out points; the fit where there are none, or no whole table.

    Examples
    --------
    >>> rows = [(n, 1e-6 * n) for n in (16, 64, 256)]
    >>> choose("score_snapkv", rows, [(100, 1e-4)], ["1", "tokens"]).predict
    'fit'
    """
    op = OpTable(name, train)
    usable = list(terms[: max(1, len(train))])
    coefficients, condition = fit(op.axes, train, usable)
    ways: dict[str, Errors] = {}
    for way in ("fit", "table"):
        try:
            law = OpLaw(op, usable, coefficients, way)
        except InputError:  # a table with holes
            continue
        found = errors([law.at(row[:-1], []) for row in held_out], [row[-1] for row in held_out])
        ways[way] = found
    best = min(ways, key=lambda way: (ways[way].median, way != "fit"))
    rejected = next((ways[way] for way in ways if way != best), None)
    return Choice(best, tuple(usable), _rounded(coefficients), _finite(condition), ways[best], rejected)


def _rounded(coefficients: Sequence[float]) -> tuple[float, ...]:
    return tuple(float(f"{value:.9g}") for value in coefficients)


def _finite(value: float) -> float:
    return round(value, 3) if math.isfinite(value) else 1e18


def summary(errors_by_op: Mapping[str, Errors]) -> float:
    """Return the median over operations of their median errors; 0 for none.

    Examples
    --------
    >>> summary({"a": Errors(1, 0.1), "b": Errors(1, 0.3)})
    0.2
    """
    return float(np.median([found.median for found in errors_by_op.values()])) if errors_by_op else 0.0
