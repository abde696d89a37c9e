"""Reference, ours, error: does simkv say what others have measured?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simkv.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

NAMES = ("vllm",)


def validate(name: str, **options: Any) -> pd.DataFrame:
    """Compare simkv with a reference; one row a quantity.

    Parameters
    ----------
    name : "vllm": a recorded run of vLLM.
    options : of `simkv.validate.vllm.validate`: run, profile, num_gpu_blocks, ...

    Returns
    -------
    Columns metric, statistic, measured, simulated [s], error_ratio.

    Raises
    ------
    InputError : no such reference, or its input is wrong.

    Examples
    --------
    >>> validate("vlm")
    Traceback (most recent call last):
    simkv.errors.InputError: unknown reference 'vlm'; known: vllm
    """
    import pandas as pd  # noqa: PLC0415 - what only prints does not pay for it

    from simkv.validate import vllm  # noqa: PLC0415

    if name not in NAMES:
        raise InputError(f"unknown reference {name!r}; known: {', '.join(NAMES)}")
    found = vllm.validate(**options)
    rows = [
        {"metric": metric, "statistic": statistic, **values}
        for metric, statistics in found.metrics.items()
        for statistic, values in statistics.items()
    ]
    return pd.DataFrame(rows)
