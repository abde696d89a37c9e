"""Where does a sweep run? What `--executor`, `--workers` and `--time-limit` mean together."""

# ruff: noqa: PLC0415 - an executor is imported when it is chosen, so that --help is quick

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from simkv.registry import did_you_mean

if TYPE_CHECKING:
    from simkv.sweep import Executor

_NAMES = ["in-process", "processes", "dask"]


def chosen(where: str | None, workers: int | None, time_limit: str | None) -> Executor:
    """Return where points run.

    Parameters
    ----------
    where : as `--executor` says it; None = as the other two want it.
    workers : processes; None = not said.
    time_limit : of one point, such as "60 s".

    Raises
    ------
    click.UsageError : an unknown place, or options that do not go together.

    Examples
    --------
    >>> chosen("dask://10.0.0.1:8786", None, "60 s")
    Dask(address='tcp://10.0.0.1:8786', workers=1, time_limit_s=60.0)
    """
    from simkv.sweep import Dask, Processes

    limit_s = _seconds(time_limit)
    if where is None:
        where = "in-process" if workers in (None, 1) and limit_s is None else "processes"
    if where == "in-process":
        return _here(workers, limit_s)
    if where == "processes":
        return Processes(workers or 1, limit_s)
    if where == "dask":
        return Dask(None, workers or 1, limit_s)
    address = re.fullmatch(r"dask://([^\s/]+:\d+)", where)
    if address is None:
        known = f"{', '.join(_NAMES)} or dask://HOST:PORT"
        raise click.UsageError(f"--executor wants {known}, got {where!r}{did_you_mean(where, _NAMES)}")
    if workers is not None:
        raise click.UsageError(f"--workers is for processes on this machine; {where} has workers of its own")
    return Dask(f"tcp://{address[1]}", time_limit_s=limit_s)


def _here(workers: int | None, limit_s: float | None) -> Executor:
    from simkv.sweep import InProcess

    if limit_s is not None or workers not in (None, 1):
        raise click.UsageError("--executor in-process takes neither --time-limit nor several --workers")
    return InProcess()


def _seconds(time_limit: str | None) -> float | None:
    from simkv.units import parse_seconds

    if time_limit is None:
        return None
    limit_s = parse_seconds(time_limit)
    if limit_s <= 0:
        raise click.UsageError("--time-limit wants a time above zero, such as '60 s'")
    return limit_s
