"""docs/ten_turns.md runs as it stands, and its tables have the rows and columns that it prints."""

from __future__ import annotations

import re

import pytest

from tests.conftest import ROOT
from tests.docs.pages import execute, rows

PAGE = (ROOT / "docs" / "ten_turns.md").read_text(encoding="utf-8")
#: Fewer replications and conversations, and the ends of each sweep alone.
SHORTER = {
    "REPLICATIONS, SESSIONS = 20, 40": "REPLICATIONS, SESSIONS = 4, 4",
    "for shown, overrides in points:": "for shown, overrides in (points[0], points[-1]):",
}


def test_the_page_runs_and_its_tables_are_of_what_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    done = [(rows(each.written), rows(each.printed)) for each in execute(PAGE, SHORTER) if each.printed]
    assert len(done) >= 7
    for written, fresh in done:
        first = next(iter(fresh[0]))
        assert [re.sub(" against .*", "", name) for name in written[0]] == [
            re.sub(" against .*", "", name) for name in fresh[0]
        ]
        if first != "x":  # x depends on the sessions
            assert {row[first] for row in fresh} <= {row[first] for row in written}


@pytest.mark.evidence
def test_the_page_as_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    done = [(rows(each.written), rows(each.printed)) for each in execute(PAGE, {}) if each.printed]
    intervals = 0
    for written, fresh in done:
        assert [next(iter(row.values())) for row in written] == [next(iter(row.values())) for row in fresh]
        for before, now in zip(written, fresh, strict=True):
            if ends(before) and ends(now):
                (low, high), (fresh_low, fresh_high) = ends(before), ends(now)
                assert max(low, fresh_low) <= min(high, fresh_high), (before, now)
                intervals += 1
    assert intervals > 20


def ends(row: dict[str, str]) -> list[float]:
    """Return the interval of a row; nothing where it has none."""
    return [float(end) for end in re.findall(r"-?\d+\.\d+", row.get("95 %", ""))]


def test_x_covers_what_a_study_must() -> None:
    """Semantics H4: 0.1 to 10, to one digit."""
    (table,) = (rows(part) for part in re.findall(r"\n(\| x \|.*?)\n\n", PAGE, re.DOTALL))
    x = [float(row["x"]) for row in table]
    assert min(x) <= 0.15
    assert max(x) >= 8
