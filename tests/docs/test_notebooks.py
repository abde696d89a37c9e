"""Every notebook runs from a clean kernel in its short form, holds no outputs and no logic."""

from __future__ import annotations

import ast
import os
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

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
    assert [stream["text"] for stream in streams if stream["name"] == "stderr"] == []


@pytest.mark.evidence
def test_the_notebook_of_real_traces_runs_on_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not DATA.is_dir():
        pytest.skip(f"no real data at {DATA} (set SIMKV_DATA)")
    text, pictures = shown(run("05_real_traces.ipynb", tmp_path, monkeypatch, DATA))
    assert "recorded data" in text
    assert pictures


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
