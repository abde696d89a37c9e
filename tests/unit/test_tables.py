"""Interpolation over grids with holes: exact where measured, linear between, extended outside and told so."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simkv.compute.attention import Attention, Skew, SkewRow
from simkv.compute.tables import Beyond, Grid, Line, Outside, along

law = settings(max_examples=200, deadline=None, derandomize=True)

points = st.dictionaries(st.integers(0, 5_000), st.floats(1e-6, 1e3), min_size=2, max_size=20)


@law
@given(points)
def test_a_line_is_exact_where_measured(measured: dict[int, float]) -> None:
    """To the last bit, the ends included, and nothing is noted."""
    line, seen = Line("op", "tokens", measured.items()), list[Beyond]()
    assert [line.at(place, seen) for place in measured] == list(measured.values())
    assert seen == []


@law
@given(points, st.floats(-100, 6_000))
def test_a_line_stays_between_its_neighbours(measured: dict[int, float], place: float) -> None:
    """Between two points the value is between theirs; outside, the query is noted with the range."""
    line, seen = Line("op", "tokens", measured.items()), list[Beyond]()
    value = line.at(place, seen)
    below, above = [p for p in measured if p <= place], [p for p in measured if p >= place]
    if below and above:
        ends = measured[max(below)], measured[min(above)]
        assert min(ends) - 1e-9 <= value <= max(ends) + 1e-9
        assert seen == []
    else:
        assert seen == [Beyond("op", "tokens", place, min(measured), max(measured))]


def test_a_line_goes_on_with_its_last_slope() -> None:
    line = Line("op", "tokens", [(2, 10.0), (4, 11.0), (8, 20.0)])
    assert (line.at(0, []), line.at(12, [])) == (9.0, 29.0)
    assert Line("op", "tokens", [(3, 7.0)]).at(99, []) == 7.0


def test_along_a_family_of_one() -> None:
    seen: list[str] = []
    assert [along([5], place, lambda _: 3.0, lambda: seen.append("out")) for place in (4, 5, 6)] == [3.0] * 3
    assert seen == ["out"] * 2


GRID = [(1, 8, 5.0), (2, 8, 6.0), (2, 16, 12.0), (4, 8, 7.0), (4, 16, 13.0), (4, 32, 25.0)]


def test_a_ragged_grid() -> None:
    """Rows have their own places: exact at all of them, linear along a row, then between rows."""
    grid, seen = Grid("moe", "tokens", "experts", GRID), list[Beyond]()
    assert [grid.at(row, place, seen) for row, place, _ in GRID] == [value for *_, value in GRID]
    assert grid.at(4, 24, seen) == 19.0
    assert grid.at(3, 16, seen) == 12.5
    assert grid.at(3, 24, seen) == (18.0 + 19.0) / 2  # the row of 2 goes on; that of 4 was measured there
    assert seen == []
    grid.at(3, 40, seen)
    grid.at(9, 16, seen)
    assert [item.axis for item in seen] == ["experts", "tokens"]


def linear(chunk: float, cached: float, decodes: float, kv: float) -> float:
    """A law that is linear in each of the four, so that interpolation must give it back everywhere."""
    return 1.0 + 0.5 * chunk + 0.001 * chunk * cached + decodes * (0.25 + 0.01 * kv)


RAGGED = [
    *((0, 0, n, kv) for n in (1, 2, 4, 8) for kv in (16, 64, 256)),
    *((c, k, 0, 0) for c in (16, 64) for k in (0, 128, 512)),
    *((16, k, n, kv) for k in (0, 128) for n in (1, 2, 4) for kv in (16, 256)),
    *((16, 512, n, kv) for n in (1, 2, 4) for kv in (64, 256)),
    *((64, k, n, kv) for k in (0, 512) for n in (1, 4) for kv in (16, 64, 256)),
]
ATTENTION = Attention((*point, linear(*point)) for point in RAGGED)


def test_attention_is_exact_where_measured() -> None:
    seen: Outside = []
    assert [ATTENTION.at(*point, seen) for point in RAGGED] == [linear(*point) for point in RAGGED]
    assert seen == []


@law
@given(st.integers(1, 80), st.integers(0, 600), st.integers(1, 9), st.integers(1, 300))
def test_attention_gives_a_linear_law_back(chunk: int, cached: int, decodes: int, kv: int) -> None:
    """Inside and outside, through missing pairs and unequal grids."""
    seen: Outside = []
    # between no prefill and 16 tokens, cached tokens count in proportion: there the law is bilinear too
    assert ATTENTION.at(chunk, cached, decodes, kv, seen) == pytest.approx(linear(chunk, cached, decodes, kv))
    assert ATTENTION.at(0, 0, decodes, kv, []) == pytest.approx(linear(0, 0, decodes, kv))
    assert ATTENTION.at(chunk, cached, 0, 0, []) == pytest.approx(linear(chunk, cached, 0, 0))
    assert not seen or chunk > 64 or cached > 512 or decodes > 4 or not 16 <= kv <= 256 or kv < 64


def test_a_missing_corner_is_noted() -> None:
    """8 decodes were measured without prefill alone."""
    seen: Outside = []
    ATTENTION.at(16, 0, 8, 64, seen)
    assert [str(item) for item in seen] == ["attention: n_decode 8 is outside 0 to 4"]
    ATTENTION.at(0, 0, 8, 64, seen[:0])
    assert ATTENTION.kv_places(8) == [16, 64, 256] == ATTENTION.kv_places(3) == ATTENTION.kv_places(100)


@law
@given(st.integers(1, 8), st.integers(16, 255))
def test_attention_grows_with_what_it_reads(decodes: int, kv: int) -> None:
    """On tables that grow, prices grow."""
    assert ATTENTION.at(0, 0, decodes, kv, []) <= ATTENTION.at(0, 0, decodes, kv + 1, [])
    assert ATTENTION.at(0, 0, decodes, kv, []) <= ATTENTION.at(0, 0, decodes + 1, kv, [])


def skew_row(chunk: int, decodes: int, rho: float, ratio: float, **changed: float) -> SkewRow:
    """Return a row with a mean of 1,000 tokens whose unequal batch takes `ratio` longer."""
    row = SkewRow(chunk, 0, decodes, 1000.0, 1000.0 / rho, 2.0, 2.0 * (1 + ratio))
    return row._replace(**changed)  # type: ignore[arg-type]


class TestSkew:
    def test_medians_over_bins(self) -> None:
        """Three rows of one bin count by the middle one."""
        skew = Skew([skew_row(0, 2, rho, ratio) for rho, ratio in ((0.49, 0.1), (0.5, 0.2), (0.51, 0.9))])
        assert skew.ratio(0, 2, 0.5) == pytest.approx(0.2)

    def test_equal_contexts_cost_nothing_more(self) -> None:
        """And half way to the nearest bin, half of it."""
        skew = Skew([skew_row(0, 2, 0.5, 0.2)])
        assert skew.ratio(0, 2, 1.0) == 0.0
        assert skew.ratio(0, 2, 0.75) == pytest.approx(0.1)
        assert skew.ratio(0, 2, 0.01) == pytest.approx(0.2)

    def test_linear_in_the_logarithm_of_the_batch(self) -> None:
        skew = Skew([skew_row(0, decodes, 0.5, ratio) for decodes, ratio in ((2, 0.1), (8, 0.3), (16, 0.0))])
        assert [round(skew.ratio(0, n, 0.5), 9) for n in (2, 4, 8, 16, 99)] == [0.1, 0.2, 0.3, 0.0, 0.0]
        assert skew.ratio(0, 12, 0.5) == pytest.approx(0.3 * (1 - math.log2(12 / 8)))

    def test_the_nearest_prefill(self) -> None:
        """Any prefill at all is nearer to the smallest measured one than to none; of two equally near, the smaller."""
        skew = Skew([skew_row(chunk, 2, 0.5, ratio) for chunk, ratio in ((0, 0.1), (16, 0.2), (64, 0.3))])
        assert [round(skew.ratio(chunk, 2, 0.5), 9) for chunk in (0, 1, 40, 41, 4000)] == [0.1, 0.2, 0.2, 0.3, 0.3]

    def test_rows_that_do_not_count(self) -> None:
        """Short and long means, and much cached before the prefill."""
        rows = [
            skew_row(0, 2, 0.5, 9.0, kv_mean=399.0, kv_longest=798.0),
            skew_row(0, 2, 0.5, 9.0, kv_mean=4097.0, kv_longest=8194.0),
            skew_row(0, 2, 0.5, 9.0, kv_prefill=2049),
        ]
        assert not Skew(rows)
        assert Skew([*rows, skew_row(0, 2, 0.5, 0.1)]).ratio(0, 2, 0.5) == pytest.approx(0.1)

    def test_one_line_a_batch(self) -> None:
        """What a span holds is what a single query gives, for unequal bins of neighbouring batches."""
        skew = Skew([skew_row(0, 2, rho, 1 - rho) for rho in (0.2, 0.6)] + [skew_row(0, 8, 0.4, 0.5)])
        line = skew.line(0, 4)
        assert line.places == [0.2, 0.4, 0.6, 1.0]
        rhos = [0.2 + index / 100 for index in range(80)]
        for before, after in pairwise(rhos):
            assert skew.ratio(0, 4, before) == pytest.approx(line.at(before, []))
            assert abs(skew.ratio(0, 4, before) - skew.ratio(0, 4, after)) < 0.02
