"""docs/incremental.md tells the truth: its examples run, and what it prints is what they print."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import pytest

import simkv
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "incremental.md").read_text(encoding="utf-8")
ARITHMETIC, GENERATED, RECORDED = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
SHORT = '{**settings, "replications": 2, "workload.sessions": 5}'


def printed(code: str, **given: Any) -> list[str]:
    """Run a block as it stands in the page; return the lines that it prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, "incremental.md", "exec"), given)
    return out.getvalue().splitlines()


def test_the_arithmetic_prints_what_the_page_says() -> None:
    assert "\n".join(printed(ARITHMETIC)) in PAGE


def shares(line: str) -> list[float]:
    """Return the savings of bytes in a row [%]: over resend, and over fetch."""
    return [float(number) for number in re.findall(r"(\S+) % \[", line)]


def test_the_table_of_generated_sessions_comes_from_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short runs give rows of the same settings; by any sample resend costs most, and growth gives a delta nothing."""
    monkeypatch.chdir(ROOT)
    assert 'incremental.yaml", settings)' in GENERATED
    rows = printed(GENERATED.replace('incremental.yaml", settings)', f'incremental.yaml", {SHORT})'))
    names = [line.split(" | ")[0] for line in rows]
    assert names == [line.split(" | ")[0] for line in PAGE.splitlines() if line.startswith("| ") and " % [" in line]
    assert all(shares(line)[0] > 20 for line in rows)
    assert -0.001 < shares(rows[0])[1] < 0  # growth by whole chunks: the names of versions are all the difference
    assert shares(rows[3])[1] > shares(rows[2])[1] > 0  # larger blocks leave more to a delta


def test_what_the_page_says_of_the_table_is_in_it() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and " % [" in line]
    exact = [shares(line) for line in rows[:4]]
    assert (min(line[0] for line in exact), max(line[0] for line in exact)) == (
        pytest.approx(78, abs=0.5),
        pytest.approx(85, abs=0.5),
    )
    assert (min(line[1] for line in exact), max(line[1] for line in exact)) == (
        pytest.approx(0, abs=5e-4),
        pytest.approx(3.1, abs=0.06),
    )


@pytest.mark.evidence
def test_the_table_of_generated_sessions_is_what_its_code_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert "\n".join(printed(GENERATED)) in PAGE


@pytest.mark.evidence
def test_the_run_is_what_the_page_shows() -> None:
    comparison = simkv.run(simkv.load(ROOT / "scenarios" / "incremental.yaml"))
    text = str(comparison).splitlines()
    shown = PAGE.split("```text\narm ")[1].split("```")[0].splitlines()[1:]
    assert len(shown) == len(comparison.arms) + 1
    assert [line for line in shown if line not in text] == []


def test_recorded_agents_send_what_the_page_says(data: Path) -> None:
    assert "\n".join(printed(RECORDED, DATA=data)) in PAGE
