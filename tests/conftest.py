"""Where tests find real data, and what they share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("SIMKV_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture
def data() -> Path:
    """Folder of real traces and series; tests that need it skip where it is absent."""
    if not DATA.is_dir():
        pytest.skip(f"no real data at {DATA} (set SIMKV_DATA)")
    return DATA
