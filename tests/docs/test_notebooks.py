"""Every notebook runs from a clean kernel in its short form, holds no outputs and no logic."""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from PIL import Image

import simkv
from simkv.report.winners import winners
from tests.conftest import DATA, ROOT

FOLDER = ROOT / "notebooks"
NOTEBOOKS = sorted(path.name for path in FOLDER.glob("*.ipynb"))


def read(name: str) -> Any:
    """Return a notebook."""
    return nbformat.read(FOLDER / name, as_version=nbformat.NO_CONVERT)


def run(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, data: Path) -> Any:
    """Run a copy of a notebook beside the repository's scenarios and traces; return it with its outputs."""
    (folder / "notebooks").mkdir()
    for linked in ("scenarios", "traces", "docs"):
        (folder / linked).symlink_to(ROOT / linked)
    for path in FOLDER.iterdir():
        if path.name == "calibration":
            (folder / "notebooks" / path.name).symlink_to(path)
    monkeypatch.setenv("SIMKV_SHORT", "1")
    monkeypatch.setenv("SIMKV_DATA", os.fspath(data))
    monkeypatch.setenv("PYTHONPATH", os.fspath(ROOT))
    monkeypatch.setenv("IPYTHONDIR", os.fspath(folder / "ipython"))
    notebook = read(name)
    client = NotebookClient(notebook, timeout=120, resources={"metadata": {"path": os.fspath(folder / "notebooks")}})
    return client.execute()


def shown(notebook: Any) -> tuple[str, int]:
    """Return the text that a run notebook shows, and how many pictures."""
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    texts = [output.get("text", "") or output.get("data", {}).get("text/plain", "") for output in outputs]
    return "\n".join(texts), sum("image/png" in output.get("data", {}) for output in outputs)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs_from_a_clean_kernel(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In its short form and without real data; it shows at least one table or picture, and nothing on stderr."""
    notebook = run(name, tmp_path, monkeypatch, tmp_path / "absent")
    text, pictures = shown(notebook)
    assert text
    assert pictures or "policies" in text
    streams = [o for cell in notebook.cells if cell.cell_type == "code" for o in cell.outputs if "name" in o]
    said = [line for o in streams if o["name"] == "stderr" for line in o["text"].splitlines()]
    assert [line for line in said if not re.match("findfont: |Matplotlib is building the font cache", line)] == []


@pytest.mark.evidence
def test_the_notebook_of_real_traces_runs_on_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not DATA.is_dir():
        pytest.skip(f"no real data at {DATA} (set SIMKV_DATA)")
    text, pictures = shown(run("05_real_traces.ipynb", tmp_path, monkeypatch, DATA))
    assert "recorded data" in text
    assert pictures


def test_the_heat_map_of_the_pages_is_what_its_words_say() -> None:
    """The picture carries the caption that the notebook gave it, and both pages say that where nobody sees it."""
    picture = ROOT / "docs" / "pictures" / "heat_map.png"
    assert picture.stat().st_size <= 150_000
    with Image.open(picture) as opened:
        caption = opened.info["Description"]
    for page in (ROOT / "README.md", ROOT / "docs" / "index.md"):
        assert f"![{caption}](" in page.read_text(encoding="utf-8")
    cells = {cell.id: cell.source for cell in read("02_bandwidth_and_threshold.ipynb").cells}
    assert 'figure.savefig("heat_map.png"' in cells["figure"]


@pytest.mark.evidence
def test_a_cell_of_that_heat_map_is_what_the_simulator_says_today() -> None:
    """At 80 Mbit/s and the lowest threshold, by the notebook's own scenario: who wins, as the words say."""
    cells = {cell.id: cell.source for cell in read("02_bandwidth_and_threshold.ipynb").cells}
    code = cells["scenario"].replace("../scenarios", f"{ROOT}/scenarios").partition("grid = ")[0]
    namespace: dict[str, Any] = {"simkv": simkv, "SHORT": False}
    exec(compile(code, "notebook", "exec"), namespace)
    grid = {"links.slice.capacity.mean": ["80 Mbit/s"], "policies.prefetch.threshold": [0.05, 0.65]}
    low, high = (row[0] for row in winners(simkv.sweep(namespace["scenario"], grid), *grid).cells)
    assert low is not None
    assert high is not None
    assert (low.best, f"{low.value:.1f}", low.is_open) == ("threshold", "4.5", False)
    assert (high.best, f"{high.value:.1f}", high.is_open) == ("sequential", "5.7", False)


def test_there_are_notebooks() -> None:
    """The tests above would pass on an empty folder; each number is there once."""
    assert [name[:2] for name in NOTEBOOKS] == ["01", "02", "03", "04", "05", "06"]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_clean(name: str) -> None:
    """Valid, of format 4.5 with ids in words, without outputs or counts: what a diff shows was written by a person."""
    notebook = read(name)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)
    assert all(identity.replace("-", "").isalnum() and not identity.isdigit() for identity in ids)
    for cell in notebook.cells:
        assert not cell.metadata
        if cell.cell_type == "code":
            assert (cell.outputs, cell.execution_count) == ([], None)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_holds_no_logic(name: str) -> None:
    """Calls of simkv and tables alone: no function, class or loop, but in the file that the reader writes."""
    for cell in read(name).cells:
        if cell.cell_type == "code" and not cell.source.startswith("%%writefile"):
            code = "\n".join(line for line in cell.source.splitlines() if not line.startswith("%"))
            found = [type(node).__name__ for node in ast.walk(ast.parse(code))]
            assert not {"FunctionDef", "ClassDef", "For", "While", "Try"} & set(found), code
