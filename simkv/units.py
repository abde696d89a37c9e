"""Seconds, bytes, tokens, bits per second; the only home of the factors 8, 1000 and 1024.

Inside simkv every number is in one of these units, named by its suffix. People write and read
quantities with a unit (`100 Mbit/s`, `20 ms`, `16 GiB`); this module is where the two meet.
Lower-case b is bit, B is byte, k is 1000 and Ki is 1024 (SI and IEC 80000-13).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction

from simkv.errors import InputError

BITS_PER_BYTE = 8
#: How many of what other tools count time in make a second; whole numbers, so that whole time stamps stay exact.
MS_PER_S, NS_PER_S = 10**3, 10**9

_NUMBER = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?", re.ASCII)
_MAX_TEXT = 60  # characters; a longer quantity is a mistake, and is cut short in messages
_MAX_WHOLE = 2**63 - 1  # what Parquet's int64 columns hold


def shown(value: object) -> str:
    """Return a value as an error message shows it: one short line.

    Examples
    --------
    >>> shown("20 ms"), shown({"a": 1}), shown(None)
    ("'20 ms'", 'a mapping', 'nothing')
    """
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = repr(value)
    return text if len(text) <= _MAX_TEXT else f"{text[: _MAX_TEXT - 3]}..."


@dataclass(frozen=True, eq=False)  # one object a kind, so identity will do
class Quantity:
    """A kind of number that people write with a unit.

    Parameters
    ----------
    noun : what it is, with its article, as messages call it.
    example : a right way to write one.
    factors : accepted units, smallest first, and what one of each is in the inside unit, which is
        the unit of factor 1.
    whole : True when the inside value is an int.

    Examples
    --------
    >>> Quantity("a weight", "2 kg", {"g": Fraction(1), "kg": Fraction(1000)}).parse("1.5 kg")
    1500.0
    """

    noun: str
    example: str
    factors: dict[str, Fraction]
    whole: bool = False

    @property
    def wanted(self) -> str:
        """How to write one, as messages say it."""
        return f"want {self.noun} such as {self.example!r}"

    def parse(self, value: object) -> float:
        """Return the inside value of a written quantity; exact before one rounding to float.

        Raises
        ------
        InputError : no unit, an unknown or ambiguous unit, a negative or unbounded number.
        """
        if isinstance(value, int | float) and not isinstance(value, bool):
            raise InputError(f"{self.wanted}, got {shown(value)} (no unit)")
        if not isinstance(value, str) or len(value) > _MAX_TEXT:
            raise InputError(f"{self.wanted}, got {shown(value)}")
        text = value.strip()
        number = _NUMBER.match(text)
        unit = text[number.end() :].strip() if number else ""
        if number is None or unit not in self.factors:
            note = " (no unit)" if number and not unit else ""
            raise InputError(f"{self.wanted}, got {shown(value)}{note}")
        return self._inside(Fraction(number.group()) * self.factors[unit], value)

    def _inside(self, exact: Fraction, value: str) -> float:
        if self.whole:
            if exact.denominator != 1:
                raise InputError(f"want a whole number of {self._inside_unit}, got {shown(value)}")
            if exact > _MAX_WHOLE:
                raise InputError(f"{self.wanted}, got {shown(value)} (too large)")
            return int(exact)
        try:
            return float(exact)
        except OverflowError:
            raise InputError(f"{self.wanted}, got {shown(value)} (too large)") from None

    @property
    def _inside_unit(self) -> str:
        return next(unit for unit, factor in self.factors.items() if factor == 1)

    def write(self, value: float) -> str:
        """Return the text in the handiest unit that parses back to exactly `value`.

        Examples
        --------
        >>> SECONDS.write(0.02), BYTES.write(737_280), BITS_PER_SECOND.write(1e8 / 3)
        ('20 ms', '720 KiB', '33333333.333333332 bit/s')
        """
        for unit, factor in reversed(self.factors.items()):
            number = f"{value / float(factor):.12g}"
            if value >= factor and re.fullmatch(r"[0-9.]+", number) and _is_read_as(Fraction(number) * factor, value):
                return f"{number} {unit}"
        return f"{value!r} {self._inside_unit}" if value else f"0 {self._inside_unit}"

    def rounded(self, value: float, units: tuple[str, ...] = ()) -> str:
        """Return the text for people, to three significant digits.

        Parameters
        ----------
        units : the units to choose from, smallest first; empty = all.
        """
        if not math.isfinite(value):
            return f"{value} {self._inside_unit}"
        names = units or tuple(self.factors)
        unit = names[0]
        for name in names:  # 0.9995 of a unit prints as 1.00 of it
            if abs(value) >= 0.9995 * float(self.factors[name]):
                unit = name
        number = value / float(self.factors[unit])
        return f"{number:.0f} {unit}" if abs(number) >= 99.95 or number == int(number) else f"{number:.3g} {unit}"


def _is_read_as(exact: Fraction, value: float) -> bool:
    if isinstance(value, int):
        return exact == value
    try:
        return float(exact) == value
    except OverflowError:
        return False


_MILLI = Fraction(1, 1000)
_KILO, _MEGA, _GIGA, _TERA, _PETA = (Fraction(1000) ** power for power in range(1, 6))
_KIBI, _MEBI, _GIBI, _TEBI = (Fraction(1024) ** power for power in range(1, 5))

SECONDS = Quantity(
    "a time",
    "20 ms",
    {
        "ns": _MILLI**3,
        "us": _MILLI**2,
        "ms": _MILLI,
        "s": Fraction(1),
        "min": Fraction(60),
        "h": Fraction(3600),
    },
)
BYTES = Quantity(
    "a size",
    "16 GiB",
    {
        "B": Fraction(1),
        "kB": _KILO,
        "KiB": _KIBI,
        "MB": _MEGA,
        "MiB": _MEBI,
        "GB": _GIGA,
        "GiB": _GIBI,
        "TB": _TERA,
        "TiB": _TEBI,
    },
    whole=True,
)
BITS_PER_SECOND = Quantity(
    "a rate",
    "100 Mbit/s",
    {"bit/s": Fraction(1), "kbit/s": _KILO, "Mbit/s": _MEGA, "Gbit/s": _GIGA},
)
EVENTS_PER_SECOND = Quantity(
    "a rate of events",
    "2 /min",
    {"/h": Fraction(1, 3600), "/min": Fraction(1, 60), "/s": Fraction(1)},
)
BYTES_PER_SECOND = Quantity(
    "a memory rate",
    "2 TB/s",
    {"B/s": Fraction(1), "kB/s": _KILO, "MB/s": _MEGA, "GB/s": _GIGA, "TB/s": _TERA},
)
FLOP_PER_SECOND = Quantity(
    "a compute rate",
    "312 TFLOP/s",
    {"FLOP/s": Fraction(1), "GFLOP/s": _GIGA, "TFLOP/s": _TERA, "PFLOP/s": _PETA},
)
SECONDS_PER_BYTE = Quantity(
    "a price of bytes",
    "10 s/GB",
    {"s/GB": 1 / _GIGA, "s/MB": 1 / _MEGA, "s/kB": 1 / _KILO, "s/B": Fraction(1)},
)

#: Name suffix -> the quantity that the name holds; longer suffixes first.
BY_SUFFIX: dict[str, Quantity] = {
    "_s_per_byte": SECONDS_PER_BYTE,
    "_bytes_per_s": BYTES_PER_SECOND,
    "_flop_per_s": FLOP_PER_SECOND,
    "_per_s": EVENTS_PER_SECOND,
    "_bytes": BYTES,
    "_bps": BITS_PER_SECOND,
    "_s": SECONDS,
}


def written_name(name: str) -> tuple[str, Quantity | None]:
    """Return a field's name as people write it, without its unit, and its quantity (None = a bare value).

    Examples
    --------
    >>> written_name("delay_s")[0], written_name("session_rate_per_s")[0], written_name("chunk_tokens")
    ('delay', 'session_rate', ('chunk_tokens', None))
    """
    for suffix, quantity in BY_SUFFIX.items():
        if name.endswith(suffix) and len(name) > len(suffix):
            return name.removesuffix(suffix), quantity
    return name, None


def parse_seconds(value: object) -> float:
    """Return [s] a written time; ns, us, ms, s, min and h are understood.

    Examples
    --------
    >>> parse_seconds("20 ms")
    0.02
    >>> parse_seconds("20")
    Traceback (most recent call last):
    simkv.errors.InputError: want a time such as '20 ms', got '20' (no unit)
    """
    return SECONDS.parse(value)


def parse_bytes(value: object) -> int:
    """Return [bytes] a written size; B, kB, MB, GB, TB and KiB, MiB, GiB, TiB are understood.

    Examples
    --------
    >>> parse_bytes("1.5 KiB"), parse_bytes("1.1 MB")
    (1536, 1100000)
    """
    return int(BYTES.parse(value))


def near_bytes(text: str) -> str:
    """Return a size as written, or, where that is no whole number of bytes, one near it that is, short to write.

    Examples
    --------
    >>> near_bytes("40 GiB"), near_bytes("322.54 MiB"), near_bytes("2.34567 GiB"), near_bytes("1.6 B")
    ('40 GiB', '322.5 MiB', '2402 MiB', '2 B')
    """
    number = _NUMBER.match(text)
    unit = text[number.end() :].strip() if number else ""
    if number is None or unit not in BYTES.factors:
        return text
    exact = Fraction(number.group()) * BYTES.factors[unit]
    if exact.denominator == 1:
        return text
    alike = [name for name in BYTES.factors if ("i" in name) == ("i" in unit) and name != "B"]
    for name in reversed(alike):
        eighths = round(8 * exact / BYTES.factors[name])  # an eighth of any larger unit is whole
        if eighths >= 500:  # a step of at most 0.2 %
            return f"{eighths / 8:.10g} {name}"
    return f"{round(exact)} B"


def parse_bps(value: object) -> float:
    """Return [bit/s] a written rate; bit/s, kbit/s, Mbit/s and Gbit/s are understood.

    Examples
    --------
    >>> parse_bps("1966.08 kbit/s")
    1966080.0
    >>> parse_bps("100 MB/s")
    Traceback (most recent call last):
    simkv.errors.InputError: want a rate such as '100 Mbit/s', got '100 MB/s'
    """
    return BITS_PER_SECOND.parse(value)


def format_seconds(value_s: float) -> str:
    """Return a time [s] for people.

    Examples
    --------
    >>> format_seconds(0.01234), format_seconds(0), format_seconds(75.2)
    ('12.3 ms', '0 s', '75.2 s')
    """
    return SECONDS.rounded(value_s, ("ns", "us", "ms", "s")) if value_s else "0 s"


def format_bytes(value_bytes: float) -> str:
    """Return a size [bytes] for people, in powers of 1000.

    Examples
    --------
    >>> format_bytes(1_234_567), format_bytes(999), format_bytes(0)
    ('1.23 MB', '999 B', '0 B')
    """
    return BYTES.rounded(value_bytes, ("B", "kB", "MB", "GB", "TB"))


def format_bps(value_bps: float) -> str:
    """Return a rate [bit/s] for people.

    Examples
    --------
    >>> format_bps(1e8), format_bps(1_966_080)
    ('100 Mbit/s', '1.97 Mbit/s')
    """
    return BITS_PER_SECOND.rounded(value_bps)


def microseconds(seconds: float) -> float:
    """Return a time in microseconds, to the nanosecond: what trace viewers read.

    Examples
    --------
    >>> microseconds(0.1 + 0.2)
    300000.0
    """
    return round(seconds * float(_GIGA)) / 1000
