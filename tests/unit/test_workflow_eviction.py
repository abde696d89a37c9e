"""Eviction that is told how many steps off a next use is: by a source's message, or by the receiver's own mind."""

from __future__ import annotations

from pathlib import Path

import pytest

from simkv.errors import InputError
from tests.unit.little_worlds import BLOCK_BYTES, little, session, turn

ROUNDS = 12


def hits(folder: Path, eviction: str, initiator: str = "push") -> int:
    """Count the queries that miss nothing: a loop over three chunks, room for two and the dialogue."""
    loop = [turn(index % 3, think=9.0) for index in range(3 * ROUNDS)]
    played = little(
        folder,
        session(*loop, chunks=[160, 160, 160]),
        eviction=eviction,
        predictor="task-graph",
        initiator=initiator,
        receiver_blocks=20 + 6,
        sender_blocks=10_000,
    )
    return sum(played.column("ready_at_arrival"))


@pytest.mark.parametrize("initiator", ["push", "pull"])
def test_of_a_loop_that_does_not_fit_what_comes_last_goes(tmp_path: Path, initiator: str) -> None:
    """LRU evicts exactly what comes next and never hits; told the steps, one chunk of two stays from round to round."""
    assert hits(tmp_path, "lru", initiator) == 0
    told = hits(tmp_path, "workflow-aware", initiator)
    assert told >= ROUNDS  # at least every third query once the loop is known


def test_telling_costs_bytes_on_the_downlink_and_nothing_else(tmp_path: Path) -> None:
    """A message a query: 64 bytes and 8 for each of three steps, in the speculative class."""
    loop = [turn(index % 3, think=9.0) for index in range(6)]
    told = little(
        tmp_path,
        session(*loop, chunks=[16, 16, 16]),
        eviction="workflow-aware",
        predictor="task-graph",
        control="64 B",
    )
    totals = told.result.links["down"]
    assert totals.speculative_control_bytes == 6 * (64 + 3 * 8)
    assert totals.wire_bytes_by_class["demand"] == 3 * BLOCK_BYTES


def test_who_does_not_know_steps_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not know; want 'task-graph'"):
        little(tmp_path, session(turn(0), chunks=[16]), eviction="workflow-aware", predictor="markov")
