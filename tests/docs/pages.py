"""Pages whose Python blocks are run in order, and whose tables are what the block before them prints.

`python -m tests.docs.pages docs/theory.md` runs a page as it stands and writes its tables again.
"""

from __future__ import annotations

import contextlib
import io
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

#: A block, and what stands behind it up to the end of the table, if a table follows.
_BLOCK = re.compile(
    r"```python\n(?P<code>.*?)```\n(?P<printed>(?:\n(?:[^\n#`|]+ = [^\n]+\n\n)?(?:\|[^\n]*\n)+)?)", re.DOTALL
)


class Executed(NamedTuple):
    """One block of a page: what stands behind it, and what it prints."""

    code: str
    written: str
    printed: str


def execute(text: str, changes: Mapping[str, str]) -> Iterator[Executed]:
    """Run the blocks of a page in one namespace, some texts in them changed first (each must occur)."""
    blocks = list(_BLOCK.finditer(text))
    for old in changes:
        assert any(old in block["code"] for block in blocks), f"no block says {old!r}"
    namespace: dict[str, object] = {"__name__": "page"}
    for block in blocks:
        code = block["code"]
        for old, new in changes.items():
            code = code.replace(old, new)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, "page", "exec"), namespace)
        yield Executed(block["code"], block["printed"].strip(), printed.getvalue().strip())


def rows(text: str) -> list[dict[str, str]]:
    """Return the rows of a table, by column."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [dict(zip(cells[0], row, strict=True)) for row in cells[2:]] if cells else []


def rewrite(page: Path) -> None:
    """Run a page as it stands and write its tables again."""
    text = page.read_text(encoding="utf-8")
    done = iter(list(execute(text, {})))

    def renewed(block: re.Match[str]) -> str:
        printed = next(done).printed
        return f"```python\n{block['code']}```\n" + (f"\n{printed}\n" if printed else "")

    page.write_text(_BLOCK.sub(renewed, text), encoding="utf-8")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        rewrite(Path(name))
