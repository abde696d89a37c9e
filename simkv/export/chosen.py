"""Which runs of a saved comparison are exported, and what every exported file says of where it comes from."""

from __future__ import annotations

import hashlib
import json
import re
import textwrap
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from simkv import __version__
from simkv.errors import InputError
from simkv.export.target import Choice
from simkv.metrics import Floats, percentiles
from simkv.report.reading import SavedRun, SavedSweep

ADVICE = "Simulated, not measured: validate before use."

_UNSAFE = re.compile(r"[^A-Za-z0-9 _,.:/@+=-]")  # may mean something to a shell between double quotes


@dataclass(frozen=True, eq=False)
class Run:
    """One arm and one replication of a saved comparison.

    Attributes
    ----------
    finished : its requests that finished, in order of arrival.
    others : those that did not.
    """

    saved: SavedRun
    arm: str
    replication: int
    finished: pd.DataFrame
    others: pd.DataFrame

    @property
    def span_s(self) -> float:
        """[s] From the first arrival of a request that finished to the last token of all."""
        if self.finished.empty:
            return 0.0
        return float(self.finished["last_token_s"].max() - self.finished["arrival_s"].min())

    def column(self, name: str) -> Floats:
        """Return a column of the finished requests."""
        return self.finished[name].to_numpy(dtype=np.float64)

    @property
    def ttft_s(self) -> Floats:
        """[s] Time to first token of each."""
        return self.column("first_token_s") - self.column("arrival_s")

    @property
    def e2e_s(self) -> Floats:
        """[s] Arrival to last token of each."""
        return self.column("last_token_s") - self.column("arrival_s")

    @property
    def tpot_s(self) -> Floats:
        """[s] Mean gap between tokens of each; NaN for an answer of one token."""
        gaps = self.column("output_tokens") - 1
        decode_s = self.column("last_token_s") - self.column("first_token_s")
        return np.where(gaps > 0, decode_s, np.nan) / np.maximum(gaps, 1)


def one_arm(saved: SavedRun | SavedSweep, arm: str | None, target: str) -> tuple[SavedRun, str]:
    """Return the run and the arm that is wanted.

    Raises
    ------
    InputError : a sweep, an unknown arm, or none named where there are several.
    """
    if isinstance(saved, SavedSweep):
        raise InputError(f"holds a sweep, and {target} is about one run; want a folder of `simkv run`", str(saved.path))
    if arm is not None:
        return saved, saved.check_arm(arm)
    if len(saved.arms) > 1:
        raise InputError(f"has several arms; want --arm, one of {', '.join(saved.arms)}", str(saved.path))
    return saved, saved.arms[0]


def one_run(saved: SavedRun | SavedSweep, choice: Choice, target: str) -> Run:
    """Return the requests of the arm and replication that are wanted; raises as `one_arm` does."""
    run, arm = one_arm(saved, choice.arm, target)
    return replication_of(run, arm, run.check_replication(choice.replication))


def replication_of(saved: SavedRun, arm: str, replication: int) -> Run:
    """Return the requests of one arm and replication."""
    rows = saved.requests
    rows = rows[(rows["arm"] == arm) & (rows["replication"] == replication)].sort_values(["arrival_s", "request_id"])
    finished = rows["status"] == "finished"
    return Run(saved, arm, replication, rows[finished], rows[~finished])


def rows_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table, with Python's own numbers."""
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def facts(saved: SavedRun, arm: str, replication: int | None = None) -> dict[str, Any]:
    """Return where exported numbers come from: version, manifest, scenario, arm, seed."""
    told: dict[str, Any] = {
        "version": __version__,
        "results_version": saved.manifest["simkv"],
        "manifest_sha256": manifest_sha256(saved),
        "scenario": saved.summary["scenario"],
        "arm": arm,
        "seed": saved.manifest["seed"],
    }
    return told if replication is None else told | {"replication": replication}


def manifest_sha256(saved: SavedRun) -> str:
    """Return the SHA-256 of the manifest, which names that of every file of the folder."""
    return hashlib.sha256((saved.path / "manifest.json").read_bytes()).hexdigest()


def header_lines(saved: SavedRun, arm: str, what: str) -> list[str]:
    """Return the comment lines that a configuration file begins with."""
    told = facts(saved, arm)
    return [
        *comment(f"{what}, from scenario {told['scenario']}, arm {arm}. {ADVICE}"),
        f"# Written by simkv {told['version']}; SHA-256 of manifest.json: {told['manifest_sha256']}",
    ]


def comment(text: str) -> list[str]:
    """Return a text as lines of a comment.

    Examples
    --------
    >>> comment("Simulated, not measured.")
    ['# Simulated, not measured.']
    """
    return textwrap.wrap(
        text,
        width=110,
        initial_indent="# ",
        subsequent_indent="#   ",
        break_on_hyphens=False,
        break_long_words=False,
    )


def wanted(variable: str, told: str) -> str:
    """Return a line of shell that stops and says what is wanted where a variable is not set.

    Parameters
    ----------
    told : may hold names of a folder that somebody else made: what means something to a shell becomes `_`.

    Examples
    --------
    >>> print(wanted("MODEL", 'set it to a/b-1.5"; $(date)'))
    MODEL="${MODEL:?set it to a/b-1.5__ __date_}"
    """
    return f'{variable}="${{{variable}:?{_UNSAFE.sub("_", told)}}}"'


def spread(values: Floats, wanted: tuple[int, ...]) -> dict[str, float]:
    """Return mean, standard deviation (of the population) and percentiles of values, at least one."""
    found = {"mean": float(values.mean()), "std": float(values.std())}
    return found | {f"p{p}": cut for p, cut in zip(wanted, percentiles(values, wanted), strict=True)}


def as_json(document: object) -> bytes:
    """Return a JSON file; equal documents give equal bytes."""
    return (json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
