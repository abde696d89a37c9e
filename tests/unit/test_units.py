"""Quantities: what is understood, what is refused, and that writing and reading agree."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simkv import units
from simkv.errors import InputError
from simkv.units import BITS_PER_SECOND, BYTES, EVENTS_PER_SECOND, SECONDS, Quantity


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5 ns", 5e-9), ("5 us", 5e-6), ("20 ms", 0.02), ("3 s", 3.0), ("1.5 min", 90.0), ("2 h", 7200.0), ("20ms", 0.02)],
)
def test_times_are_exact(text: str, seconds: float) -> None:
    """Each unit gives the float nearest to the exact value."""
    assert units.parse_seconds(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0 B", 0),
        ("1 kB", 10**3),
        ("1 MB", 10**6),
        ("1 GB", 10**9),
        ("1 TB", 10**12),
        ("1 KiB", 2**10),
        ("1 MiB", 2**20),
        ("1 GiB", 2**30),
        ("1 TiB", 2**40),
        ("1.1 MB", 1_100_000),
        (".5 KiB", 512),
        ("1e3 kB", 10**6),
    ],
)
def test_sizes_are_whole_bytes(text: str, size: int) -> None:
    """Powers of 1000 and of 1024 are told apart, and the result is an int."""
    found = units.parse_bytes(text)
    assert (found, type(found)) == (size, int)


@pytest.mark.parametrize(
    ("text", "bps"), [("7 bit/s", 7.0), ("1966.08 kbit/s", 1_966_080.0), ("100 Mbit/s", 1e8), ("2.5 Gbit/s", 2.5e9)]
)
def test_rates(text: str, bps: float) -> None:
    """Rates count bits, in powers of 1000."""
    assert units.parse_bps(text) == bps


@pytest.mark.parametrize(("text", "per_s"), [("2 /s", 2.0), ("30 /min", 0.5), ("3600/h", 1.0)])
def test_rates_of_events(text: str, per_s: float) -> None:
    """Events may be counted per second, minute or hour."""
    assert units.EVENTS_PER_SECOND.parse(text) == per_s


_REFUSED: list[tuple[Quantity, object, str]] = [
    (SECONDS, 20, "want a time such as '20 ms', got 20 (no unit)"),
    (SECONDS, "20", "want a time such as '20 ms', got '20' (no unit)"),
    (SECONDS, 0.5, "want a time such as '20 ms', got 0.5 (no unit)"),
    (SECONDS, "-5 ms", "want a time such as '20 ms', got '-5 ms'"),
    (SECONDS, "nan s", "want a time such as '20 ms', got 'nan s'"),
    (SECONDS, "inf s", "want a time such as '20 ms', got 'inf s'"),
    (SECONDS, "20 msec", "want a time such as '20 ms', got '20 msec'"),
    (SECONDS, "1e999 s", "want a time such as '20 ms', got '1e999 s' (too large)"),
    (SECONDS, "1e9999 s", "want a time such as '20 ms', got '1e9999 s'"),
    (SECONDS, "1_000 s", "want a time such as '20 ms', got '1_000 s'"),
    (SECONDS, "٣ s", "want a time such as '20 ms', got '٣ s'"),
    (SECONDS, None, "want a time such as '20 ms', got nothing"),
    (SECONDS, True, "want a time such as '20 ms', got true"),
    (SECONDS, {"a": 1}, "want a time such as '20 ms', got a mapping"),
    (SECONDS, "9" * 80 + " s", "want a time such as '20 ms', got '" + "9" * 56 + "..."),
    (BYTES, "16 Gib", "want a size such as '16 GiB', got '16 Gib'"),
    (BYTES, "16 gb", "want a size such as '16 GiB', got '16 gb'"),
    (BYTES, "0.5 B", "want a whole number of B, got '0.5 B'"),
    (BYTES, "9e30 TB", "want a size such as '16 GiB', got '9e30 TB' (too large)"),
    (BITS_PER_SECOND, "100 Mbps", "want a rate such as '100 Mbit/s', got '100 Mbps'"),
    (BITS_PER_SECOND, "100 MB/s", "want a rate such as '100 Mbit/s', got '100 MB/s'"),
    (BITS_PER_SECOND, "100 Mbit", "want a rate such as '100 Mbit/s', got '100 Mbit'"),
    (BITS_PER_SECOND, "100 Kbit/s", "want a rate such as '100 Mbit/s', got '100 Kbit/s'"),
    (EVENTS_PER_SECOND, "2", "want a rate of events such as '2 /min', got '2' (no unit)"),
    (EVENTS_PER_SECOND, "2 /day", "want a rate of events such as '2 /min', got '2 /day'"),
]


@pytest.mark.parametrize(("quantity", "value", "message"), _REFUSED, ids=[str(case[1])[:12] for case in _REFUSED])
def test_refused_with_the_wanted_form(quantity: Quantity, value: object, message: str) -> None:
    """What has no unit, or an ambiguous one, is refused in one line that shows a right way."""
    with pytest.raises(InputError) as caught:
        quantity.parse(value)
    assert str(caught.value) == message


@given(st.floats(min_value=0, allow_nan=False, allow_infinity=False))
def test_written_seconds_read_back_exactly(value: float) -> None:
    """No float is changed by writing and reading it."""
    assert SECONDS.parse(SECONDS.write(value)) == value


@given(st.integers(min_value=0, max_value=2**63 - 1))
def test_written_bytes_read_back_exactly(value: int) -> None:
    """No size is changed by writing and reading it."""
    assert BYTES.parse(BYTES.write(value)) == value


@given(st.floats(min_value=0, max_value=1e15))
def test_written_rates_read_back_exactly(value: float) -> None:
    """No rate is changed by writing and reading it."""
    assert BITS_PER_SECOND.parse(BITS_PER_SECOND.write(value)) == value
    assert EVENTS_PER_SECOND.parse(EVENTS_PER_SECOND.write(value)) == value


def test_the_handiest_unit_is_written() -> None:
    """A person reads 20 ms, not 0.02 s."""
    assert [SECONDS.write(0.02), BYTES.write(64), BYTES.write(2**30), BITS_PER_SECOND.write(1e8)] == [
        "20 ms",
        "64 B",
        "1 GiB",
        "100 Mbit/s",
    ]


@pytest.mark.parametrize(
    ("value_s", "text"),
    [(0, "0 s"), (1e-9, "1 ns"), (1.234e-5, "12.3 us"), (0.9999, "1 s"), (123.4, "123 s"), (-0.0205, "-20.5 ms")],
)
def test_times_for_people(value_s: float, text: str) -> None:
    """Three digits and a unit that keeps the number between 1 and 1000."""
    assert units.format_seconds(value_s) == text


def test_sizes_and_rates_for_people() -> None:
    """Powers of 1000, three digits."""
    assert [units.format_bytes(999), units.format_bytes(12_345_678), units.format_bytes(5e15)] == [
        "999 B",
        "12.3 MB",
        "5000 TB",
    ]
    assert [units.format_bps(999_999), units.format_bps(float("inf"))] == ["1 Mbit/s", "inf bit/s"]


def test_field_names_lose_their_unit() -> None:
    """The longest suffix wins: a rate of bytes is no rate of events."""
    assert units.written_name("lead_s") == ("lead", SECONDS)
    assert units.written_name("peak_memory_bytes_per_s") == ("peak_memory", units.BYTES_PER_SECOND)
    assert units.written_name("order") == ("order", None)
