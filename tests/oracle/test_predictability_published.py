"""The public sets give the numbers that their own descriptions state."""

from __future__ import annotations

from pathlib import Path

import pytest

from simkv.dialogues import DialogueSet, read_dialogues
from simkv.predictability.blocks import prefix_reuse
from simkv.predictability.gaps import gaps
from simkv.predictability.next_item import asked_of
from simkv.predictability.overlap import order
from simkv.predictability.prequential import two_fold
from simkv.predictability.reuse import reuse
from simkv.predictability.words import words
from simkv.predictors.markov import Markov
from simkv.scoring import Ranks

POINTS = 2.0  # of 100


def read(data: Path, name: str) -> DialogueSet:
    if not (data / name).exists():
        pytest.skip(f"{name} is not there")
    return read_dialogues(data / name)


@pytest.mark.parametrize(
    ("name", "top1", "top3", "most_frequent"),
    [
        ("sgd_dev_test/dialogs_shared.jsonl.xz", 75, 92, 8),
        ("multiwoz_val_test/dialogs_shared.jsonl.xz", 55, 79, 20),
        ("tau_bench_airline/trajectories_shared.jsonl.xz", 53, 76, 34),
    ],
)
def test_bigram_over_two_folds(name: str, top1: float, top3: float, most_frequent: float, data: Path) -> None:
    """Top-1, top-3 and the most frequent item of SGD, MultiWOZ and tau-bench."""
    sequences = asked_of(read(data, name))
    folds = [index % 2 for index in range(len(sequences))]
    scores = two_fold(sequences, folds, {"most": Markov(0), "bigram": Markov(1)}, "names", Ranks)
    bigram, most = scores["bigram"].whole(), scores["most"].whole()
    found = [100 * (share or 0.0) for share in (bigram.top(1), bigram.top(3), most.top(1))]
    assert found == pytest.approx([top1, top3, most_frequent], abs=POINTS)


def test_squad_answers_move_forward(data: Path) -> None:
    """81.9 % of next answers start at or after the last, on both parts together: inside the shared part's interval."""
    found = read(data, "squad_xquad_en/paragraphs_shared.jsonl.xz")
    told = order(found.dialogues, seed=1, shuffles=2)["at_or_after"]
    assert told["ci95"][0] <= 0.819 <= told["ci95"][1]
    assert told["value"] == pytest.approx(405 / 484)  # counted on the shared part by hand


def test_mtrag_passages_come_again(data: Path) -> None:
    """12.8 % of relevant passages were relevant before, on both parts together: inside the shared part's interval."""
    found = read(data, "mtrag/human_retrieval_shared.jsonl.xz")
    told = reuse(found.dialogues, seed=1)
    assert told["same_piece"]["ci95"][0] <= 0.128 <= told["same_piece"]["ci95"][1]
    assert told["same_document"]["value"] > told["same_piece"]["value"]


def test_quac_questions_repeat_content_words(data: Path) -> None:
    """29 % from the turn before, 64 % from the whole history with the title, by a list of function words not stated."""
    found = read(data, "quac_canard/dialogs_shared.jsonl.xz")
    told = words(found.dialogues, seed=1, shuffles=2)
    shares = [100 * told[part]["value"] for part in ("in_previous_turn", "in_history")]
    assert shares == pytest.approx([29, 64], abs=POINTS + 0.5)
    assert told["in_previous_turn"]["shuffled"]["value"] < told["in_previous_turn"]["value"]


def test_lmcache_agents_reuse_their_prefixes(data: Path) -> None:
    """93.5, 83.7 and 85.5 % on both parts together."""
    found = read(data, "lmcache_agent_traces/requests_blocks16_shared.jsonl.xz")
    told = prefix_reuse(found.dialogues, "global", seed=1)["by"]
    shares = [100 * told[agent]["seen_before"]["value"] for agent in ("miniswe", "magagent", "taubench")]
    assert shares == pytest.approx([93.5, 83.7, 85.5], abs=POINTS)


def test_mooncake_reuses_a_third(data: Path) -> None:
    """35.1 % of block references, where the last, partial block of a prompt counts as a reference too."""
    found = read(data, "mooncake/conversation_0_40min.jsonl.xz")
    told = prefix_reuse(found.dialogues, "global", seed=1)
    requests = sum(len(dialogue.queries) for dialogue in found.dialogues)  # each has one partial block
    seen = told["seen_before"]["value"] * told["references"]
    assert 100 * seen / (told["references"] + requests) == pytest.approx(35.1, abs=0.1)


@pytest.mark.evidence
def test_claude_code_prefixes_and_pauses(data: Path) -> None:
    """96.4 % reuse inside a session; think time p50 9 s after a tool call and 125 s after the end of a turn."""
    found = read(data, "claude_code_traces/sessions_shared.jsonl.xz")
    told = prefix_reuse(found.dialogues, "session", seed=1)
    assert 100 * told["seen_before"]["value"] == pytest.approx(96.4, abs=0.2)
    pauses = gaps(found.dialogues, seed=1)
    assert pauses["human"]["p50_s"] == pytest.approx(125, abs=2)
    assert pauses["tool"]["p50_s"] == pytest.approx(9, abs=1)  # sub-agents' calls are among them here
