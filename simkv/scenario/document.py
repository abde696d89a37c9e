"""What a YAML file says, with the place of every word, before anyone asks what it means.

Strict where PyYAML is not: scalars follow YAML 1.2 (`on`, `NO` and `12:30:45` are text, `010` is ten,
`1e6` is a number), a key may stand once, tags are refused, nesting and expanded aliases are bounded.
Knows nothing of scenarios.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import yaml

from simkv import remote
from simkv.errors import InputError
from simkv.registry import did_you_mean
from simkv.units import format_bytes, parse_bytes, shown

MAX_FILE_BYTES = parse_bytes("256 KiB")  # the largest shipped scenario has 3 kB
MAX_DEPTH = 24  # the schema itself goes 7 deep
MAX_NODES = 20_000  # counted with every alias expanded

_NULL = {"", "~", "null", "Null", "NULL"}
_TRUE = {"true", "True", "TRUE"}
_FALSE = {"false", "False", "FALSE"}
# YAML 1.2.2, section 10.3.2, core schema
_INT = re.compile(r"[-+]?[0-9]+", re.ASCII)
_OCTAL = re.compile(r"0o([0-7]+)", re.ASCII)
_HEX = re.compile(r"0x([0-9a-fA-F]+)", re.ASCII)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)
_SPECIAL = re.compile(r"([-+]?)\.(inf|Inf|INF)|\.(nan|NaN|NAN)", re.ASCII)
_MAX_DIGITS = 40  # a longer number is no number of ours, and its conversion costs quadratic time

Value = str | int | float | bool | None


@dataclass(slots=True)
class Scalar:
    """One word: `value` as YAML 1.2 reads it, `where` it stands."""

    where: str
    value: Value


@dataclass(slots=True)
class Mapping:
    """Keys and their nodes, in order of writing; `key_where` has the places of the keys."""

    where: str
    entries: dict[str, Node] = field(default_factory=dict)
    key_where: dict[str, str] = field(default_factory=dict)

    def put(self, key: str, node: Node, where: str) -> None:
        """Set or replace one entry."""
        self.entries[key] = node
        self.key_where[key] = where


@dataclass(slots=True)
class Sequence:
    """Nodes in order."""

    where: str
    items: list[Node] = field(default_factory=list)


Node = Scalar | Mapping | Sequence


def core_scalar(text: str) -> Value:
    """Return what a plain (unquoted) scalar means in YAML 1.2.

    Raises
    ------
    ValueError : a number of absurd length.

    Examples
    --------
    >>> [core_scalar(text) for text in ("on", "010", "1e6", "12:30:45", "~")]
    ['on', 10, 1000000.0, '12:30:45', None]
    """
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    for pattern, base in ((_INT, 10), (_OCTAL, 8), (_HEX, 16)):
        if pattern.fullmatch(text):
            _refuse_long(text)
            return int(text if base == 10 else text[2:], base)
    if _FLOAT.fullmatch(text):
        _refuse_long(text)
        return float(text)
    if special := _SPECIAL.fullmatch(text):
        return float((special.group(1) or "") + "inf") if special.group(2) else float("nan")
    return text


def _refuse_long(text: str) -> None:
    if len(text) > _MAX_DIGITS:
        raise ValueError(f"a number of {len(text)} characters")


def read_text(path: Path) -> str:
    """Return a file's text.

    Raises
    ------
    InputError : absent, a folder, unreadable, too large, or not UTF-8.
    """
    try:
        if path.is_dir():
            raise InputError("is a folder; want a YAML file", str(path))
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise InputError(f"no such file{remote.hint(path) or near_name(path)}", str(path)) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(f"cannot be read: {reason}", str(path)) from None
    if len(raw) > MAX_FILE_BYTES:
        most = format_bytes(MAX_FILE_BYTES)
        raise InputError(f"is larger than {most}; a scenario names its data, it does not hold them", str(path))
    raw = raw.removeprefix(codecs.BOM_UTF8)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        column = error.start - (raw.rfind(b"\n", 0, error.start) + 1) + 1
        found = f"byte 0x{raw[error.start]:02x}"
        raise InputError(f"{found} is not UTF-8; want a text file in UTF-8", f"{path}:{line}:{column}") from None


def near_name(path: Path) -> str:
    """Return `; did you mean 'x'?` for a like-named neighbour of a file that is absent."""
    try:
        return did_you_mean(path.name, sorted(entry.name for entry in path.parent.iterdir()))
    except OSError:
        return ""


class _Loader(yaml.SafeLoader):
    """Only its scanner and parser are used; meaning is given here."""


def parse(text: str, source: str) -> Node:
    """Return the one document in a YAML text.

    Parameters
    ----------
    source : what places are called by: the file's name, or what gave the text.

    Raises
    ------
    InputError : anything that YAML or this module's strictness refuses.

    Examples
    --------
    >>> parse("delay: 20 ms", "a.yaml").entries["delay"]
    Scalar(where='a.yaml:1:8', value='20 ms')
    """
    composer = _Composer(source)
    try:
        events = _events(text)
        return composer.document(events)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        column = error.position - (text.rfind("\n", 0, error.position) + 1) + 1
        found = f"character U+{error.character:04X}"
        raise InputError(f"{found} is not allowed in YAML", f"{source}:{line}:{column}") from None
    except yaml.MarkedYAMLError as error:
        problem = " ".join(str(error.problem or error.context).split())
        mark = error.problem_mark or error.context_mark
        raise InputError(f"not valid YAML: {problem}", composer.place(mark)) from None


def _events(text: str) -> Iterator[yaml.Event]:
    loader = _Loader(text)
    try:
        while loader.check_event():
            yield loader.get_event()  # type: ignore[no-untyped-call]
    finally:
        loader.dispose()


class Mark(Protocol):
    """A place as PyYAML gives it: counted from 0."""

    line: int
    column: int


class _Composer:
    """Builds nodes from parser events, so that every bound holds while reading, not after."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.anchors: dict[str, Node] = {}
        self.nodes = 0

    def place(self, mark: Mark | None) -> str:
        """Return `file:line:column`, counted from 1."""
        return f"{self.source}:{mark.line + 1}:{mark.column + 1}" if mark else self.source

    def document(self, events: Iterator[yaml.Event]) -> Node:
        found: Node | None = None
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent) and found is not None:
                raise InputError("a second document starts here; want one document", self.place(event.start_mark))
            if isinstance(event, yaml.NodeEvent):
                found = self.node(event, events, 0)
        if found is None or (isinstance(found, Scalar) and found.value is None):
            raise InputError("is empty", self.source)
        return found

    def node(self, event: yaml.Event, events: Iterator[yaml.Event], depth: int) -> Node:
        where = self.place(event.start_mark)
        self.count(1, where)
        self.check_depth(depth, where)
        anchor: str | None = getattr(event, "anchor", None)
        if isinstance(event, yaml.AliasEvent):
            return self.alias(str(anchor), where, depth)
        tag = getattr(event, "tag", None)
        if tag is not None:
            short = str(tag).replace("tag:yaml.org,2002:", "!!")
            raise InputError(f"tag {shown(short)} is not used here; remove it", where)
        node: Node
        if isinstance(event, yaml.ScalarEvent):
            node = self.scalar(event, where)
        elif isinstance(event, yaml.MappingStartEvent):
            node = self.mapping(where, events, depth)
        else:
            node = Sequence(where)
            while not isinstance(event := next(events), yaml.SequenceEndEvent):
                node.items.append(self.node(event, events, depth + 1))
        if anchor is not None:
            self.anchors[anchor] = node
        return node

    def scalar(self, event: yaml.ScalarEvent, where: str) -> Scalar:
        if event.style is not None:  # quoted or block: always text
            return Scalar(where, event.value)
        try:
            return Scalar(where, core_scalar(event.value))
        except ValueError as error:
            raise InputError(f"{error} is not meant", where) from None

    def mapping(self, where: str, events: Iterator[yaml.Event], depth: int) -> Mapping:
        found = Mapping(where)
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            key_where = self.place(event.start_mark)
            if not isinstance(event, yaml.ScalarEvent) or event.tag is not None or event.anchor is not None:
                raise InputError("want a plain word as key", key_where)
            key = event.value
            if key in found.entries:
                first = found.key_where[key].rsplit(":", 2)[-2]
                raise InputError(f"key {shown(key)} stands twice; first in line {first}", key_where)
            self.count(1, key_where)
            found.put(key, self.node(next(events), events, depth + 1), key_where)
        return found

    def alias(self, name: str, where: str, depth: int) -> Node:
        if name not in self.anchors:
            raise InputError(f"alias *{name} is used before its anchor &{name} is complete", where)
        node = self.anchors[name]
        self.count(size(node), where)
        self.check_depth(depth + height(node), where)
        return copied(node)

    def check_depth(self, depth: int, where: str) -> None:
        if depth > MAX_DEPTH:
            raise InputError(f"nested more than {MAX_DEPTH} deep", where)

    def count(self, nodes: int, where: str) -> None:
        self.nodes += nodes
        if self.nodes > MAX_NODES:
            raise InputError(f"more than {MAX_NODES} values, aliases expanded", where)


