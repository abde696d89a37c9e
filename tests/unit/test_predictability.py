"""Measures of predictability on dialogues small enough to count by hand, and the command that prints them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from simkv import cli
from simkv.dialogues import Dialogue, Query, Span
from simkv.kv.block import Run
from simkv.predictability import SCHEMA_VERSION, predictability
from simkv.predictability.blocks import prefix_reuse
from simkv.predictability.estimates import Ratio
from simkv.predictability.follow import Asked
from simkv.predictability.gaps import gaps
from simkv.predictability.next_item import fitting
from simkv.predictability.overlap import order, overlap
from simkv.predictability.prefetching import POLICIES, prefetching
from simkv.predictability.words import words
from simkv.report.predictability import to_text
from tests.conftest import ROOT

MINIATURE = ROOT / "traces" / "coqa_miniature.json"


def spanned(*places: tuple[int, int]) -> Dialogue:
    """Return a dialogue about a text of 100 characters in 10 chunks, answered by these places."""
    return Dialogue(
        "text",
        tuple(
            Query(pieces=tuple(range(start // 10, (end - 1) // 10 + 1)), spans=(Span("text", start, end),))
            for start, end in places
        ),
        chunks=10,
    )


def test_overlap_by_hand() -> None:
    """Places 0-20, 10-30, 10-15: chunks {0, 1}, {1, 2}, {1}; characters 20, 20, 5, shared 10 and 5."""
    told = overlap([spanned((0, 20), (10, 30), (10, 15))], seed=1, shuffles=2)
    value = {unit: {name: share["value"] for name, share in told[unit].items()} for unit in told}
    assert value["chunks"]["jaccard"] == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert value["chunks"]["of_next"] == pytest.approx((1 / 2 + 1) / 2)
    assert value["characters"]["jaccard"] == pytest.approx((10 / 30 + 5 / 20) / 2, abs=1e-6)
    assert value["characters"]["of_next"] == pytest.approx((10 / 20 + 5 / 5) / 2)
    assert value["characters"]["any"] == 1.0


def test_neighbours_share_a_chunk_and_no_character() -> None:
    told = overlap([spanned((0, 5), (5, 9))], seed=1, shuffles=2)
    assert (told["chunks"]["jaccard"]["value"], told["characters"]["jaccard"]["value"]) == (1.0, 0.0)


def test_order_counts_steps_that_do_not_go_back() -> None:
    told = order([spanned((0, 5), (50, 60), (50, 51), (7, 9))], seed=1, shuffles=2)
    assert told["at_or_after"]["value"] == pytest.approx(2 / 3, abs=1e-6)


def test_prefetch_policies_by_hand() -> None:
    """Chunks 0 1 3 3 of 5: always-next moves 1, 2, 4 and names one of three next queries; 3 was never moved."""
    told = prefetching([Asked((0, 1, 3, 3), chunks=5)], "moves", seed=1)["policies"]
    row = told["always-next"]
    assert (row["moved"], row["named_next"]["value"]) == (3, pytest.approx(1 / 3, abs=1e-6))
    assert (row["coverage"]["value"], row["wasted_per_hit"]) == (0.5, 2.0)
    assert row["accuracy"]["value"] == pytest.approx(1 / 3, abs=1e-6)
    assert told["none"]["moved"] == told["repeat-last"]["moved"] == 0
    assert told["repeat-last"]["named_next"]["value"] == pytest.approx(1 / 3, abs=1e-6)
    assert (told["none"]["accuracy"]["value"], told["none"]["wasted_per_hit"]) == (None, None)


def test_prefetched_chunks_stay_until_they_are_asked_for() -> None:
    """Chunk 1 is moved after the first query and used by the third."""
    told = prefetching([Asked((0, 2, 1), chunks=3)], "moves", seed=1)["policies"]["always-next"]
    assert (told["moved"], told["coverage"]["value"], told["accuracy"]["value"]) == (1, 0.5, 1.0)
    assert told["named_next"]["value"] == 0.0


def test_threshold_is_strict() -> None:
    """A probability equal to the threshold does not prefetch (the decision rule of speculative prefetching)."""
    assert POLICIES["threshold-0.5"](({1: 0.5, 2: 0.5000001}, 0, 3)) == {2}


def test_words_by_hand() -> None:
    """Of "red boat sank" the turn before said boat, all before said red and boat."""
    dialogue = Dialogue(
        "one",
        (
            Query(question="What red sea?", heard="A red sky."),
            Query(heard="The boat"),
            Query(question="Why has the red boat sunk?", heard="x"),
        ),
        title="Sea",
    )
    told = words([dialogue], seed=1, shuffles=2)
    assert told["questions"] == 1
    assert told["in_previous_turn"]["value"] == pytest.approx(1 / 3, abs=1e-6)
    assert told["in_history"]["value"] == pytest.approx(2 / 3, abs=1e-6)


def test_blocks_by_hand() -> None:
    """10 blocks; 10 + 2 new; then only the first 4 of those 12: 14 of 26 seen, and the last request drops."""
    runs = ((Run(0, 10),), (Run(0, 10), Run(50, 2)), (Run(0, 4),))
    told = prefix_reuse([Dialogue("one", tuple(Query(runs=run) for run in runs))], "session", seed=1)
    assert told["references"] == 26
    assert told["seen_before"]["value"] == pytest.approx(14 / 26, abs=1e-6)
    assert told["from_previous"]["value"] == pytest.approx(14 / 16, abs=1e-6)
    assert told["drops"]["value"] == 0.5


def test_block_ids_of_sessions_are_their_own_unless_global() -> None:
    both = [Dialogue(name, (Query(runs=(Run(0, 4),)),)) for name in "ab"]
    assert prefix_reuse(both, "session", seed=1)["seen_before"]["value"] == 0.0
    assert prefix_reuse(both, "global", seed=1)["seen_before"]["value"] == 0.5


def test_kinds_of_gaps_are_never_pooled() -> None:
    """Tools pause for 2 s, people for 100 s: each alone is certain."""
    made = [
        Dialogue(str(k), (Query(gap_s=2.0, gap_kind="tool"), Query(gap_s=100.0, gap_kind="human")) * 10)
        for k in range(6)
    ]
    told = gaps(made, seed=1)
    assert {kind: row["crps_s"]["empirical"]["value"] for kind, row in told.items()} == {"human": 0.0, "tool": 0.0}
    assert gaps(made[:1], seed=1)["tool"] == {"n/a": "fewer than 20 gaps in a half"}


def test_gaps_are_scored_by_what_the_other_half_taught() -> None:
    """Every second dialogue pauses for 9 s, the others for 1 s: each half expects what the other does."""
    made = [Dialogue(str(k), (Query(gap_s=(1.0, 9.0)[k % 2], gap_kind="tool"),) * 10) for k in range(6)]
    assert gaps(made, seed=1)["tool"]["crps_s"]["median"]["value"] == 8.0


def test_history_helps_where_gaps_follow_each_other() -> None:
    """Half of the dialogues pause for a second, half for an hour; the previous gap tells which."""
    made = [Dialogue(str(k), (Query(gap_s=(1.0, 3600.0)[k % 4 // 2], gap_kind="human"),) * 30) for k in range(20)]
    told = gaps(made, seed=1)["human"]["crps_s"]
    assert told["after_previous"]["value"] < 0.2 * told["empirical"]["value"]


def test_shares_and_their_intervals_stay_below_one() -> None:
    share = Ratio()
    for above in (0, 1, 0, 1):
        share.add(above, 1)
    found = share.estimate(seed=1)
    assert (found.value, found.high) == (0.5, 1.0)


def test_every_predictor_of_simkv_that_knows_no_future_is_asked() -> None:
    """A new plug-in turns up by itself; oracles never do."""
    from simkv.predictors import PREDICTORS

    asked = {name.partition("-1")[0].partition("-2")[0] for name in fitting(has_chunks=True, sees="moves")}
    assert not any(PREDICTORS.is_oracle(name) for name in asked)
    assert {"sequential", "popularity", "markov", "ppm-c", "ensemble"} <= asked


def test_what_a_set_cannot_answer_it_says() -> None:
    told = predictability(MINIATURE, shuffles=2)
    assert told["schema_version"] == SCHEMA_VERSION
    assert told["gaps"] == {"n/a": "the set has no times"}
    assert "n/a" not in told["next_item"]
    assert "gaps: n/a: the set has no times" in to_text(told)


def test_command_prints_json_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "figure.svg"
    words_ = ["trace", "predictability", str(MINIATURE), "--json", "--shuffles", "2", "--plot", str(target)]
    assert cli.main(words_) == cli.DONE
    told = json.loads(capsys.readouterr().out)
    assert (told["format"], told["dialogues"], told["queries"]) == ("coqa", 6, 60)
    assert told["next_item"]["two_fold"]["bigram"]["top1"]["ci95"]
    assert "markov-1 (moves)" in target.read_text()
    first = target.read_bytes()
    assert cli.main(words_) == cli.DONE
    assert target.read_bytes() == first


def test_figure_of_a_set_without_items_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    request = {"timestamp": 0, "input_length": 1100, "output_length": 3, "hash_ids": [0, 1, 2]}
    path = tmp_path / "m.jsonl"
    path.write_text(json.dumps(request))
    assert cli.main(["trace", "predictability", str(path), "--plot", str(tmp_path / "x.png")]) == cli.INVALID
    assert "nothing to draw" in capsys.readouterr().err
    assert not (tmp_path / "x.png").exists()


def test_text_fits_a_terminal() -> None:
    """120 columns, the widest table included."""
    assert max(map(len, to_text(predictability(MINIATURE, shuffles=2)).splitlines())) <= 120


def test_equal_seeds_give_equal_bytes_whatever_the_hash_seed() -> None:
    """And another seed gives other shuffles."""
    said = []
    for hash_seed, seed in (("1", "1"), ("2", "1"), ("1", "2")):
        asked = ["trace", "predictability", str(MINIATURE), "--json", "--shuffles", "2", "--seed", seed]
        words_ = [sys.executable, "-m", "simkv.cli", *asked]
        env = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
        said.append(subprocess.run(words_, env=env, capture_output=True, check=True, timeout=120).stdout)
    assert said[0] == said[1] != said[2]
