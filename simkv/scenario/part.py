"""What is every mapping of a scenario? One with fixed keys, all of them known, none without a value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from simkv.registry import did_you_mean
from simkv.scenario.misfit import Misfit, Misfits
from simkv.units import shown


class Part(BaseModel):
    """A mapping with fixed keys; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @classmethod
    def written_keys(cls) -> dict[str, str]:
        """Return key in YAML -> field."""
        return {field.alias or name: name for name, field in cls.model_fields.items()}

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        """Refuse unknown keys and keys without a value, with the known ones beside."""
        if not isinstance(data, Mapping):
            return data
        known = cls.written_keys()
        found = []
        for key, value in data.items():
            if key not in known:
                hint = did_you_mean(str(key), list(known))
                found.append(Misfit(f"unknown key {shown(key)}{hint}; known: {', '.join(known)}", (key,), on_key=True))
            elif value is None:
                default = "" if cls.model_fields[known[key]].is_required() else "; leave the key out for its default"
                found.append(Misfit(f"want a value, got nothing{default}", (key,)))
        if found:
            raise Misfits(found)
        return data

    def __eq__(self, other: object) -> bool:
        """Compare what is said, not where it was read from."""
        return type(self) is type(other) and self.__dict__ == other.__dict__

    __hash__ = None  # type: ignore[assignment]  # parts hold dicts
