"""What are the lines, or the bytes, of a trace file, read piece by piece in bounded memory?

Plain, gzip and xz files are told apart by their first bytes, never by their name. Everything that can be wrong
with a file as bytes (absent, a folder, cut short, damaged, one endless line) becomes one `InputError` here; what
the lines mean is the business of the formats.
"""

from __future__ import annotations

import gzip
import lzma
import stat
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from simkv import remote
from simkv.errors import InputError

#: [bytes] Longest line that is read; the longest session of the real traces takes 0.15 MB.
MAX_LINE_BYTES = 64 << 20
#: [bytes] Most memory that a decoder may claim; `xz -9` needs 65 MiB.
MAX_DECODER_BYTES = 256 << 20
#: [bytes] Enough of a file to hold the header of its first compressed block.
_HEAD_BYTES = 4096
#: [bytes] Unpacked at a time where there are no lines.
_PIECE_BYTES = 256 << 10
_GZIP_MAGIC = b"\x1f\x8b"
_XZ_MAGIC = b"\xfd7zXZ\x00"


def numbered_lines(path: Path) -> Generator[tuple[int, bytes], None, None]:
    """Yield each line of a plain, gzip or xz file with its number, from 1, without its line end.

    Parameters
    ----------
    path : a regular file; it is opened when the first line is asked for and closed after the last.

    Raises
    ------
    InputError : the file cannot be read, is damaged or cut short, or has a line over `MAX_LINE_BYTES`.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "two.txt.gz"
    >>> _ = path.write_bytes(gzip.compress(b"one" + bytes([10]) + b"two"))
    >>> list(numbered_lines(path))
    [(1, b'one'), (2, b'two')]
    """
    number = 0
    with _refusing(path, lambda: number + 1), _open(path) as file:
        while line := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            if len(line) > MAX_LINE_BYTES:
                raise InputError(f"line is longer than {MAX_LINE_BYTES >> 20} MiB", f"{path}:{number}")
            yield number, line.rstrip(b"\r\n")


def front(path: Path) -> bytes:
    """Return how a plain, gzip or xz file begins: its first line, or as much of it as tells a format.

    Raises
    ------
    InputError : as `numbered_lines`.
    """
    with _refusing(path, lambda: 1), _open(path) as file:
        return file.readline(_HEAD_BYTES)


def pieces(path: Path) -> Generator[bytes, None, None]:
    """Yield the unpacked bytes of a file that need not have lines.

    Raises
    ------
    InputError : the file cannot be read, is damaged or cut short.
    """
    line = 1
    with _refusing(path, lambda: line), _open(path) as file:
        while piece := file.read(_PIECE_BYTES):
            line += piece.count(b"\n")
            yield piece


@contextmanager
def _refusing(path: Path, line: Callable[[], int]) -> Iterator[None]:
    """Turn whatever is wrong with a file as bytes into an error at a line."""
    try:
        yield
    except EOFError:
        raise InputError("the compressed file is cut short", f"{path}:{line()}") from None
    except (gzip.BadGzipFile, zlib.error, lzma.LZMAError) as error:
        raise InputError(f"the compressed file is damaged: {_reason(error)}", f"{path}:{line()}") from error
    except OSError as error:
        raise InputError(f"cannot read on: {_reason(error)}", f"{path}:{line()}") from error
    except MemoryError:
        raise InputError("too large for the memory of this machine", f"{path}:{line()}") from None


def _open(path: Path) -> IO[bytes]:
    """Open a regular file for reading decompressed bytes."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise InputError("is a folder; want a file", str(path))
        if not stat.S_ISREG(mode):
            raise InputError("is not a regular file; it must be readable more than once", str(path))
        with path.open("rb") as plain:
            head = plain.read(_HEAD_BYTES)
        if head.startswith(_GZIP_MAGIC):
            return cast("IO[bytes]", gzip.open(path, "rb"))
        if head.startswith(_XZ_MAGIC):
            _check_xz_memory(path, head)
            return cast("IO[bytes]", lzma.open(path, "rb"))
        return path.open("rb")
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the path
        raise InputError(f"cannot be opened: {_reason(error)}{remote.hint(path)}", str(path)) from error


def _check_xz_memory(path: Path, head: bytes) -> None:
    """Refuse an xz file whose header claims a dictionary that no honest file needs."""
    try:
        lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MAX_DECODER_BYTES).decompress(head, max_length=1)
    except lzma.LZMAError as error:
        if "emory" not in str(error):
            raise InputError(f"the compressed file is damaged: {_reason(error)}", f"{path}:1") from error
        raise InputError(f"unpacking it takes more than {MAX_DECODER_BYTES >> 20} MiB of memory", str(path)) from error


def _reason(error: Exception) -> str:
    """Return what went wrong in one line, without the path that the caller already names."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error).partition(" 0x")[0] or type(error).__name__  # checksums mean nothing to a person
