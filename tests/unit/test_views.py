"""What a prefetch policy is shown of link, bytes, backlog and its own record, in worlds computed by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from simkv.policies import PREFETCH
from simkv.policies.prefetch import Moment, Prefetch, PrefetchView
from simkv.sensing import LOAD_MEMORY_S
from tests.unit.little_worlds import BLOCK_BYTES, little, session, turn

TEXT_BYTES = 16 * 4  # of a block
RATE_BPS = 1_572_864.0
BOTH = pytest.mark.parametrize("initiator", ["push", "pull"])

Showing = Callable[..., list[Any]]


@pytest.fixture
def showing(monkeypatch: pytest.MonkeyPatch) -> Showing:
    """Return what registers a policy `showing` that notes what a function makes of each view, and moves items."""

    def register(
        look: Callable[[PrefetchView], object], *items: int, kind: str = "kv", at: Moment = "query"
    ) -> list[Any]:
        shown: list[Any] = []

        @dataclass
        class Policy:
            moments: ClassVar[frozenset[Moment]] = frozenset({at})

            def decide(self, view: PrefetchView) -> list[Prefetch]:
                shown.append(look(view))
                return [Prefetch(item, kind) for item in items]  # type: ignore[arg-type]

        monkeypatch.setitem(PREFETCH._factories, "showing", Policy)
        return shown

    return register


@BOTH
def test_lacking_bytes_are_those_of_all_that_an_item_needs(tmp_path: Path, showing: Showing, initiator: str) -> None:
    """Chunk 2 needs chunks 0 and 1 before it: 1 + 2 + 3 blocks, the first three of which come with the query."""
    shown = showing(
        lambda view: [view.item_bytes(2), *(view.lacking_bytes(2, kind) for kind in ("kv", "text", "compute"))]
    )  # type: ignore[arg-type]
    little(
        tmp_path,
        session(turn(1), turn(1, think=20.0), chunks=[16, 32, 48]),
        layout="document_first",
        prefetch="showing",
        initiator=initiator,
    )
    assert shown[0] == shown[1] == [6 * BLOCK_BYTES, 3 * BLOCK_BYTES, 3 * TEXT_BYTES, 0]


def test_the_backlog_is_that_of_other_sessions(tmp_path: Path, showing: Showing) -> None:
    """a has four blocks pushed to it from 0.1 on, until 4.1 or more; b asks at 2.1, again at 4.2 and at 30."""
    shown = showing(lambda view: (view.chunks, view.link.backlog_bytes()), 1)
    little(
        tmp_path,
        session(turn(0), turn(0, think=60.0), chunks=[16, 64], name="a"),
        session(turn(0), turn(0, think=1.0), turn(0, think=30.0), chunks=[16, 16, 16], name="b", start=2.0),
        prefetch="showing",
    )
    # b is sent a block by 3.1, then asks again; a's push has had 1.1 to 2.1 and goes on, shared with b's
    assert [backlog for chunks, backlog in shown if chunks == 3] == [4 * BLOCK_BYTES, 4 * BLOCK_BYTES, 0]
    assert [backlog for chunks, backlog in shown if chunks == 2] == [0, 0]


@pytest.mark.parametrize(("initiator", "heard_s"), [("push", 1.3), ("pull", 1.2)])
def test_rate_and_load_are_what_the_transfers_told(
    tmp_path: Path, showing: Showing, initiator: str, heard_s: float
) -> None:
    """One demand block, 1 s of the link, heard of when it arrived; seen at 11.3 (or 11.2), it has faded since."""
    shown = showing(lambda view: (view.link.rate_bps(), view.link.demand_ratio(), view.link.delay_s))
    little(
        tmp_path,
        session(turn(0), turn(0, think=10.0), turn(0, think=10.0), chunks=[16]),
        prefetch="showing",
        initiator=initiator,
    )
    assert shown[0] == (None, 0.0, 0.1)
    rate_bps, load, _ = shown[1]
    assert rate_bps == pytest.approx(RATE_BPS, rel=1e-9)
    now_s = heard_s + 10.0
    seen_s = LOAD_MEMORY_S * (1 - math.exp(-now_s / LOAD_MEMORY_S))
    assert load == pytest.approx(math.exp(-10.0 / LOAD_MEMORY_S) * 1.0 / seen_s, rel=1e-9)


def test_of_a_sliced_link_the_slice_is_seen(tmp_path: Path, showing: Showing, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of the link, which demand takes nothing of."""
    shown = showing(lambda view: (view.link.rate_bps(), view.link.demand_ratio()), 1)
    monkeypatch.setattr(PREFETCH.get("showing"), "reserved_ratio", 0.25, raising=False)
    little(
        tmp_path,
        session(turn(0), turn(1, think=20.0), chunks=[160, 32]),
        prefetch="showing",
    )
    assert shown == [(None, 0.0), (pytest.approx(RATE_BPS / 4, rel=1e-9), 0.0)]


@BOTH
def test_the_record_counts_what_was_speculated_alone(tmp_path: Path, showing: Showing, initiator: str) -> None:
    """Chunk 0 is named too, and there. Chunk 1 is used in time, then held; chunk 2 is wrong at first, late at last."""
    shown = showing(lambda view: tuple(view.record), 0, 1, 2)
    little(
        tmp_path,
        session(turn(0), turn(1, think=3.0), turn(0, think=0.0), turn(2, think=0.0), chunks=[16, 16, 320]),
        prefetch="showing",
        initiator=initiator,
    )
    assert shown[:2] == [(0, 0, 0, 0, 0, 0), (2, 1, 0, 2, 0, 0)]  # 1 used, 2 not
    assert shown[2] == (3, 1, 0, 3, 0, 0)  # only 2 is under way, and not used
    assert shown[3] == (4, 2, 1, 4, 0, 0)  # 2 is used, and still under way


def test_what_is_only_made_is_never_late(tmp_path: Path, showing: Showing) -> None:
    shown = showing(lambda view: tuple(view.record)[:3], 1, kind="compute")
    little(
        tmp_path,
        session(turn(0), turn(1, think=3.0), turn(0, think=1.0), chunks=[16, 16]),
        prefetch="showing",
    )
    assert shown == [(0, 0, 0), (1, 1, 0), (1, 1, 0)]


@BOTH
def test_the_record_tells_what_speculation_pushed_out_and_who_missed_it(
    tmp_path: Path, showing: Showing, initiator: str
) -> None:
    """Room for 4 blocks, of which chunk 1 has 3 when its answer has ended. Then chunk 0 is sent, 2 blocks: one of chunk
    1's goes, and is lacking when chunk 1 is asked again."""
    shown = showing(lambda view: (view.record.displaced_blocks, view.record.missed_blocks), 0, at="pause")
    played = little(
        tmp_path,
        session(turn(1), turn(1, think=20.0), chunks=[32, 48]),
        prefetch="showing",
        receiver_blocks=4,
        initiator=initiator,
    )
    assert shown == [(0, 0), (1, 1)]
    assert played.result.pollution_bytes == BLOCK_BYTES
