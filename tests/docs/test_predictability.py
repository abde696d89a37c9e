"""docs/predictability.md tells the truth: its commands run, and each of its numbers is what they give now."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from simkv import cli
from simkv.dialogues import DIALOGUES
from simkv.report.predictability import to_text
from tests.docs import predictability_page as page

TEXT = page.PAGE.read_text(encoding="utf-8")


def set_parameters() -> list[object]:
    """Return every set of the page; those that take long are evidence."""
    return [pytest.param(name, marks=pytest.mark.evidence if name in page.LONG else ()) for name in page.SETS]


@pytest.mark.parametrize("name", set_parameters())
def test_rows_of_a_set_are_what_the_command_gives(name: str, data: Path) -> None:
    """All rows of the set, in every table, word for word and no row more."""
    if not (data / page.SETS[name]).exists():
        pytest.skip(f"{page.SETS[name]} is not there")
    told = page.measured(name, data)
    assert max(map(len, to_text(told).splitlines())) <= 120
    for table, rows in page.rows_of(name, told).items():
        shown = page.block(TEXT, table).splitlines()[2:]
        assert [line for line in shown if re.match(rf"\| {re.escape(name)}[ ,]", line)] == rows, table


def test_every_row_belongs_to_a_set() -> None:
    """A row that no test compares could say anything."""
    for table in page.TABLES:
        names = [re.split(r" \||,", line[2:])[0] for line in page.block(TEXT, table).splitlines()[2:]]
        assert set(names) <= set(page.SETS), table


def test_miniature_is_printed_as_it_stands() -> None:
    assert page.block(TEXT, "miniature") == f"```text\n{page.miniature()}```\n"


def test_commands_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: Path) -> None:
    """Those on the miniature, and one on a public set."""
    (tmp_path / "traces").symlink_to(page.ROOT / "traces")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    lines = [line for part in re.findall(r"```sh\n(.*?)```", TEXT, flags=re.DOTALL) for line in part.splitlines()]
    commands = [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("simkv ")]
    assert len(commands) >= 3
    for words in commands:
        assert cli.main([word.replace("$SIMKV_DATA", str(data)) for word in words]) == cli.DONE
    assert (tmp_path / "coqa.png").stat().st_size > 10_000


def test_every_format_is_named() -> None:
    assert [name for name in DIALOGUES if f"`{name}`" not in TEXT] == []


def test_every_file_is_named() -> None:
    assert [path for path in page.SETS.values() if path not in TEXT] == []


def test_shares_in_the_prose_stand_in_the_tables() -> None:
    """Nobody quotes a share that no set gives; shares of other sources are written without the blank (12.8%)."""
    made = "".join(page.block(TEXT, part) for part in ("miniature", *page.TABLES))
    prose = re.sub(r"<!-- (\w+) -->\n.*?<!-- end -->", "", TEXT, flags=re.DOTALL)
    quoted = re.findall(r"(\d+\.\d) %", prose)
    assert len(quoted) > 10
    assert [share for share in quoted if not re.search(rf"(?<![\d.]){re.escape(share)}(?!\d)", made)] == []
