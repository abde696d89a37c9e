"""What does a matrix product take that nobody measured? The share of the roofline that its neighbours reach."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import numpy.typing as npt

from simkv.errors import InputError
from simkv.profiling.derived.tables import GpuTables

Array = npt.NDArray[np.float64]

_NEIGHBOURS = 4  # measured (n, k) nearest in the logarithm (calibration of section "GEMM" of docs/profiles.md)
_BYTES = 2  # a 16-bit number
_MS = 1e-3  # s


class Matrices:
    """16-bit matrix products of one GPU [s], over tokens m, outputs n and inputs k.

    Where (n, k) was measured: the share of the roofline, linear in log m between measured m. Where not: the mean of
    the shares that the four nearest (n, k) reach at that m, weighted by 1 / distance^2, distance in (log n, log k).

    Parameters
    ----------
    tables : of the GPU.

    References
    ----------
    Williams, Waterman, Patterson, "Roofline", CACM 52(4), 2009; transferring the utilisation is what aiconfigurator
    does for shapes that were not measured.
    """

    def __init__(self, tables: GpuTables) -> None:
        self._flop_per_s, self._bytes_per_s = tables.flop_per_s, tables.memory_bytes_per_s
        self._shares: dict[tuple[int, int], tuple[Array, Array]] = {}
        for site, rows in tables.gemm.sort_values("m").groupby(["n", "k"]):
            n, k = map(int, cast("tuple[int, int]", site))
            m = rows["m"].to_numpy(float)
            share = self.roof_s(m, n, k) / (rows["latency_ms"].to_numpy(float) * _MS)
            self._shares[n, k] = np.log(m), share
        if not self._shares:
            raise InputError(f"{tables.system}: no times of 16-bit matrices")

    def roof_s(self, m: Array, n: int, k: int) -> Array:
        """Return the ideal times [s]: the longer of arithmetic and memory, at the peaks of the data sheet."""
        flop, moved = 2.0 * m * n * k, _BYTES * (m * n + m * k + float(n) * k)
        return cast("Array", np.maximum(flop / self._flop_per_s, moved / self._bytes_per_s))

    def times_s(self, m: Sequence[float], n: int, k: int) -> Array:
        """Return the times [s] of one product at each number of tokens."""
        tokens: Array = np.asarray(m, float)
        if (n, k) in self._shares:
            return self.roof_s(tokens, n, k) / self._share((n, k), tokens)
        near = self._nearest(n, k)
        weights = np.array([1.0 / self._distance(site, n, k) ** 2 for site in near])
        shares = np.array([self._share(site, tokens) for site in near])
        share: Array = weights @ shares / weights.sum()
        return self.roof_s(tokens, n, k) / share

    def is_measured(self, n: int, k: int) -> bool:
        """Whether (n, k) is a measured site."""
        return (n, k) in self._shares

    def measured_m(self) -> list[int]:
        """Return the numbers of tokens at which most sites were measured, ascending."""
        (logs, _) = max(self._shares.values(), key=lambda of: len(of[0]))
        return [round(value) for value in np.exp(logs).tolist()]

    def _share(self, site: tuple[int, int], tokens: Array) -> Array:
        logs, shares = self._shares[site]
        return np.asarray(np.interp(np.log(tokens), logs, shares), float)

    def _nearest(self, n: int, k: int) -> list[tuple[int, int]]:
        return sorted(self._shares, key=lambda site: (self._distance(site, n, k), site))[:_NEIGHBOURS]

    @staticmethod
    def _distance(site: tuple[int, int], n: int, k: int) -> float:
        return float(np.hypot(np.log(site[0] / n), np.log(site[1] / k)))
