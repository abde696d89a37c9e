"""docs/write_your_own.md tells the truth: three classes from outside keep their contracts and can be compared."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.docs.test_readme import ROOT, blocks

PAGE = (ROOT / "docs" / "write_your_own.md").read_text(encoding="utf-8")
FILE = "# mine.py\n"


def test_the_page_runs_as_it_stands(tmp_path: Path) -> None:
    """In a process of its own, in a folder that has scenarios/, traces/ and the reader's file."""
    python = blocks("python", PAGE)
    mine = [block.removeprefix(FILE) for block in python if block.startswith(FILE)]
    rest = [block for block in python if not block.startswith(FILE)]
    assert (len(mine), len(rest)) == (3, 2)
    assert all(len(block.splitlines()) < 40 for block in mine)
    (tmp_path / "mine.py").write_text("\n\n".join(mine))
    (tmp_path / "page.py").write_text("\n".join(rest))
    for name in ("scenarios", "traces"):
        (tmp_path / name).symlink_to(ROOT / name)
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "page.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "polite-mru" in done.stdout
