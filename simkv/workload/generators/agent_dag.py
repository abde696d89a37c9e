"""Which step of a workflow comes after which? Agents and tools as the nodes of a graph with probabilities.

A session walks the graph from its start to its end. Each step needs the KV of its agent (prompt and document), which
is one chunk: chunk i is step i in every session, so the index of a chunk names the step. A loop is bounded by how often
a step may run. Left out: steps that run side by side, and branches that depend on more than the step before.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from simkv.request import Layout, Session, TraceHeader, Turn
from simkv.rng import stream
from simkv.workload.generators.draws import think_s
from simkv.workload.generators.question import GENERATORS, provenance, want

NAME = "agent-dag"
START, END = "start", "end"
#: Steps of a graph; a document of 4,096 chunks is refused when it is played.
MOST_STEPS = 4095
#: Below this, what edges leave to 1 is rounding.
_EXACT = 1e-9
#: Probabilities are written with three digits, so those of one step may miss 1 by this much.
_ROUNDING = 0.005
_EDGE = re.compile(r"(?P<before>[a-z0-9_-]+?)\s*->\s*(?P<after>[a-z0-9_-]+)(?:\s*:\s*(?P<p>[0-9.eE+-]+))?")

# tau_bench_airline, 92 trajectories, 535 tool calls: which tool was called after which (tools called 20 times or more,
# edges seen 3 times or more; printed by traces/measure.py). The rest of each step's probability ends the session.
AIRLINE = (
    "start->get_user_details:0.605",
    "start->get_reservation_details:0.349",
    "start->transfer_to_human_agents:0.047",
    "get_reservation_details->get_reservation_details:0.486",
    "get_reservation_details->cancel_reservation:0.091",
    "get_reservation_details->think:0.091",
    "get_reservation_details->transfer_to_human_agents:0.086",
    "get_reservation_details->search_direct_flight:0.074",
    "get_reservation_details->search_onestop_flight:0.046",
    "get_reservation_details->update_reservation_flights:0.046",
    "get_reservation_details->calculate:0.017",
    "get_user_details->get_reservation_details:0.947",
    "get_user_details->search_direct_flight:0.053",
    "update_reservation_flights->update_reservation_flights:0.364",
    "update_reservation_flights->cancel_reservation:0.114",
    "update_reservation_flights->search_direct_flight:0.068",
    "think->calculate:0.405",
    "think->book_reservation:0.286",
    "think->update_reservation_flights:0.190",
    "think->cancel_reservation:0.119",
    "calculate->calculate:0.459",
    "calculate->book_reservation:0.378",
    "calculate->update_reservation_flights:0.162",
    "cancel_reservation->cancel_reservation:0.333",
    "cancel_reservation->get_reservation_details:0.154",
    "cancel_reservation->get_user_details:0.077",
    "cancel_reservation->search_direct_flight:0.077",
    "book_reservation->think:0.500",
    "book_reservation->book_reservation:0.094",
    "search_onestop_flight->think:0.450",
    "search_onestop_flight->update_reservation_flights:0.350",
    "search_onestop_flight->calculate:0.200",
    "search_direct_flight->search_onestop_flight:0.842",
    "search_direct_flight->search_direct_flight:0.158",
)


@GENERATORS.register(NAME)
@dataclass
class AgentDag:
    """Sessions that walk a workflow graph of agents and tools, each step with KV of its own.

    Parameters
    ----------
    conversations : how many.
    graph : edges `"a->b:0.7"`: after step a comes step b with that probability (1 when it is left out). What the edges
        of a step leave to 1 ends the session. Edges from `start` choose the first step; without any, the first step
        named is it.
    most_rounds : times that one step may run in a session; an edge to a step that has run so often is closed, and the
        others, the end among them, keep their proportion.
    sharing : "own" = each session has documents of its own at every step; "shared" = all sessions use the same KV.
    chunk_tokens : [tokens] prompt and document of a step.
    block_tokens : [tokens] a block.
    layout : where chunks stand in the prompt (semantics B2).
    new_tokens : [tokens] that each step is asked with.
    answer_tokens_median, answer_tokens_sigma : [tokens], of ln(length): log-normal of a step's output.
    tool_think_median_s, tool_think_sigma : [s], of ln(gap): log-normal of the gap before a step, the tool's time.

    Examples
    --------
    >>> chain = AgentDag(graph=("read->analyze", "analyze->decide"), conversations=1)
    >>> [turn.chunks for turn in next(chain.sessions(seed=1)).turns]
    [(0,), (1,), (2,)]
    """

    conversations: int = 200  # enough to draw 60 a replication with little repetition
    graph: tuple[str, ...] = AIRLINE
    most_rounds: int = 7  # tau_bench_airline: the most calls of one tool in a trajectory
    sharing: Literal["own", "shared"] = "own"
    chunk_tokens: int = 2065  # lmcache_agent_traces, 565 requests of a team of agents: mean prompt
    block_tokens: int = 16  # vLLM's block (semantics D1)
    layout: Layout = "independent"  # each step has a prompt of its own
    new_tokens: int = 32  # the dynamic part of a step in KVFlow's workflow (Pan et al., 2025)
    # lmcache_agent_traces, the same requests: line through the deciles of the answers.
    answer_tokens_median: float = 303.0
    answer_tokens_sigma: float = 0.542
    # claude_code_traces, line through the deciles of 23,945 gaps after tool calls.
    tool_think_median_s: float = 11.1
    tool_think_sigma: float = 1.08

    def __post_init__(self) -> None:
        for name in ("conversations", "most_rounds", "chunk_tokens", "block_tokens", "new_tokens"):
            want(getattr(self, name) >= 1, f"{name}: want at least 1, got {getattr(self, name)}")
        want(self.layout in ("document_first", "interleaved", "independent"), f"layout: unknown {self.layout!r}")
        want(self.sharing in ("own", "shared"), f"sharing: want own or shared, got {self.sharing!r}")
        median = self.answer_tokens_median
        want(1 <= median < math.inf, f"answer_tokens_median: want at least 1, got {median}")
        for name in ("answer_tokens_sigma", "tool_think_median_s", "tool_think_sigma"):
            want(0 <= getattr(self, name) < math.inf, f"{name}: want at least 0, got {getattr(self, name)}")
        edges_of(self.graph)  # refuses what is no graph

    @property
    def steps(self) -> tuple[str, ...]:
        """The steps by their chunk: step i is chunk i."""
        return tuple(step for step in edges_of(self.graph) if step != START)

    def header(self) -> TraceHeader:
        """Return what is true of all sessions."""
        told = provenance(NAME, self) | {"steps": list(self.steps)}
        return TraceHeader(self.block_tokens, self.layout, "session", True, told)

    def sessions(self, seed: int) -> Iterator[Session]:
        """Yield the sessions of one seed, without recorded starts."""
        edges, chunk_of = edges_of(self.graph), {step: index for index, step in enumerate(self.steps)}
        for conversation in range(self.conversations):
            where, answer, gap = (stream(seed, NAME, conversation, purpose) for purpose in ("step", "answer", "gap"))
            turns: list[Turn] = []
            for step in walk(edges, self.most_rounds, where.random):
                tokens = self.answer_tokens_median * math.exp(self.answer_tokens_sigma * answer.gauss(0, 1))
                waited_s = think_s(gap.gauss(0, 1), self.tool_think_median_s, self.tool_think_sigma)
                turns.append(
                    Turn(
                        new_tokens=self.new_tokens,
                        answer_tokens=max(1, round(tokens)),
                        think_s=waited_s if turns else 0.0,
                        gap_kind="tool" if turns else "none",
                        chunks=(chunk_of[step],),
                    )
                )
            yield Session(
                f"workflow-{conversation}",
                tuple(turns),
                self.layout,
                document_id="workflow" if self.sharing == "shared" else None,
                chunk_tokens=(self.chunk_tokens,) * len(chunk_of),
            )


def edges_of(graph: tuple[str, ...]) -> dict[str, dict[str, float]]:
    """Return step -> {next step: probability}, steps in the order in which they are named; what is left to 1 ends.

    Raises
    ------
    ValueError : no such graph: an edge that is none, a probability that is none, a step that nothing leads to.

    Examples
    --------
    >>> edges_of(("read->analyze:0.5",))
    {'start': {'read': 1.0}, 'read': {'analyze': 0.5}, 'analyze': {}}
    """
    want(bool(graph), "graph: want at least one edge, such as 'read->analyze:0.7'")
    edges: dict[str, dict[str, float]] = {START: {}}
    for written in graph:
        before, after, probability = _edge(written)
        for step in (before, after):
            edges.setdefault(step, {})
        want(after not in edges[before], f"graph: {before}->{after} is given twice")
        edges[before][after] = probability
    edges.pop(END, None)
    if not edges[START]:
        edges[START] = {next(step for step in edges if step != START): 1.0}
    for step, nexts in edges.items():
        total = math.fsum(nexts.values())
        want(total <= 1 + _ROUNDING, f"graph: the probabilities after {step!r} sum to {total:g}; want at most 1")
        want(
            step != START or total >= 1 - _ROUNDING,
            f"graph: the probabilities after {START!r} sum to {total:g}; want 1",
        )
        if total > 1 or step == START:
            edges[step] = {after: probability / total for after, probability in nexts.items()}
        edges[step].pop(END, None)
    want(len(edges) - 1 <= MOST_STEPS, f"graph: want at most {MOST_STEPS} steps, got {len(edges) - 1}")
    _want_reachable(edges)
    return edges


def _edge(written: object) -> tuple[str, str, float]:
    """Return an edge: from, to, probability."""
    found = _EDGE.fullmatch(written.strip()) if isinstance(written, str) else None
    if found is None:
        raise ValueError(f"graph: want an edge such as 'a->b:0.7', names in lower case, got {written!r}")
    before, after, text = found["before"], found["after"], found["p"]
    try:
        probability = 1.0 if text is None else float(text)
    except ValueError:
        raise ValueError(f"graph: {written!r}: {text!r} is no number") from None
    want(0 < probability <= 1, f"graph: {written!r}: want a probability above 0 and at most 1")
    want(after != START, f"graph: {written!r}: nothing leads to {START!r}")
    want(before != END, f"graph: {written!r}: nothing follows {END!r}")
    want((before, after) != (START, END), f"graph: {written!r}: a session has at least one step")
    return before, after, probability


def _want_reachable(edges: Mapping[str, Mapping[str, float]]) -> None:
    reached, ahead = {START}, [START]
    while ahead:
        new = [after for after in edges[ahead.pop()] if after not in reached]
        reached.update(new)
        ahead += new
    for step in edges:
        want(step in reached, f"graph: no path leads from {START!r} to {step!r}")


def walk(edges: Mapping[str, Mapping[str, float]], most_rounds: int, uniform: Callable[[], float]) -> Iterator[str]:
    """Yield the steps of one session; one uniform draw each.

    Parameters
    ----------
    edges : as `edges_of` returns them.

    Examples
    --------
    >>> list(walk(edges_of(("think->act:0.9", "act->think")), 2, lambda: 0.5))
    ['think', 'act', 'think', 'act']
    """
    rounds: dict[str, int] = {}
    step = START
    while True:
        left = 1 - math.fsum(edges[step].values())
        choices = [(after, p) for after, p in edges[step].items() if rounds.get(after, 0) < most_rounds]
        choices += [(END, left)] if left > _EXACT else []
        place = uniform() * math.fsum(p for _, p in choices)
        step = END
        for step, p in choices:  # noqa: B007  # the last one where rounding leaves none
            place -= p
            if place < 0:
                break
        if step == END:
            return
        rounds[step] = rounds.get(step, 0) + 1
        yield step
