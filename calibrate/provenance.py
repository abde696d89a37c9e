"""Who measured: hashes of this module's files, versions, and how busy the machine was."""

from __future__ import annotations

import hashlib
import os
import platform
from importlib.metadata import version
from pathlib import Path


def module_sha256(folder: Path | None = None) -> str:
    """Return one hash of the names and contents of the module's files.

    Examples
    --------
    >>> module_sha256() == module_sha256(), len(module_sha256())
    (True, 64)
    """
    found = hashlib.sha256()
    for path in sorted((folder or Path(__file__).parent).glob("*.py")):
        found.update(f"{path.name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return found.hexdigest()


def software() -> dict[str, str]:
    """Return versions by name, of what the times depend on."""
    return {
        "simkv": version("simkv"),
        "python": platform.python_version(),
        "torch": version("torch"),
        "os": f"{platform.system()} {platform.release()}",
    }


def load() -> float:
    """Return the number of programs that wanted a core over the last minute; 0 where the system does not say."""
    try:
        return round(os.getloadavg()[0], 2)
    except (AttributeError, OSError):
        return 0.0
