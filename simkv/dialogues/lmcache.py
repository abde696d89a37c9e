"""LMCache's agent request logs, as block runs: which chain of blocks does the next request continue?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any, ClassVar

from simkv.dialogues import values
from simkv.dialogues.chains import named_chains
from simkv.dialogues.question import DIALOGUES, About, Dialogue, Query
from simkv.workload.readers import fields


@DIALOGUES.register("lmcache-agents")
@dataclass
class LmcacheAgents:
    """One request a line, sorted by session and turn; blocks of 16 tokens, ids global.

    A gap is the time between two starts: these logs have no end of an answer.

    Source: github.com/LMCache/lmcache-agent-trace.
    """

    about: ClassVar[About] = About("local", "the chain of blocks that the request continues", block_scope="global")

    def recognises(self, first: dict[str, Any]) -> bool:
        """Return whether it is a request of an agent's session with block runs."""
        return "agent" in first and "hash_runs" in first and "turn" in first

    def dialogues(self, records: Iterable[dict[str, Any]]) -> Iterator[Dialogue]:
        """Yield a dialogue a session."""
        seen: set[str] = set()
        for name, group in groupby(records, key=lambda record: values.name(record, "session_id")):
            if name in seen:
                raise ValueError(f"session_id: want the requests of a session together, got {name!r} again")
            seen.add(name)
            yield _dialogue(name, group)


def _dialogue(name: str, records: Iterable[dict[str, Any]]) -> Dialogue:
    runs, starts, agent = [], [], ""
    for record in records:
        runs.append(fields.runs(values.value(record, "hash_runs"), "hash_runs"))
        starts.append(fields.seconds(values.value(record, "t_s"), "t_s"))
        if len(starts) > 1 and starts[-1] < starts[-2]:
            raise ValueError(f"t_s: must not decrease in a session, got {starts[-1]:g} after {starts[-2]:g}")
        agent = values.name(record, "agent")
    gaps = [None, *(after - before for before, after in pairwise(starts))]
    items = named_chains(runs)
    queries = tuple(
        Query(item=item, gap_s=gap, gap_kind="machine, start to start", runs=blocks)
        for item, gap, blocks in zip(items, gaps, runs, strict=True)
    )
    return Dialogue(name, queries, stratum=agent)
