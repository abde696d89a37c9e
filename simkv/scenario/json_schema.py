"""The scenario schema for editors: JSON Schema 2020-12, with the registered plug-ins and their parameters."""

from __future__ import annotations

import types
import typing
from pathlib import Path
from typing import Any, Literal

from simkv.scenario import plugins
from simkv.scenario.closed import ClosedRegistry
from simkv.scenario.fields import Schema, quantity_schema
from simkv.scenario.plugins import Parameter
from simkv.scenario.schema import Scenario, Workload

_PLAIN = {bool: "boolean", int: "integer", float: "number", str: "string", Path: "string"}


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a scenario file.

    Examples
    --------
    >>> json_schema()["title"]
    'Scenario'
    """
    schema = Scenario.model_json_schema(by_alias=True)
    workload = schema["$defs"][Workload.__name__]
    workload["properties"] |= _generator_parameters()  # they stand beside the generator's name
    workload["properties"]["generator"] = {"enum": plugins.registry("generator").names()}
    schema["properties"]["arms"].pop("default", None)
    for name in ("servers", "links"):  # a name that the pattern refuses is no name
        schema["properties"][name]["additionalProperties"] = False
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def plugin_schema(kind: str) -> Schema:
    """Return the schema of one plug-in: a name, or a mapping of name and parameters."""
    registry = plugins.registry(kind)
    forms: list[Schema] = []
    bare = []
    for name in registry.names():
        known = plugins.parameters(kind, name)
        required = [item.name for item in known.values() if item.required]
        properties = {item.name: parameter_schema(item) for item in known.values()}
        forms.append(
            {
                "type": "object",
                "properties": {"name": {"const": name}, **properties},
                "required": ["name", *required],
                "additionalProperties": False,
            }
        )
        if not required:
            bare.append(name)
    if not isinstance(registry, ClosedRegistry):  # a class of somebody's own, by dotted path
        own = {"type": "string", "pattern": r"\."}
        forms += [own, {"type": "object", "properties": {"name": own}, "required": ["name"]}]
    return {"anyOf": [{"enum": bare}, *forms]}


def parameter_schema(parameter: Parameter) -> Schema:
    """Return the schema of one parameter."""
    return _annotation_schema(parameter)


def _annotation_schema(parameter: Parameter) -> Schema:
    annotation, quantity = parameter.annotation, parameter.quantity
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (types.UnionType, typing.Union):
        options = [item for item in inner if item is not type(None)]
        schema = _annotation_schema(parameter._replace(annotation=options[0]))
        return {"anyOf": [schema, {"type": "null"}]} if type(None) in inner else schema
    if origin is Literal:
        return {"enum": list(inner)}
    if origin is tuple:
        return {"type": "array", "items": _annotation_schema(parameter._replace(annotation=inner[0]))}
    if quantity is not None:
        return quantity_schema(quantity)
    return {"type": _PLAIN[annotation]} if annotation in _PLAIN else {}


def _generator_parameters() -> dict[str, Schema]:
    found: dict[str, Schema] = {}
    for name in plugins.registry("generator").names():
        for item in plugins.parameters("generator", name).values():
            found.setdefault(item.name, {})  # two generators may mean different things by one word
    return found
