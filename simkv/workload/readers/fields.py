"""Is a parsed JSON value what a trace field must be?

Every check raises a plain `ValueError` that says which field, what was found and what is wanted; the reader that
knows file and line turns it into an `InputError`.
"""

from __future__ import annotations

import itertools
import json
import math
import sys
from collections.abc import Collection, Mapping
from typing import Any, NoReturn

from simkv.kv.block import Run
from simkv.kv.runmap import REGION_BLOCKS
from simkv.registry import did_you_mean

#: Largest count, length or block id that is believed. No model reads 1e12 tokens; sums stay exact in a float.
MAX_COUNT = 10**12
#: Most words of one question or chunk, and most characters of a word: more is no list of content words.
MAX_WORDS = 10_000
MAX_WORD_CHARACTERS = 100
#: [bytes] Most memory that one JSON object may take, and what CPython 3.11 wants for an object, a list and a value,
#: which in a file are two bytes each.
MAX_OBJECT_BYTES = 256 << 20
_COSTS_BYTES = {"{": 230, "[": 64, ",": 40}
_SMALL_BYTES = 1 << 20
#: Characters of the longest thing that JSON takes whole or not at all: "-Infinity", or an escape in a string.
_LONGEST_WORD = 12
_SHOWN_CHARACTERS = 40


class _RefusedError(ValueError):
    """What our own hooks refuse while JSON is parsed, to be told from what the parser refuses."""


def parse_object(line: bytes) -> dict[str, Any]:
    """Return the JSON object on one line, refusing what JSON parsers let through in silence.

    Raises
    ------
    ValueError : not UTF-8, not JSON, not an object, a key given twice, NaN or Infinity.

    Examples
    --------
    >>> parse_object(b'{"a": 1}')
    {'a': 1}
    >>> parse_object(b'{"a": 1, "a": }')
    Traceback (most recent call last):
    simkv.workload.readers.fields.BrokenJsonError: not JSON: Expecting value at column 15
    """
    if not line.strip():
        raise ValueError("empty line; want a JSON object")
    check_size(line)
    try:
        return whole_object(line.decode())[0]
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {error.start + 1} of the line") from None
    except BrokenJsonError as error:
        hint = " (is the file cut short?)" if error.is_cut else ""
        raise BrokenJsonError(f"{error}{hint}", error.line, error.is_cut) from None


class BrokenJsonError(ValueError):
    """Text that is no JSON.

    Attributes
    ----------
    line : of the text, at which it breaks off.
    is_cut, may_go_on : whether it breaks off at its end; or so near it that with more text it might be JSON.
    """

    def __init__(self, message: str, line: int, is_cut: bool, may_go_on: bool = False) -> None:
        super().__init__(message)
        self.line = line
        self.is_cut = is_cut
        self.may_go_on = is_cut or may_go_on


def whole_object(text: str, start: int | None = None) -> tuple[dict[str, Any], int]:
    """Return the JSON object that text is, or that begins at a place of it, and where it ends.

    Raises
    ------
    ValueError : no object; `BrokenJsonError` where it is no JSON.

    Examples
    --------
    >>> whole_object('[{"a": 1}, {"b": 2}]', start=1)
    ({'a': 1}, 9)
    """
    try:
        record, end = (_JSON.decode(text), len(text)) if start is None else _JSON.raw_decode(text, start)
    except json.JSONDecodeError as error:
        is_cut = error.pos >= len(error.doc.rstrip()) or error.msg.startswith("Unterminated")
        message = f"not JSON: {error.msg.removesuffix(' at')} at column {error.colno}"
        may_go_on = error.pos > len(error.doc) - _LONGEST_WORD
        raise BrokenJsonError(message, error.lineno, is_cut, may_go_on) from None
    except _RefusedError:
        raise
    except ValueError:  # Python's own bound on the digits of a whole number
        raise ValueError("a number has thousands of digits") from None
    except RecursionError:
        raise ValueError("JSON is nested too deeply") from None
    if not isinstance(record, dict):
        raise ValueError(f"want a JSON object, got {shown(record)}")
    return record, end


