"""Names to plug-ins: one registry per question that a policy answers.

A plug-in is a dataclass; its fields are its parameters. Registration is one decorator line in the
plug-in's own file; importing the file is the only step.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from simkv.errors import InputError

T = TypeVar("T")
C = TypeVar("C", bound=type)


def did_you_mean(word: str, known: list[str]) -> str:
    """Return `; did you mean 'x'?` for the closest known word, or an empty string.

    Examples
    --------
    >>> did_you_mean("seqential", ["none", "sequential"])
    "; did you mean 'sequential'?"
    """
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def unknown(what: str, name: str, known: Iterable[str], where: str = "") -> InputError:
    """Return the error of a name that is none of those known.

    Parameters
    ----------
    what : the name is of: "arm".
    where : as `InputError` takes it.

    Examples
    --------
    >>> print(unknown("arm", "non", ["none", "oracle"]))
    unknown arm 'non'; did you mean 'none'?; known: none, oracle
    """
    listed = list(known)
    return InputError(f"unknown {what} {name!r}{did_you_mean(name, listed)}; known: {', '.join(listed)}", where)


class Registry(Generic[T]):
    """The plug-ins that answer one question, by name.

    Parameters
    ----------
    kind : what the plug-ins are, as error messages call them ("eviction policy").
    group : entry-point group through which other packages add theirs ("simkv.eviction").

    Examples
    --------
    >>> shapes: Registry[object] = Registry("shape", "simkv.shape")
    >>> @shapes.register("round")
    ... @dataclasses.dataclass
    ... class Round:
    ...     radius: float = 1.0
    >>> shapes.create("round", {"radius": 2.0})
    Round(radius=2.0)
    """

    def __init__(self, kind: str, group: str) -> None:
        self.kind = kind
        self.group = group
        self._factories: dict[str, type] = {}
        self._oracles: set[str] = set()
        self._entry_points_loaded = False

    def register(self, name: str, *, oracle: bool = False) -> Callable[[C], C]:
        """Return the class decorator that files a plug-in under `name`.

        Parameters
        ----------
        name : lower case with dashes; never reused for another algorithm.
        oracle : True when the plug-in sees what no real system could know.
        """

        def add(factory: C) -> C:
            if self._factories.setdefault(name, factory) is not factory:
                raise ValueError(f"{self.kind} {name!r} is already registered")
            if oracle:
                self._oracles.add(name)
            return factory

        return add

    def names(self) -> list[str]:
        """Return all registered names, sorted."""
        self._load_entry_points()
        return sorted(self._factories)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def is_oracle(self, name: str) -> bool:
        """Return whether the plug-in called `name` knows the future."""
        return name in self._oracles

    def get(self, name: str) -> type:
        """Return the class called `name`; a dotted path `package.module.Class` is imported.

        Raises
        ------
        InputError : when there is no such plug-in.
        """
        if name not in self._factories:
            self._load_entry_points()
        if name in self._factories:
            return self._factories[name]
        if "." in name:
            return self._import(name)
        raise unknown(self.kind, name, self.names())

    def fields(self, name: str) -> dict[str, dataclasses.Field[Any]]:
        """Return the parameters that the plug-in called `name` takes, by name."""
        return {f.name: f for f in dataclasses.fields(self.get(name)) if f.init and not f.name.startswith("_")}

    def create(self, name: str, params: Mapping[str, Any] | None = None) -> T:
        """Return a new plug-in.

        Raises
        ------
        InputError : unknown name, unknown parameter, or a value that the plug-in itself refuses.
        """
        factory = self.get(name)
        params = dict(params or {})
        known = list(self.fields(name))
        for key in params:
            if key not in known:
                wanted = f"it takes: {', '.join(known)}" if known else "it takes no parameters"
                raise InputError(f"{self.kind} {name!r} has no parameter {key!r}{did_you_mean(key, known)}; {wanted}")
        try:
            plugin: T = factory(**params)
        except (TypeError, ValueError) as error:
            raise InputError(f"{self.kind} {name!r}: {error}") from error
        return plugin

    def _load_entry_points(self) -> None:
        if self._entry_points_loaded:
            return
        self._entry_points_loaded = True
        for point in entry_points(group=self.group):
            point.load()

    def _import(self, path: str) -> type:
        module_name, _, class_name = path.rpartition(".")
        try:
            found = getattr(importlib.import_module(module_name), class_name)
        except (ImportError, AttributeError) as error:
            raise InputError(f"cannot import {self.kind} {path!r}: {error}") from error
        if not (isinstance(found, type) and dataclasses.is_dataclass(found)):
            raise InputError(f"{self.kind} {path!r} must be a dataclass")
        return found
