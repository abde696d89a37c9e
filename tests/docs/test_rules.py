"""Every rule of the model has a row in docs/rules.md, and every test that a row names exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT

#: How many rules each letter has.
RULES = {"A": 2, "B": 5, "C": 3, "D": 5, "E": 3, "F": 5, "G": 6, "H": 4}
STATUS = re.compile(r"holds|partly: .+|not yet: .+")
#: Hand-computed or without anything to compare: no comparison of policies (A1).
NO_COMPARISON = {"three_turns", "three_turns_late"}


def rows() -> dict[str, list[str]]:
    """Return the cells of each rule's row."""
    lines = (ROOT / "docs" / "rules.md").read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if re.match(r"\| [A-H]\d", line)]
    return {row[0]: row[1:] for row in cells}


def named_tests() -> list[str]:
    return sorted({name for row in rows().values() for name in re.findall(r"`(\w+\.py::\w+)`", row[-1])})


def test_every_rule_has_one_row_in_order() -> None:
    assert list(rows()) == [f"{letter}{number}" for letter, count in RULES.items() for number in range(1, count + 1)]


@pytest.mark.parametrize("rule", rows())
def test_a_row_says_what_holds_and_how_it_is_known(rule: str) -> None:
    words, status, tests = rows()[rule]
    assert words
    assert STATUS.fullmatch(status)
    assert re.fullmatch(r"`\w+\.py::\w+`(, `\w+\.py::\w+`)*", tests)


@pytest.mark.parametrize("name", named_tests())
def test_a_named_test_exists(name: str) -> None:
    file, function = name.split("::")
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob(file)]
    assert sum(bool(re.search(rf"^def {function}\(", text, re.MULTILINE)) for text in texts) == 1


@pytest.mark.parametrize("path", sorted((ROOT / "scenarios").glob("*.yaml")), ids=lambda path: path.stem)
def test_comparisons_contain_the_arms_without_kv(path: Path) -> None:
    """Rule A1."""
    if path.stem in NO_COMPARISON:
        pytest.skip("computed by hand, compares nothing")
    told = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not told.get("links"):
        pytest.skip("no network: nothing is moved")
    assert {"text", "text-prefetch"} <= {arm["name"] for arm in told["arms"]}