def check_size(text: bytes | str) -> None:
    """Refuse JSON that takes far more memory than its bytes, before it is taken.

    Examples
    --------
    >>> check_size("[" + "[]," * 5_000_000)
    Traceback (most recent call last):
    ValueError: an object that takes more than 256 MiB of memory
    """
    if len(text) <= _SMALL_BYTES:
        return
    counts = {mark: text.count(mark.encode()) if isinstance(text, bytes) else text.count(mark) for mark in _COSTS_BYTES}
    if sum(counts[mark] * cost for mark, cost in _COSTS_BYTES.items()) > MAX_OBJECT_BYTES:
        raise ValueError(f"an object that takes more than {MAX_OBJECT_BYTES >> 20} MiB of memory")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _RefusedError(f"key {shown_text(key)} is given twice")
            seen.add(key)
    return record


def _refuse_constant(text: str) -> NoReturn:
    raise _RefusedError(f"{text} is not a number that a trace may hold")


_JSON = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant)


def shown(value: object) -> str:
    """Return a value as an error message quotes it: as JSON, cut to a bearable length."""
    text = json.dumps(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."


def shown_text(text: str) -> str:
    """Return a name as an error message quotes it."""
    return repr(text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}...")


def check_keys(record: Mapping[str, Any], required: Collection[str], optional: Collection[str], at: str = "") -> None:
    """Refuse a missing or an unknown key.

    Examples
    --------
    >>> check_keys({"think": 1}, ["think_s"], [], "turns[0]")
    Traceback (most recent call last):
    ValueError: turns[0]: unknown key 'think'; did you mean 'think_s'?
    """
    place = f"{at}: " if at else ""
    for key in record:
        if key not in required and key not in optional:
            known = [*required, *optional]
            hint = did_you_mean(key, known) or f"; known: {', '.join(known)}"
            raise ValueError(f"{place}unknown key {shown_text(key)}{hint}")
    for key in required:
        if key not in record:
            raise ValueError(f"{place}key {key!r} is missing")


def whole(value: object, at: str, least: int = 0) -> int:
    """Return a whole number of at least `least`.

    Examples
    --------
    >>> whole(-1, "turns[0].new_tokens", 1)
    Traceback (most recent call last):
    ValueError: turns[0].new_tokens: want a whole number of at least 1, got -1
    """
    if type(value) is not int or value < least:  # bool is an int: type(), not isinstance()
        raise ValueError(f"{at}: want a whole number of at least {least}, got {shown(value)}")
    if value > MAX_COUNT:
        raise ValueError(f"{at}: want at most {MAX_COUNT}, got {shown(value)}")
    return value


def seconds(value: object, at: str) -> float:
    """Return [s] a finite time that is not negative."""
    if type(value) not in (int, float) or not 0 <= value <= MAX_COUNT or not math.isfinite(value):  # type: ignore[operator,arg-type]
        raise ValueError(f"{at}: want seconds, a number of at least 0, got {shown(value)}")
    return float(value)  # type: ignore[arg-type]


def name(value: object, at: str) -> str:
    """Return a name: text that is not empty and that any output file can hold."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"{at}: want text, got {shown(value)}")
    if not value.isprintable():  # control characters and lone surrogates break tables and UTF-8 files
        raise ValueError(f"{at}: want printable text, got {shown(value)}")
    return value


def words(value: object, at: str) -> tuple[str, ...]:
    """Return content words: lower case, without space inside, in order, with repetitions.

    Examples
    --------
    >>> words(["chapter", "one"], "words")
    ('chapter', 'one')
    >>> words(["Chapter"], "words")
    Traceback (most recent call last):
    ValueError: words[0]: want a word in lower case, such as "chapter", got "Chapter"
    """
    listed = items(value, at, "words")
    if len(listed) > MAX_WORDS:
        raise ValueError(f"{at}: want at most {MAX_WORDS} words, got {len(listed)}")
    for index, word in enumerate(listed):
        found = name(word, f"{at}[{index}]")
        if len(found) > MAX_WORD_CHARACTERS:
            raise ValueError(f"{at}[{index}]: want at most {MAX_WORD_CHARACTERS} characters, got {len(found)}")
        if any(character.isspace() for character in found):
            raise ValueError(f"{at}[{index}]: want one word, got {shown(found)}")
        if found != found.lower():
            raise ValueError(
                f"{at}[{index}]: want a word in lower case, such as {shown(found.lower())}, got {shown(found)}"
            )
    return tuple(sys.intern(word) for word in listed)  # a vocabulary is small, a trace of questions is not


def text(value: object, at: str) -> str:
    """Return text that says something, on as many lines as it likes."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{at}: want text, got {shown(value)}")
    return value


