"""A scenario as YAML text that says everything: every default filled in, every quantity with its unit."""

from __future__ import annotations

import functools
import typing
from pathlib import Path
from typing import Any

import yaml

from simkv.scenario import plugins
from simkv.scenario.document import core_scalar
from simkv.scenario.fields import OfKind, Written
from simkv.scenario.part import Part
from simkv.scenario.plugins import PlugIn
from simkv.scenario.schema import Scenario

_WIDTH = 120


class _Dumper(yaml.SafeDumper):
    """Quotes text that YAML 1.2 would read as something else, which PyYAML's own rules do not cover."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = None if isinstance(core_scalar_or_text(value), str) else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style)


def core_scalar_or_text(text: str) -> object:
    """Return what a plain scalar would mean; None for a number too long to mean one."""
    try:
        return core_scalar(text)
    except ValueError:
        return None


_Dumper.add_representer(str, _text)


def resolved(scenario: Scenario) -> str:
    """Return YAML text that loads again to an equal scenario, from any folder: paths in it are absolute.

    Examples
    --------
    >>> from simkv.scenario import load
    >>> text = resolved(load("scenarios/three_turns.yaml"))  # doctest: +SKIP
    """
    return yaml.dump(told(scenario), Dumper=_Dumper, sort_keys=False, width=_WIDTH, allow_unicode=True)


def told(scenario: Scenario) -> dict[str, object]:
    """Return what `resolved` writes, as dicts, lists and scalars."""
    return _part(scenario)


def _part(part: Part) -> dict[str, object]:
    """Return a part's mapping: keys as written, nothing for what is not there."""
    told: dict[str, object] = {}
    for key, name in type(part).written_keys().items():
        value = getattr(part, name)
        if value is None or (isinstance(part, Scenario) and name == "links" and not value):
            continue
        annotation = _hints(type(part))[name]
        written = _value(value, annotation)
        if name == "generator":
            told |= {"generator": written} if isinstance(written, str) else _beside(written)
        else:
            told[key] = written
    return told


@functools.cache
def _hints(kind: type[Part]) -> dict[str, Any]:
    return typing.get_type_hints(kind, include_extras=True)


def _beside(generator: Any) -> dict[str, object]:
    """Return a generator's name and its parameters side by side, as the workload has them."""
    return {"generator": generator["name"]} | {key: item for key, item in generator.items() if key != "name"}


def _value(value: object, annotation: Any) -> object:
    if isinstance(value, PlugIn):
        return _listed(plugins.write(_marker(annotation, OfKind).kind, value))
    if isinstance(value, Part):
        return _part(value)
    if isinstance(value, dict):
        return {key: _value(item, None) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_value(item, None) for item in value]
    return _word(value, annotation)


def _word(value: object, annotation: Any) -> object:
    """Return a scalar as it is written."""
    if isinstance(value, Path):
        return str(value)
    marker = _marker(annotation, Written)
    return marker.quantity.write(value) if marker is not None and isinstance(value, int | float) else value


def _listed(value: object) -> object:
    """Return the value with lists for tuples: YAML has no tuples."""
    if isinstance(value, dict):
        return {key: _listed(item) for key, item in value.items()}
    return [_listed(item) for item in value] if isinstance(value, tuple) else value


def _marker(annotation: Any, kind: type) -> Any:
    """Return the first marker of a kind in an annotation, however deep it stands."""
    for item in getattr(annotation, "__metadata__", ()):
        if isinstance(item, kind):
            return item
    for item in typing.get_args(annotation):
        found = _marker(item, kind)
        if found is not None:
            return found
    return None
