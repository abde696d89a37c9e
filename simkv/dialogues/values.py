"""Is a field of a public dialogue set what it must be? Says which, what was found and what is wanted.

Public sets carry many fields that nobody here asks for, so unknown keys pass; what is used is checked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from simkv.workload.readers import fields


def value(record: Mapping[str, Any], key: str, at: str = "") -> Any:
    """Return what stands under a key.

    Examples
    --------
    >>> value({"turns": []}, "turn", "line")
    Traceback (most recent call last):
    ValueError: line: key 'turn' is missing
    """
    if key not in record:
        raise ValueError(f"{at}: key {key!r} is missing" if at else f"key {key!r} is missing")
    return record[key]


def text(record: Mapping[str, Any], key: str, at: str = "") -> str:
    """Return a text, which may be empty."""
    found = value(record, key, at)
    if not isinstance(found, str):
        raise ValueError(f"{under(at, key)}: want text, got {fields.shown(found)}")
    return found


def optional_text(record: Mapping[str, Any], key: str, at: str = "") -> str:
    """Return a text; empty where it is absent or null."""
    return "" if record.get(key) is None else text(record, key, at)


def name(record: Mapping[str, Any], key: str, at: str = "") -> str:
    """Return a name; numbers count as names."""
    found = value(record, key, at)
    return fields.name(str(found) if type(found) is int else found, under(at, key))


def texts(record: Mapping[str, Any], key: str, at: str = "") -> list[str]:
    """Return a list of texts."""
    found = fields.items(value(record, key, at), under(at, key), "texts")
    for index, entry in enumerate(found):
        if not isinstance(entry, str):
            raise ValueError(f"{under(at, key)}[{index}]: want text, got {fields.shown(entry)}")
    return found


def whole(record: Mapping[str, Any], key: str, at: str = "", least: int = 0) -> int:
    """Return a whole number."""
    return fields.whole(value(record, key, at), under(at, key), least)


def objects(record: Mapping[str, Any], key: str, at: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the objects of a list with the place of each."""
    place = under(at, key)
    for index, entry in enumerate(fields.items(value(record, key, at), place, "objects")):
        yield f"{place}[{index}]", fields.mapping(entry, f"{place}[{index}]")


def under(at: str, key: str) -> str:
    """Return the path of a key.

    Examples
    --------
    >>> under("turns[3]", "item"), under("", "turns")
    ('turns[3].item', 'turns')
    """
    return f"{at}.{key}" if at else key
