"""Reference, ours, error: does simkv say what others have measured?"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from simkv.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from simkv.validate.rows import Report

#: Comparisons with published tables; "vllm" and "transfers" want a file.
PUBLISHED = ("silicon", "layers", "disaggregated", "pull-or-recompute", "cacheblend")
NAMES = ("vllm", "transfers", *PUBLISHED)


def validate(name: str, **options: Any) -> pd.DataFrame:
    """Compare simkv with a reference; one row a quantity.

    Parameters
    ----------
    name : "vllm": a recorded run of vLLM; "transfers": a CSV file of measured transfers; else one of `PUBLISHED`.
    options : of `simkv.validate.vllm.validate` (run, profile, num_gpu_blocks, ...) or of `transfers.validate` (path).

    Returns
    -------
    vllm: columns metric, statistic, measured, simulated [s], error_ratio. transfers: label, bytes, descriptors,
    measured_s, foretold_s, error_ratio. Else: quantity, published, simulated, tolerance, verdict, error_ratio.

    Raises
    ------
    InputError : no such reference, or its input is wrong.

    Examples
    --------
    >>> validate("cacheblend")["verdict"].tolist().count("miss")
    0
    """
    import pandas as pd  # noqa: PLC0415 - what only prints does not pay for it

    from simkv.validate import transfers, vllm  # noqa: PLC0415

    if name not in NAMES:
        raise InputError(f"unknown reference {name!r}; known: {', '.join(NAMES)}")
    if name == "transfers":
        return pd.DataFrame(transfers.validate(**options).rows)
    if name in PUBLISHED:
        return pd.DataFrame(report(name, **options).to_json()["rows"])
    found = vllm.validate(**options)
    rows = [
        {"metric": metric, "statistic": statistic, **values}
        for metric, statistics in found.metrics.items()
        for statistic, values in statistics.items()
    ]
    return pd.DataFrame(rows)


def report(name: str) -> Report:
    """Return a comparison with a published table.

    Parameters
    ----------
    name : of `PUBLISHED`.

    Raises
    ------
    InputError : no such comparison.

    Examples
    --------
    >>> report("cacheblend").misses
    0
    """
    from simkv.validate import moves, silicon  # noqa: PLC0415

    known: dict[str, Callable[[], Report]] = {
        "silicon": silicon.validate,
        "layers": silicon.validate_layers,
        "disaggregated": moves.disaggregated,
        "pull-or-recompute": moves.pull_or_recompute,
        "cacheblend": moves.cacheblend,
    }
    if name not in known:
        raise InputError(f"unknown comparison {name!r}; known: {', '.join(known)}")
    return known[name]()
