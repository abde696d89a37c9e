"""docs/theory.md is what its own code prints: every law inside its interval, shorter here, as it stands as evidence."""

from __future__ import annotations

import re

import pytest

from tests.conftest import ROOT
from tests.docs.pages import Executed, execute, rows

PAGE = (ROOT / "docs" / "theory.md").read_text(encoding="utf-8")
SHORTER = {"REPLICATIONS, LENGTH = 12, 10": "REPLICATIONS, LENGTH = 6, 1"}

#: Columns that a shorter run need not repeat: they are estimates without an interval of their own.
ESTIMATES = {"simulated", "interval", "h", "N", "1/(1 - h)", "saved [s]", "hidden [s]", "between turns [s]", "turns"}
ESTIMATES |= {"least stall - bound [s]", "turns that meet it"}


def ends(row: dict[str, str]) -> tuple[float, float]:
    """Return the interval of a row, widened by what rounding to three digits hides."""
    told = re.findall(r"-?\d+\.\d+", row["interval"]) or [row["simulated"]] * 2
    return float(told[0]) - 6e-4, float(told[1]) + 6e-4


def agree(written: dict[str, str], fresh: dict[str, str]) -> bool:
    """Return whether a row of the page may stand where another was printed: "?" is what the new one cannot tell."""
    if written.keys() != fresh.keys():
        return False
    if any(written[name] != fresh[name] != "?" for name in fresh if name not in ESTIMATES):
        return False
    if "interval" not in fresh:
        return True
    (low, high), (fresh_low, fresh_high) = ends(written), ends(fresh)
    return low <= fresh_high and fresh_low <= high and low <= float(fresh["theory"]) <= high


@pytest.fixture(scope="module")
def shorter() -> list[Executed]:
    return list(execute(PAGE, SHORTER))


def check(done: list[Executed], laws: int) -> None:
    tables = [(rows(each.written), rows(each.printed)) for each in done if each.printed]
    assert len(tables) >= laws
    for written, fresh in tables:
        assert len(written) == len(fresh) > 0
        assert [pair for pair in zip(written, fresh, strict=True) if not agree(*pair)] == []
        assert {row.get("inside", "yes") for row in (*written, *fresh)} == {"yes"}
        assert {row.get("holds", "yes") for row in (*written, *fresh)} == {"yes"}


def test_every_law_holds_and_the_page_says_so(shorter: list[Executed]) -> None:
    check(shorter, laws=9)


def test_simulation_never_contradicts_a_threshold(shorter: list[Executed]) -> None:
    for row in (row for each in shorter for row in (*rows(each.written), *rows(each.printed))):
        if row.get("simulation says"):
            assert row["simulation says"] in ("?", next(row[name] for name in ("p > ρ₀", "p > p*") if name in row))


def test_a_law_that_is_off_is_noticed() -> None:
    sections = PAGE.split("\n## ")
    lateness = next(section for section in sections if section.startswith("4. "))
    wrong = lateness.replace("worth.hidden_if_partial(x)", "worth.hidden_if_whole(x)")
    assert wrong != lateness
    check(list(execute(sections[0] + lateness, SHORTER)), laws=1)
    with pytest.raises(AssertionError):
        check(list(execute(sections[0] + wrong, SHORTER)), laws=1)


@pytest.mark.evidence
def test_the_page_as_it_stands() -> None:
    done = list(execute(PAGE, {}))
    check(done, laws=9)
    assert "?" not in {row.get("simulation says") for each in done for row in rows(each.printed)}
