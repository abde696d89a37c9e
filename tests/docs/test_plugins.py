"""docs/plugins.md names every plug-in, its parameters and whether it is an oracle, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from simkv.scenario.plugins import REGISTRIES, parameters, registry

PAGE = Path(__file__).resolve().parents[2] / "docs" / "plugins.md"
ROW = re.compile(r"^\| `(?P<name>[^`]+)`(?P<oracle> \(oracle\))? \| (?P<says>[^|]+) \| (?P<parameters>[^|]+) \|$")


def sections() -> dict[str, list[re.Match[str]]]:
    """Return the rows under each `## kind`, by kind."""
    found: dict[str, list[re.Match[str]]] = {}
    for part in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]:
        title, *lines = part.splitlines()
        rows = [line for line in lines if line.startswith("| `")]
        matches = [ROW.match(row) for row in rows]
        assert None not in matches, [row for row, match in zip(rows, matches, strict=True) if match is None]
        found[title.strip()] = [match for match in matches if match]
    return found


def test_kinds_are_those_of_the_scenario() -> None:
    """One section for each kind of plug-in that a scenario may name."""
    assert list(sections()) == list(REGISTRIES)


@pytest.mark.parametrize("kind", REGISTRIES)
def test_every_plugin_has_a_row(kind: str) -> None:
    """Names and oracle marks are those of the registry, in its order."""
    known = registry(kind)
    rows = [(row["name"], bool(row["oracle"])) for row in sections()[kind]]
    assert rows == [(name, known.is_oracle(name)) for name in known.names()]


@pytest.mark.parametrize("kind", REGISTRIES)
def test_every_parameter_is_named_as_it_is_written(kind: str) -> None:
    """The last column lists the keys of YAML in the order of the fields, or says none."""
    rows = {row["name"]: re.findall(r"`(\w+)`", row["parameters"]) for row in sections()[kind]}
    assert rows == {name: list(parameters(kind, name)) for name in registry(kind).names()}
