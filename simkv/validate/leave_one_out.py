"""How well does a law that was fitted to all other rows foretell the one that was left out?"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

from simkv.errors import InputError

Array = npt.NDArray[np.float64]


def fitted(terms: Any, times: Any) -> Array:
    """Return coefficients, none negative, that make the squared relative errors least.

    Parameters
    ----------
    terms : a row a measurement, a column a term of the sum.
    times : above 0.

    Raises
    ------
    InputError : fewer rows than terms.

    Examples
    --------
    >>> [round(float(value), 9) for value in fitted([[1, 10], [1, 20], [1, 40]], [3.0, 4.0, 6.0])]
    [2.0, 0.1]
    """
    measured = np.asarray(times, float)
    weighted = np.asarray(terms, float) / measured[:, None]
    if len(weighted) < weighted.shape[1]:
        raise InputError(f"want at least {weighted.shape[1]} measurements for as many terms, got {len(weighted)}")
    scale = np.abs(weighted).max(axis=0)
    scale[scale == 0] = 1.0
    found: Array = nnls(weighted / scale, np.ones(len(measured)))[0] / scale
    return found


def foretold(terms: Any, times: Any) -> Array:
    """Return what the law says of each measurement when it is fitted to all others.

    Examples
    --------
    >>> [round(float(value), 6) for value in foretold([[1, 10], [1, 20], [1, 40]], [3.0, 4.0, 6.0])]
    [3.0, 4.0, 6.0]
    """
    rows, measured = np.asarray(terms, float), np.asarray(times, float)
    kept = ~np.eye(len(measured), dtype=bool)
    return np.array([rows[index] @ fitted(rows[others], measured[others]) for index, others in enumerate(kept)])