def one_of(value: object, allowed: tuple[str, ...], at: str) -> str:
    """Return one of the allowed words."""
    if value not in allowed:
        hint = did_you_mean(value, list(allowed)) if isinstance(value, str) else ""
        raise ValueError(f"{at}: want {', '.join(allowed[:-1])} or {allowed[-1]}, got {shown(value)}{hint}")
    return str(value)


def items(value: object, at: str, what: str) -> list[Any]:
    """Return a list."""
    if not isinstance(value, list):
        raise ValueError(f"{at}: want a list of {what}, got {shown(value)}")
    return value


def mapping(value: object, at: str) -> dict[str, Any]:
    """Return a JSON object."""
    if not isinstance(value, dict):
        raise ValueError(f"{at}: want a JSON object, got {shown(value)}")
    return value


def provenance(value: object) -> dict[str, object]:
    """Return where data comes from: any JSON object that can be written as JSON again."""
    record = mapping(value, "provenance")
    try:
        json.dumps(record, allow_nan=False).encode()
    except ValueError:  # 1e999 reads as infinity
        raise ValueError("provenance: holds a number that is not finite") from None
    return record


def runs(value: object, at: str) -> tuple[Run, ...]:
    """Return runs of block ids, `[[start, count], ...]`, in which no id occurs twice.

    Examples
    --------
    >>> runs([[1, 4], [9, 2]], "block_runs")
    (Run(start=1, count=4), Run(start=9, count=2))
    """
    found = []
    for pair in items(value, at, "[start, count] pairs"):
        match pair:
            case [start, count] if (
                type(start) is type(count) is int and start >= 0 and count >= 1 and start + count <= REGION_BLOCKS
            ):
                found.append(Run(start, count))
            case _:
                wanted = f"[start, count] with start of at least 0, count of at least 1 and ids below {REGION_BLOCKS}"
                raise ValueError(f"{at}[{len(found)}]: want {wanted}, got {shown(pair)}")
    return distinct(tuple(found), at)


def distinct(blocks: tuple[Run, ...], at: str) -> tuple[Run, ...]:
    """Return the runs of one prompt unchanged, refusing an id that occurs twice.

    Examples
    --------
    >>> distinct((Run(1, 4), Run(3, 1)), "block_runs")
    Traceback (most recent call last):
    ValueError: block_runs: block 3 is named twice in one prompt
    """
    if len(blocks) > 1:
        ordered = sorted(blocks)
        for before, after in itertools.pairwise(ordered):
            if after.start < before.end:
                raise ValueError(f"{at}: block {after.start} is named twice in one prompt")
    return blocks


def drop_last_block(blocks: tuple[Run, ...]) -> tuple[Run, ...]:
    """Return the runs without their last block, so that a prompt of full blocks keeps a token to prefill.

    Examples
    --------
    >>> drop_last_block((Run(1, 4), Run(9, 1)))
    (Run(start=1, count=4),)
    """
    *front, last = blocks
    return (*front, Run(last.start, last.count - 1)) if last.count > 1 else tuple(front)
