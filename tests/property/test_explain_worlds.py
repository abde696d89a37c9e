"""In any world: watching a turn changes nothing, and what it waited for fills the time to its first token."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from simkv.again import rows
from simkv.errors import InputError
from simkv.explain import _story
from simkv.simulation import run
from simkv.tracing import Tracer
from simkv.waiting import CAUSES, waits
from tests.property.test_worlds import worlds, written

EXAMPLES = int(os.environ.get("WORLDS", "40"))


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(worlds(), st.data())
def test_waits_sum_to_the_time_to_first_token(
    world: tuple[dict[str, Any], dict[str, Any]], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        scenario = written(Path(folder), *world, stepped=False)
        arm = scenario.arms[0].name
        try:
            plain = run(scenario, arm)
        except InputError as error:
            assume("does not fit" not in str(error))
            raise
        turns = list(zip(plain.requests["session"], plain.requests["turn"], strict=True))
        assume(turns)
        which = data.draw(st.sampled_from(turns))
        tracer = Tracer(*which)
        watched = run(scenario, arm, watch=tracer.attach)
    assert repr(watched) == repr(plain)
    (row,) = [row for row in rows(watched) if (row["session"], row["turn"]) == which]
    assert tracer.told is not None
    found = waits(row, tracer.told)
    assert {wait.cause for wait in found} <= set(CAUSES)
    ends = [row["arrival_s"], *(wait.end_s for wait in found)]
    assert ends == sorted(ends)
    assert [wait.start_s for wait in found] == ends[:-1]
    if row["first_token_s"] is not None:
        assert ends[-1] == row["first_token_s"]
        told = sum(wait["seconds"] for wait in _story(row, tracer.told, tracer)["waits"])
        assert told == pytest.approx(row["first_token_s"] - row["arrival_s"], rel=1e-9, abs=1e-9)
    if row["status"] == "finished":
        _check_looks(row, tracer)


def _check_looks(row: dict[str, Any], tracer: Tracer) -> None:
    """Causes of parts are those that the request's columns count."""
    assert tracer.told is not None
    for look in tracer.told.looks:
        assert look.blocks == look.resident + look.arriving + look.missing
    for cause in ("evicted", "wrong", "cancelled", "refused", "uncreated", "unpredicted"):
        assert sum(look.cause == cause for look in tracer.told.looks) == row[f"{cause}_units"]
