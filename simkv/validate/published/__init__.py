"""Small published tables, each with where it was read: facts that simkv is compared with."""

from __future__ import annotations

import csv
import io
import json
from importlib import resources
from typing import Any


def table(name: str) -> Any:
    """Return what a JSON file of this folder says.

    Examples
    --------
    >>> table("disaggregated")["tokens"][:2]
    [128, 256]
    """
    return json.loads(_text(f"{name}.json"))


def lines(name: str) -> list[dict[str, str]]:
    """Return the rows of a CSV file of this folder.

    Examples
    --------
    >>> lines("silicon")[0]["model"]
    'Qwen3-32B'
    """
    return list(csv.DictReader(io.StringIO(_text(f"{name}.csv"))))


def _text(file: str) -> str:
    return (resources.files(__name__) / file).read_text(encoding="utf-8")
