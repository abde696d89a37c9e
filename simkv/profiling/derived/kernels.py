"""What does attention take: prefill over cached tokens, which nobody measured, and decodes?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from simkv.errors import InputError
from simkv.profiling.derived.tables import GpuTables

Array = npt.NDArray[np.float64]

_MS = 1e-3  # s
#: [tokens] between which the rows of one head give the serial walk. FlashAttention 3 needs longer ones: below, its
#: one wave is not full.
_WALK, _WALK_FA3 = (1024, 4096), (2048, 8192)


class Heads(NamedTuple):
    """The attention of one rank.

    Attributes
    ----------
    query, kv : heads.
    dim : width of one.
    """

    query: int
    kv: int
    dim: int


class Prefill:
    """Attention of one layer for one prefill [s], over new and cached tokens.

    Nothing was measured with cached tokens. Theirs is max(t(L) (1 - (cached / L)^2), t(new), floor + s L), where
    L = cached + new, t what was measured without them (its square root linear in tokens between measured lengths),
    and floor + s L the *serial KV walk*: without split KV, a block of the kernel walks over all keys, however few the
    queries. s is the slope of the rows with a single head, the floor their shortest.

    Parameters
    ----------
    tables : of the GPU.
    heads : of the rank.
    corrected : False leaves the walk and t(new) out: what counting operations says.
    """

    def __init__(self, tables: GpuTables, heads: Heads, corrected: bool = True) -> None:
        rows = tables.context_attention
        rows = rows[(rows["head_dim"] == heads.dim) & (rows["batch_size"] == 1)]
        self._curves = {
            count: (part["isl"].to_numpy(float), np.sqrt(part["latency_ms"].to_numpy(float) * _MS))
            for count, part in _by_heads(rows, heads.kv, "isl")
        }
        self._weights = _weights(self._curves, heads, tables.system)
        self.floor_s, self.walk_s = _walk(rows, tables.system)
        self._corrected = corrected

    def alone_s(self, tokens: float) -> float:
        """Return the time [s] with nothing cached; beyond the longest measured one, quadratic in tokens."""

        def of(count: int) -> float:
            lengths, roots = self._curves[count]
            root = float(np.interp(tokens, lengths, roots))
            return (root * max(1.0, tokens / float(lengths[-1]))) ** 2

        return sum(weight * of(count) for count, weight in self._weights.items())

    def time_s(self, new: int, cached: int) -> float:
        """Return the time [s] of new tokens behind cached ones."""
        if not cached:
            return self.alone_s(new)
        total = new + cached
        counted = self.alone_s(total) * (1.0 - (cached / total) ** 2)
        return max(counted, self.alone_s(new), self.floor_s + self.walk_s * total) if self._corrected else counted


class Decode:
    """Attention of one layer for decodes [s], over sequences and the KV that each reads.

    Linear between measured lengths and numbers of sequences. Beyond the longest of a number of sequences, the share
    of the memory's rate that it reached is held: proportional to the KV.

    Parameters
    ----------
    tables : of the GPU.
    heads : of the rank.
    """

    def __init__(self, tables: GpuTables, heads: Heads) -> None:
        rows = tables.generation_attention
        rows = rows[rows["head_dim"] == heads.dim]
        self._curves = {
            count: {
                cast("int", batch): (part["step"].to_numpy(float) + 1, part["latency_ms"].to_numpy(float) * _MS)
                for batch, part in of.sort_values("step").groupby("batch_size")
            }
            for count, of in _by_heads(rows, heads.kv, "step")
        }
        self._weights = _weights(self._curves, heads, tables.system)

    def batches(self) -> list[int]:
        """Return the numbers of sequences that were measured, ascending."""
        return sorted(set.intersection(*(set(self._curves[count]) for count in self._weights)))

    def longest(self, batch: int) -> int:
        """Return the longest KV [tokens] that was measured for a number of sequences."""
        return int(min(self._curves[count][batch][0][-1] for count in self._weights))

    def time_s(self, batch: int, kv_tokens: float) -> float:
        """Return the time [s] of a batch that reads so many tokens each."""

        def of(count: int) -> float:
            batches = self._curves[count]
            places = sorted(batches)
            times = [self._row_s(*batches[place], kv_tokens) for place in places]
            return float(np.interp(batch, places, times))

        return sum(weight * of(count) for count, weight in self._weights.items())

    @staticmethod
    def _row_s(lengths: Array, times: Array, kv_tokens: float) -> float:
        return float(np.interp(kv_tokens, lengths, times)) * max(1.0, kv_tokens / float(lengths[-1]))


def _by_heads(rows: pd.DataFrame, kv: int, axis: str) -> Iterator[tuple[int, pd.DataFrame]]:
    rows = rows[rows["num_key_value_heads"] == kv].sort_values(axis)
    for count, part in rows.groupby("num_heads"):
        yield cast("int", count), part


def _weights(counts: Iterable[int], heads: Heads, system: str) -> dict[int, float]:
    """Return the measured numbers of query heads whose times are taken, and their weights: linear between two."""
    counts = list(counts)
    below = [count for count in counts if count <= heads.query]
    above = [count for count in counts if count >= heads.query]
    if not below or not above:
        told = f"{heads.query} query heads of {heads.dim} over {heads.kv} KV heads"
        raise InputError(f"{system}: no times of attention for {told}")
    low, high = max(below), min(above)
    share = (heads.query - low) / (high - low) if low < high else 0.0
    return {high: share, low: 1.0 - share}


def _walk(rows: pd.DataFrame, system: str) -> tuple[float, float]:
    """Return floor [s] and slope [s/token] of the serial walk; `rows` are of one sequence and one width of heads."""
    single = rows[(rows["num_heads"] == 1) & (rows["num_key_value_heads"] == 1)].sort_values("isl")
    fa3 = single["kernel_source"].str.contains("fa3").any()
    low, high = _WALK_FA3 if fa3 else _WALK
    part = single[(single["isl"] >= low) & (single["isl"] <= high)]
    if len(part) < 2:
        raise InputError(f"{system}: no times of attention of one head over {low} to {high} tokens")
    slope, _ = np.polyfit(part["isl"].to_numpy(float), part["latency_ms"].to_numpy(float) * _MS, 1)
    return float(single["latency_ms"].iloc[0]) * _MS, float(slope)
