"""The kinds of value that a scenario holds: quantities with units, names, files and plug-ins.

Each is a pydantic annotation: it reads what people write, and describes itself in the JSON schema.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic_core import core_schema

from simkv import model, remote
from simkv.scenario import plugins
from simkv.scenario.document import near_name
from simkv.scenario.misfit import Misfit, as_misfit
from simkv.scenario.plugins import PlugIn
from simkv.units import BITS_PER_SECOND, BYTES, EVENTS_PER_SECOND, SECONDS, Quantity, shown

Schema = dict[str, Any]

_NUMBER = r"([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?"


@dataclass(frozen=True)
class Written:
    """A number that is written with a unit.

    Parameters
    ----------
    quantity : what it is.
    positive : True when zero makes no sense.
    """

    quantity: Quantity
    positive: bool = False

    def read(self, value: object) -> float:
        """Return the inside value."""
        with as_misfit():
            number = self.quantity.parse(value)
        if self.positive and number <= 0:
            raise Misfit(f"{self.quantity.wanted}, above zero, got {shown(value)}")
        return number

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(self, core: Any, handler: GetJsonSchemaHandler) -> Schema:
        return quantity_schema(self.quantity)


def quantity_schema(quantity: Quantity) -> Schema:
    """Return the JSON schema of a written quantity."""
    units = "|".join(re.escape(unit).replace("\\-", "-") for unit in quantity.factors)
    return {"type": "string", "pattern": f"^{_NUMBER} *({units})$", "examples": [quantity.example]}


@dataclass(frozen=True)
class OfKind:
    """A plug-in of one kind: a name, or a mapping of `name` and parameters; paths start at the scenario's folder."""

    kind: str

    def read(self, value: object, info: ValidationInfo) -> PlugIn:
        """Return the plug-in with all its parameters."""
        return plugins.read(self.kind, value, folder_of(info))

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.with_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(self, core: Any, handler: GetJsonSchemaHandler) -> Schema:
        from simkv.scenario.json_schema import plugin_schema  # noqa: PLC0415 - which imports the schema

        return plugin_schema(self.kind)


class InputFile:
    """The path or URL of a file that must exist; relative paths start at the scenario's folder."""

    def read(self, value: object, info: ValidationInfo) -> Path:
        """Return the absolute path; of what a URL names, its copy here."""
        if not isinstance(value, str) or not value or "\0" in value:
            raise Misfit(f"want the path or URL of a file, got {shown(value)}")
        if remote.is_url(value):
            with as_misfit():
                return remote.fetched(value)
        path = Path(os.path.normpath(folder_of(info) / value))
        try:
            if path.is_dir():
                raise Misfit(f"want a file, got the folder {path}")
            if not path.exists():
                raise Misfit(f"no such file: {path}{near_name(path)}")
        except OSError as error:  # a name too long, a folder that may not be read
            raise Misfit(f"cannot be read: {error.strerror}") from None
        return path

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.with_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(self, core: Any, handler: GetJsonSchemaHandler) -> Schema:
        return {"type": "string", "minLength": 1}


class Model:
    """A built-in model, or the path of a Hugging Face `config.json`."""

    def read(self, value: object, info: ValidationInfo) -> str:
        """Return the name, or the absolute path."""
        if not isinstance(value, str) or not value or "\0" in value:
            raise Misfit(f"want a model such as 'Qwen2.5-3B', or the path of a config.json, got {shown(value)}")
        plugins.refuse_url(value)
        with as_misfit():
            model.get(value, folder_of(info))
        return model.built_in_name(value) or os.path.normpath(folder_of(info) / value)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.with_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(self, core: Any, handler: GetJsonSchemaHandler) -> Schema:
        return {"type": "string", "minLength": 1, "examples": sorted(model.BUILT_IN)}


@dataclass(frozen=True)
class Named:
    """A name that a person gives.

    Parameters
    ----------
    pattern : what it must match in full.
    wanted : the same in words.
    """

    pattern: str
    wanted: str

    def read(self, value: object) -> str:
        """Return the name."""
        if not isinstance(value, str) or not re.fullmatch(self.pattern, value, re.ASCII):
            raise Misfit(f"want a name {self.wanted}, got {shown(value)}")
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(self, core: Any, handler: GetJsonSchemaHandler) -> Schema:
        return {"type": "string", "pattern": f"^({self.pattern})$"}


@dataclass(frozen=True)
class OnlyYet:
    """A choice of which one answer is simulated so far."""

    answer: str

    def read(self, value: object) -> str:
        """Return the answer."""
        if value != self.answer:
            raise Misfit(f"want {self.answer}, the only one simulated yet, got {shown(value)}")
        return self.answer

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(self, core: Any, handler: GetJsonSchemaHandler) -> Schema:
        return {"enum": [self.answer]}


@dataclass(frozen=True)
class Version:
    """The version of the scenario format; `true`, `1.0` and `'1'` are no versions."""

    number: int

    def read(self, value: object) -> int:
        """Return the version."""
        if type(value) is not int or value != self.number:
            raise Misfit(f"want {self.number}, the version of the format that this simkv reads, got {shown(value)}")
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(self, core: Any, handler: GetJsonSchemaHandler) -> Schema:
        return {"const": self.number}


class SweepBlock:
    """What `simkv sweep` varies, path -> values; `loading` asks whether each line means something here."""

    def read(self, value: object) -> dict[str, object]:
        """Return the block as it is written."""
        if not isinstance(value, Mapping) or not value:
            raise Misfit(f"want lines such as 'links.slice.capacity: 10..1000 Mbit/s:log:8', got {shown(value)}")
        return dict(value)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(self, core: Any, handler: GetJsonSchemaHandler) -> Schema:
        values: Schema = {"anyOf": [{"type": kind} for kind in ("string", "number", "boolean", "array")]}
        example = {"links.slice.capacity": "10..1000 Mbit/s:log:8", "policies.prefetch.threshold": [0.1, 0.3]}
        return {"type": "object", "minProperties": 1, "additionalProperties": values, "examples": [example]}


def folder_of(info: ValidationInfo) -> Path:
    """Return the folder of the scenario that is being read, absolute."""
    context = info.context
    return Path(context["folder"]) if isinstance(context, Mapping) and "folder" in context else Path.cwd()


Seconds = Annotated[float, Written(SECONDS)]
PositiveSeconds = Annotated[float, Written(SECONDS, positive=True)]
Bytes = Annotated[int, Written(BYTES)]
PositiveBytes = Annotated[int, Written(BYTES, positive=True)]
PositiveBps = Annotated[float, Written(BITS_PER_SECOND, positive=True)]
PositivePerSecond = Annotated[float, Written(EVENTS_PER_SECOND, positive=True)]
Count = Annotated[int, Field(ge=1)]
FilePath = Annotated[Path, InputFile()]
ModelName = Annotated[str, Model()]
#: Names the results folder too, so it is safe as one on every system.
Slug = Annotated[str, Named("[a-z0-9]+(-[a-z0-9]+){0,40}", "of lower-case letters, digits and dashes")]
#: Stands in dotted paths, so it holds no dot.
Label = Annotated[str, Named("[A-Za-z][A-Za-z0-9_-]{0,60}", "of letters, digits, '-' and '_', a letter first")]
Discipline = Literal["strict", "ps"]
