"""Which plug-ins are there, what does each do, and what does it take?"""

from __future__ import annotations

import typing
from pathlib import Path
from typing import Any, Literal

from simkv.registry import unknown
from simkv.scenario.plugins import REGISTRIES, Parameter, parameters, registry


def catalogue(kind: str | None = None) -> dict[str, list[dict[str, Any]]]:
    """Return kind -> its plug-ins: name, what it does in one sentence, whether it is an oracle, parameters.

    Parameters
    ----------
    kind : one kind; None = all.

    Raises
    ------
    InputError : no such kind.

    Examples
    --------
    >>> [plugin["name"] for plugin in catalogue("codec")["codec"]]
    ['identity', 'int4', 'int8']
    """
    if kind is not None and kind not in REGISTRIES:
        raise unknown("kind", kind, REGISTRIES)
    return {name: [_plugin(name, plugin) for plugin in registry(name)] for name in ([kind] if kind else REGISTRIES)}


def _plugin(kind: str, name: str) -> dict[str, Any]:
    found = registry(kind)
    first = (found.get(name).__doc__ or "").strip().partition("\n\n")[0]
    return {
        "name": name,
        "doc": " ".join(first.split()),
        "oracle": found.is_oracle(name),
        "parameters": [_parameter(item) for item in parameters(kind, name).values()],
    }


def _parameter(item: Parameter) -> dict[str, Any]:
    """Return a parameter as a person writes it."""
    default = item.default
    words = _words(item.annotation)
    if item.quantity is not None:
        words = f"{item.quantity.noun.partition(' ')[2]} such as {item.quantity.example!r}"
        if isinstance(default, int | float):
            default = item.quantity.write(default)
    return {"name": item.name, "type": words, "required": item.required, "default": default}


def _words(annotation: Any) -> str:
    if typing.get_origin(annotation) is Literal:
        return " or ".join(str(option) for option in typing.get_args(annotation))
    if type(None) in typing.get_args(annotation):
        return " or ".join(_words(option) for option in typing.get_args(annotation) if option is not type(None))
    plain = {bool: "true or false", int: "whole number", float: "number", str: "text", Path: "path of a file"}
    return plain.get(annotation) or str(annotation).replace("typing.", "")
