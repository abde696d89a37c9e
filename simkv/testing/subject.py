"""The plug-in under test: how it is made, what can be read off its class, and whose promise was broken."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any

from simkv.errors import InputError
from simkv.registry import Registry

Params = Mapping[str, Any]

NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")

#: Run by `answers_elsewhere`; the module that registers the plug-in is imported first.
_PROGRAM = """
import importlib, sys, simkv.testing
importlib.import_module({module!r})
sys.stdout.write(simkv.testing.answers({kind!r}, {name!r}, {params!r}))
"""


class Subject:
    """A plug-in under test.

    Parameters
    ----------
    registry : of its kind.
    name, params : see `check_policy`.

    Attributes
    ----------
    label : what messages call it.
    plugin_class : what is registered.
    is_oracle : it may see the future.
    needs_chunks : it works on documents of chunks only.
    """

    def __init__(self, registry: Registry[Any], name: str, params: Params | None) -> None:
        self.registry = registry
        self.name = name
        self.label = f"{registry.kind} {name!r}"
        self.plugin_class = registry.get(name)
        self.is_oracle = registry.is_oracle(name)
        self.needs_chunks = bool(getattr(self.plugin_class, "needs_chunks", False))
        example = getattr(self.plugin_class, "example_params", dict)
        self.params = dict(example() if params is None else params)

    def make(self, **changed: object) -> Any:
        """Return a new plug-in, some of its parameters changed."""
        try:
            return self.registry.create(self.name, self.params | changed)
        except InputError as error:
            hint = "give params, or write a static method example_params(), where there are no defaults"
            raise AssertionError(f"{error}; {hint}") from error

    def want(self, promise: bool, found: str) -> None:
        """Raise unless a promise was kept."""
        if not promise:
            raise AssertionError(f"{self.label}: {found}")

    def check_form(self) -> None:
        """Check what can be read off the class: name, parameters, documentation."""
        is_path = "." in self.name
        self.want(is_path or bool(NAME.fullmatch(self.name)), "its name is not in lower case with dashes")
        self.want(is_dataclass(self.plugin_class), "it is no dataclass; parameters are a dataclass's fields")
        text = self.plugin_class.__doc__ or ""
        written = not text.startswith(f"{self.plugin_class.__name__}(")  # else it is the one that dataclass makes up
        self.want(written and bool(text.strip()), "it has no docstring")
        self.want("Source:" in text, "its docstring cites no source: want 'Source: author, title, venue year'")
        heads = [line.partition(" : ")[0] for line in text.splitlines() if " : " in line]
        documented = {word for head in heads for word in head.replace(",", " ").split()}
        for field in self.registry.fields(self.name):
            self.want(field in documented, f"its docstring has no line '{field} : ...'")
        made = self.make()
        self.want(repr(made) == repr(self.make()), "two made with equal parameters print differently")
        for key, value in self.params.items():
            self.want(getattr(made, key) == value, f"{key} became {getattr(made, key)!r} although {value!r} was given")

    def answers_elsewhere(self, kind: str) -> str | None:
        """Return the answers given in a process with another hash seed; None if it cannot be imported there."""
        module = self.plugin_class.__module__
        is_local = module == "__main__" or "<locals>" in self.plugin_class.__qualname__
        if is_local or importlib.util.find_spec(module) is None:
            return None
        program = _PROGRAM.format(module=module, kind=kind, name=self.name, params=self.params)
        environment = os.environ | {
            "PYTHONHASHSEED": "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2",
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        }
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
        self.want(done.returncode == 0, f"in a process of its own it fails:\n{done.stderr}")
        return done.stdout
