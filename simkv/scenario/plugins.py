"""Which plug-in a scenario names, and whether its parameters fit the plug-in's own dataclass fields.

A parameter is written without the unit suffix of its field and with a unit in its value: the field
`lead_s` is `lead: 20 ms`. Registries are named as text and imported when first asked for, so that
reading the schema costs no import of policies, and a new kind costs one line.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import math
import os
import re
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

from simkv import remote
from simkv.errors import InputError
from simkv.registry import Registry, did_you_mean
from simkv.scenario.misfit import Misfit, as_misfit
from simkv.units import Quantity, shown, written_name

#: Kind of plug-in -> where its registry lives (module:name).
REGISTRIES: dict[str, str] = {
    "routing": "simkv.policies:ROUTING",
    "batching": "simkv.policies:BATCHING",
    "admission": "simkv.scenario.closed:ADMISSION",
    "eviction": "simkv.policies:EVICTION",
    "acquisition": "simkv.policies:ACQUISITION",
    "prefetch": "simkv.policies:PREFETCH",
    "initiator": "simkv.scenario.closed:INITIATOR",
    "predictor": "simkv.predictors:PREDICTORS",
    "timing": "simkv.predictors.timing:TIMING",
    "estimator": "simkv.policies:ESTIMATORS",
    "codec": "simkv.kv.codec:CODEC",
    "composition": "simkv.scenario.closed:COMPOSITION",
    "gpu": "simkv.compute.profile:PROFILES",
    "generator": "simkv.workload.generators:GENERATORS",
    "series-generator": "simkv.workload.generators:SERIES_GENERATORS",
    "trace-format": "simkv.workload.readers:FORMATS",
    "think": "simkv.workload.thinking:THINK",
}

_WANTED: dict[object, str] = {
    bool: "want true or false",
    int: "want a whole number",
    float: "want a number",
    str: "want text",
}


class PlugIn(NamedTuple):
    """A plug-in's registered name and all its parameters, by field name, in inside units."""

    name: str
    params: dict[str, Any]


class Parameter(NamedTuple):
    """One parameter of a plug-in, as people write it.

    Attributes
    ----------
    name : the key in YAML, without the unit.
    field : the dataclass field.
    annotation : the field's type, resolved.
    quantity : how its value is written; None = bare.
    required : True when the plug-in has no default for it.
    """

    name: str
    field: str
    annotation: Any
    quantity: Quantity | None
    required: bool
    default: object


def registry(kind: str) -> Registry[Any]:
    """Return the registry of one kind of plug-in."""
    module, _, name = REGISTRIES[kind].partition(":")
    return cast("Registry[Any]", getattr(importlib.import_module(module), name))


def parameters(kind: str, name: str) -> dict[str, Parameter]:
    """Return what a plug-in takes, by the key that people write.

    Raises
    ------
    InputError : there is no such plug-in.
    """
    found = registry(kind)
    fields = found.fields(name)
    hints = _hints(found.get(name))
    result = {}
    for field in fields.values():
        annotation = hints[field.name]
        key, quantity = written_name(field.name)
        if not _takes_number(annotation):
            key, quantity = field.name, None
        default: object = dataclasses.MISSING
        if field.default is not dataclasses.MISSING:
            default = field.default
        elif field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        required = default is dataclasses.MISSING
        result[key] = Parameter(key, field.name, annotation, quantity, required, None if required else default)
    return result


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def read(kind: str, value: object, folder: Path | None = None) -> PlugIn:
    """Return the plug-in that a scenario's value names, its parameters complete and in inside units.

    Parameters
    ----------
    value : a name, or a mapping of `name` and parameters.
    folder : where paths among its parameters start; None = the current one.

    Raises
    ------
    Misfit : unknown plug-in or parameter, wrong type or unit, or a value that the plug-in refuses.
    """
    if isinstance(value, PlugIn):
        return value
    name, given = _split(kind, value)
    with as_misfit(*(("name",) if isinstance(value, Mapping) else ())):
        known = parameters(kind, name)
    label = f"{registry(kind).kind} {name!r}"
    params: dict[str, Any] = {}
    for key, item in given.items():
        if key not in known:
            takes = f"it takes: {', '.join(known)}" if known else "it takes no parameters"
            hint = did_you_mean(key, list(known))
            raise Misfit(f"{label} has no parameter {shown(key)}{hint}; {takes}", (key,), on_key=True)
        params[known[key].field] = _typed(known[key], item, folder or Path.cwd())
    for parameter in known.values():
        if parameter.required and parameter.field not in params:
            raise Misfit(f"{label} needs the parameter {parameter.name!r}")
    try:
        made = registry(kind).create(name, params)
    except InputError as error:
        message = str(error)
        named = [item.name for item in known.values() if re.search(rf"\b{item.field}\b", message.removeprefix(label))]
        raise Misfit(message, tuple(key for key in named if named == [key] and key in given)) from None
    return PlugIn(name, {item.field: getattr(made, item.field) for item in known.values()})


