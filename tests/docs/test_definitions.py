"""The report's definitions are the glossary's, word for word.

`python -m tests.docs.test_definitions` writes them again, from docs/glossary.md.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from simkv.report import definitions

PAGE = Path(__file__).resolve().parents[2] / "docs" / "glossary.md"


def of_the_glossary() -> dict[str, str]:
    """Return what the glossary says of each name that a row begins with, unit last."""
    found: dict[str, str] = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("| ") else []
        if len(cells) < 2:
            continue
        unit = f" [{cells[2]}]" if len(cells) > 2 and re.fullmatch(r"s|bytes|1|1/s|s/MB", cells[2]) else ""
        for name in cells[0].replace("`", "").split(", "):
            found.setdefault(name, cells[1] + unit)
    return found


def wanted() -> dict[str, str]:
    known = of_the_glossary()
    return {name: known[name] for names in definitions.SHOWN.values() for name in names}


def test_the_report_defines_its_words_as_the_glossary_does() -> None:
    """A second definition would sooner or later be another one."""
    assert definitions.texts() == wanted()


if __name__ == "__main__":
    definitions.FILE.write_text(json.dumps(wanted(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