def children(node: Node) -> list[Node]:
    """Return the nodes directly inside a node."""
    if isinstance(node, Mapping):
        return list(node.entries.values())
    return node.items if isinstance(node, Sequence) else []


def size(node: Node) -> int:
    """Return how many nodes a node is, itself included."""
    return 1 + sum(size(child) for child in children(node))


def height(node: Node) -> int:
    """Return how deep a node is nested; 0 for a scalar."""
    return 1 + max((height(child) for child in children(node)), default=0) if not isinstance(node, Scalar) else 0


def copied(node: Node) -> Node:
    """Return a deep copy, so that changing one use of an alias leaves the others alone."""
    if isinstance(node, Scalar):
        return Scalar(node.where, node.value)
    if isinstance(node, Sequence):
        return Sequence(node.where, [copied(item) for item in node.items])
    return Mapping(node.where, {key: copied(item) for key, item in node.entries.items()}, dict(node.key_where))


def plain(node: Node) -> object:
    """Return the node as dicts, tuples and scalars.

    Examples
    --------
    >>> plain(parse("{a: [1, b]}", "x"))
    {'a': (1, 'b')}
    """
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, Sequence):
        return tuple(plain(item) for item in node.items)
    return {key: plain(item) for key, item in node.entries.items()}


def from_python(value: object, where: str) -> Node:
    """Return a node for a Python value; text is read as YAML.

    Raises
    ------
    InputError : the text is not YAML, or the value is of a kind that YAML does not have.
    """
    if isinstance(value, str):
        if not value.strip():
            return Scalar(where, None)
        try:
            return _replaced(parse(value, where), where)
        except InputError as error:
            raise InputError(error.message, where) from None
    if value is None or isinstance(value, bool | int | float):
        return Scalar(where, value)
    if isinstance(value, dict):
        found = Mapping(where)
        for key, item in value.items():
            found.put(str(key), from_python(item, where), where)
        return found
    if isinstance(value, list | tuple):
        return Sequence(where, [from_python(item, where) for item in value])
    raise InputError(f"want text, a number, a list or a mapping, got {type(value).__name__}", where)


def _replaced(node: Node, where: str) -> Node:
    """Give a node and all inside it one place: columns inside an override help nobody."""
    node.where = where
    if isinstance(node, Mapping):
        node.key_where = dict.fromkeys(node.entries, where)
    for child in children(node):
        _replaced(child, where)
    return node
