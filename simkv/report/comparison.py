"""The same traffic under several policies: all runs of a comparison, and every view of them.

Importing this costs little: pandas, Matplotlib and PyArrow come in when they are asked for.
"""

# ruff: noqa: PLC0415 - workers and the command line import this module, and need none of those

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simkv.results import REQUEST_COLUMNS, TRANSFER_COLUMNS, RunResult

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from simkv.report.summary import Summary


@dataclass(frozen=True, slots=True)
class ArmInfo:
    """What an arm is made of.

    Attributes
    ----------
    prefetch, eviction, predictor, acquisition : registered names.
    reference : why no real system could do this ("infeasible reference", ...); empty for a feasible arm.
    is_exact : whether KV moves as it is, so that no codec changes answers.
    prefetch_oracles, eviction_oracles : the arms that differ from it in that alone and know the future.
    moves_kv : whether KV is meant to come over a link, asked for or ahead of time; an arm may send text alone.

    Examples
    --------
    >>> ArmInfo("text", acquisition="text").is_speculative
    False
    """

    name: str
    prefetch: str = "none"
    eviction: str = "lru"
    predictor: str = "sequential"
    acquisition: str = "fetch"
    reference: str = ""
    is_exact: bool = True
    prefetch_oracles: tuple[str, ...] = ()
    eviction_oracles: tuple[str, ...] = ()
    moves_kv: bool = True

    @property
    def is_speculative(self) -> bool:
        """Whether the arm moves or computes KV before it is asked for."""
        return self.prefetch != "none"

    @property
    def may_be_best(self) -> bool:
        """Whether "N x" may be quoted against it: feasible, not speculative (semantics A1), and of full quality."""
        return not self.is_speculative and not self.reference and self.is_exact


@dataclass(eq=False)
class Comparison:
    """All runs of one scenario: arms x replications on the same random numbers.

    Attributes
    ----------
    scenario : what was run.
    arms : in the scenario's order.
    results : one run each; arm by arm, replications in order.
    seed, replications : as they were run.
    """

    scenario: Any
    arms: tuple[ArmInfo, ...]
    results: list[RunResult]
    seed: int
    replications: int

    def runs(self, arm: str) -> list[RunResult]:
        """Return the runs of one arm, in replication order."""
        return [result for result in self.results if result.arm == arm]

    @cached_property
    def summary(self) -> Summary:
        """Means and intervals over replications, and every comparison between arms."""
        from simkv.report.summary import summarise

        return summarise(self.arms, {arm.name: self.runs(arm.name) for arm in self.arms}, self.seed)

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row an arm: metrics with intervals, difference and ratio; the columns carry their units."""
        from simkv.report.frame import one_row_an_arm

        return one_row_an_arm(self.summary)

    @cached_property
    def requests(self) -> pd.DataFrame:
        """One row a request, typed as `results.REQUEST_COLUMNS`."""
        from simkv.report.frame import records

        return records(REQUEST_COLUMNS, [(run, run.requests) for run in self.results])

    @cached_property
    def transfers(self) -> pd.DataFrame:
        """One row a transfer, typed as `results.TRANSFER_COLUMNS`."""
        from simkv.report.frame import records

        return records(TRANSFER_COLUMNS, [(run, run.transfers) for run in self.results])

    def to_json(self) -> dict[str, Any]:
        """Return the summary as plain lists, dicts, strings and numbers, keys in a fixed order."""
        from simkv.report.summary import to_json

        return to_json(self.summary, self.scenario.name, self.seed, self.replications)

    def save(self, folder: Path) -> None:
        """Write the results folder; equal comparisons write equal bytes."""
        from simkv.report.folder import save

        save(self, folder)

    def plot_ttft_cdf(self) -> Figure:
        """Return the distribution of TTFT by arm."""
        from simkv.report.figures import ttft_cdf

        return ttft_cdf(self)

    def plot_bytes(self) -> Figure:
        """Return where the bytes of each arm went."""
        from simkv.report.figures import where_bytes_went

        return where_bytes_went(self)

    def __str__(self) -> str:
        """Return the table for people."""
        from simkv.report.tables import to_text

        return to_text(self)
