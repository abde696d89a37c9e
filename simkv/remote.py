"""Files by URL: read once into a folder on this machine, and known there by what they hold.

What a URL names may change, what lies under a hash may not: numbers depend on the content, wherever it came from.
fsspec reads; which schemes there are is its business (`file`, `memory`, `http` and `https` with the extra, `s3` with
s3fs, `gs` with gcsfs, and so on).
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import tempfile
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PosixPath
from typing import Any

from simkv.errors import InputError

#: Where a URL may stand; for what refuses one.
TAKEN = "only a scenario's trace and series, and simkv trace info, convert and mrc, take URLs"

_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
#: A URL after `Path` has taken one of its slashes.
_PATH_OF_URL = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)
#: By what the file systems of fsspec tell that a file has changed; with none of these it is read anew by each process.
_MARKS = ("etag", "e_tag", "last_modified", "lastmodified", "mtime", "created", "updated", "generation", "md5hash")
_PIECE_BYTES = 1 << 20


class Fetched(PosixPath):
    """The copy of a file that a URL names: a path for who opens it, the URL for who reads about it.

    Attributes
    ----------
    url : where it comes from.
    sha256 : of what it holds.
    """

    url: str
    sha256: str

    def __str__(self) -> str:
        """Return the URL; of what is derived from this path, the path."""
        return getattr(self, "url", None) or self.__fspath__()

    def __fspath__(self) -> str:
        """Return where the copy is."""
        return PosixPath.__str__(self)

    def __reduce__(self) -> Any:
        """Travel as URL and hash: another machine has its own copy."""
        return (_arrived, (self.url, self.sha256)) if hasattr(self, "url") else (Path, (self.__fspath__(),))


def is_url(value: object) -> bool:
    """Return whether a value is written as a URL.

    Examples
    --------
    >>> [is_url(text) for text in ("s3://bucket/x.jsonl.gz", "traces/x.jsonl", "/s3://x", None)]
    [True, False, False, False]
    """
    return isinstance(value, str) and _URL.match(value) is not None


def hint(path: Path) -> str:
    """Return what to add to "no such file" when the path was meant as a URL.

    Examples
    --------
    >>> hint(Path("s3://bucket/x.yaml")).startswith("; a URL is not read here")
    True
    """
    return f"; a URL is not read here: {TAKEN}" if _PATH_OF_URL.match(str(path)) else ""


def local(place: str | Path) -> Path:
    """Return the path of a file on this machine: of a URL, of its copy.

    Raises
    ------
    InputError : the URL cannot be read.

    Examples
    --------
    >>> local("traces/x.jsonl")
    PosixPath('traces/x.jsonl')
    """
    if isinstance(place, Path):
        return place
    return fetched(place) if is_url(place) else Path(place)


@functools.cache
def fetched(url: str) -> Fetched:
    """Return the copy of what a URL names; in one process a URL names one content.

    Raises
    ------
    InputError : there is no such file, or it cannot be read or kept.
    """
    parts = urllib.parse.urlsplit(url)
    is_token = parts.scheme in ("http", "https") and parts.username is not None
    if parts.password is not None or is_token:
        raise InputError("holds a password, which would stand in results; want it in the environment", _bare(url))
    files, path = _file_system(url)
    index = _folder() / "urls" / f"{hashlib.sha256(url.encode()).hexdigest()}.json"
    try:
        info = files.info(path)
        if info.get("type") == "directory":
            raise InputError("is a folder; want a file", url)
        mark = _mark(info)
        known = _known(index)
        if mark is None or known.get("mark") != mark or not _is_whole(_place(url, known["sha256"]), known["sha256"]):
            known = {"url": url, "mark": mark, "sha256": _copy(files, path, url)}
            _write(index, known)
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError("no such file", url) from None
    except Exception as error:  # what the file systems raise is of every kind
        raise InputError(f"cannot be read: {' '.join(str(error).split()) or type(error).__name__}", url) from error
    return _made(url, known["sha256"])


def _arrived(url: str, sha256: str) -> Fetched:
    """Return this machine's copy of what was at a URL elsewhere."""
    if _place(url, sha256).is_file():
        return _made(url, sha256)
    found = fetched(url)
    if found.sha256 != sha256:
        raise InputError("holds something else than where the sweep was started", url)
    return found


def _made(url: str, sha256: str) -> Fetched:
    found = Fetched(_place(url, sha256).__fspath__())
    found.url, found.sha256 = url, sha256
    return found


def _bare(url: str) -> str:
    """Return a URL without name and password."""
    parts = urllib.parse.urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _file_system(url: str) -> tuple[Any, str]:
    try:
        import fsspec  # type: ignore[import-untyped]  # noqa: PLC0415 - an extra, and only for URLs
    except ImportError:
        raise InputError("reading a URL wants: pip install 'simkv[remote]'", url) from None
    try:
        files, path = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:  # a scheme that nobody knows, or whose package is not here
        raise InputError(f"cannot be read: {' '.join(str(error).split())}", url) from None
    return files, path


def _folder() -> Path:
    """Return where copies are kept: $SIMKV_CACHE, or simkv's folder among a person's caches."""
    told = os.environ.get("SIMKV_CACHE")
    return Path(told) if told else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "simkv"


def _place(url: str, sha256: str) -> Path:
    """Return where the copy lies, under the name that the URL ends in."""
    name = urllib.parse.unquote(urllib.parse.urlsplit(url).path).rpartition("/")[2]
    return _folder() / sha256 / (re.sub(r"[^A-Za-z0-9._-]", "_", name).lstrip(".") or "data")


def _mark(info: Mapping[str, Any]) -> dict[str, str] | None:
    """Return what changes when a file does; None when its file system tells nothing of the kind."""
    told = {key.lower().replace("-", "_"): str(value) for key, value in info.items() if value is not None}
    found = {key: told[key] for key in _MARKS if key in told}
    return {**found, "size": told.get("size", "")} if found else None


def _known(index: Path) -> dict[str, Any]:
    """Return what is known of a URL from before; nothing when that cannot be read."""
    try:
        known = json.loads(index.read_bytes())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) and isinstance(known.get("sha256"), str) else {}


def _is_whole(copy: Path, sha256: str) -> bool:
    """Return whether a copy is there and holds what it is called by."""
    try:
        with copy.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == sha256
    except OSError:
        return False


def _copy(files: Any, path: str, url: str) -> str:
    """Read a file to where its content says; return its hash."""
    digest = hashlib.sha256()
    with _part() as part:
        with part.open("wb") as kept, files.open(path, "rb") as file:
            while piece := file.read(_PIECE_BYTES):
                digest.update(piece)
                kept.write(piece)
        part.chmod(0o444)
        _keep(part, _place(url, digest.hexdigest()))
    return digest.hexdigest()


def _write(index: Path, known: Mapping[str, Any]) -> None:
    with _part() as part:
        part.write_text(json.dumps(known), encoding="utf-8")
        _keep(part, index)


@contextmanager
def _part() -> Iterator[Path]:
    """Give a file that nobody else writes; what is not kept is gone."""
    folder = _folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(".part", ".", folder)
    except OSError as error:
        told = f"cannot be written: {error.strerror}; copies of what URLs name are kept there, or in $SIMKV_CACHE"
        raise InputError(told, str(folder)) from None
    os.close(handle)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _keep(part: Path, place: Path) -> None:
    """Give a written file its name; it is there whole or not at all."""
    place.parent.mkdir(exist_ok=True)
    part.replace(place)
