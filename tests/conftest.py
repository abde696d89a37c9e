"""Where tests find real data, and what they share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dask_cluster import cluster

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("SIMKV_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture
def data() -> Path:
    """Folder of real traces and series; tests that need it skip where it is absent."""
    if not DATA.is_dir():
        pytest.skip(f"no real data at {DATA} (set SIMKV_DATA)")
    return DATA


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """Address of a Dask scheduler with two workers, started when the first test of a module asks for it."""
    with cluster(workers=2) as running:
        yield running.address
