"""What became of earlier speculation: sums that are kept equal sums that are counted anew."""

from __future__ import annotations

from collections import deque
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from simkv.jobs import Receiver
from simkv.kv.block import Run
from simkv.track_record import MOST_RECORDED, TrackRecord

RUNS = st.lists(st.builds(Run, st.integers(0, 30), st.integers(1, 5)), min_size=1, max_size=2, unique_by=lambda r: r[0])
STEPS = st.lists(
    st.tuples(st.sampled_from(["displaced", "missed"]), st.integers(0, 2), RUNS), max_size=4 * MOST_RECORDED
)


def apart(runs: list[Run]) -> list[Run]:
    """Return the runs that overlap none before them."""
    seen: set[int] = set()
    found = []
    for run in runs:
        if not seen & set(range(run.start, run.end)):
            found.append(run)
            seen |= set(range(run.start, run.end))
    return found


@given(STEPS)
def test_what_is_missed_is_counted_for_the_last_eviction_that_displaced_it(steps: list[Any]) -> None:
    """Against a list of all evictions, block by block; those beyond the last 64 count no more."""
    record, model = TrackRecord(), deque[dict[str, Any]](maxlen=MOST_RECORDED)
    for what, receiver, named in steps:
        runs = apart(named)
        blocks = {block for run in runs for block in range(run.start, run.end)}
        if what == "displaced":
            record.displaced(cast("Receiver", receiver), runs)
            for each in model:
                each["open"] -= blocks if each["receiver"] == receiver else set()
            model.append({"receiver": receiver, "open": set(blocks), "count": len(blocks), "missed": 0})
        else:
            record.missed(cast("Receiver", receiver), runs)
            for each in model:
                if each["receiver"] == receiver:
                    each["missed"] += len(each["open"] & blocks)
                    each["open"] -= blocks
        told = record.told()
        assert told.displaced_blocks == sum(each["count"] for each in model)
        assert told.missed_blocks == sum(each["missed"] for each in model)


def test_only_the_last_items_count() -> None:
    record = TrackRecord()
    for index in range(MOST_RECORDED + 10):
        record.settle(used=index >= 10, late=index % 2 == 0)
    told = record.told()
    assert (told.known, told.used, told.late) == (MOST_RECORDED, MOST_RECORDED, MOST_RECORDED // 2)
    assert told.settled == MOST_RECORDED + 10
