"""docs/overload.md is what its own code prints: a link queues where it is asked for more than it carries."""

from __future__ import annotations

import pytest

from tests.conftest import ROOT
from tests.docs.pages import Executed, execute, rows
from tests.docs.test_theory import agree

PAGE = (ROOT / "docs" / "overload.md").read_text(encoding="utf-8")
SHORTER = {"REPLICATIONS = 10": "REPLICATIONS = 4"}
Rows = list[dict[str, str]]


def compared(done: list[Executed]) -> list[tuple[Rows, Rows]]:
    """Return each table as it stands in the page and as it is printed now."""
    return [(rows(each.written), rows(each.printed)) for each in done if each.printed]


def check(tables: list[tuple[Rows, Rows]]) -> None:
    """Even requests to the digit; random ones in intervals that overlap, around the same theory, which lies inside."""
    assert [(len(written), len(fresh)) for written, fresh in tables] == [(6, 6), (10, 10)]
    for written, fresh in tables:
        assert [pair for pair in zip(written, fresh, strict=True) if not agree(*pair)] == []
        assert {row.get("inside", "yes") for row in (*written, *fresh)} == {"yes"}


@pytest.fixture(scope="module")
def tables() -> list[tuple[Rows, Rows]]:
    return compared(list(execute(PAGE, SHORTER)))


def test_the_page_is_what_it_prints(tables: list[tuple[Rows, Rows]]) -> None:
    check(tables)


@pytest.mark.evidence
def test_the_page_as_it_stands() -> None:
    check(compared(list(execute(PAGE, {}))))


def test_a_link_that_is_full_has_no_constant_delay(tables: list[tuple[Rows, Rows]]) -> None:
    """Below capacity every minute is like the first; above it the delay grows as the fluid laws say."""
    for row in tables[0][1]:
        minutes = [row[f"minute {minute}"] for minute in (1, 5, 10)]
        if float(row["offered / capacity"]) < 1:
            assert set(minutes) == {row["alone [s]"]} == {row["Dynamo [s]"]}
        elif minutes[2].startswith(">"):
            assert float(minutes[2].strip("> ")) > 100 * float(row["Dynamo [s]"])
        else:
            first, fifth, tenth = map(float, minutes)
            assert tenth == pytest.approx(float(row["theory"]), rel=0.01)
            assert (fifth / first, tenth / fifth) == pytest.approx((270 / 30, 570 / 270), rel=0.06)  # mid-minutes
