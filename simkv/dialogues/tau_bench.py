"""tau-bench: which tool does the agent call next?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from simkv.dialogues import values
from simkv.dialogues.question import DIALOGUES, About, Dialogue, Query
from simkv.workload.readers import fields


@DIALOGUES.register("tau-bench")
@dataclass
class TauBench:
    """One trajectory a line; a query is a tool call. Trials of one task are one group.

    Source: Yao et al., "tau-bench: a benchmark for tool-agent-user interaction in real-world domains", 2024.
    """

    about: ClassVar[About] = About("category", "the tool that the agent calls")

    def recognises(self, first: dict[str, Any]) -> bool:
        """Return whether it is a trajectory of a task."""
        return "traj" in first and "task_id" in first

    def dialogues(self, records: Iterable[dict[str, Any]]) -> Iterator[Dialogue]:
        """Yield a dialogue a trajectory, of its tool calls."""
        for number, record in enumerate(records):
            queries = []
            for at, message in values.objects(record, "traj"):
                if message.get("tool_calls") is None:
                    continue
                for place, call in values.objects(message, "tool_calls", at):
                    called = fields.mapping(values.value(call, "function", place), f"{place}.function")
                    queries.append(Query(item=values.name(called, "name", f"{place}.function")))
            yield Dialogue(str(record.get("uid", number)), tuple(queries), group=values.name(record, "task_id"))
