"""How a scenario file becomes a Scenario, and how every fault in it becomes one line with its place."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from collections.abc import Mapping as AbstractMapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from simkv.errors import InputError
from simkv.registry import did_you_mean
from simkv.scenario import document
from simkv.scenario.document import Mapping, Node, Scalar, Sequence
from simkv.scenario.misfit import Misfit, Misfits
from simkv.scenario.overrides import apply
from simkv.scenario.schema import Scenario
from simkv.units import shown

Steps = tuple[str | int, ...]

#: Pydantic's error types -> what is wanted.
_WANTED = {
    "int_type": "want a whole number",
    "int_from_float": "want a whole number",
    "float_type": "want a number",
    "finite_number": "want a finite number",
    "string_type": "want text",
    "bool_type": "want true or false",
    "dict_type": "want a mapping",
    "model_type": "want a mapping",
    "model_attributes_type": "want a mapping",
    "tuple_type": "want a list",
}


class _Fault(NamedTuple):
    path: Steps
    message: str
    on_key: bool


def load(path: str | Path, overrides: AbstractMapping[str, object] | None = None) -> Scenario:
    """Return the scenario in a YAML file.

    Parameters
    ----------
    path : the file; paths inside it start at its folder.
    overrides : dotted path -> value, as `--set` takes them: `{"links.slice.delay": "5 ms"}`. Text is read as YAML.

    Raises
    ------
    InputError : anything wrong, one line a fault: `file:line:column: path: what; what is wanted`.

    Examples
    --------
    >>> load("nowhere.yaml")
    Traceback (most recent call last):
    simkv.errors.InputError: nowhere.yaml: no such file
    """
    path = Path(path)
    return from_text(document.read_text(path), path, overrides)


def from_text(text: str, path: Path, overrides: AbstractMapping[str, object] | None = None) -> Scenario:
    """Return the scenario in a YAML text, as if it stood in the file `path`."""
    root = document.copied(_parsed(text, str(path)))
    if not isinstance(root, Mapping):
        raise InputError(f"want a mapping that starts with 'simkv: 1', got {shown(document.plain(root))}", root.where)
    apply(root, overrides or {})
    try:
        made = Scenario.model_validate(document.plain(root), context={"folder": path.absolute().parent})
    except ValidationError as error:
        raise _located(root, list(_faults(error, ()))) from None
    made._path = path.absolute()
    return made


@functools.lru_cache(maxsize=1)
def _parsed(text: str, source: str) -> Node:
    """Parse once what a sweep loads at every point; who changes it copies it first."""
    return document.parse(text, source)


def _faults(error: ValidationError, above: Steps) -> Iterator[_Fault]:
    """Yield the faults that pydantic collected, in our words."""
    for item in error.errors(include_url=False):
        loc = tuple(step for step in item["loc"] if not (isinstance(step, str) and step.startswith("<")))
        on_key = bool(loc) and loc[-1] == "[key]"
        path = above + (loc[:-1] if on_key else loc)
        cause: Any = item.get("ctx", {}).get("error")
        if isinstance(cause, Misfits):
            yield from (_Fault(path + misfit.at, misfit.message, misfit.on_key) for misfit in cause.found)
        elif isinstance(cause, Misfit):
            yield _Fault(path + cause.at, cause.message, on_key or cause.on_key)
        elif item["type"] == "missing":
            yield _Fault(path[:-1], f"missing key {path[-1]!r}", False)
        else:
            yield _Fault(path, _in_words(item["type"], item["input"], item.get("ctx", {}), item["msg"]), on_key)


def _in_words(kind: str, value: object, ctx: AbstractMapping[str, Any], message: str) -> str:
    """Return the one line for an error of pydantic's own."""
    if kind in _WANTED:
        return f"{_WANTED[kind]}, got {shown(value)}"
    if kind == "literal_error":
        options = [option.strip("'") for option in str(ctx["expected"]).replace(" or ", ", ").split(", ")]
        hint = did_you_mean(value, options) if isinstance(value, str) else ""
        return f"want {' or '.join(options)}, got {shown(value)}{hint}"
    if kind == "greater_than_equal":
        return f"want at least {ctx['ge']}, got {shown(value)}"
    return f"{message}, got {shown(value)}"


def _located(root: Mapping, faults: list[_Fault]) -> InputError:
    """Return one error for all faults, in the order of the file."""
    lines = []
    for fault in faults:
        where, dotted = _place(root, fault)
        lines.append((_order(where), where, f"{dotted}: {fault.message}" if dotted else fault.message))
    lines.sort(key=lambda line: line[0])
    unique = list(dict.fromkeys((where, message) for _, where, message in lines))
    first_where, first = unique[0]
    rest = [f"\n{where}: {message}" for where, message in unique[1:]]
    return InputError(first + "".join(rest), first_where)


def _order(where: str) -> tuple[int, int]:
    numbers = where.rsplit(":", 2)[1:]
    return (int(numbers[0]), int(numbers[1])) if len(numbers) == 2 and all(n.isdecimal() for n in numbers) else (0, 0)


def _place(root: Mapping, fault: _Fault) -> tuple[str, str]:
    """Return where a fault is, and its dotted path in the grammar of overrides.

    A path may name more than the file does (a default, a bare plug-in name): the deepest node that
    exists is the place.
    """
    node: Node = root
    where, dotted = root.where, ""
    steps = list(fault.path)
    for index, step in enumerate(steps):
        last = index == len(steps) - 1
        if step == "generator" and not last and isinstance(node, Mapping) and "name" not in node.entries:
            continue  # a generator's parameters stand beside its name
        if isinstance(node, Mapping) and str(step) in node.entries:
            where = node.key_where[str(step)] if last and fault.on_key else node.entries[str(step)].where
            node = node.entries[str(step)]
            dotted = dotted if last and fault.on_key else _join(dotted, str(step))
        elif isinstance(node, Sequence) and isinstance(step, int) and step < len(node.items):
            node = node.items[step]
            where = node.where
            dotted = _join(dotted, _arm_name(node)) if _arm_name(node) else f"{dotted}[{step}]"
        else:
            break
    return where, dotted


def _arm_name(node: Node) -> str:
    name = node.entries.get("name") if isinstance(node, Mapping) else None
    return name.value if isinstance(name, Scalar) and isinstance(name.value, str) else ""


def _join(dotted: str, step: str) -> str:
    return f"{dotted}.{step}" if dotted else step
