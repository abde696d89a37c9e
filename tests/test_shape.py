"""Size caps: a module or function over the cap is missing a noun."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent
MODULES = sorted([*(PACKAGE / "simkv").rglob("*.py"), *(PACKAGE / "calibrate").rglob("*.py")])

MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 60
SHORT_FUNCTION_LINES = 30
MIN_SHORT_RATIO = 0.95


def function_lines() -> dict[str, int]:
    """Return the lines of every function, docstring and decorators' lines below the first included."""
    return {
        f"{path.relative_to(PACKAGE)}:{node.lineno} {node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_there_is_something_to_measure() -> None:
    """The caps below would hold for an empty folder too."""
    assert len(MODULES) > 5
    assert len(function_lines()) > 20


def test_modules_stay_under_the_cap() -> None:
    """No module is longer than what a reader takes in at one sitting."""
    lines = {str(path.relative_to(PACKAGE)): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {name: count for name, count in lines.items() if count > MAX_MODULE_LINES} == {}


def test_functions_stay_under_the_cap() -> None:
    """No function is longer than a screen."""
    assert {name: count for name, count in function_lines().items() if count > MAX_FUNCTION_LINES} == {}


def test_most_functions_are_short() -> None:
    """19 of 20 functions fit half a screen; the longest of the others are listed when they do not."""
    lengths = function_lines()
    short = [name for name, count in lengths.items() if count < SHORT_FUNCTION_LINES]
    longest = sorted(lengths.items(), key=lambda item: -item[1])[:20]
    assert len(short) >= MIN_SHORT_RATIO * len(lengths), longest
