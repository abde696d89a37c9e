"""docs/findings/prefetch_over_slices.md is what its own code prints; one row is compared digit by digit."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conftest import DATA, ROOT
from tests.docs.pages import Executed, execute, rows

PAGE = (ROOT / "docs" / "findings" / "prefetch_over_slices.md").read_text(encoding="utf-8")
WHOLE = "REPLICATIONS, SESSIONS = 8, 40"
SHORTER = {
    WHOLE: "REPLICATIONS, SESSIONS = 2, 4",
    '("25 Mbit/s", "50 Mbit/s", "100 Mbit/s", "200 Mbit/s", "400 Mbit/s")': '("100 Mbit/s",)',
    'for capacity in ("50 Mbit/s", "100 Mbit/s"):': 'for capacity in ("100 Mbit/s",):',
    'for size in ("192 MiB", "256 MiB", "384 MiB"):': 'for size in ("256 MiB",):',
    '"fifo", "lfu", "slru", "arc", "s3-fifo", "sieve", "w-tinylfu", "gdsf", "random", "belady"': '"belady"',
}


@pytest.fixture(autouse=True)
def at_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("SIMKV_DATA", os.fspath(DATA))


def printed(done: list[Executed]) -> list[Executed]:
    return [each for each in done if each.printed]


def test_every_block_runs_and_prints_the_table_that_stands_behind_it() -> None:
    """With fewer replications: the same columns, and rows that the page has too."""
    done = printed(list(execute(PAGE, SHORTER)))
    assert len(done) == (9 if DATA.is_dir() else 7)
    for each in done:
        written, fresh = rows(each.written), rows(each.printed)
        assert fresh, each.code
        assert set(fresh[0]) <= set(written[0])
        first = next(iter(fresh[0]))
        assert {row[first] for row in fresh} <= {row[first] for row in written}


def test_a_row_of_the_page_is_what_the_simulator_says_today() -> None:
    """The capacity of 100 Mbit/s and the knapsack, to the last digit that the page shows."""
    whole = PAGE.split("## Which predictor")[0]
    namespace: dict[str, object] = {}
    exec(compile(whole.split("```python\n")[1].split("```")[0], "page", "exec"), namespace)
    study, arm, times = (namespace[name] for name in ("study", "arm", "times"))
    _, found = study(
        [arm("knapsack", predictor="ppm-c", prefetch="knapsack")], links__slice__capacity__mean="100 Mbit/s"
    )  # type: ignore[operator]
    section = PAGE.split("## At which capacity?")[1].split("\n## ")[0]
    row = next(row for row in rows(section) if row["slice"] == "100 Mbit/s")
    assert times(found.loc["knapsack"]) == row["knapsack"]  # type: ignore[operator]


@pytest.mark.evidence
def test_the_page_as_it_stands() -> None:
    if not Path(DATA).is_dir():
        pytest.skip(f"no real data at {DATA} (set SIMKV_DATA)")
    for each in printed(list(execute(PAGE, {}))):
        assert each.printed == each.written
