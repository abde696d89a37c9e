"""How does a text file come to be whole or not at all, and byte for byte the same each time?"""

from __future__ import annotations

import gzip
import lzma
import os
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import IO, cast

from simkv.errors import InputError

# Stated, because the defaults of the two libraries may change and the shipped traces must not.
_GZIP_LEVEL = 9
_XZ_PRESET = 6


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write lines to a file; gzip or xz when its name ends in .gz or .xz.

    The file appears under its name only when it is complete; an error in `lines` leaves what was there before.

    Raises
    ------
    InputError : the folder is absent or cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.txt.gz"
    >>> write_lines(path, ["one", "two"])
    >>> gzip.open(path, "rt").read().split()
    ['one', 'two']
    """
    path = Path(path)
    if path.is_dir():
        raise InputError("is a folder; want the name of a file", str(path))
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as raw, ExitStack() as stack:
            file = _compressed(raw, path.suffix, stack)
            for line in lines:
                file.write(line.encode())
                file.write(b"\n")
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise InputError(f"cannot be written: {(error.strerror or str(error)).lower()}", str(path)) from error
        raise


def _compressed(raw: IO[bytes], suffix: str, stack: ExitStack) -> IO[bytes]:
    """Return the file to write to; what wraps `raw` is closed by `stack`."""
    if suffix == ".gz":  # no name and no time inside: equal lines give equal bytes
        return cast("IO[bytes]", stack.enter_context(gzip.GzipFile("", "wb", _GZIP_LEVEL, raw, mtime=0)))
    if suffix == ".xz":
        return cast("IO[bytes]", stack.enter_context(lzma.LZMAFile(raw, "wb", preset=_XZ_PRESET)))
    return raw
