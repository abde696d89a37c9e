"""The site holds every page, and what it makes of the code is all of it. `make docs` and `make evidence` build it."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import simkv
from simkv.scenario.catalogue import catalogue
from simkv.scenario.json_schema import json_schema
from tests.conftest import ROOT

INDEX = ROOT / "docs" / "index.md"


def made() -> ModuleType:
    """Return docs/made.py, which is in no package."""
    spec = importlib.util.spec_from_file_location("made", ROOT / "docs" / "made.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def listed() -> set[Path]:
    """Return the pages that the toctrees of the index name."""
    blocks = re.findall(r"```\{toctree\}\n(.*?)```", INDEX.read_text(encoding="utf-8"), flags=re.DOTALL)
    names = [line for block in blocks for line in block.splitlines() if line and not line.startswith(":")]
    assert len(set(names)) == len(names), "docs/index.md lists a page twice"
    found: set[Path] = set()
    for name in names:
        target = re.sub(r".*<(.*)>", r"\1", name)
        pages = [*INDEX.parent.glob(f"{target}.md"), *INDEX.parent.glob(f"{target}.ipynb")]
        assert pages, f"docs/index.md lists {target}, which is no page"
        found |= {page.resolve() for page in pages}
    return found


def test_every_page_is_in_the_contents() -> None:
    """One that nobody lists is one that nobody finds: add it to a toctree of docs/index.md."""
    pages = {*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("notebooks/*.ipynb"), ROOT / "traces/README.md"}
    assert sorted(str(page.relative_to(ROOT)) for page in pages - listed() - {INDEX}) == []


def test_the_reference_of_scenarios_has_every_part_and_key() -> None:
    """With what it is: a key without a meaning is one of a part, which is explained there."""
    schema = json_schema()
    text = "\n".join(made().scenario_keys())
    changes = {"PolicyChanges", "ServerChanges"}  # what an arm may say of the parts of the same name
    assert set(re.findall(r"^## (\w+)$", text, flags=re.MULTILINE)) == set(schema["$defs"]) - changes
    keys = {key for part in (schema, *schema["$defs"].values()) for key, form in part["properties"].items() if form}
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \| .*\|$", text, flags=re.MULTILINE)
    assert {key for key, _, _ in rows} == keys
    alone = ["size", "series", "mean", "name"]  # parts that are told in a sentence
    assert [key for key, meaning, form in rows if not meaning and "[" not in form] == alone
    assert ("delay", "[s] one way.", "such as `20 ms`") in rows


def test_the_reference_of_plugins_has_every_parameter() -> None:
    """As `simkv list` has them."""
    text = "\n".join(made().parameters())
    for plugins in catalogue().values():
        for plugin in plugins:
            row = next(line for line in text.splitlines() if line.startswith(f"| `{plugin['name']}` |"))
            assert plugin["doc"].replace("|", "\\|") in text
            assert all(f"`{parameter['name']}`: " in text for parameter in plugin["parameters"]), row


def test_the_reference_of_python_has_what_packages_offer() -> None:
    """All that `simkv` and `simkv.sweep` export, and every question that a plug-in may answer."""
    text = (ROOT / "docs" / "reference" / "api.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\.\. auto\w+:: (\S+)$", text, flags=re.MULTILINE))
    assert [name for name in importlib.import_module("simkv.sweep").__all__ if f"simkv.sweep.{name}" not in named] == []
    assert [name for name in simkv.__all__[1:] if not any(path.endswith(f".{name}") for path in named)] == []
    asked = {*ROOT.glob("simkv/policies/*/question.py"), *ROOT.glob("simkv/predictors/**/question.py")}
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in asked}
    assert modules - named == set()


def test_docstrings_of_this_house_are_told_as_sphinx_reads_them() -> None:
    """What stands behind the colon is what a parameter is, no type; so is what a function returns."""
    lines = ["Say.", "", "Parameters", "----------", "seed : of all.", "", "Returns", "-------", "A table: of arms."]
    made().plain(None, "", "", None, None, lines)
    assert lines[4:6] == ["seed", "    of all."]
    assert lines[7:] == ["What comes back", "---------------", "A table: of arms."]


@pytest.mark.evidence
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    """Every link of every page leads somewhere, anchors too."""
    pytest.importorskip("sphinx", reason="Sphinx is not installed (make docs)")
    words = ["-b", "html", "-q", "-W", "--keep-going", "-d", str(tmp_path / "trees"), "-c", "docs", "."]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *words, str(tmp_path / "site")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "docs/index.html" in (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert "heat_map" in (tmp_path / "site" / "docs" / "reference" / "api.html").read_text(encoding="utf-8")