def write(kind: str, plugin: PlugIn) -> object:
    """Return the value that `read` turns into this plug-in."""
    known = {item.field: item for item in parameters(kind, plugin.name).values()}
    params = {known[field].name: _written(known[field], value) for field, value in plugin.params.items()}
    return {"name": plugin.name, **params} if params else plugin.name


def _written(parameter: Parameter, value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    if parameter.quantity is None or value is None:
        return value
    if isinstance(value, tuple):
        return tuple(parameter.quantity.write(item) for item in value)
    return parameter.quantity.write(cast("float", value))


def _split(kind: str, value: object) -> tuple[str, dict[str, object]]:
    """Return the name and the parameters as written."""
    label = registry(kind).kind
    given: dict[str, object] = {}
    name: object = value
    at: tuple[str, ...] = ()
    if isinstance(value, Mapping):
        given = dict(value)
        if "name" not in given:
            raise Misfit(f"missing key 'name': which {label}; known: {', '.join(registry(kind).names())}")
        name, at = given.pop("name"), ("name",)
    if not isinstance(name, str):
        wanted = f"want the name of a {label}"
        raise Misfit(f"{wanted}, got {shown(name)}; known: {', '.join(registry(kind).names())}", at)
    return name, given


def _takes_number(annotation: Any) -> bool:
    if annotation in (int, float):
        return True
    return any(_takes_number(item) for item in typing.get_args(annotation))


def _typed(parameter: Parameter, value: object, folder: Path) -> object:
    """Return a parameter's value checked against its annotation, in inside units."""
    try:
        if value is not None and Path in (parameter.annotation, *typing.get_args(parameter.annotation)):
            return _path(value, folder)
        return _checked(parameter.annotation, parameter.quantity, value)
    except Misfit as misfit:
        raise Misfit(misfit.message, (parameter.name, *misfit.at)) from None


def _checked(annotation: Any, quantity: Quantity | None, value: object) -> object:
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in inner:
            return None
        options = [item for item in inner if item is not type(None)]
        return _checked(options[0], quantity, value)
    if origin is Literal:
        return _one_of(inner, value)
    if origin is tuple:
        if not isinstance(value, tuple):
            raise Misfit(f"want a list, got {shown(value)}")
        return tuple(_checked(inner[0], quantity, item) for item in value)
    if quantity is not None:
        with as_misfit():
            return quantity.parse(value)
    return _plain(annotation, value)


def _path(value: object, folder: Path) -> Path:
    """Return an absolute path; whether there is a file is for the plug-in to say."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise Misfit(f"want the path of a file, got {shown(value)}")
    refuse_url(value)
    return Path(os.path.normpath(folder / value))


def refuse_url(value: str) -> None:
    """Refuse a URL where a file of this machine is wanted."""
    if remote.is_url(value):
        raise Misfit(f"want a file of this machine, got {shown(value)}: {remote.TAKEN}")


def _one_of(options: tuple[Any, ...], value: object) -> object:
    if value in options and not isinstance(value, bool):
        return value
    names = [str(option) for option in options]
    hint = did_you_mean(value, names) if isinstance(value, str) else ""
    raise Misfit(f"want one of: {', '.join(names)}, got {shown(value)}{hint}")


def _plain(annotation: Any, value: object) -> object:
    if annotation not in _WANTED:
        raise Misfit("this parameter cannot be given in a scenario", on_key=True)
    if annotation is float and type(value) is int:
        value = float(value)
    if type(value) is not annotation:
        raise Misfit(f"{_WANTED[annotation]}, got {shown(value)}")
    if isinstance(value, float) and not math.isfinite(value):
        raise Misfit(f"want a finite number, got {value}")
    return value
