"""How a validator says that a value does not fit, and where inside the value the fault lies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from simkv.errors import InputError


class Misfit(ValueError):
    """A value that does not fit the schema.

    Pydantic collects it (it is a ValueError) and adds the path of the value; `loading` adds the file,
    line and column.

    Parameters
    ----------
    message : what was found and what is wanted, one line.
    at : path inside the value; empty = the value itself.
    on_key : True when the last key of `at` is at fault, not its value.
    """

    def __init__(self, message: str, at: tuple[str | int, ...] = (), *, on_key: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.at = at
        self.on_key = on_key


class Misfits(ValueError):
    """Several of them, found in one go."""

    def __init__(self, found: list[Misfit]) -> None:
        super().__init__("; ".join(item.message for item in found))
        self.found = found


@contextmanager
def as_misfit(*at: str | int) -> Iterator[None]:
    """Turn an InputError into a Misfit at a path inside the value.

    Examples
    --------
    >>> with as_misfit("delay"):
    ...     raise InputError("want a time")
    Traceback (most recent call last):
    simkv.scenario.misfit.Misfit: want a time
    """
    try:
        yield
    except InputError as error:
        raise Misfit(str(error), at) from None
