"""How does a published file get here whole, or not at all, over a line that may be cut?

What has come lies in `.NAME.part` until all of it is here and is what was published; only then does it get its name. A
cut download goes on where it was, if the server still has the same file (RFC 9110: Range with If-Range) and can go on.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simkv.errors import InputError
from simkv.units import format_bytes, parse_bytes

#: [bytes] read at once; also how often progress is told.
_CHUNK_BYTES = 1 << 18
#: [s] without a byte until a line counts as cut.
_TIMEOUT_S = 30.0
#: How often a cut line is taken up again before a person must.
_ATTEMPTS = 3

#: [bytes] More than any file of the table has; what does not end is stopped here.
_MOST_BYTES = parse_bytes("4 GB")

#: Told [bytes] so far and [bytes] in all, None where that is not known.
Progress = Callable[[int, int | None], None]


class _CutError(Exception):
    """The line was cut; what came is kept."""


@dataclass
class _Part:
    """What has come of a file, and of which version of it.

    Attributes
    ----------
    path, note : the bytes; and what the server said of the file that they are from.
    """

    path: Path
    note: Path

    @property
    def size_bytes(self) -> int:
        """[bytes] So far."""
        return self.path.stat().st_size if self.path.exists() else 0

    def version(self, url: str) -> str | None:
        """Return what the server called the version whose first bytes lie here; None = they are of no use."""
        try:
            told = json.loads(self.note.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        known = isinstance(told, dict) and told.get("url") == url and isinstance(told.get("version"), str)
        return str(told["version"]) if known and told["version"] else None

    def remember(self, url: str, version: str) -> None:
        """Note the version whose bytes come now."""
        self.note.write_text(json.dumps({"url": url, "version": version}), encoding="utf-8")

    def remove(self) -> None:
        """Forget what came."""
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


def fetch(url: str, target: Path, digest: str, size_bytes: int | None = None, progress: Progress | None = None) -> bool:
    """Download a file, or find that it is here.

    Parameters
    ----------
    target : where it shall lie; the folder is made when absent.
    digest : what it must be: `sha256:` and the SHA-256, or `git:` and the id that Git gives its content (SHA-1).
    size_bytes : [bytes] that it must have; None = not known.

    Returns
    -------
    Whether it had to be downloaded.

    Raises
    ------
    InputError : no such file there, refused, cut too often, or something else than what was published; or something
        else lies at `target`.

    Examples
    --------
    >>> import tempfile
    >>> here = Path(tempfile.mkdtemp()) / "empty"
    >>> _ = here.write_bytes(b"")
    >>> fetch("https://example.org/empty", here, "git:e69de29bb2d1d6434b8b29ae775ad8c2e48c5391")
    False
    """
    if target.exists():
        if not target.is_file() or digest_of(target, digest) != digest:
            raise InputError(f"is there already, and is not what {url} should be; move it away first", str(target))
        return False
    part = _Part(target.with_name(f".{target.name}.part"), target.with_name(f".{target.name}.part.json"))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _bring(url, part, size_bytes, progress)
        found = digest_of(part.path, digest)
        if found != digest:
            part.remove()
            raise InputError(f"what came is not what was published: want {digest}, got {found}; nothing was kept", url)
        part.path.replace(target)
        part.remove()
    except OSError as error:
        raise InputError(f"cannot be written: {(error.strerror or str(error)).lower()}", str(target)) from error
    return True


def digest_of(path: Path, like: str) -> str:
    """Return the digest of a file, of the kind that `like` is.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "hello"
    >>> _ = path.write_bytes(b"hello")
    >>> digest_of(path, "git:"), digest_of(path, "sha256:")[:20]
    ('git:b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0', 'sha256:2cf24dba5fb0a')
    """
    kind = like.partition(":")[0]
    if kind == "git":  # Git hashes a header with the length, and the content behind it
        state = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    else:
        state = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            state.update(chunk)
    return f"{kind}:{state.hexdigest()}"


def _bring(url: str, part: _Part, size_bytes: int | None, progress: Progress | None) -> None:
    """Download until all is here; a cut line is taken up again."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return _once(url, part, size_bytes, progress)
        except _CutError as error:
            if attempt == _ATTEMPTS:
                kept = part.size_bytes if part.version(url) else 0
                hint = f"; {format_bytes(kept)} are kept, and the same command goes on from there" if kept else ""
                raise InputError(f"{error}{hint}", url) from None
    return None


def _once(url: str, part: _Part, size_bytes: int | None, progress: Progress | None) -> None:
    version = part.version(url)
    start = part.size_bytes if version else 0
    headers = {"User-Agent": "simkv", "Accept-Encoding": "identity"}
    if start and version:
        headers |= {"Range": f"bytes={start}-", "If-Range": version}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT_S) as response:
            _take(url, response, part, start, size_bytes, progress)
    except urllib.error.HTTPError as error:
        error.close()  # it holds the line open
        if error.code == 416 and start:  # nothing lies behind what is here: it is all, or it is not the file
            return
        raise InputError(_refusal(error), url) from None
    except urllib.error.URLError as error:
        raise _CutError(f"cannot be reached: {str(error.reason).lower()}") from None
    except (http.client.HTTPException, TimeoutError, ConnectionError) as error:
        raise _CutError(f"the line was cut: {str(error).lower() or type(error).__name__}") from None


def _refusal(error: urllib.error.HTTPError) -> str:
    if error.code in (404, 410):
        return f"is not there (HTTP {error.code}): its publisher moved or removed it"
    return f"the server refuses it: HTTP {error.code} {error.reason}"


def _take(url: str, response: Any, part: _Part, start: int, size_bytes: int | None, progress: Progress | None) -> None:
    """Write what comes behind what is here, or from the start where the server does not go on."""
    goes_on = response.status == 206 and _begins(response.headers.get("Content-Range", "")) == start
    if response.status == 206 and not goes_on:
        part.remove()
        raise _CutError("the server went on at another place")
    here = start if goes_on else 0
    if not goes_on:
        part.remove()
        part.remember(url, _version(response.headers))
    length = response.headers.get("Content-Length")
    total = here + int(length) if length and length.isdecimal() else None
    if None not in (size_bytes, total) and size_bytes != total:
        part.remove()
        raise InputError(f"is not what was published: want {size_bytes} bytes, the server has {total}", url)
    with part.path.open("ab" if goes_on else "wb") as file:
        while chunk := response.read(_CHUNK_BYTES):
            here += len(chunk)
            if here > (_MOST_BYTES if size_bytes is None else size_bytes):
                part.remove()
                raise InputError(f"is not what was published: more than {size_bytes or _MOST_BYTES} bytes come", url)
            file.write(chunk)
            if progress is not None:
                progress(here, total or size_bytes)
    wanted = total if total is not None else size_bytes
    if wanted is not None and here < wanted:
        raise _CutError(f"the line was cut after {here} of {wanted} bytes")


def _begins(content_range: str) -> int | None:
    """Return where a part begins that the server sends: `bytes 5-9/10`."""
    begin = content_range.removeprefix("bytes ").partition("-")[0]
    return int(begin) if content_range.startswith("bytes ") and begin.isdecimal() else None


def _version(headers: Any) -> str:
    """Return what tells this version of the file from others; a weak tag is not fit for it (RFC 9110, 13.1.5)."""
    tag = str(headers.get("ETag") or "")
    return tag if tag and not tag.startswith("W/") else str(headers.get("Last-Modified") or "")
