"""How much of a prompt's KV was there before? Reuse of blocks with a cache without end, for each agent too."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from simkv.dialogues import Dialogue
from simkv.kv.block import Run, joined
from simkv.predictability.estimates import Ratio, told
from simkv.workload.readers.summary import IdSet

#: A turn that keeps less than this share of the prompt before it has dropped history (compaction, rewind).
_KEPT = 0.9


def prefix_reuse(dialogues: Sequence[Dialogue], block_scope: str, seed: int) -> dict[str, Any]:
    """Return shares of block references, for all dialogues and for each stratum.

    seen_before : share of full blocks that an earlier request of the scope named.
    from_previous : share of a later request's blocks that are the leading blocks of the request before it.
    drops : share of later requests that keep less than 90 % of the request before.
    """
    if not any(query.runs for dialogue in dialogues for query in dialogue.queries):
        return {"n/a": "the set has no KV blocks"}
    strata = sorted({dialogue.stratum for dialogue in dialogues})
    found = _measured(dialogues, block_scope, seed)
    if len(strata) > 1:
        found["by"] = {
            name: _measured([d for d in dialogues if d.stratum == name], block_scope, seed) for name in strata
        }
    return found


def _measured(dialogues: Sequence[Dialogue], block_scope: str, seed: int) -> dict[str, Any]:
    before, previous, drops = Ratio(), Ratio(), Ratio()
    seen = IdSet()
    for dialogue in dialogues:
        if block_scope == "session":
            seen = IdSet()
        references = new = 0
        for query in dialogue.queries:
            references += _blocks(query.runs)
            new += sum(seen.add(run) for run in query.runs)
        before.add(references - new, references)
        pairs = [(_common(a.runs, b.runs), _blocks(a.runs), _blocks(b.runs)) for a, b in pairwise(dialogue.queries)]
        previous.add(sum(common for common, _, _ in pairs), sum(after for _, _, after in pairs))
        drops.add(sum(common < _KEPT * here for common, here, _ in pairs), len(pairs))
    has_pairs = any(below for _, below in drops.parts)
    alone = {"n/a": "requests have no session"}
    return {
        "references": int(sum(below for _, below in before.parts)),
        "seen_before": told(before.estimate(seed)),
        "from_previous": told(previous.estimate(seed)) if has_pairs else alone,
        "drops": told(drops.estimate(seed)) if has_pairs else alone,
    }


def _blocks(runs: Sequence[Run]) -> int:
    return sum(run.count for run in runs)


def _common(before: Sequence[Run], after: Sequence[Run]) -> int:
    """Return how many leading blocks two prompts share.

    Examples
    --------
    >>> _common([Run(0, 4), Run(9, 2)], [Run(0, 2), Run(2, 2), Run(9, 1), Run(30, 5)])
    5
    """
    shared = 0
    for one, two in zip(joined(before), joined(after), strict=False):
        if one.start != two.start:
            break
        shared += min(one.count, two.count)
        if one.count != two.count:
            break
    return shared
