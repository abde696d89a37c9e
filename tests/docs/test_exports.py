"""docs/exports.md names every target of `simkv report --export`."""

from __future__ import annotations

import re
from pathlib import Path

from simkv.export import EXPORTS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "exports.md").read_text(encoding="utf-8")


def test_every_target_has_a_row() -> None:
    """The first table lists them all, and nothing else."""
    table = PAGE.split("\n## ")[0]
    assert sorted(re.findall(r"^\| `([a-z-]+)` \|", table, flags=re.MULTILINE)) == sorted(EXPORTS)


def test_every_target_says_what_it_is() -> None:
    assert all(target.doc and not target.doc.endswith(".") for target in EXPORTS.values())
