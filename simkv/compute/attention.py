"""What does the attention of one layer take for a batch, by a table over four axes with holes?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import log2
from statistics import median
from typing import NamedTuple

from simkv.compute.tables import Beyond, Grid, Line, Outside, along

OP = "attention"


class Attention:
    """Attention of one layer [s], by new tokens, tokens cached before them, decodes, and the KV that each reads.

    Each pair of (prefill_chunk, n_decode) has a grid of its own over (kv_prefill, kv_decode): bilinear inside it,
    linear between pairs. Where a pair is missing, the line through the two nearest numbers of decodes goes on. Where no
    chunk stands beside decodes at all, both together cost the sum.

    Parameters
    ----------
    points : (prefill_chunk, kv_prefill, n_decode, kv_decode, time [s]).

    Examples
    --------
    >>> rows = [(0, 0, n, kv, n * kv * 1e-9) for n in (1, 2) for kv in (16, 32)]
    >>> rows += [(16, 0, n, kv, 1e-6 + n * kv * 1e-9) for n in (1, 2) for kv in (16, 32)]
    >>> rows += [(16, 0, 0, 0, 1e-6)]
    >>> table = Attention(rows)
    >>> round(table.at(0, 0, 2, 24, []), 12), round(table.at(8, 0, 1, 20, []), 12)
    (4.8e-08, 5.2e-07)
    """

    def __init__(self, points: Iterable[tuple[int, int, int, int, float]]) -> None:
        by_pair: dict[tuple[int, int], list[tuple[int, int, float]]] = {}
        for chunk, kv_prefill, decodes, kv_decode, time_s in points:
            by_pair.setdefault((chunk, decodes), []).append((kv_prefill, kv_decode, time_s))
        self._grids = {pair: Grid(OP, "kv_prefill", "kv_decode", rows) for pair, rows in by_pair.items()}
        self._decodes = {
            chunk: sorted(decodes for of, decodes in by_pair if of == chunk)
            for chunk in {chunk for chunk, _ in by_pair}
        }
        self._chunks = sorted(self._decodes)
        self._prefills = [chunk for chunk in self._chunks if chunk]
        self._adds = not any(chunk and decodes for chunk, decodes in by_pair)

    def at(self, chunk: float, kv_prefill: float, decodes: int, kv_decode: float, outside: Outside) -> float:
        """Return the time [s] of a batch; not cut at zero.

        Parameters
        ----------
        chunk : [tokens] new in this step; 0 = no prefill.
        kv_prefill : [tokens] cached before them.
        decodes : sequences that decode.
        kv_decode : [tokens] of KV that each of them reads, its newest token included.
        outside : where leaving the grid is noted.
        """
        if not chunk:
            return self._of_chunk(0, 0.0, decodes, kv_decode, outside)
        if decodes and self._adds:
            alone_s = self._of_chunk(0, 0.0, decodes, kv_decode, outside)
            return alone_s + self.at(chunk, kv_prefill, 0, 0.0, outside)
        chunks = self._chunks if decodes else self._prefills
        return along(
            chunks,
            chunk,
            lambda index: self._of_chunk(chunks[index], kv_prefill, decodes, kv_decode, outside),
            lambda: outside.append(Beyond(OP, "prefill_chunk", chunk, chunks[0], chunks[-1])),
        )

    def _of_chunk(self, chunk: int, kv_prefill: float, decodes: int, kv_decode: float, outside: Outside) -> float:
        counts = self._decodes[chunk]
        cached = kv_prefill if chunk else 0.0  # without a prefill nothing is cached before it

        def value(index: int) -> float:
            count = counts[index]
            return self._grids[chunk, count].at(cached, kv_decode if count else 0.0, outside)

        def beyond() -> None:
            outside.append(Beyond(OP, "n_decode", decodes, counts[0], counts[-1]))

        return along(counts, decodes, value, beyond)

    def kv_places(self, decodes: int) -> list[float]:
        """Return the [tokens] of KV at which the price of a batch of decodes alone may bend, ascending."""
        counts = self._decodes[0]
        near = sorted(counts, key=lambda count: (abs(count - decodes), count))
        below = [count for count in counts if count <= decodes][-1:]
        above = [count for count in counts if count >= decodes][:1]
        used = below + above if below and above else near[:2]
        return sorted({place for count in used for place in self._grids[0, count].lines[0].places})


class SkewRow(NamedTuple):
    """One measurement of decodes with unequal contexts, beside one of equal contexts of the same mean.

    Attributes
    ----------
    prefill_chunk, kv_prefill, n_decode : as in `Attention`.
    kv_mean, kv_longest : [tokens] of KV, of the mean and of the longest decode.
    equal_s, unequal_s : [s] of one layer.
    """

    prefill_chunk: int
    kv_prefill: int
    n_decode: int
    kv_mean: float
    kv_longest: float
    equal_s: float
    unequal_s: float


_BINS = 20  # of rho, in 0 to 1
_KV_MEAN = (400, 4096)  # [tokens] below the ratio is noise of short kernels, above few rows and the same ratio
_MOST_KV_PREFILL = 2048  # [tokens]

Curve = tuple[Sequence[float], Sequence[float]]


class Skew:
    """How much longer attention takes when the contexts of its decodes are unequal: a share r of the equal time.

    The median of unequal / equal - 1 over bins of rho = mean / longest KV, 0 at rho = 1; linear in rho and in log2
    of the number of decodes, at the measured prefill chunk nearest to that of the batch.

    Examples
    --------
    >>> rows = [SkewRow(0, 0, n, 500, 1000, 1.0, 1.0 + n / 100) for n in (2, 8)]
    >>> skew = Skew(rows)
    >>> [round(skew.ratio(0, n, 0.5), 6) for n in (2, 4, 8, 64)], round(skew.ratio(0, 8, 0.75), 6)
    ([0.02, 0.05, 0.08, 0.08], 0.04)
    """

    def __init__(self, rows: Iterable[SkewRow]) -> None:
        self._curves = {
            chunk: {decodes: _ratio_line(ratios) for decodes, ratios in sorted(by_decodes.items())}
            for chunk, by_decodes in sorted(_ratios(rows).items())
        }
        self._of_batch: dict[tuple[int, int], Line] = {}

    def __bool__(self) -> bool:
        return bool(self._curves)

    def ratio(self, chunk: int, decodes: int, rho: float) -> float:
        """Return r for a batch.

        Parameters
        ----------
        chunk : [tokens] of all its prefill chunks together; 0 = none.
        decodes : sequences that decode, >= 2.
        rho : mean over longest KV.
        """
        line = self.line(chunk, decodes)
        return line.at(min(max(rho, line.places[0]), 1.0), [])

    def line(self, chunk: int, decodes: int) -> Line:
        """Return r over rho for batches of one size; it is constant below its first place."""
        near = self._nearest(chunk)
        if (near, decodes) not in self._of_batch:
            self._of_batch[near, decodes] = self._between(self._curves[near], decodes)
        return self._of_batch[near, decodes]

    def _nearest(self, chunk: int) -> int:
        chunks = [of for of in self._curves if of or not chunk] or list(self._curves)
        return min(chunks, key=lambda of: (abs(of - chunk), of))

    @staticmethod
    def _between(lines: Mapping[int, Line], decodes: int) -> Line:
        counts = list(lines)
        over = Line("skew", "log2 of n_decode", [(log2(count), 0.0) for count in counts])
        where = min(max(log2(max(decodes, 2)), over.places[0]), over.places[-1])
        rhos = sorted({rho for line in lines.values() for rho in line.places})

        def at(count: int, rho: float) -> float:
            line = lines[count]
            return line.at(min(max(rho, line.places[0]), 1.0), [])

        return Line(
            "skew",
            "rho",
            [
                (rho, along(over.places, where, lambda index, rho=rho: at(counts[index], rho), lambda: None))  # type: ignore[misc, arg-type]
                for rho in rhos
            ],
        )


def _ratios(rows: Iterable[SkewRow]) -> dict[int, dict[int, dict[float, list[float]]]]:
    """Return chunk -> decodes -> middle of the bin of rho -> measured shares."""
    found: dict[int, dict[int, dict[float, list[float]]]] = {}
    for row in rows:
        if _KV_MEAN[0] <= row.kv_mean <= _KV_MEAN[1] and row.kv_prefill <= _MOST_KV_PREFILL:
            middle = round(row.kv_mean / row.kv_longest * _BINS) / _BINS
            bins = found.setdefault(row.prefill_chunk, {}).setdefault(row.n_decode, {})
            bins.setdefault(middle, []).append(row.unequal_s / row.equal_s - 1)
    return found


def _ratio_line(ratios: Mapping[float, list[float]]) -> Line:
    points = {rho: median(shares) for rho, shares in ratios.items()} | {1.0: 0.0}
    return Line("skew", "rho", points.items())
