"""docs/report.md: its commands run in order, its pictures are there and small."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from simkv import cli

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "report.md"
TEXT = PAGE.read_text(encoding="utf-8")


def test_its_commands_do_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every line, in order, in a folder that has the scenarios; what the page names is there afterwards."""
    for name in ("scenarios", "traces"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    lines = [line for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL) for line in block.splitlines()]
    assert len(lines) == 8
    for line in lines:
        assert cli.main(shlex.split(line, comments=True)[1:]) == 0, line
    run, swept = ((tmp_path / "out" / name / "report.html").read_text() for name in ("mine", "swept"))
    assert "<h1>three-turns</h1>" in run
    assert 'class="tl"' in run
    assert 'class="tl"' not in (tmp_path / "out" / "short.html").read_text()
    assert 'id="heat-map"' in swept
    for name in ("mine", "swept"):
        assert "\\toprule" in (tmp_path / "out" / name / "latex" / "table.tex").read_text()


def test_its_pictures_are_there_and_small() -> None:
    """A picture that a clone must carry for ever is no more than 150 kB."""
    names = re.findall(r"!\[[^\]]+\]\((pictures/[^)]+)\)", TEXT)
    assert len(names) == 3
    assert [name for name in names if (PAGE.parent / name).stat().st_size > 150_000] == []
