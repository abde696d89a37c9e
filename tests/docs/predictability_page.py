"""The tables of docs/predictability.md, made from fresh output. Run as a script, it writes them into the page.

Usage: SIMKV_DATA=DATA python tests/docs/predictability_page.py
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from simkv.predictability import predictability
from simkv.report.layout import number
from simkv.report.predictability import percent, to_text

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "predictability.md"
MINIATURE = "traces/coqa_miniature.json"

#: Row of the tables -> file below the data folder.
SETS = {
    "SQuAD (XQuAD English)": "squad_xquad_en/paragraphs_shared.jsonl.xz",
    "SGD": "sgd_dev_test/dialogs_shared.jsonl.xz",
    "MultiWOZ": "multiwoz_val_test/dialogs_shared.jsonl.xz",
    "tau-bench airline": "tau_bench_airline/trajectories_shared.jsonl.xz",
    "MTRAG": "mtrag/human_retrieval_shared.jsonl.xz",
    "MTRAG-UN": "mtrag/un_reference_tasks_shared.jsonl.xz",
    "QuAC (CANARD)": "quac_canard/dialogs_shared.jsonl.xz",
    "TREC CAsT": "trec_cast/dialogs_shared.jsonl.xz",
    "TREC iKAT": "trec_ikat/dialogs_shared.jsonl.xz",
    "MT-Bench-101": "mtbench101/dialogs_shared.jsonl.xz",
    "Claude Code": "claude_code_traces/sessions_shared.jsonl.xz",
    "LMCache agents": "lmcache_agent_traces/requests_blocks16_shared.jsonl.xz",
    "Mooncake": "mooncake/conversation_0_40min.jsonl.xz",
    "ShareGPT lengths": "sharegpt_turn_lengths/conversations_shared.jsonl.xz",
}
#: They take more than a few seconds.
LONG = ("SGD", "MultiWOZ", "Claude Code", "SQuAD (XQuAD English)", "LMCache agents")

POLICIES = ("always-next", "top-1", "top-3", "threshold-0.5", "threshold-0.2")

Told = Mapping[str, Any]


def next_row(name: str, told: Told) -> list[str]:
    """Return the row of the first table; empty for a set without items."""
    found = told["next_item"]
    if "n/a" in found:
        return []
    most, bigram = found["two_fold"]["most_frequent"], found["two_fold"]["bigram"]
    best = min(found["prequential"], key=lambda row: row["brier"]["value"])
    cells = [
        name,
        f"{found['steps']:,}",
        percent(most["top1"]),
        percent(told["prefetch"]["policies"]["repeat-last"]["named_next"]),
        percent(bigram["top1"]),
        percent(bigram["top3"]),
        f"{100 * bigram['shuffled']['top1']['value']:.1f} / {100 * bigram['shuffled']['top3']['value']:.1f}",
        f"{best['predictor']} ({best['sees']}) {best['brier']['value']:.3f}",
        number(best["ece"], 3),
        f"{100 * found['new_items']:.1f}",
    ]
    return [_row(cells)]


def prefetch_rows(name: str, told: Told) -> list[str]:
    """Return the rows of the second table: policies that can move something."""
    if "n/a" in told["prefetch"]:
        return []
    rows = [(policy, told["prefetch"]["policies"][policy]) for policy in POLICIES]
    return [
        _row(
            [
                name,
                policy,
                percent(row["named_next"]),
                percent(row["coverage"]),
                percent(row["accuracy"]),
                number(row["wasted_per_hit"], 2),
            ]
        )
        for policy, row in rows
        if row.get("moved")
    ]


def reuse_row(name: str, told: Told) -> list[str]:
    """Return the row of the third table: what consecutive queries share; empty where nothing is known."""
    chunks, characters = told["overlap"]["chunks"], told["overlap"]["characters"]
    if all("n/a" in part for part in (chunks, characters, told["order"], told["reuse"], told["words"])):
        return []
    cells = [
        name,
        _or_dash(chunks, lambda part: _against(part["jaccard"])),
        _or_dash(characters, lambda part: _against(part["jaccard"])),
        _or_dash(told["order"], lambda part: _against(part["at_or_after"])),
        _or_dash(told["reuse"], lambda part: percent(part["same_piece"])),
        _or_dash(told["reuse"], lambda part: percent(part["same_document"])),
        _or_dash(told["words"], lambda part: _against(part["in_previous_turn"])),
        _or_dash(told["words"], lambda part: percent(part["in_history"])),
    ]
    return [_row(cells)]


def block_rows(name: str, told: Told) -> list[str]:
    """Return the rows of the fourth table: KV blocks that were there before."""
    found = told["prefix_reuse"]
    if "n/a" in found:
        return []
    parts = {name: found} | {f"{name}, {stratum}": row for stratum, row in found.get("by", {}).items()}
    return [
        _row(
            [
                part,
                f"{row['references']:,}",
                percent(row["seen_before"]),
                _or_dash(row["from_previous"], percent),
                _or_dash(row["drops"], percent),
            ]
        )
        for part, row in parts.items()
    ]


def gap_rows(name: str, told: Told) -> list[str]:
    """Return the rows of the fifth table: how well the next gap can be told."""
    if "n/a" in told["gaps"]:
        return []
    return [
        _row(
            [
                f"{name}, {kind}",
                f"{row['gaps']:,}",
                f"{row['p50_s']:.1f}",
                *(number(row["crps_s"][made]["value"], 2) for made in row["crps_s"]),
            ]
        )
        for kind, row in told["gaps"].items()
    ]


TABLES: Mapping[str, Callable[[str, Told], list[str]]] = {
    "next": next_row,
    "prefetch": prefetch_rows,
    "shared": reuse_row,
    "blocks": block_rows,
    "gaps": gap_rows,
}


def measured(name: str, data: Path) -> Told:
    """Return the measures of one set, as the command makes them."""
    return predictability(data / SETS[name])


def rows_of(name: str, told: Told) -> dict[str, list[str]]:
    """Return the rows of a set in each table."""
    return {table: make(name, told) for table, make in TABLES.items()}


def miniature() -> str:
    """Return what the command prints of the miniature."""
    return to_text(predictability(ROOT / MINIATURE))


def block(page: str, name: str) -> str:
    """Return what stands between the marks of a generated part."""
    found = re.search(rf"<!-- {name} -->\n(.*?)<!-- end -->", page, flags=re.DOTALL)
    if found is None:
        raise ValueError(f"docs/predictability.md has no part {name!r}")
    return found.group(1)


def _with_block(page: str, name: str, text: str) -> str:
    marks = f"<!-- {name} -->\n", "<!-- end -->"
    return page.replace(f"{marks[0]}{block(page, name)}{marks[1]}", f"{marks[0]}{text}{marks[1]}")


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _or_dash(part: Told, say: Callable[[Told], str]) -> str:
    return "n/a" if "n/a" in part else say(part)


def _against(share: Told) -> str:
    return f"{percent(share)}, shuffled {100 * share['shuffled']['value']:.1f}"


def main() -> None:
    """Write every generated part of the page again."""
    data = Path(os.environ["SIMKV_DATA"])
    page = PAGE.read_text(encoding="utf-8")
    rows: dict[str, list[str]] = {table: [] for table in TABLES}
    for name in SETS:
        for table, made in rows_of(name, measured(name, data)).items():
            rows[table] += made
    for table, made in rows.items():
        head = "\n".join(block(page, table).splitlines()[:2])
        page = _with_block(page, table, "\n".join([head, *made]) + "\n")
    page = _with_block(page, "miniature", f"```text\n{miniature()}```\n")
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
