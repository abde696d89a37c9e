"""The exceptions that simkv raises on purpose; everything else is a bug.

Library code raises these and never prints; only `cli.py` turns them into text and an exit code.
"""

from __future__ import annotations


class SimkvError(Exception):
    """Anything that simkv refuses or cannot finish."""


class InputError(SimkvError):
    """A file, path or value that a person gave is wrong; the message says where, what and what is wanted.

    Parameters
    ----------
    message : what was found and what is wanted, one line.
    where : `file:line:column`, `file:line` or a dotted path; put in front of the message.

    Examples
    --------
    >>> print(InputError("want a time such as '20 ms', got '20'", "a.yaml:3:10"))
    a.yaml:3:10: want a time such as '20 ms', got '20'
    """

    def __init__(self, message: str, where: str = "") -> None:
        super().__init__(f"{where}: {message}" if where else message)
        self.message = message
        self.where = where

    def __reduce__(self) -> tuple[type[InputError], tuple[str, str]]:
        """Pickle by its two parts, so that it survives the way back from a worker process."""
        return (type(self), (self.message, self.where))


class InvariantError(SimkvError):
    """A conservation law or ordering that must hold in every run did not hold."""
